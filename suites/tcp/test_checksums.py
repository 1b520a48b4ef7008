"""Checksums: what is damaged is thrown away without a word, and the whole copy behind it is taken."""

from __future__ import annotations

import pytest

from keuos_hil.net import wire
from keuos_hil.net.tcp import Stack

pytestmark = pytest.mark.needs("link", "sockets")

#: What is added to the right checksum; None stands for a field of zero.
DAMAGE = {"bit-0": 1, "bit-7": 0x80, "bit-8": 0x100, "bit-15": 0x8000, "zero": None}


def _wrong(damage: int | None, segment: bytes) -> int:
    right = int.from_bytes(segment[16:18], "big")
    return 0 if damage is None else right ^ damage


@pytest.mark.requirement("9293:MUST-3")
@pytest.mark.parametrize("size", [1, 100, 999])
@pytest.mark.parametrize("name", DAMAGE)
def test_data_with_a_wrong_checksum_is_dropped(net: Stack, name: str, size: int) -> None:
    c = net.est()
    good = wire.tcp(c.source, net.host.target, c.port, c.target_port, c.snd, c.rcv, wire.ACK | wire.PSH, c.window,
                    payload=c.pattern(size))  # fmt: skip
    wrong = _wrong(DAMAGE[name], good)
    assert wrong != int.from_bytes(good[16:18], "big"), "the segment's right checksum happens to be this one"
    c.tx("PA", seq=c.snd, data=size, given_checksum=wrong)
    c.silent()
    assert c.sock.nothing()
    c.tx("PA", data=size)
    assert c.sock.recv_exactly(size).bad is None


@pytest.mark.requirement("9293:MUST-3")
@pytest.mark.parametrize("flags", ["S", "A", "R", "RA", "FA"])
def test_a_segment_with_a_wrong_checksum_to_a_closed_port_is_not_answered(net: Stack, flags: str) -> None:
    c = net.closed()
    c.tx(flags, given_checksum=0x1234)
    c.silent()


@pytest.mark.requirement("9293:MUST-3")
def test_a_syn_with_a_wrong_checksum_is_not_answered(net: Stack) -> None:
    c, _ = net.listening()
    c.tx("S", seq=c.iss, given_checksum=0)
    c.silent()
    c.tx("S")
    c.rx("SA", ack=c.snd)


@pytest.mark.requirement("9293:MUST-3")
@pytest.mark.parametrize("flags", ["R", "RA", "FA", "SA"])
def test_control_with_a_wrong_checksum_changes_nothing(net: Stack, flags: str) -> None:
    c = net.est()
    c.tx(flags, seq=c.snd, given_checksum=0xABCD)
    c.silent()
    c.tx("PA", data=10)
    assert c.sock.recv_exactly(10).bad is None


@pytest.mark.requirement("9293:MUST-3")
def test_an_ack_with_a_wrong_checksum_acknowledges_nothing(net: Stack) -> None:
    c = net.est(window=1000)
    c.sock.send(3000)
    c.rx_data(1000)
    c.tx("A", given_checksum=0x4321)
    c.silent()
    c.tx("A")
    c.rx_data(1000)


@pytest.mark.requirement("9293:MUST-3")
def test_the_checksum_covers_the_addresses(net: Stack) -> None:
    """A segment whose checksum was made for another source address."""
    c = net.est()
    data = c.pattern(100)
    made = wire.tcp(wire.ip("192.0.2.77"), net.host.target, c.port, c.target_port, c.snd, c.rcv, wire.ACK, c.window,
                    payload=data)  # fmt: skip
    c.tx("A", seq=c.snd, data=data, given_checksum=int.from_bytes(made[16:18], "big"))
    c.silent()
    assert c.sock.nothing()


@pytest.mark.requirement("9293:MUST-2")
@pytest.mark.parametrize("size", [1, 2, 3, 537, 1459, 1460])
def test_segments_of_every_parity_come_with_a_right_checksum(net: Stack, size: int) -> None:
    c = net.est()
    c.sock.send(size)
    assert c.rx("A", data=size).checksum_ok


@pytest.mark.requirement("9293:MUST-2")
def test_a_long_stream_of_odd_segments_comes_with_right_checksums(net: Stack) -> None:
    """Where a ring of bytes ends a segment is made of two pieces, either of them odd. The rules look at checksums."""
    c = net.est(mss=1459)
    sent = 0
    while sent < 1_200_000:
        count = c.sock.send(100_000)
        sent += count
        c.rx_data(count, reply=True)


@pytest.mark.requirement("9293:MUST-3")
@pytest.mark.parametrize("offset", [0, 1, 4])
def test_a_data_offset_below_the_header_is_dropped(net: Stack, offset: int) -> None:
    c = net.est()
    c.tx("PA", seq=c.snd, data=50, offset=offset)
    c.silent()
    c.tx("PA", data=50)
    assert c.sock.recv_exactly(50).bad is None


@pytest.mark.requirement("9293:MUST-3")
@pytest.mark.parametrize("offset", [6, 15])
def test_a_data_offset_past_the_segment_is_dropped(net: Stack, offset: int) -> None:
    c = net.est()
    c.tx("A", offset=offset)
    c.silent()
    c.tx("PA", data=50)
    assert c.sock.recv_exactly(50).bad is None
