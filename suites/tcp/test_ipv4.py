"""IPv4 below TCP, UDP and ICMP: headers that lie, options, fragments in every order, what is not for the target."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.tcp import Stack

pytestmark = pytest.mark.needs("link", "sockets")

PAYLOAD = wire.pattern(0, 2000)


def _echo(host: Host, payload: bytes = b"keuos", *, frame: dict[str, bytes] | None = None, **ip: Any) -> int:
    """Send an echo request with a spoilt header; its sequence number."""
    host._echoes = (host._echoes + 1) & 0xFFFF
    message = wire.echo(0x1234, host._echoes, payload)
    source = ip.pop("source", host.address)
    destination = ip.pop("destination", host.target)
    host.send_ip(wire.ipv4(source, destination, wire.PROTOCOL_ICMP, message, **ip), **(frame or {}))
    return host._echoes


def _replies(host: Host) -> list[wire.Icmp]:
    """What came back, whatever it is, but for the fence's own reply."""
    host.fence()
    found = list(host.icmps)
    host.icmps.clear()
    return found


def _answered(host: Host) -> bool:
    found = _replies(host)
    assert all(icmp.type == 0 for icmp in found), f"ICMP errors came: {[(i.type, i.code) for i in found]}"
    return bool(found)


@pytest.mark.requirement("1122:I-01")
@pytest.mark.parametrize("version", [0, 1, 3, 5, 6, 15])
def test_another_version_is_dropped(host: Host, version: int) -> None:
    _echo(host, version=version)
    assert not _answered(host)


@pytest.mark.requirement("1122:I-02")
@pytest.mark.parametrize("bit", [0, 7, 8, 15])
def test_a_wrong_header_checksum_is_dropped(host: Host, bit: int) -> None:
    good = wire.ipv4(host.address, host.target, wire.PROTOCOL_ICMP, wire.echo(1, 1, b"keuos"))
    _echo(host, header_checksum=int.from_bytes(good[10:12], "big") ^ 1 << bit)
    assert not _answered(host)


@pytest.mark.requirement("791:1")
@pytest.mark.parametrize("ihl", [0, 1, 4])
def test_a_header_length_below_five_words_is_dropped(host: Host, ihl: int) -> None:
    _echo(host, ihl=ihl)
    assert not _answered(host)


@pytest.mark.requirement("791:1")
@pytest.mark.parametrize("total", [0, 10, 19, 1000, 65535])
def test_a_total_length_that_can_not_be_is_dropped(host: Host, total: int) -> None:
    _echo(host, total=total)
    assert not _answered(host)


@pytest.mark.requirement("791:1")
def test_a_header_longer_than_the_datagram_is_dropped(host: Host) -> None:
    _echo(host, b"", ihl=15)
    assert not _answered(host)


@pytest.mark.requirement("791:1", "1122:L-04")
@pytest.mark.parametrize("extra", [1, 18, 100])
def test_what_follows_the_total_length_is_padding(host: Host, extra: int) -> None:
    message = wire.echo(0x1234, 99, b"keuos")
    datagram = wire.ipv4(host.address, host.target, wire.PROTOCOL_ICMP, message)
    host.send_ip(datagram + b"\xff" * extra)
    (reply,) = _replies(host)
    assert reply.payload == b"keuos"


@pytest.mark.requirement("1122:I-03", "1122:I-12")
@pytest.mark.parametrize("destination", ["192.0.2.77", "198.51.100.1", "10.0.0.1", "0.0.0.1"])
def test_what_is_for_another_host_is_neither_answered_nor_forwarded(host: Host, destination: str) -> None:
    _echo(host, destination=wire.ip(destination))
    assert not _answered(host)
    assert not host.arps
    assert not host.fragments


@pytest.mark.requirement("1122:I-04")
@pytest.mark.parametrize("source", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.2", "0.0.0.0"])
def test_an_impossible_source_is_dropped(host: Host, source: str) -> None:
    _echo(host, source=wire.ip(source))
    host.fence()
    assert not [arp for arp in host.arps if arp.operation == 1 and wire.dotted(arp.target) == source]
    assert not _replies(host)


@pytest.mark.requirement("1122:I-06")
@pytest.mark.parametrize("ttl", [0, 1, 2, 255])
def test_the_time_to_live_does_not_matter_to_the_last_host(host: Host, ttl: int) -> None:
    _echo(host, ttl=ttl)
    assert _answered(host)


TAKEN = {
    "nops": b"\1\1\1\1",
    "eol": b"\0\0\0\0",
    "unknown-30": b"\x9e\x04\0\0",
    "unknown-95": b"\x5f\x08abcdef",
    "timestamp": b"\x44\x0c\x05\x00" + bytes(8),
    "record-route": b"\x07\x07\x04" + bytes(5),
    "router-alert": b"\x94\x04\0\0",
}
LYING = {
    "length-0": b"\x9e\x00\0\0",
    "length-1": b"\x9e\x01\0\0",
    "length-255": b"\x9e\xff\0\0",
    "past-the-end": b"\x9e\x05\0\0",
    "route-pointer-0": b"\x07\x03\x00\0",
    "route-too-long": b"\x07\x27\x04\0",
    "timestamp-pointer": b"\x44\x04\x01\x00",
    "all-ones": b"\xff\xff\xff\xff",
    "source-route-empty": b"\x83\x03\x04\0",
    "bare-type": b"\x1e",
}


@pytest.mark.requirement("9293:MUST-50", "1122:I-07")
@pytest.mark.parametrize("name", TAKEN)
def test_a_datagram_with_options_is_taken(net: Stack, host: Host, name: str) -> None:
    _echo(host, options=TAKEN[name])
    assert _answered(host)
    c = net.est()
    c.tx("PA", data=100, ip={"options": TAKEN[name]})
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("1122:I-07")
@pytest.mark.parametrize("name", LYING)
def test_a_lying_option_is_survived(host: Host, name: str) -> None:
    _echo(host, options=LYING[name])
    host.fence()
    host.icmps.clear()
    _echo(host)
    assert _answered(host)


# Fragments ---------------------------------------------------------------------------------------------------------


def _fragments(
    host: Host, cuts: tuple[int, ...], *, number: int | None = None, size: int = 2000, skip: int = 0
) -> list[bytes]:
    """An echo request in fragments; `skip`: where in the payload its own begins."""
    message = wire.echo(0x1234, 7, PAYLOAD[skip : skip + size - 8])
    identification = host.next_identification() if number is None else number
    return wire.fragments(host.address, host.target, wire.PROTOCOL_ICMP, message, cuts, identification)


def _whole(host: Host, size: int = 2000) -> bool:
    """Whether the echo of all fragments came, itself fragmented or not."""
    host.fence()
    pieces = sorted(host.fragments, key=lambda piece: piece.offset)
    host.fragments.clear()
    found = [icmp.payload for icmp in host.icmps if icmp.type == 0]
    host.icmps.clear()
    if pieces:
        found.append(b"".join(piece.payload for piece in pieces)[8:])
    assert all(payload == PAYLOAD[: size - 8] for payload in found), "the echo is not what was sent"
    return bool(found)


@pytest.mark.requirement("1122:I-08", "791:3")
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=lambda o: "".join(map(str, o)))
def test_fragments_are_put_together_in_any_order(host: Host, order: tuple[int, ...]) -> None:
    pieces = _fragments(host, (800, 1600))
    for at in order:
        host.send_ip(pieces[at])
    assert _whole(host)


@pytest.mark.requirement("1122:I-08")
@pytest.mark.parametrize("size", [8, 64, 256, 512])
def test_many_small_fragments_are_put_together(host: Host, size: int) -> None:
    for piece in _fragments(host, tuple(range(size, 576, size)), size=576):
        host.send_ip(piece)
    assert _whole(host, 576)


@pytest.mark.requirement("1122:I-08")
def test_a_repeated_fragment_does_no_harm(host: Host) -> None:
    pieces = _fragments(host, (800, 1600))
    for at in (0, 0, 2, 2):
        host.send_ip(pieces[at])
    assert not _whole(host)
    host.send_ip(pieces[1])
    assert _whole(host)


@pytest.mark.requirement("791:2")
def test_two_datagrams_whose_fragments_alternate_are_not_mixed_up(host: Host) -> None:
    one, other = _fragments(host, (800, 1600)), _fragments(host, (800, 1600), skip=8)
    for a, b in zip(one, reversed(other), strict=True):
        host.send_ip(a)
        host.send_ip(b)
    host.fence()
    offsets = sorted(piece.offset for piece in host.fragments)
    assert len(offsets) >= 4 or len(host.icmps) == 2
    assert len({piece.identification for piece in host.fragments}) == 2


@pytest.mark.requirement("791:2")
def test_fragments_of_different_protocols_are_not_put_together(host: Host) -> None:
    pieces = _fragments(host, (800, 1600), number=77)
    host.send_ip(pieces[0])
    host.send_ip(pieces[2])
    middle = pieces[1][20:]  # what would make it whole
    host.send_ip(wire.ipv4(host.address, host.target, 17, middle, identification=77, fragment=wire.MF | 100))
    assert not _whole(host)


@pytest.mark.requirement("1122:I-08")
def test_a_hole_is_not_filled_with_anything(host: Host) -> None:
    pieces = _fragments(host, (800, 1600))
    host.send_ip(pieces[0])
    host.send_ip(pieces[2])
    assert not _whole(host)


def _teardrop(host: Host, pieces: list[tuple[int, int, bool]]) -> None:
    """Fragments (start, end, more) of one datagram, with whatever overlap."""
    message = wire.echo(0x1234, 7, PAYLOAD[:1592])
    number = host.next_identification()
    for start, end, more in pieces:
        word = (wire.MF if more else 0) | start // 8
        datagram = wire.ipv4(host.address, host.target, 1, message[start:end], identification=number, fragment=word)
        host.send_ip(datagram)


@pytest.mark.requirement("815:1", "5722:1")
@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 800, True), (400, 1600, False)],
        [(0, 800, True), (400, 1200, True), (800, 1600, False)],
        [(0, 1200, True), (800, 1600, False)],
        [(400, 1200, True), (0, 800, True), (800, 1600, False)],
        [(0, 800, True), (200, 600, True), (800, 1600, False)],
        [(800, 1600, False), (0, 1600, True), (0, 800, True)],
    ],
    ids=["two", "chain", "left", "first-late", "inside", "covering"],
)
def test_overlapping_fragments_are_dropped_or_put_together_rightly(
    host: Host, pieces: list[tuple[int, int, bool]]
) -> None:
    _teardrop(host, pieces)
    _whole(host, 1600)
    _echo(host)
    assert _answered(host)


@pytest.mark.requirement("5722:1", "815:1")
@pytest.mark.parametrize(
    "pieces",
    [
        [(0, 800, True), (0, 40, False)],
        [(0, 64, True), (24, 28, False)],
        [(1592, 1600, False), (0, 8, True)],
        [(8, 16, True)] * 20,
        [(0, 0, True)],
        [(0, 12, True), (8, 16, False)],
        [(0, 800, False), (800, 1600, True)],
    ],
    ids=["shrinking", "teardrop", "ends-only", "same", "empty", "unaligned", "behind-the-last"],
)
def test_senseless_fragments_are_survived(host: Host, pieces: list[tuple[int, int, bool]]) -> None:
    _teardrop(host, pieces)
    host.fence()
    host.icmps.clear()
    host.fragments.clear()
    _echo(host)
    assert _answered(host)


@pytest.mark.requirement("5722:1")
def test_a_datagram_longer_than_65535_bytes_is_never_made(host: Host) -> None:
    """The ping of death: the last fragment ends behind what a length field can say."""
    host.send_ip(wire.ipv4(host.address, host.target, 1, bytes(1400), identification=9, fragment=wire.MF | 0))
    host.send_ip(wire.ipv4(host.address, host.target, 1, bytes(1400), identification=9, fragment=0x1FFF))
    assert not _answered(host)


@pytest.mark.requirement("1858:1")
def test_a_tcp_header_cut_into_fragments_does_no_more_than_a_whole_one(net: Stack) -> None:
    c = net.est()
    segment = wire.tcp(c.source, net.host.target, c.port, c.target_port, c.snd, c.rcv, wire.ACK | wire.PSH, c.window,
                       payload=c.pattern(100))  # fmt: skip
    c.rules.sent(c.snd, c.rcv, wire.ACK, c.window, 100, wire.Options())
    for piece in wire.fragments(c.source, net.host.target, wire.PROTOCOL_TCP, segment, (8, 16), 55):
        net.host.send_ip(piece)
    net.host.fence()
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("6864:2")
def test_two_atomic_datagrams_with_one_identification_are_both_taken(net: Stack) -> None:
    c = net.est()
    for _ in range(2):
        c.tx("PA", data=100, ip={"identification": 4242})
    assert c.sock.recv_exactly(200).bad is None


@pytest.mark.requirement("791:3", "6864:1")
def test_what_does_not_fit_is_fragmented_rightly(host: Host) -> None:
    for datagram in _fragments(host, (1480,), size=2000):
        host.send_ip(datagram)
    host.fence()
    assert len(host.fragments) == 2
    for piece in host.fragments:
        assert piece.offset % 8 == 0
        assert not piece.more_fragments or len(piece.payload) % 8 == 0
        assert len(piece.raw) <= host.network.mtu


@pytest.mark.requirement("1122:I-11")
def test_a_unicast_datagram_in_a_broadcast_frame_is_dropped(host: Host) -> None:
    _echo(host, frame={"to": wire.BROADCAST_MAC})
    assert not _answered(host)


@pytest.mark.requirement("1122:L-05")
def test_a_snap_frame_is_answered_or_dropped(host: Host) -> None:
    datagram = wire.ipv4(host.address, host.target, 1, wire.echo(1, 2, b"snap"))
    body = b"\xaa\xaa\x03\0\0\0\x08\0" + datagram
    host.send(wire.ethernet(host.network.mac, host.mac, len(body), body))
    _replies(host)
    _echo(host)
    assert _answered(host)


@pytest.mark.requirement("9293:MUST-48", "9293:SHLD-22", "9293:SHLD-21")
@pytest.mark.parametrize("dscp", [0x2E, 0x08, 0x3F])
def test_an_application_sets_the_dscp_of_what_it_sends(net: Stack, dscp: int) -> None:
    c = net.est()
    c.sock.send(10)
    assert c.rx("A", data=10).ip.tos >> 2 == 0
    c.tx("A")
    c.sock.set("tos", dscp << 2)
    c.sock.send(10)
    assert c.rx("A", data=10).ip.tos >> 2 == dscp


@pytest.mark.requirement("9293:MUST-49")
@pytest.mark.parametrize("ttl", [1, 33, 255])
def test_an_application_sets_the_time_to_live_of_what_it_sends(net: Stack, ttl: int) -> None:
    c = net.est()
    c.sock.set("ttl", ttl)
    c.sock.send(10)
    assert c.rx("A", data=10).ip.ttl == ttl


@pytest.mark.requirement("9293:MUST-49")
def test_the_default_time_to_live_reaches_far(net: Stack) -> None:
    c = net.est()
    assert c.last is not None
    assert c.last.ip.ttl >= 64
