"""ICMP errors that reach TCP: soft and hard ones, path MTU, forgeries."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from keuos_hil.net import wire
from keuos_hil.net.seq import add
from keuos_hil.net.tcp import Conversation, Stack

pytestmark = pytest.mark.needs("link", "sockets")

#: Type and code of the errors of RFC 9293, 3.9.2.2.
SOFT = {"net": (3, 0), "host": (3, 1), "route": (3, 5), "ttl": (11, 0), "reassembly": (11, 1), "parameter": (12, 0)}
HARD = {"protocol": (3, 2), "port": (3, 3)}
OTHERS = {"net-prohibited": (3, 9), "host-prohibited": (3, 10), "filtered": (3, 13)}


def error(
    c: Conversation,
    kind: int,
    code: int,
    *,
    rest: bytes = bytes(4),
    seq: int | None = None,
    port: int | None = None,
    target_port: int | None = None,
    total: int = 40,
    whole: bool = False,
) -> None:
    """An ICMP error about a segment of the target: by default the one at SND.UNA."""
    number = c.una_of_target if seq is None else seq
    ends = (target_port or c.target_port, port or c.port)
    segment = wire.tcp(c.host.target, c.source, *ends, number, c.snd, wire.ACK, 1000)
    quoted = wire.ipv4(c.host.target, c.source, wire.PROTOCOL_TCP, segment, total=total, ttl=60)
    c.host.send_icmp(wire.icmp(kind, code, rest, quoted if whole else quoted[:28]), source=wire.ip("192.0.2.254"))


@pytest.mark.requirement("9293:MUST-56", "5927:1")
@pytest.mark.parametrize("name", [*SOFT, *OTHERS])
def test_a_soft_error_does_not_end_a_connection(net: Stack, name: str) -> None:
    c = net.est()
    c.sock.send(100)
    c.rx("A", data=100)
    error(c, *(SOFT | OTHERS)[name])
    c.silent()
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None
    c.sock.send(10)
    c.rx_data(10)


@pytest.mark.requirement("9293:SHLD-26", "5927:2")
@pytest.mark.parametrize("name", HARD)
def test_a_hard_error_in_an_open_connection_is_no_more_than_a_hint(net: Stack, name: str) -> None:
    """Aborting is what RFC 1122 asked for; RFC 5927 (and 9293, 3.9.2.2) leave it at a soft error."""
    c = net.est()
    c.sock.send(100)
    c.rx("A", data=100)
    error(c, *HARD[name])
    c.silent()
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:SHLD-26")
@pytest.mark.parametrize("name", HARD)
def test_a_hard_error_ends_an_attempt_to_connect(net: Stack, name: str) -> None:
    c = net.syn_sent()
    error(c, *HARD[name], seq=c.irs)
    c.silent()
    assert c.sock.error() in ("ECONNREFUSED", "ENOPROTOOPT", "EPROTO", "EHOSTUNREACH")


@pytest.mark.requirement("9293:MUST-56")
@pytest.mark.parametrize("name", SOFT)
def test_a_soft_error_does_not_end_an_attempt_to_connect(net: Stack, name: str) -> None:
    c = net.syn_sent()
    error(c, *SOFT[name], seq=c.irs)
    c.silent()
    c.tx("SA")
    c.rx("A", ack=c.snd)
    c.tx("PA", data=10)
    assert c.sock.recv_exactly(10).bad is None


@pytest.mark.requirement("5927:1", "9293:MUST-54")
@pytest.mark.parametrize("distance", [-1000, -1, 10_000, 1 << 30])
@pytest.mark.parametrize("name", HARD)
def test_an_error_about_a_number_that_is_not_in_flight_is_ignored(net: Stack, name: str, distance: int) -> None:
    c = net.syn_sent()
    error(c, *HARD[name], seq=add(c.irs, distance))
    c.silent()
    c.tx("SA")
    c.rx("A", ack=c.snd)


@pytest.mark.requirement("9293:MUST-54")
@pytest.mark.parametrize("spoil", ["port", "target_port"])
def test_an_error_about_other_endpoints_is_ignored(net: Stack, spoil: str) -> None:
    c = net.syn_sent()
    other = net.syn_sent()
    if spoil == "port":
        error(c, 3, 3, seq=c.irs, port=1999)
    else:
        error(c, 3, 3, seq=c.irs, target_port=1999)
    c.silent()
    for one in (c, other):
        one.tx("SA")
        one.rx("A", ack=one.snd)


@pytest.mark.requirement("9293:MUST-54")
def test_an_error_reaches_the_connection_that_it_is_about_alone(net: Stack) -> None:
    one, other = net.syn_sent(), net.syn_sent()
    error(one, 3, 3, seq=one.irs)
    one.silent()
    assert one.sock.error() == "ECONNREFUSED"
    other.tx("SA")
    other.rx("A", ack=other.snd)


@pytest.mark.requirement("9293:MUST-47", "9293:SHLD-25")
def test_an_application_that_asks_is_told_of_a_soft_error(net: Stack) -> None:
    c = net.syn_sent(options={"recverr": 1})
    error(c, 3, 1, seq=c.irs)
    c.silent()
    assert c.sock.error() in ("EHOSTUNREACH", "ENETUNREACH")


@pytest.mark.requirement("9293:SHLD-20")
def test_an_application_that_no_longer_asks_is_left_alone_with_soft_errors(net: Stack) -> None:
    c = net.est()
    c.sock.set("recverr", 1)
    c.sock.set("recverr", 0)
    c.sock.send(100)
    c.rx("A", data=100)
    error(c, 3, 1)
    c.silent()
    assert not set("eh") & set(c.sock.ready())
    c.tx()
    c.alive()


@pytest.mark.requirement("9293:MUST-55")
@pytest.mark.parametrize("state", ["SYN-SENT", "ESTABLISHED"])
def test_a_source_quench_changes_nothing(net: Stack, state: str) -> None:
    c = net.state(state)
    if state == "SYN-SENT":
        error(c, 4, 0, seq=c.irs)
        c.tx("SA")
        c.rx("A", ack=c.snd)
        return
    undisturbed = net.est()
    for _ in range(5):
        error(c, 4, 0)
    sent = []
    for one in (undisturbed, c):
        one.sock.send(14_600)
        sent.append(sum(len(segment.payload) for segment in one.burst()))
    assert sent[1] == sent[0] > 0


@pytest.mark.requirement("9293:MUST-54")
@pytest.mark.parametrize("size", [0, 1, 19, 20, 21, 24, 27])
def test_an_error_that_quotes_too_little_is_survived(net: Stack, size: int) -> None:
    c = net.syn_sent()
    segment = wire.tcp(c.host.target, c.source, c.target_port, c.port, c.irs, 0, wire.SYN, 1000)
    quoted = wire.ipv4(c.host.target, c.source, wire.PROTOCOL_TCP, segment)
    c.host.send_icmp(wire.icmp(3, 3, bytes(4), quoted[:size]))
    c.silent()
    c.tx("SA")
    c.rx("A", ack=c.snd)


@pytest.mark.requirement("9293:MUST-54", "792:2")
def test_an_error_with_a_wrong_checksum_is_ignored(net: Stack) -> None:
    c = net.syn_sent()
    segment = wire.tcp(c.host.target, c.source, c.target_port, c.port, c.irs, 0, wire.SYN, 1000)
    quoted = wire.ipv4(c.host.target, c.source, wire.PROTOCOL_TCP, segment)
    c.host.send_icmp(wire.icmp(3, 3, bytes(4), quoted, given_checksum=0x1111))
    c.silent()
    c.tx("SA")
    c.rx("A", ack=c.snd)


def too_big(c: Conversation, mtu: int, **how: Any) -> None:
    """Fragmentation needed, and DF set: the next hop takes `mtu` bytes."""
    error(c, 3, 4, rest=struct.pack("!HH", 0, mtu), total=1500, **how)


def _filled(net: Stack, peer: str) -> Conversation:
    """To a peer of its own: what is learnt of a path is kept by address."""
    c = net.est(source=wire.ip(peer), options={"sndbuf": 1 << 20})
    c.sock.send(100_000)
    c.burst()
    return c


@pytest.mark.requirement("1191:1")
@pytest.mark.parametrize("mtu", [576, 1000, 1400])
def test_segments_shrink_to_the_path(net: Stack, mtu: int) -> None:
    c = _filled(net, f"192.0.2.{10 + mtu // 100}")
    too_big(c, mtu)
    again = [segment for segment in c.burst() if segment.payload]
    assert again, "nothing was sent again though the path had dropped it"
    assert all(len(segment.ip.raw) <= mtu or not segment.ip.dont_fragment for segment in again)
    c.tx("A", ack=add(c.irs, 1 + len(again[0].payload)))
    later = [segment for segment in c.burst() if segment.payload]
    assert all(len(segment.ip.raw) <= mtu or not segment.ip.dont_fragment for segment in later)


@pytest.mark.requirement("1191:2", "5927:3")
@pytest.mark.parametrize("mtu", [1500, 1501, 9000, 65535])
def test_a_path_is_never_made_wider_by_an_error(net: Stack, mtu: int) -> None:
    c = _filled(net, f"192.0.2.{30 + mtu % 97}")
    too_big(c, mtu)
    c.silent()
    c.tx("A", ack=add(c.irs, 1 + 1460))
    assert all(len(segment.ip.raw) <= 1500 for segment in c.burst())


@pytest.mark.requirement("1191:1", "5927:3")
@pytest.mark.parametrize("mtu", [1, 40, 67, 68, 200])
def test_an_absurd_path_does_not_make_absurd_segments(net: Stack, mtu: int) -> None:
    """The estimate never falls below 68; a stack may stop much earlier, and lets routers fragment then."""
    c = _filled(net, f"192.0.2.{130 + mtu % 97}")
    too_big(c, mtu)
    c.host.fence()
    sizes = [len(segment.ip.raw) for segment in c.segments if segment.payload]
    assert all(size >= 68 for size in sizes), f"datagrams of {sizes}"
    c.segments.clear()
    c.tx("A")
    c.host.fence()
    assert [segment for segment in c.segments if segment.payload]


@pytest.mark.requirement("1191:3")
def test_an_old_router_that_names_no_mtu_is_understood(net: Stack) -> None:
    c = _filled(net, "192.0.2.90")
    too_big(c, 0)
    c.host.fence()
    c.tx("A", ack=add(c.irs, 1 + 1460))
    later = [segment for segment in c.burst() if segment.payload]
    assert later
    assert all(len(segment.ip.raw) < 1500 or not segment.ip.dont_fragment for segment in later)


@pytest.mark.requirement("5927:1", "5927:3")
@pytest.mark.parametrize("distance", [-1000, 200_000, 1 << 30])
def test_a_path_mtu_for_a_number_not_in_flight_is_ignored(net: Stack, distance: int) -> None:
    c = _filled(net, f"192.0.2.{60 + distance % 7}")
    too_big(c, 600, seq=add(c.irs, 1 + distance))
    c.silent()
    c.tx("A")
    assert max(len(segment.payload) for segment in c.burst()) == 1460


@pytest.mark.requirement("1191:5")
def test_the_mss_that_is_offered_follows_the_interface_and_not_the_path(net: Stack) -> None:
    peer = "192.0.2.80"
    c = _filled(net, peer)
    too_big(c, 800)
    c.burst()
    other, _ = net.listening(source=wire.ip(peer))
    other.tx("S")
    assert other.rx("SA").options.mss == 1460
