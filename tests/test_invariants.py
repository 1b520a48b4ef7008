"""What has to hold of every frame: each rule is broken once, and told; its legal exceptions are not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from keuos_hil.net import wire
from keuos_hil.net.invariants import Monitor, Rules
from keuos_hil.net.wire import ACK, FIN, PSH, RST, SYN, Segment
from keuos_hil.parts import Network

NETWORK = Network("192.0.2.2", bytes.fromhex("02000000ad03"), 24, "192.0.2.1", 1500)
TARGET, PEER, MAC = wire.ip(NETWORK.address), wire.ip(NETWORK.gateway), bytes.fromhex("02000000ad01")
#: First numbers of both sides.
IRS, ISS = 5_000_000, 1_000


def _frame(flags: int = ACK, seq: int = IRS + 1, ack: int = ISS + 1, window: int = 1000, **how: Any) -> wire.Packet:
    """One of the target's; `ip` and `sender` are what its datagram and frame have instead of what is right."""
    below, sender = dict(how.pop("ip", {})), how.pop("sender", NETWORK.mac)
    source = below.pop("source", TARGET)
    segment = wire.tcp(source, PEER, 80, 2000, seq, ack, flags, window, **how)
    datagram = wire.ipv4(source, PEER, wire.PROTOCOL_TCP, segment, **below)
    packet = wire.parse(wire.ethernet(MAC, sender, wire.ETHERTYPE_IPV4, datagram))
    assert packet is not None
    return packet


def _segment(*arguments: Any, time: float = 0.0, **how: Any) -> Segment:
    found = _frame(*arguments, **how)
    assert isinstance(found, Segment)
    return replace(found, time=time)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, ""),
        ({"given_checksum": 0x1234}, "wrong SEGMENT checksum"),
        ({"sender": MAC}, "a frame came from"),
        ({"ip": {"header_checksum": 1}}, "wrong IPv4 header checksum"),
        ({"ip": {"source": wire.ip("192.0.2.9")}}, "not the target's"),
        ({"ip": {"ttl": 0}}, "a time to live of 0"),
        ({"payload": bytes(1461)}, "over the MTU"),
        ({"options": bytes((8, 3, 0, 0))}, "options are malformed"),
        ({"reserved": 1}, "reserved bits"),
        ({"flags": SYN | FIN}, "exclude each other"),
        ({"flags": PSH}, "neither SYN, RST nor ACK"),
        ({"flags": SYN, "options": wire.mss(1460)}, ""),
        ({"options": wire.mss(1460)}, "an MSS option outside a SYN"),
        ({"options": wire.join([wire.wscale(7)])}, "a window scale option outside a SYN"),
        ({"options": wire.join([wire.sack_ok()])}, "SACK permitted outside a SYN"),
    ],
)
def test_a_frame_by_itself(how: dict[str, Any], told: str) -> None:
    problem = Monitor(NETWORK).check(_frame(**how), 0.0)
    assert (told in problem) if told else not problem


def test_an_identification_may_come_again_when_the_first_datagram_can_not_live_any_more() -> None:
    monitor = Monitor(NETWORK)
    fragile: dict[str, Any] = {"ip": {"fragment": 0, "identification": 77}}
    assert not monitor.check(_frame(**fragile), 0.0)
    assert "77 came before" in monitor.check(_frame(**fragile), 119.0)
    assert not monitor.check(_frame(**fragile), 240.0)
    atomic: dict[str, Any] = {"ip": {"fragment": wire.DF, "identification": 77}}
    assert not monitor.check(_frame(**atomic), 240.0)
    monitor.allowed.add("identification")
    assert not monitor.check(_frame(**fragile), 241.0)


def _open(ours: bytes = b"", theirs: bytes = b"", window: int = 5000) -> Rules:
    """A connection of which both SYNs and our ACK were seen; the options are those of the SYNs."""
    rules = Rules()
    rules.sent(ISS, 0, SYN, window, 1, wire.parse_options(wire.padded(ours)))
    assert not rules.received(_segment(SYN | ACK, IRS, ISS + 1, options=theirs))
    rules.sent(ISS + 1, IRS + 1, ACK, window, 0, wire.Options())
    return rules


_TIMES, _SACK = wire.timestamps(10, 0), wire.join([wire.sack_ok()])


@pytest.mark.parametrize(
    ("ours", "theirs", "told"),
    [
        (wire.wscale(7), wire.wscale(15), "[scale]"),
        (b"", wire.wscale(7), "[scale]"),
        (b"", _TIMES, "[timestamps]"),
        (b"", _SACK, "[sack]"),
    ],
)
def test_options_of_a_syn_ack(ours: bytes, theirs: bytes, told: str) -> None:
    rules = Rules()
    rules.sent(ISS, 0, SYN, 5000, 1, wire.parse_options(wire.padded(ours)))
    assert told in rules.received(_segment(SYN | ACK, IRS, ISS + 1, options=wire.padded(theirs)))


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({}, ""),
        ({"ack": ISS + 2}, "[ack]"),
        ({"ack": ISS}, "[ack]"),
        ({"window": 999}, "[edge]"),
        ({"payload": bytes(537)}, "[mss]"),
        ({"options": wire.timestamps(1, 1)}, "[timestamps]"),
        ({"options": wire.sack((ISS + 1, ISS + 2))}, "[sack]"),
        ({"flags": ACK | wire.ECE}, "[ecn]"),
        ({"payload": b"x", "ip": {"tos": 2}}, "[ecn]"),
    ],
)
def test_a_segment_beside_what_was_said_before(how: dict[str, Any], told: str) -> None:
    rules = _open()
    problem = rules.received(_segment(**how))
    assert (told in problem) if told else not problem
    if told:
        again = _open()
        again.allowed.add(told.strip("[]"))
        assert not again.received(_segment(**how))


def test_a_reset_may_lack_timestamps_and_nothing_else_may() -> None:
    rules = _open(_TIMES, wire.timestamps(1, 10))
    assert "[timestamps]" in rules.received(_segment())
    assert not _open(_TIMES, wire.timestamps(1, 10)).received(_segment(RST, IRS + 1, 0))


@pytest.mark.parametrize(("value", "echo"), [(0, 10), (1, 11)])
def test_timestamps_go_forward_and_echo_what_was_sent(value: int, echo: int) -> None:
    rules = _open(_TIMES, wire.timestamps(1, 10))
    assert not rules.received(_segment(options=wire.timestamps(2, 10)))
    assert "[timestamps]" in rules.received(_segment(options=wire.timestamps(value, echo)))


def test_nothing_passes_the_window_but_a_probe_and_a_copy() -> None:
    rules = _open(window=100)
    assert not rules.received(_segment(payload=bytes(100)))
    assert not rules.received(_segment(seq=IRS + 101, payload=b"x")), "a window probe (RFC 9293, 3.8.6.1)"
    assert "[window]" in rules.received(_segment(seq=IRS + 102, payload=b"xy"))
    rules.sent(ISS + 1, IRS + 1, ACK, 0, 0, wire.Options())
    assert not rules.received(_segment(payload=bytes(100))), "sent again after the window shrank (MAY-7)"


def test_copies_come_at_intervals_that_do_not_shrink() -> None:
    rules = _open()
    times = (0.0, 1.0, 3.0)
    assert not [told for time in times if (told := rules.received(_segment(payload=b"x", time=time)))]
    assert "[spacing]" in rules.received(_segment(payload=b"x", time=3.5))
    rules.sent(ISS + 1, IRS + 1, ACK, 5000, 0, wire.Options())
    assert not rules.received(_segment(payload=b"x", time=3.6)), "a word from us may bring a copy at any time"
