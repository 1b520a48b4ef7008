"""What the conformance suite cannot see: copies, cookies, DHCP, DNS, loopback, a NIC without room."""

from __future__ import annotations

import struct
import warnings
from typing import Any

import pytest

from tests.netd import wire
from tests.netd.neighbourhood import dhcp_frame
from tests.netd.stack import DNS as DNS_SERVER
from tests.netd.stack import MAC, OWN, PEER, PEER_MAC, NetdError, Peer
from tests.netd.wire import address

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.dns import DNS, DNSQR, DNSRR
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether


def test_a_connection_echoes_and_ends_in_good_order(stack, accepted):
    peer, socket = accepted()
    assert stack.state(socket) == "ESTABLISHED"
    peer.tx("P.", b"hello")
    assert stack.recv(socket) == b"hello"
    stack.write(socket, b"world")
    assert peer.take() == b"world"
    peer.tx("F.")
    assert stack.recv(socket) == b""
    assert stack.state(socket) == "CLOSE-WAIT"
    stack.command("close", socket)
    (fin,) = peer.mine()
    assert "F" in fin.flags
    peer.ack += 1
    peer.tx(".")
    assert "LAST-ACK" not in stack.states()


def test_text_beyond_a_fin_is_forgotten_with_it(stack, accepted):
    peer, socket = accepted(sack=True)
    start = peer.seq
    peer.tx("P.", b"beyond", seq=start + 5)
    peer.tx("F.", b"all", seq=start)
    (ack,) = peer.tx("P.", b"all", seq=start)
    assert (ack.ack, ack.sack) == (start + 4, []), "no block stands for what is not received"
    assert stack.recv(socket) == b"all"
    assert stack.recv(socket) == b""


@pytest.mark.parametrize("wrong", [(1, 2), (2, 3)], ids=["in-the-hole", "what-is-there"])
def test_a_datagram_is_condemned_by_an_end_before_what_has_come_of_it(stack, wrong):
    whole = bytes(UDP(sport=5000, dport=7, chksum=0) / (b"e" * 32))

    def fragment(first: int, last: int, *, more: bool) -> None:
        head = IP(src="10.0.0.2", dst="10.0.0.1", proto=17, id=1, flags=int(more), frag=first)
        stack.ip(bytes(head / whole[8 * first : 8 * last]))

    for first, last in ((0, 1), (2, 4)):
        fragment(first, last, more=True)
    fragment(*wrong, more=False)
    fragment(1, 2, more=True)
    fragment(4, 5, more=False)
    assert not [datagram for datagram in stack.datagrams() if datagram[9] == 17]
    assert stack.counters()["reassembly_overlap"] == 1


# Copies ---------------------------------------------------------------------------------------------------------


def test_payload_is_kept_in_its_frame_without_a_copy(stack, accepted):
    peer, socket = accepted()
    before = stack.counters()["bytes_copied"]
    stack.command("hold", socket, 5000)
    peer.tx("P.", b"a" * 1000)
    peer.tx("P.", b"b" * 1000)
    assert stack.command("lent") == "2", "both frames are still on loan"
    assert stack.counters()["bytes_copied"] == before
    assert bytes.fromhex(stack.command("held", socket)) == b"a" * 1000 + b"b" * 1000
    assert stack.command("lent") == "0"


def test_what_the_owner_does_not_take_and_what_comes_out_of_order_is_read_in_order(stack, accepted):
    peer, socket = accepted()
    stack.command("hold", socket, 10)
    start = peer.seq
    peer.tx("P.", b"C" * 30, seq=start + 50)
    peer.tx("P.", b"A" * 20, seq=start)
    peer.tx("P.", b"B" * 30, seq=start + 20)
    assert bytes.fromhex(stack.command("held", socket)) == b"A" * 10
    assert stack.recv(socket) == b"A" * 10 + b"B" * 30 + b"C" * 30


def test_data_that_is_not_asked_for_stays_in_its_frames_and_is_copied_once(stack, accepted):
    peer, socket = accepted()
    before = stack.counters()
    text = bytes(range(251)) * 6
    for piece in (text[:1000], text[1000:1500], text[1500:1501]):
        peer.tx("P.", piece)
    assert stack.command("lent") == "3"
    assert stack.recv(socket, 1200) == text[:1200]
    assert stack.command("lent") == "2", "what is read whole goes back"
    assert stack.recv(socket) == text[1200:1501]
    after = stack.counters()
    assert after["bytes_delivered"] - before["bytes_delivered"] == 1501
    assert after["bytes_copied"] - before["bytes_copied"] == 1501
    assert stack.command("lent") == "0"


def test_frames_pieces_behind_holes_and_copies_are_read_in_order(stack, accepted):
    stack.reset(frames=2)
    peer, socket = accepted(sack=True)
    start = peer.seq
    peer.tx("P.", b"a" * 100)
    peer.tx("P.", b"c" * 100, seq=start + 200)
    peer.tx("P.", b"e" * 100, seq=start + 400)
    peer.tx("P.", b"b" * 100, seq=start + 100)
    peer.tx("P.", b"d" * 100 + b"e" * 50, seq=start + 300)
    peer.tx("P.", b"f" * 100, seq=start + 500)
    assert stack.command("lent") == "2"
    everything = b"".join(bytes([letter]) * 100 for letter in b"abcdef")
    assert stack.recv(socket, 350) == everything[:350]
    peer.tx("F.P", b"g" * 100, seq=start + 600)
    assert stack.recv(socket) == everything[350:] + b"g" * 100
    assert stack.recv(socket) == b""


@pytest.mark.parametrize("how", ["abort", "close", "reset by the peer", "timed out"])
def test_frames_with_unread_data_go_back_however_the_connection_ends(stack, accepted, how):
    peer, socket = accepted()
    peer.tx("P.", b"unread" * 100)
    assert stack.command("lent") == "1"
    if how == "reset by the peer":
        peer.tx("R", seq=peer.seq)
    elif how == "timed out":
        stack.write(socket, b"nobody acknowledges this")
        stack.advance(400)
    else:
        stack.command(how, socket)
    assert stack.command("lent") == "0"


def test_a_stack_that_has_to_let_go_copies_what_nobody_has_read(stack, accepted):
    peer, socket = accepted(sack=True)
    start = peer.seq
    peer.tx("P.", b"a" * 100 + b"b" * 100)
    peer.tx("P.", b"d" * 100, seq=start + 300)
    peer.tx("P.", b"c" * 100, seq=start + 200)
    assert stack.recv(socket, 150) == b"a" * 100 + b"b" * 50
    assert stack.command("lent") == "2"
    stack.command("let-go")
    assert stack.command("lent") == "0"
    assert stack.recv(socket) == b"b" * 50 + b"c" * 100 + b"d" * 100
    assert stack.command("audit") == "whole"


def test_text_on_loan_counts_against_the_window_until_it_is_returned(stack, accepted):
    peer, socket = accepted()
    stack.command("hold", socket, 1 << 20)
    for _ in range(60):
        acks = peer.tx("P.", b"x" * 1000)
    assert acks[-1].window < 65536 - 59000, "60,000 bytes lie in frames"
    stack.command("held", socket)
    stack.advance(0.001)
    (update,) = peer.mine()
    assert update.window > 64000


def test_urgent_data_ends_a_read_in_the_middle_of_a_frame(stack, accepted):
    peer, socket = accepted()
    peer.tx("P.", b"plain" * 20)
    peer.tx("PU.", b"urgent then not", urgent=6)
    assert stack.recv(socket) == b"plain" * 20 + b"urgent"
    assert stack.recv(socket) == b" then not"


# Sockets of the stack's own ------------------------------------------------------------------------------------------


def test_dhcp_and_the_resolver_have_sockets_when_applications_have_taken_all(stack):
    stack.reset(udp_sockets=3, dns_queries=2)
    for port in (1000, 2000):  # and one is the echo service's
        stack.command("udp", 0, port)
    with pytest.raises(NetdError, match="no-room"):
        stack.command("udp", 0, 3000)
    for name in ("one.example", "two.example"):
        stack.command("resolve", name)
    assert [IP(d).dport for d in stack.datagrams()] == [53, 53]
    with pytest.raises(NetdError, match="no-room"):
        stack.command("resolve", "three.example")
    stack.command("dhcp")
    stack.advance(1.1)
    assert [d[UDP].dport for d in dhcp_sent(stack)] == [67]


def test_dhcp_tells_that_somebody_has_its_port_and_leaves_the_address(stack):
    stack.command("udp", 0, 68)
    with pytest.raises(NetdError, match="in-use"):
        stack.command("dhcp")
    assert net(stack)[0] == OWN


# Cookies --------------------------------------------------------------------------------------------------------


def flood(stack, port, count, first=20000):
    for i in range(count):
        Peer(stack, first + i, port).tx("S")


def test_cookies_are_sent_only_when_the_backlog_is_full(stack):
    stack.listen(4000, 2)
    flood(stack, 4000, 2)
    assert stack.counters()["cookies_sent"] == 0
    flood(stack, 4000, 3, 21000)
    assert stack.counters()["cookies_sent"] == 3
    assert stack.states().count("SYN-RECEIVED") == 2


@pytest.mark.parametrize("ts", [False, True])
def test_a_cookie_brings_back_mss_and_with_timestamps_window_scale_and_sack(stack, ts):
    listener = stack.listen(4000, 1)
    flood(stack, 4000, 1)
    peer = Peer(stack, 30000, 4000, ts=ts).open(mss=1300, shift=5, sack=True)
    assert (peer.synack.shift is not None, peer.synack.sack_ok) == (ts, ts)
    socket = int(stack.command("accept", listener))
    assert stack.info(socket)["mss"] == 1220 - 12 * ts
    peer.window = 100
    peer.tx(".")
    assert stack.info(socket)["window"] == 100 << 5 * ts
    stack.write(socket, b"over")
    assert peer.take() == b"over"


def test_a_third_ack_that_is_lost_is_survived_by_a_cookie(stack):
    listener = stack.listen(4000, 1)
    flood(stack, 4000, 1)
    peer = Peer(stack, 30000, 4000)
    (synack,) = peer.tx("S")
    peer.ack = synack.seq + 1
    peer.tx("P.", b"the first that arrives")
    assert stack.recv(int(stack.command("accept", listener))) == b"the first that arrives"


@pytest.mark.parametrize("silent", [60, 200])
def test_a_lost_third_ack_is_not_noticed_here_until_the_peer_sends_again(stack, silent):
    listener = stack.listen(4000, 1)
    flood(stack, 4000, 1)
    peer = Peer(stack, 30000, 4000)
    (synack,) = peer.tx("S")
    peer.ack = synack.seq + 1
    stack.advance(silent)
    assert peer.mine() == [], "nothing is kept of it that could be sent again"
    got = peer.tx("P.", b"at last")
    if silent < 64:
        assert stack.recv(int(stack.command("accept", listener))) == b"at last"
    else:
        assert [s.flags for s in got] == ["R"], "and so it learns that there is no connection"


@pytest.mark.parametrize("how", ["ack", "seq", "tuple", "late", "unasked"])
def test_a_cookie_that_is_wrong_or_too_old_is_answered_by_a_reset(stack, how):
    stack.listen(4000, 1)
    peer = Peer(stack, 30000, 4000)
    flood(stack, 4000, 1)
    (synack,) = peer.tx("S")
    peer.ack = synack.seq + 1
    if how == "ack":
        peer.ack ^= 1 << 9
    elif how == "seq":
        peer.seq += 1
    elif how == "tuple":
        peer.port += 1
    elif how == "late":
        stack.advance(200)
    else:
        stack.reset()
        stack.listen(4000, 1)
    got = peer.mine(peer.tx("."))
    assert [s.flags for s in got] == ["R"]
    assert got[0].seq == peer.ack
    assert "ESTABLISHED" not in stack.states()


def test_a_flood_leaves_an_established_connection_alone(stack, accepted):
    peer, socket = accepted()
    for i in range(2000):
        stack.ip(wire.ipv4(address("10.0.0.3"), OWN, 6, wire.tcp(Peer(stack, 1024 + i, 4000).segment("S"))))
        if i % 500 == 0:
            peer.tx("P.", b"on")
    assert stack.recv(socket) == b"on" * 4
    stack.advance(70)
    assert stack.states().count("SYN-RECEIVED") == 0, "half-open connections are given up"


# NIC ------------------------------------------------------------------------------------------------------------


def test_a_link_that_comes_back_is_announced_and_used(stack, accepted):
    peer, socket = accepted()
    stack.command("link", 0)
    stack.write(socket, b"lost at first")
    assert stack.frames() == []
    stack.command("link", 1)
    assert any(f[12:14] == b"\x08\x06" for f in stack.frames())
    stack.advance(1.5)
    assert peer.take() == b"lost at first"


@pytest.mark.parametrize("mtu", [68, 576, 1500, 9000])
def test_a_stream_is_whole_at_every_mtu(stack, accepted, mtu):
    stack.reset(mtu=mtu)
    peer, socket = accepted(mss=mtu - 40)
    data = bytes(i * 7 & 255 for i in range(3000))
    stack.write(socket, data)
    segments = peer.mine()
    got = b""
    while segments:
        assert all(len(s.data) <= mtu - 40 for s in segments)
        got += peer.take(segments)
        segments = peer.tx(".")
    assert got == data


def test_loopback_connects_the_stack_to_itself(stack):
    listener = stack.listen(4000)
    one = stack.connect(4000, address("127.0.0.1"))
    other = int(stack.command("accept", listener))
    stack.write(one, b"round" * 1000)
    assert stack.recv(other) == b"round" * 1000
    assert stack.datagrams() == []


# DHCP and DNS ---------------------------------------------------------------------------------------------------


def dhcp_sent(stack):
    return [Ether(f) for f in stack.frames() if f[12:14] == b"\x08\x00" and f[23] == 17]


def dhcp_reply(stack, request, kind, *, lease=600, server="10.0.0.9", **fields):
    options: list[Any] = [
        ("message-type", kind),
        ("server_id", server),
        ("subnet_mask", "255.255.255.0"),
        ("lease_time", lease),
    ]
    options += [("router", "10.0.0.254"), ("name_server", "10.0.0.53"), "end"]
    values = {"op": 2, "xid": request[BOOTP].xid, "yiaddr": "10.0.0.77", "chaddr": MAC} | fields
    stack.send(dhcp_frame(request, kind, BOOTP(**values) / DHCP(options=options), server, PEER_MAC))


def net(stack):
    return [int(n) for n in stack.command("net").split()]


def lease(stack):
    stack.reset(configured=False)
    stack.command("dhcp")
    stack.advance(1.1)
    (discover,) = dhcp_sent(stack)
    dhcp_reply(stack, discover, "offer")
    (request,) = dhcp_sent(stack)
    assert dict(o for o in request[DHCP].options if len(o) == 2)["requested_addr"] == "10.0.0.77"
    return request


def test_dhcp_takes_an_address_renews_it_and_gives_it_up(stack):
    request = lease(stack)
    dhcp_reply(stack, request, "ack")
    assert net(stack)[0] == 0, "not before it was checked that nobody has it"
    stack.advance(1.5)
    assert net(stack) == [address("10.0.0.77"), address("255.255.255.0"), address("10.0.0.254"), DNS_SERVER, 4]
    stack.send(stack.arp(2, PEER_MAC, address("10.0.0.9"), MAC, address("10.0.0.77")))
    stack.frames()
    stack.advance(300)
    stack.send(stack.arp(2, PEER_MAC, address("10.0.0.9"), MAC, address("10.0.0.77")))
    renewals = dhcp_sent(stack)
    assert renewals
    assert {r[BOOTP].ciaddr for r in renewals} == {"10.0.0.77"}
    dhcp_reply(stack, renewals[-1], "ack")
    stack.advance(1)
    assert net(stack)[4] == 4
    stack.advance(700)
    assert net(stack)[0] == 0, "the lease is over"


@pytest.mark.parametrize("application", [0, 1], ids=["service", "application"])
def test_nobody_has_the_dhcp_clients_port_at_any_address(stack, application):
    dhcp_reply(stack, lease(stack), "ack")
    stack.advance(1.5)
    stack.command("as", application)
    for own in (0, address("10.0.0.77")):
        with pytest.raises(NetdError, match="in-use"):
            stack.command("udp", own, 68)


def test_nobody_has_the_port_of_a_question_at_any_address(stack):
    stack.command("resolve", "a.example")
    (query,) = [datagram for datagram in stack.datagrams() if datagram[9] == 17]
    port = UDP(query[20:]).sport
    for own in (0, OWN):
        with pytest.raises(NetdError, match="in-use"):
            stack.command("udp", own, port)


# Whose a port is ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["listen", "udp"])
@pytest.mark.parametrize(("first", "second"), [(0, OWN), (OWN, 0)])
def test_a_port_is_one_applications_at_every_address(stack, kind, first, second):
    def bind(application, own):
        stack.command("as", application)
        return stack.command(kind, own, 5000, *([1] if kind == "listen" else []))

    bind(1, first)
    with pytest.raises(NetdError, match="in-use"):
        bind(2, second)
    assert bind(1, second), "RFC 9293, MUST-42: of one application each address may have its own"
    with pytest.raises(NetdError, match="in-use"):
        bind(1, second)


@pytest.mark.parametrize("own", [0, OWN])
def test_no_application_takes_a_services_port(stack, own):
    stack.command("as", 1)
    for command in (("listen", own, 7, 1), ("udp", own, 7)):
        with pytest.raises(NetdError, match="in-use"):
            stack.command(*command)


def test_two_applications_have_one_port_at_two_addresses(stack):
    for application, own in ((1, OWN), (2, address("127.0.0.1"))):
        stack.command("as", application)
        stack.command("listen", own, 5000, 1)
        stack.command("udp", own, 5000)


def test_an_address_that_somebody_has_is_declined(stack):
    request = lease(stack)
    dhcp_reply(stack, request, "ack")
    stack.frames()
    stack.send(stack.arp(2, PEER_MAC, address("10.0.0.77"), MAC, 0))
    (decline,) = dhcp_sent(stack)
    assert ("message-type", 4) in decline[DHCP].options
    assert net(stack)[0] == 0


@pytest.mark.parametrize(
    "wrong", [{"xid": 1}, {"chaddr": b"\2\0\0\0\0\7"}, {"yiaddr": "0.0.0.0"}, {"yiaddr": "224.0.0.1"}]
)
def test_offers_that_are_not_for_us_or_make_no_sense_are_ignored(stack, wrong):
    stack.reset(configured=False)
    stack.command("dhcp")
    stack.advance(1.1)
    (discover,) = dhcp_sent(stack)
    dhcp_reply(stack, discover, "offer", **wrong)
    assert dhcp_sent(stack) == []
    assert net(stack)[4] == 1


def test_a_name_is_resolved_and_silence_is_told(stack):
    stack.command("resolve", "www.example.org")
    (query,) = [IP(d) for d in stack.datagrams()]
    assert (query.dst, query.dport, query[DNS].qd[0].qname) == ("10.0.0.53", 53, b"www.example.org.")
    answer = DNS(
        id=query[DNS].id, qr=1, qd=DNSQR(qname="www.example.org"), an=DNSRR(rrname="www.example.org", rdata="192.0.2.9")
    )
    forged = IP(src="10.0.0.66", dst="10.0.0.1") / UDP(sport=53, dport=query.sport) / answer
    stack.ip(bytes(forged))
    with pytest.raises(NetdError, match="again"):
        stack.command("resolved")
    stack.ip(bytes(IP(src="10.0.0.53", dst="10.0.0.1") / UDP(sport=53, dport=query.sport) / answer))
    assert int(stack.command("resolved")) == address("192.0.2.9")
    stack.command("resolve", "nobody.example.org")
    stack.advance(20)
    assert len(stack.datagrams()) == 3
    with pytest.raises(NetdError, match="timed-out"):
        stack.command("resolved")


def test_an_address_conflict_is_defended_once_in_ten_seconds(stack):
    other = bytes.fromhex("0200000000ff")
    claims = [stack.arp(1, other, OWN, b"\0" * 6, OWN, to=b"\xff" * 6)] * 5
    for claim in claims:
        stack.send(claim)
    defences = [f for f in stack.frames() if f[12:14] == b"\x08\x06"]
    assert len(defences) == 1
    op, sha, spa, _, tpa = struct.unpack("!H6sI6sI", defences[0][20:42])
    assert (op, sha, spa, tpa) == (1, MAC, OWN, OWN)
    stack.advance(11)
    stack.frames()
    stack.send(claims[0])
    assert len(stack.frames()) == 1
    assert stack.counters()["arp_conflicts"] == 6


def test_no_deadline_is_left_when_everything_is_over(stack, accepted):
    peer, socket = accepted()
    stack.command("close", socket)
    peer.take()
    peer.tx(".")
    peer.tx("F.")
    for _ in range(50):
        if stack.step() is None:
            break
    else:
        pytest.fail("the stack does not come to rest")
    assert set(stack.states()) == {"LISTEN"}
    assert PEER
