"""ICMP and UDP by themselves: echoes, errors that are sent and errors that must not be, checksums, lengths."""

from __future__ import annotations

from typing import Any

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App, Socket

pytestmark = pytest.mark.needs("link", "sockets")

CLOSED_PORT = 33445


def _others(host: Host) -> list[wire.Icmp]:
    """Every ICMP message that came, but for the fence's reply."""
    host.fence()
    found = list(host.icmps)
    host.icmps.clear()
    return found


@pytest.fixture
def udp(app: App) -> tuple[Socket, int]:
    """A bound UDP socket of the target, and its port."""
    app.reset()
    sock = app.open("udp")
    sock.bind(port=7007)
    return sock, 7007


# ICMP --------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("792:1", "1122:C-05")
@pytest.mark.parametrize("size", [0, 1, 2, 17, 18, 19, 56, 999, 1472])
def test_an_echo_comes_back_unchanged(host: Host, size: int) -> None:
    payload = wire.pattern(3, size)
    host.send_icmp(wire.echo(0xABCD, size, payload))
    (reply,) = _others(host)
    assert (reply.type, reply.code, reply.payload) == (0, 0, payload)
    assert reply.rest == b"\xab\xcd" + size.to_bytes(2, "big")
    assert (reply.ip.source, reply.ip.destination) == (host.target, host.address)


@pytest.mark.requirement("792:2")
@pytest.mark.parametrize("value", [0, 1, 0xFFFF])
def test_an_echo_with_a_wrong_checksum_is_dropped(host: Host, value: int) -> None:
    host.send_icmp(wire.icmp(8, 0, b"\0\1\0\2", b"keuos", given_checksum=value))
    assert not _others(host)


@pytest.mark.requirement("1122:C-01")
@pytest.mark.parametrize("kind", [1, 2, 6, 7, 19, 41, 100, 255])
def test_an_unknown_type_is_dropped(host: Host, kind: int) -> None:
    host.send_icmp(wire.icmp(kind, 0, bytes(4), b"keuos"))
    assert not _others(host)


@pytest.mark.requirement("1122:C-01")
@pytest.mark.parametrize("kind", [0, 10, 14, 16, 18])
def test_an_answer_that_nobody_asked_for_is_dropped(host: Host, kind: int) -> None:
    host.send_icmp(wire.icmp(kind, 0, bytes(4), bytes(12)))
    assert not _others(host)


@pytest.mark.requirement("792:1")
@pytest.mark.parametrize("size", [0, 1, 4, 7])
def test_a_cut_message_is_dropped(host: Host, size: int) -> None:
    data = wire.echo(1, 2)[:size]
    host.send_ip(wire.ipv4(host.address, host.target, wire.PROTOCOL_ICMP, data))
    assert not _others(host)


@pytest.mark.requirement("1122:C-06")
@pytest.mark.parametrize("destination", ["192.0.2.255", "255.255.255.255", "224.0.0.1"])
def test_an_echo_to_everybody_is_answered_by_the_own_address_or_not_at_all(host: Host, destination: str) -> None:
    datagram = wire.ipv4(host.address, wire.ip(destination), 1, wire.echo(5, 6, b"all"))
    host.send_ip(datagram, to=wire.BROADCAST_MAC)
    assert all(reply.ip.source == host.target for reply in _others(host))


@pytest.mark.requirement("1122:C-04", "1122:C-02")
def test_an_unknown_protocol_is_unreachable(host: Host) -> None:
    datagram = wire.ipv4(host.address, host.target, 253, b"what is this?")
    host.send_ip(datagram)
    (error,) = _others(host)
    assert (error.type, error.code) == (3, 2)
    assert error.payload[:28] == datagram[:28]


@pytest.mark.requirement("1122:C-02", "1122:C-04", "1122:U-01")
@pytest.mark.parametrize("size", [0, 1, 8, 100, 1472])
def test_a_closed_port_is_unreachable_and_the_datagram_quoted(host: Host, size: int) -> None:
    data = wire.udp(host.address, host.target, 5555, CLOSED_PORT, wire.pattern(0, size))
    datagram = wire.ipv4(host.address, host.target, wire.PROTOCOL_UDP, data, tos=0x20, identification=0x777)
    host.send_ip(datagram)
    (error,) = _others(host)
    assert (error.type, error.code) == (3, 3)
    assert len(error.payload) >= min(28, len(datagram))
    assert datagram.startswith(error.payload)
    assert len(error.ip.raw) <= 576


def _to_closed_port(host: Host, **how: Any) -> None:
    data = wire.udp(host.address, host.target, 5555, CLOSED_PORT, b"x")
    host.send_ip(wire.ipv4(host.address, host.target, wire.PROTOCOL_UDP, data), **how)


@pytest.mark.requirement("1122:C-03")
def test_no_error_about_a_frame_to_everybody(host: Host) -> None:
    _to_closed_port(host, to=wire.BROADCAST_MAC)
    assert not _others(host)


@pytest.mark.requirement("1122:C-03")
@pytest.mark.parametrize("destination", ["192.0.2.255", "255.255.255.255", "224.0.0.1"])
def test_no_error_about_a_datagram_to_everybody(host: Host, destination: str) -> None:
    to = wire.ip(destination)
    data = wire.udp(host.address, to, 5555, CLOSED_PORT, b"x")
    host.send_ip(wire.ipv4(host.address, to, wire.PROTOCOL_UDP, data), to=wire.BROADCAST_MAC)
    assert not _others(host)


@pytest.mark.requirement("1122:C-03")
@pytest.mark.parametrize("source", ["0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"])
def test_no_error_to_a_source_that_is_no_single_host(host: Host, source: str) -> None:
    own = wire.ip(source)
    data = wire.udp(own, host.target, 5555, CLOSED_PORT, b"x")
    host.send_ip(wire.ipv4(own, host.target, wire.PROTOCOL_UDP, data))
    assert not _others(host)


@pytest.mark.requirement("1122:C-03")
@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_error_about_an_error(host: Host, kind: int) -> None:
    quoted = wire.ipv4(host.target, host.address, 253, b"never sent")
    host.send_icmp(wire.icmp(kind, 200, bytes(4), quoted[:28]))
    assert not _others(host)


@pytest.mark.requirement("1122:C-03")
def test_no_error_about_a_fragment_that_is_not_the_first(host: Host) -> None:
    data = wire.udp(host.address, host.target, 5555, CLOSED_PORT, bytes(64))
    host.send_ip(wire.ipv4(host.address, host.target, 17, data[16:], identification=3, fragment=2))
    assert not _others(host)


@pytest.mark.requirement("1122:C-07")
@pytest.mark.parametrize("gateway", ["198.51.100.1", "192.0.2.2", "0.0.0.0", "255.255.255.255"])
def test_an_illegal_redirect_is_not_followed(host: Host, gateway: str) -> None:
    quoted = wire.ipv4(
        host.target, wire.ip("203.0.113.9"), 17, wire.udp(host.target, wire.ip("203.0.113.9"), 1, 2, b"")
    )
    host.send_icmp(wire.icmp(5, 1, wire.ip(gateway), quoted[:28]))
    host.fence()
    host.arps.clear()
    host.ping(source=wire.ip("203.0.113.9"))
    replies = _others(host)
    assert len(replies) == 1
    assert replies[0].ip.destination_mac == host.mac


@pytest.mark.requirement("1122:C-08")
def test_a_bad_option_is_answered_by_a_parameter_problem_or_nothing(host: Host) -> None:
    datagram = wire.ipv4(host.address, host.target, 1, wire.echo(1, 1), options=b"\x07\x03\x04\0")
    host.send_ip(datagram)
    assert all(reply.type in (0, 12) for reply in _others(host))


@pytest.mark.requirement("1812:1")
def test_a_thousand_datagrams_to_a_closed_port_leave_the_target_alive(host: Host) -> None:
    came = 0
    for _ in range(20):
        for _ in range(50):
            _to_closed_port(host)
        came += len(_others(host))
    assert came <= 1000


# UDP ---------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("862:1", "768:2")
@pytest.mark.parametrize("size", [0, 1, 2, 511, 1472])
def test_a_datagram_is_delivered_with_its_sender(host: Host, udp: tuple[Socket, int], size: int) -> None:
    sock, port = udp
    payload = wire.pattern(0, size)
    host.send_udp(6006, port, payload)
    assert sock.recv_from() == (wire.dotted(host.address), 6006, size, payload)


@pytest.mark.requirement("862:1", "1122:I-08")
@pytest.mark.parametrize("size", [1473, 4000, 9000, 20_000, 65_507])
def test_a_datagram_in_fragments_is_delivered(host: Host, app: App, udp: tuple[Socket, int], size: int) -> None:
    """Or refused to an application whose sockets carry no such datagram, which is then no hole in the queue."""
    sock, port = udp
    data = wire.udp(host.address, host.target, 6006, port, wire.pattern(0, size))
    for piece in wire.fragments(
        host.address, host.target, 17, data, tuple(range(1480, len(data), 1480)), size & 0xFFFF
    ):
        host.send_ip(piece)
    if size > app.sockets.longest_datagram:
        with pytest.raises(SocketError, match="EMSGSIZE"):
            sock.recv_from()
        size = 101
        host.send_udp(6006, port, wire.pattern(0, size))
    _, _, total, first = sock.recv_from()
    assert total == size
    assert first == wire.pattern(0, min(size, 16384))


@pytest.mark.requirement("768:1", "1122:U-03", "1122:U-04", "1122:I-05")
@pytest.mark.parametrize("size", [0, 1, 2, 101, 1472])
def test_a_datagram_leaves_with_a_checksum_and_the_own_address(host: Host, udp: tuple[Socket, int], size: int) -> None:
    sock, port = udp
    sock.send_to(wire.dotted(host.address), 6007, wire.pattern(0, size))
    assert host.wait(lambda: bool(host.udps), 3)
    came = host.udps.popleft()
    assert came.checksum != 0
    assert (came.source_port, came.destination_port, came.payload) == (port, 6007, wire.pattern(0, size))


@pytest.mark.requirement("1122:I-10", "791:3")
@pytest.mark.parametrize("size", [1473, 5000])
def test_a_datagram_that_does_not_fit_leaves_in_fragments(host: Host, udp: tuple[Socket, int], size: int) -> None:
    sock, _ = udp
    payload = wire.pattern(0, size)
    sock.send_to(wire.dotted(host.address), 6007, payload)
    host.fence()
    pieces = sorted(host.fragments, key=lambda piece: piece.offset)
    host.fragments.clear()
    assert b"".join(piece.payload for piece in pieces)[8:] == payload
    assert len({piece.identification for piece in pieces}) == 1
    assert [piece.more_fragments for piece in pieces] == [True] * (len(pieces) - 1) + [False]


@pytest.mark.requirement("768:1")
def test_a_datagram_without_a_checksum_is_delivered(host: Host, udp: tuple[Socket, int]) -> None:
    sock, port = udp
    data = wire.udp(host.address, host.target, 6006, port, b"none", given_checksum=0)
    host.send_ip(wire.ipv4(host.address, host.target, 17, data))
    assert sock.recv_from()[3] == b"none"


@pytest.mark.requirement("768:1")
def test_a_computed_checksum_of_zero_is_sent_as_ones(host: Host, udp: tuple[Socket, int]) -> None:
    """A payload is looked for whose checksum comes out as zero; the field then holds 0xFFFF."""
    sock, port = udp
    base = wire.udp(host.target, host.address, port, 6007, b"\0\0")
    rest = int.from_bytes(base[6:8], "big")
    sock.send_to(wire.dotted(host.address), 6007, rest.to_bytes(2, "big"))
    assert host.wait(lambda: bool(host.udps), 3)
    came = host.udps.popleft()
    assert came.checksum == 0xFFFF


@pytest.mark.requirement("1122:U-02")
@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("value", [1, 0x8000, 0xFFFF])
def test_a_wrong_checksum_is_dropped_without_an_error(
    host: Host, udp: tuple[Socket, int], closed: bool, value: int
) -> None:
    sock, port = udp
    to = CLOSED_PORT if closed else port
    data = wire.udp(host.address, host.target, 6006, to, b"keuos")
    wrong = int.from_bytes(data[6:8], "big") ^ value
    data = wire.udp(host.address, host.target, 6006, to, b"keuos", given_checksum=wrong or 1)
    host.send_ip(wire.ipv4(host.address, host.target, 17, data))
    assert not _others(host)
    with pytest.raises(SocketError, match="EAGAIN"):
        sock.recv_from(0)


@pytest.mark.requirement("768:2")
@pytest.mark.parametrize("length", [0, 1, 7, 14, 1000, 65535])
def test_a_length_that_can_not_be_is_dropped(host: Host, udp: tuple[Socket, int], length: int) -> None:
    sock, port = udp
    data = wire.udp(host.address, host.target, 6006, port, b"keuos", length=length)
    host.send_ip(wire.ipv4(host.address, host.target, 17, data))
    host.fence()
    with pytest.raises(SocketError, match="EAGAIN"):
        sock.recv_from(0)


@pytest.mark.requirement("768:2")
def test_a_length_below_the_payload_trims_it(host: Host, udp: tuple[Socket, int]) -> None:
    sock, port = udp
    whole = wire.udp(host.address, host.target, 6006, port, b"keu")
    host.send_ip(wire.ipv4(host.address, host.target, 17, whole + b"os and more"))
    assert sock.recv_from()[2:] == (3, b"keu")


@pytest.mark.requirement("1122:U-05")
@pytest.mark.parametrize("source", ["127.0.0.1", "224.0.0.1", "255.255.255.255", "192.0.2.2"])
def test_a_datagram_from_an_impossible_source_is_dropped(host: Host, udp: tuple[Socket, int], source: str) -> None:
    sock, port = udp
    own = wire.ip(source)
    host.send_ip(wire.ipv4(own, host.target, 17, wire.udp(own, host.target, 6006, port, b"x")))
    host.fence()
    with pytest.raises(SocketError, match="EAGAIN"):
        sock.recv_from(0)


@pytest.mark.requirement("1122:U-06")
def test_an_error_is_told_to_the_application_that_sent(host: Host, app: App) -> None:
    app.reset()
    sock = app.open("udp")
    sock.bind(port=7008)
    sock.connect(wire.dotted(host.address), 6009)
    sock.send_bytes(b"anybody?")
    assert host.wait(lambda: bool(host.udps), 3)
    quoted = host.udps.popleft().ip.raw[:28]
    host.send_icmp(wire.icmp(3, 3, bytes(4), quoted))
    host.fence()
    assert sock.error() == "ECONNREFUSED"


@pytest.mark.requirement("1122:L-07")
def test_an_address_that_is_still_asked_for_is_not_reported_unreachable(host: Host, app: App) -> None:
    app.reset()
    silent = "192.0.2.222"
    host.answers = lambda address: None if wire.dotted(address) == silent else host.mac
    sock = app.open("udp")
    sock.connect(silent, 6009)
    sock.send_bytes(b"anybody?")
    assert sock.error() == ""
