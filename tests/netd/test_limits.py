"""Every limit of docs/netd.md's table, reached: the answer is the one that the table gives, and it is counted."""

from __future__ import annotations

import functools
import re
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.netd.conftest import TOP
from tests.netd.stack import OWN, PEER, PEER_MAC, NetdError, Peer, Stack
from tests.netd.wire import address

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dns import DNS, DNSQR, DNSRR
    from scapy.layers.inet import ICMP, IP, UDP

REACHED: defaultdict[str, set[str]] = defaultdict(set)  # limits that a test reaches, and the counters that tell it
PORTS = range(32768, 61000)  # that TCP chooses from


def reaches(limit: str, *counters: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Marks a test that reaches a limit of the table; at its end each of the counters has to have moved."""
    REACHED[limit] |= set(counters)

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def checked(**fixtures: Any) -> None:
            test(**fixtures)
            (stack,) = [fixture for fixture in fixtures.values() if isinstance(fixture, Stack)]
            counts = stack.counters()
            assert [name for name in counters if not counts[name]] == []

        return checked

    return decorate


@pytest.fixture
def fast(build) -> Iterator[Stack]:
    """The same without sanitizers, for tests that call tens of thousands of times."""
    stack = Stack(build / "netd-host-fast")
    yield stack
    stack.close()


def refused(stack: Stack, *command: object) -> str:
    """The name of the error that a command has to end with."""
    with pytest.raises(NetdError) as error:
        stack.command(*command)
    return str(error.value)


# The table ------------------------------------------------------------------------------------------------------


def table() -> dict[str, tuple[str, str, set[str]]]:
    """By limit: its value, the file where it is, and the counters that tell that it was reached."""
    text = (TOP / "docs/netd.md").read_text()
    section = text.split("| limit | value | where | reached | counted |", 1)[1].split("\n\n", 1)[0]
    rows = {}
    for line in section.splitlines()[2:]:
        limit, value, where, _, counted = (cell.strip() for cell in line.strip("|").split("|"))
        rows[limit.strip("`")] = (value.replace(",", ""), where.strip("`"), set(re.findall(r"`(\w+)`", counted)))
    return rows


@pytest.mark.parametrize("limit", table())
def test_the_table_tells_the_value_that_the_sources_have(limit):
    value, where, _ = table()[limit]
    found = re.findall(rf"\b\.?{limit} = (\d+)[,}})]", (TOP / "netd" / where).read_text())
    assert found == [value] or (limit == "backlog" and not found)


def test_every_field_of_netd_limits_is_in_the_table():
    header = (TOP / "netd/include/netd/stack.h").read_text()
    body = header.split("struct netd_limits {", 1)[1].split("\n};", 1)[0]
    fields = re.findall(r"^\tuint\d+_t (\w+);", body, re.M)
    assert len(fields) == 13
    assert set(fields) <= set(table())


def test_every_limit_of_the_table_is_reached_by_a_test_that_sees_it_counted():
    assert {limit: counters for limit, (_, _, counters) in table().items()} == dict(REACHED)


def test_configurations_that_make_no_sense_are_refused(stack):
    for bad in (
        {"blocks": 0},
        {"send_bytes": 5000},
        {"receive_bytes": 512},
        {"mtu": 67},
        {"mtu": 9001},
        {"packets": 0},
    ):
        with pytest.raises(NetdError, match="invalid"):
            stack.reset(**bad)


# Connections ----------------------------------------------------------------------------------------------------


@reaches("blocks", "tcp_no_block")
def test_connect_and_listen_tell_that_there_is_no_room(stack):
    stack.reset(blocks=6, connections=2)  # three are the services'
    stack.listen(1)
    stack.connect()
    stack.connect()
    with pytest.raises(NetdError, match="no-room"):
        stack.command("open")
    with pytest.raises(NetdError, match="no-room"):
        stack.listen(2)


@reaches("blocks", "cookies_sent")
def test_without_a_block_a_syn_is_answered_with_a_cookie(stack):
    stack.reset(blocks=5, connections=2)  # three are the services', one is the listener's
    listener = stack.listen(4000)
    Peer(stack, 1001, 4000).open()
    late = Peer(stack, 1002, 4000)
    assert [s.flags for s in late.tx("S")] == ["SA"]
    assert int(stack.command("accept", listener))


@reaches("blocks", "tcp_recycled")
def test_the_oldest_time_wait_gives_way_to_a_new_connection(stack, accepted):
    stack.reset(blocks=6, connections=3)  # three are the services', one is the listener
    peer, socket = accepted()
    stack.command("close", socket)
    peer.take()
    peer.tx(".")
    peer.tx("F.")
    assert stack.states().count("TIME-WAIT") == 1
    assert stack.connect()
    assert stack.connect()
    assert "TIME-WAIT" not in stack.states()
    assert stack.counters()["tcp_recycled"] == 1


@reaches("connections", "tcp_no_buffer")
def test_without_buffers_a_handshake_waits_and_is_completed_later(stack):
    stack.reset(connections=1)
    listener = stack.listen(4000)
    first = Peer(stack, 1001, 4000).open()
    socket = int(stack.command("accept", listener))
    late = Peer(stack, 1002, 4000)
    (synack,) = late.tx("S")
    late.ack = synack.seq + 1
    late.tx(".")
    with pytest.raises(NetdError, match="again"):
        stack.command("accept", listener)
    stack.command("abort", socket)
    assert [s.flags for s in first.mine()] == ["RA"]
    late.tx("P.", b"patience")
    assert stack.recv(int(stack.command("accept", listener))) == b"patience"


@reaches("connections")
def test_without_buffers_connect_tells_that_there_is_no_room(stack):
    stack.reset(connections=1)
    stack.connect()
    assert refused(stack, "connect", stack.command("open"), 0, 0, PEER, 80) == "no-room"


def close_with_data(stack: Stack, socket: int) -> None:
    """What its peer does not acknowledge."""
    stack.write(socket, b"unheard")
    stack.command("close", socket)


@reaches("connections", "tcp_orphans_reset")
@reaches("TCP_ORPHAN_SAFE", "tcp_no_buffer")
def test_an_orphan_gives_its_buffers_up_when_it_is_two_seconds_old(stack, accepted):
    stack.reset(connections=1)
    close_with_data(stack, accepted()[1])
    stack.advance(1.999)
    assert refused(stack, "connect", stack.command("open"), 0, 0, PEER, 80) == "no-room"
    stack.advance(0.001)
    assert stack.connect()


@reaches("blocks", "tcp_orphans_reset")
def test_an_orphan_gives_its_block_up(stack, accepted):
    stack.reset(blocks=5, connections=2)  # three are the services', one is the listener
    close_with_data(stack, accepted()[1])
    assert refused(stack, "open") == "no-room"
    stack.advance(2)
    assert stack.command("open")


@reaches("TCP_ORPHAN_MOST", "tcp_orphans_reset")
def test_an_orphan_ends_after_five_minutes(stack, accepted):
    _, socket = accepted(options={"user_timeout": 10**9})
    close_with_data(stack, socket)
    stack.advance(299.999)
    assert "FIN-WAIT-1" in stack.states()
    stack.advance(0.001)
    assert "FIN-WAIT-1" not in stack.states()


@reaches("backlog", "tcp_backlog_full", "cookies_sent")
def test_half_open_connections_beyond_the_backlog_get_a_cookie(stack):
    stack.listen(4000, 2)
    for port in range(1001, 1005):
        assert [s.flags for s in Peer(stack, port, 4000).tx("S")] == ["SA"]
    assert stack.states().count("SYN-RECEIVED") == 2


@reaches("backlog", "tcp_backlog_full")
def test_connections_beyond_the_backlog_wait_until_one_is_accepted(stack):
    listener = stack.listen(4000, 1)
    Peer(stack, 1001, 4000).open()
    late = Peer(stack, 1002, 4000).open()
    assert stack.states().count("ESTABLISHED") == 1
    assert int(stack.command("accept", listener))
    late.tx("P.", b"again")
    assert stack.recv(int(stack.command("accept", listener))) == b"again"


@reaches("send_bytes")
def test_a_full_send_buffer_takes_a_part_and_then_nothing_until_there_is_room(stack, accepted):
    peer, socket = accepted()
    assert stack.write(socket, bytes(70_000)) == 65536
    assert refused(stack, "send", socket, 0, "00") == "again"
    peer.take()
    stack.events(socket)
    peer.tx(".")
    peer.take()
    peer.tx(".")
    peer.take()
    peer.tx(".")
    assert stack.write(socket, b"more") == 4


@reaches("receive_bytes")
def test_a_full_receive_buffer_closes_the_window_and_loses_nothing(stack, accepted):
    peer, socket = accepted()
    data = bytes(i & 255 for i in range(65535))  # without scaling no window is larger
    for at in range(0, 65536, 1024):
        got = peer.tx("P.", data[at : at + 1024])
    stack.advance(1)
    assert (got + peer.mine())[-1].window == 0
    assert peer.tx(".", b"x")[-1].ack == peer.seq - 1, "what is beyond the window is not taken"
    peer.seq -= 1
    assert stack.recv(socket) == data
    peer.tx("P.", b"x")
    assert stack.recv(socket) == b"x"


@reaches("TCP_PIECES", "tcp_out_of_order_full")
def test_pieces_out_of_order_beyond_the_limit_are_not_kept_and_do_no_harm(stack, accepted):
    peer, socket = accepted()
    start = peer.seq
    for i in range(12):
        peer.tx(".", bytes([i]) * 10, seq=start + 10 + 20 * i)
    assert stack.counters()["tcp_out_of_order_full"] == 4
    for i in range(24):
        peer.tx(".", bytes([i // 2]) * 10, seq=start + 10 * i)
    peer.tx(".", b"end", seq=start + 240)
    assert stack.recv(socket) == b"".join(bytes([i // 2]) * 10 for i in range(24)) + b"end"


@reaches("TCP_SACKED")
def test_what_is_sacked_beyond_the_limit_is_sent_once_more_and_no_harm_is_done(stack, accepted):
    peer, socket = accepted(sack=True)
    stack.option(socket, "no_delay", 1)
    for i in range(36):
        stack.write(socket, bytes([i]))
    first = peer.ack
    assert len(peer.mine()) == 36
    has = set(range(1, 36, 2))  # every second one is lost: 18 pieces
    for at in range(1, 36, 6):
        peer.tx(".", sack=[(first + i, first + i + 1) for i in range(at, at + 6, 2)])
    repeated: Counter[int] = Counter()
    for _ in range(60):
        for segment in peer.mine():
            for octet in range(len(segment.data)):
                repeated[segment.seq + octet - first] += 1
                has.add(segment.seq + octet - first)
        while peer.ack - first in has:
            peer.ack += 1
        peer.tx(".")
        stack.advance(1)
    assert peer.ack - first == 36
    assert {i for i in repeated if i % 2} <= {33, 35}, "of what was SACKed only the highest is sent again"


@reaches("TCP_PORT_COUNT")
def test_connect_finds_the_last_port_and_tells_when_there_is_none(fast):
    fast.reset(blocks=28_300, connections=8, send_bytes=1024, receive_bytes=1024)
    for port in set(PORTS) - {50_000}:
        fast.listen(port)
    assert fast.info(fast.connect())["local"].endswith(":50000")
    assert refused(fast, "connect", fast.command("open"), 0, 0, PEER, 80) == "no-room"


@reaches("CHALLENGES", "tcp_challenge_limited")
def test_challenges_are_ten_in_five_seconds(stack, accepted):
    peer, _ = accepted()
    resets = [peer.tx("R", seq=peer.seq + 1) for _ in range(12)]
    assert [len(got) for got in resets] == [1] * 10 + [0, 0]
    stack.advance(5)
    assert len(peer.tx("R", seq=peer.seq + 1)) == 1


@reaches("SERVICE_SESSIONS")
def test_the_services_reset_a_connection_beyond_theirs(stack):
    stack.reset(connections=60)
    for i in range(48):
        Peer(stack, 2000 + i, 9).open()
    late = Peer(stack, 3000, 9)
    (synack,) = late.tx("S")
    late.ack = synack.seq + 1
    assert [s.flags for s in late.tx(".")] == ["RA"]
    assert stack.states().count("ESTABLISHED") == 48


@reaches("frames", "tcp_frames_full")
def test_text_beyond_the_frames_that_may_be_held_is_copied(stack, accepted):
    stack.reset(frames=2)
    peer, socket = accepted()
    before = stack.counters()["bytes_copied"]
    for i in range(4):
        peer.tx("P.", bytes([i]) * 100)
    assert stack.command("lent") == "2"
    assert stack.counters()["bytes_copied"] - before == 200
    assert stack.recv(socket) == b"".join(bytes([i]) * 100 for i in range(4))


# Datagrams ------------------------------------------------------------------------------------------------------


@reaches("udp_sockets")
def test_bind_tells_that_there_is_no_room(stack):
    stack.reset(udp_sockets=2)  # one is the echo service's
    stack.command("udp", 0, 1000)
    assert refused(stack, "udp", 0, 2000) == "no-room"


@reaches("udp_bytes", "udp_full")
def test_datagrams_that_a_socket_has_no_room_for_are_dropped(stack):
    stack.reset(udp_bytes=512)
    socket = stack.command("udp", 0, 5000)
    for i in range(3):
        stack.ip(bytes(IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=9, dport=5000) / bytes([i] * 200)))
    assert [stack.command("recvfrom", socket)[-2:] for _ in range(2)] == ["00", "01"]
    assert refused(stack, "recvfrom", socket) == "again"


@reaches("PORT_COUNT")
def test_a_udp_port_is_found_if_one_is_left_and_refused_if_none_is(fast):
    fast.reset(udp_sockets=16390, udp_bytes=512)
    for port in set(range(49152, 65536)) - {50123}:  # at an address of the loopback: a port is taken wherever it is
        fast.command("udp", address("127.0.0.1"), port)
    assert fast.command("info", fast.command("udp", 0, 0)) == "local=0:50123"
    assert refused(fast, "udp", 0, 0) == "no-room"
    assert fast.command("udp", 0, 40000), "one that is named is still to be had"


@reaches("neighbours", "arp_full")
def test_neighbours_beyond_the_limit_are_dropped_while_all_are_being_resolved(stack):
    stack.reset(neighbours=2, configured=False)
    stack.command("address", OWN, address("255.255.255.0"), 0, 0)
    udp = stack.command("udp", 0, 0)
    for host in range(10, 14):
        stack.command("sendto", udp, address(f"10.0.0.{host}"), 9, "00")
    assert stack.counters()["arp_full"] == 2


@reaches("neighbours")
def test_the_neighbour_not_used_for_longest_is_forgotten(stack):
    stack.reset(neighbours=2)
    for host in (3, 4):
        stack.send(stack.arp(1, PEER_MAC, address(f"10.0.0.{host}"), b"\0" * 6, OWN))
    stack.frames()
    udp = stack.command("udp", 0, 0)
    stack.command("sendto", udp, PEER, 9, "00")
    (request,) = stack.frames()
    assert request[12:14] == b"\x08\x06", "the first one has to be asked for again"


@reaches("packets", "arp_dropped")
def test_packets_beyond_the_limit_are_dropped_while_neighbours_are_resolved(stack):
    stack.reset(packets=2)
    udp = stack.command("udp", 0, 0)
    for host in (10, 11, 12):
        stack.command("sendto", udp, address(f"10.0.0.{host}"), 9, f"{host:02x}")
    assert [d[-1] for d in stack.datagrams()] == [10, 11]


@reaches("packets", "loopback_dropped")
def test_the_loopback_drops_packets_beyond_the_limit_and_tcp_repairs_it(stack):
    stack.reset(packets=2)
    listener = stack.listen(4000)
    one = stack.connect(4000, address("127.0.0.1"))
    other = int(stack.command("accept", listener))
    stack.write(one, b"round" * 4000)
    got = b""
    for _ in range(60):
        if len(got) == 20_000:
            break
        stack.advance(1)
        got += stack.recv(other) if "readable" in stack.ready(other) else b""
    assert got == b"round" * 4000


@reaches("WAITING", "arp_dropped")
def test_of_the_packets_for_one_neighbour_the_latest_three_are_kept(stack):
    udp = stack.command("udp", 0, 0)
    for i in range(5):
        stack.command("sendto", udp, address("10.0.0.9"), 9, f"{i:02x}")
    assert [d[-1] for d in stack.datagrams()] == [2, 3, 4]


def fragments(stack: Stack, ident: int, *which: int) -> None:
    """Two fragments of a datagram for the echo service: the head (0), the rest (1)."""
    whole = bytes(UDP(sport=5000, dport=7, chksum=0) / (b"e" * 16))
    for i in which:
        head = IP(src="10.0.0.2", dst="10.0.0.1", proto=17, id=ident, flags=1 - i, frag=i)
        stack.ip(bytes(head / whole[8 * i : 8 if not i else None]))


@reaches("reassemblies", "reassembly_full")
def test_the_oldest_datagram_in_reassembly_is_given_up(stack):
    stack.reset(reassemblies=2)
    for ident in (1, 2, 3):
        fragments(stack, ident, 0)
        stack.advance(1)
    for ident in (3, 2, 1):
        fragments(stack, ident, 1)
    assert len([d for d in stack.datagrams() if d[9] == 17]) == 2


# Routes, paths, names -------------------------------------------------------------------------------------------


@reaches("routes")
def test_one_route_too_many_is_refused(stack):
    stack.reset(routes=1)
    mask = address("255.255.255.0")
    stack.command("route", address("192.0.2.0"), mask, address("10.0.0.250"))
    assert refused(stack, "route", address("198.51.100.0"), mask, address("10.0.0.250")) == "no-room"


@reaches("path_mtus")
def test_the_path_that_was_learnt_first_is_forgotten(stack):
    stack.reset(path_mtus=1)
    udp = stack.command("udp", 0, 0)
    hosts = [address("192.0.2.1"), address("198.51.100.1")]

    def sent(host: int) -> list[bytes]:
        stack.command("sendto", udp, host, 9, "00" * 1400)
        datagrams: list[bytes] = stack.datagrams()
        return datagrams

    for host in hosts:
        (whole,) = sent(host)
        report = ICMP(type=3, code=4, nexthopmtu=600) / whole[:28]
        stack.ip(bytes(IP(src="10.0.0.254", dst="10.0.0.1") / report))
        assert len(sent(host)) == 3
    assert len(sent(hosts[0])) == 1


@reaches("dns_queries")
def test_one_question_too_many_is_refused_until_another_is_answered(stack):
    for i in range(4):
        stack.command("resolve", f"{i}.example")
    assert refused(stack, "resolve", "5.example") == "no-room"
    stack.advance(20)
    stack.command("resolve", "5.example")


@reaches("ALIASES")
@pytest.mark.parametrize("aliases", [8, 9])
def test_an_answer_may_lead_over_eight_aliases(stack, aliases):
    stack.command("resolve", "0.example")
    (query,) = [IP(d) for d in stack.datagrams()]
    records = [DNSRR(rrname=f"{i}.example", type="CNAME", rdata=f"{i + 1}.example") for i in range(aliases)]
    records.append(DNSRR(rrname=f"{aliases}.example", rdata="192.0.2.9"))
    answer = DNS(id=query[DNS].id, qr=1, qd=DNSQR(qname="0.example"), an=records)
    stack.ip(bytes(IP(src="10.0.0.53", dst="10.0.0.1") / UDP(sport=53, dport=query.sport) / answer))
    if aliases == 8:
        assert int(stack.command("resolved")) == address("192.0.2.9")
    else:
        assert refused(stack, "resolved") == "unreachable"


@reaches("BURST", "icmp_limited")
def test_icmp_errors_are_fifty_at_once_and_then_one_in_twenty_milliseconds(stack):
    lost = bytes(IP(src="10.0.0.2", dst="10.0.0.1") / UDP(sport=9, dport=6) / b"nobody")
    for _ in range(55):
        stack.ip(lost)
    assert len(stack.datagrams()) == 50
    stack.advance(0.05)
    for _ in range(3):
        stack.ip(lost)
    assert len(stack.datagrams()) == 2
