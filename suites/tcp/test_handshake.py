"""Opening: who says what, in which order, with which numbers; half-open connections, backlogs, refusals."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.sockets import Socket
from keuos_hil.net.tcp import Conversation, Stack
from keuos_hil.rig import LiveTarget

from .conftest import Another

#: Below those that other cases use: a connection of theirs is in nobody's way.
_FIXED_PORT = 1900
#: Initial numbers that are as far apart may differ by the clock alone: Linux's ticks every 64 ns, for some seconds.
_CLOCKS_PART = 1 << 26

pytestmark = pytest.mark.needs("link", "sockets")


@pytest.mark.requirement("9293:S-04")
def test_a_syn_is_answered_with_the_number_behind_it(net: Stack) -> None:
    c, listener = net.listening()
    c.tx("S")
    c.rx("SA", ack=c.snd)
    c.tx("A")
    assert listener.accept().peer == (wire.dotted(c.source), c.port)


@pytest.mark.requirement("9293:S-04")
def test_no_connection_is_accepted_before_the_handshake_is_complete(net: Stack) -> None:
    c, listener = net.syn_received()
    assert not listener.has_connection()
    c.tx("A")
    assert listener.has_connection()


@pytest.mark.requirement("9293:S-04")
def test_data_in_a_syn_is_not_delivered_before_the_handshake_is_complete(net: Stack) -> None:
    c, listener = net.listening()
    c.tx("S", data=100)
    segment = c.rx("SA")
    assert diff(segment.ack, c.iss) in (1, 101)
    assert not listener.has_connection()
    c.snd = segment.ack
    c.tx("A")
    if diff(c.snd, c.iss) == 1:
        c.tx("PA", data=100)
    got = listener.accept().recv_exactly(100)
    assert (got.count, got.bad) == (100, None)


@pytest.mark.requirement("9293:S-04")
def test_data_rides_on_the_third_segment(net: Stack) -> None:
    c, listener = net.syn_received()
    c.tx("PA", data=200)
    got = listener.accept().recv_exactly(200)
    assert (got.count, got.bad) == (200, None)


@pytest.mark.requirement("9293:S-04", "9293:S-13")
def test_a_fin_rides_on_the_third_segment(net: Stack) -> None:
    c, listener = net.syn_received()
    c.tx("FPA", data=10)
    c.rx_ack()
    sock = listener.accept()
    assert sock.recv_exactly(10).count == 10
    assert sock.recv().end


@pytest.mark.requirement("9293:S-09")
def test_a_repeated_syn_does_not_change_the_number_that_the_target_chose(net: Stack) -> None:
    c, _ = net.syn_received()
    c.tx("S", seq=c.iss)
    segment = c.rx()
    wanted = c.irs if segment.flags & wire.SYN else add(c.irs, 1)
    assert segment.seq == wanted
    c.tx("A")
    c.alive()


@pytest.mark.requirement("9293:MUST-10", "9293:S-07")
def test_a_simultaneous_open_ends_in_one_connection(net: Stack) -> None:
    c = net.syn_sent(shift=7, ts=True, sack=True)
    c.tx("S")
    c.rx("SA", seq=c.irs, ack=c.snd)
    c.tx("SA", seq=c.iss)
    c.host.fence()
    c.segments.clear()
    c.tx("PA", data=50)
    assert c.sock.recv_exactly(50).bad is None
    c.sock.send(50)
    c.rx("A", data=50)


@pytest.mark.requirement("9293:MUST-10", "9293:S-07")
def test_a_simultaneous_open_is_completed_by_a_plain_ack(net: Stack) -> None:
    c = net.simultaneous(shift=7, ts=True, sack=True)
    c.tx("A")
    c.tx("PA", data=50)
    assert c.sock.recv_exactly(50).bad is None


@pytest.mark.requirement("7323:WS1")
def test_a_simultaneous_open_without_window_scale_leaves_windows_unscaled(net: Stack) -> None:
    c = net.simultaneous()
    c.tx("A")
    c.tx("PA", data=50)
    c.rx_ack()
    assert c.target_window > 10_000


@pytest.mark.requirement("7323:WS1", "7323:TS1")
def test_a_simultaneous_open_is_answered_with_no_option_that_the_syn_lacked(net: Stack) -> None:
    c = net.syn_sent(mss=None)
    c.tx("S")
    segment = c.rx("SA")
    assert segment.options.wscale is None
    assert segment.options.ts is None


@pytest.mark.requirement("9293:MUST-11")
def test_a_reset_in_syn_received_by_passive_open_returns_to_listen(net: Stack) -> None:
    c, listener = net.syn_received()
    c.tx("R")
    c.silent()
    c.tx("A")
    c.rx("R", track=False)
    assert not listener.has_connection()
    again = net.talk(c.target_port)
    again.tx("S")
    again.rx("SA", ack=again.snd)


@pytest.mark.requirement("9293:MUST-11")
def test_a_reset_in_syn_received_by_active_open_is_told_to_the_application(net: Stack) -> None:
    c = net.simultaneous()
    c.tx("R")
    c.silent()
    assert c.sock.failure() in ("ECONNREFUSED", "ECONNRESET")


@pytest.mark.requirement("9293:S-06")
def test_a_refused_connection_is_told_to_the_application(net: Stack) -> None:
    c = net.syn_sent()
    c.tx("RA", seq=0)
    c.silent()
    assert c.sock.failure() in ("ECONNREFUSED", "ECONNRESET")


@pytest.mark.requirement("9293:S-05")
@pytest.mark.parametrize("distance", [-1, -100, -(1 << 30), 1, 100, 1 << 30])
def test_a_syn_ack_for_another_syn_is_reset_and_does_not_open(net: Stack, distance: int) -> None:
    c = net.syn_sent()
    c.tx("SA", seq=c.iss, ack=add(c.rcv, distance))
    c.rx("R", seq=add(c.rcv, distance), track=False)
    c.tx("SA")
    c.rx("A", ack=c.snd)


@pytest.mark.requirement("9293:S-05")
def test_data_on_a_syn_ack_is_delivered_or_left_to_be_sent_again(net: Stack) -> None:
    c = net.syn_sent()
    c.tx("SA", data=100)
    segment = c.rx("A")
    assert diff(segment.ack, c.iss) in (1, 101)
    c.snd = segment.ack
    if diff(c.snd, c.iss) == 1:
        c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:MUST-44", "9293:MUST-45")
def test_an_active_open_without_an_address_takes_that_of_the_interface(net: Stack) -> None:
    c = net.syn_sent()
    assert c.sock.name() == (net.host.network.address, c.target_port)


@pytest.mark.requirement("9293:MUST-46")
@pytest.mark.parametrize("address", ["255.255.255.255", "224.0.0.1", "239.1.2.3", "192.0.2.255"])
def test_no_connection_is_opened_to_a_broadcast_or_multicast_address(net: Stack, address: str) -> None:
    sock = net.app.open()
    try:
        sock.connect(address, 80)
        refused = sock.error()
    except SocketError as error:
        refused = error.name
    assert refused, f"connecting to {address} was begun"
    net.host.fence()
    assert not net.host.strays


@pytest.mark.requirement("9293:MUST-57")
@pytest.mark.parametrize("destination", ["255.255.255.255", "192.0.2.255", "192.0.2.0", "224.0.0.1"])
@pytest.mark.parametrize("to", ["unicast", "broadcast"])
def test_a_syn_to_a_broadcast_or_multicast_address_is_dropped(net: Stack, destination: str, to: str) -> None:
    c, listener = net.listening()
    mac = wire.BROADCAST_MAC if to == "broadcast" else net.host.network.mac
    c.tx("S", ip={"destination": wire.ip(destination), "to": mac})
    c.silent()
    assert not net.host.strays
    assert not listener.has_connection()


@pytest.mark.requirement("9293:MUST-63", "1122:I-04")
@pytest.mark.parametrize(
    "source", ["255.255.255.255", "192.0.2.255", "224.0.0.1", "0.0.0.0", "127.0.0.1", "127.1.2.3", "192.0.2.2"]
)
def test_a_syn_from_an_impossible_source_is_ignored(net: Stack, source: str) -> None:
    c, _ = net.listening(source=wire.ip(source))
    c.tx("S")
    c.silent()
    assert not net.host.strays
    assert not [icmp for icmp in net.host.icmps if icmp.type != 0]


@pytest.mark.requirement("9293:MUST-41")
def test_a_second_passive_open_leaves_connections_alone(net: Stack) -> None:
    c = net.est()
    net.listen()
    again = net.app.open()
    with pytest.raises(SocketError, match="EADDRINUSE"):
        again.bind(port=c.target_port)
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:MUST-42")
def test_a_port_listens_while_connections_on_it_are_half_open(net: Stack) -> None:
    c, listener = net.syn_received()
    others = [net.talk(c.target_port) for _ in range(5)]
    for other in others:
        other.tx("S")
        other.rx("SA", ack=other.snd)
    for other in reversed(others):
        other.tx("A")
        assert listener.accept().peer == (wire.dotted(other.source), other.port)


@pytest.mark.requirement("9293:MUST-43")
def test_a_socket_bound_to_an_address_hears_that_address_alone(net: Stack) -> None:
    sock = net.app.open()
    number = net.port()
    sock.bind("127.0.0.1", number)
    sock.listen()
    c = net.talk(number)
    c.tx("S")
    c.rx("RA", ack=c.snd)


@pytest.mark.requirement("9293:S-01")
def test_a_closed_listener_refuses(net: Stack) -> None:
    c, listener = net.listening()
    listener.close()
    c.tx("S")
    c.rx("RA", seq=0, ack=c.snd)


@pytest.mark.requirement("9293:S-01", "9293:S-19")
def test_connections_that_nobody_accepted_are_reset_with_the_listener(net: Stack) -> None:
    c, listener = net.syn_received()
    c.tx("A")
    c.host.fence()
    listener.close()
    segment = c.rx()
    assert segment.flags & wire.RST


@pytest.mark.requirement("4987:1")
def test_a_full_queue_of_accepted_connections_resets_nobody(net: Stack) -> None:
    """A client whose ACK was dropped for want of room comes in when there is room again."""
    listener, number = net.listen(backlog=1)
    clients = [net.talk(number) for _ in range(6)]
    for c in clients:
        c.tx("S")
    net.host.fence()
    for c in clients:
        if c.segments:
            c.rx("SA")
            c.tx("A")
    net.host.fence()
    assert all(not segment.flags & wire.RST for c in clients for segment in c.segments)
    accepted = 0
    for _ in range(6):
        try:
            listener.accept(0)
            accepted += 1
        except SocketError:
            break
    assert accepted >= 1


def _flood(net: Stack, number: int, count: int) -> list[Conversation]:
    """SYNs to a port from strangers who say nothing more."""
    strangers = []
    for at in range(count):
        stranger = net.talk(number, source=wire.ip(f"198.51.100.{at % 250 + 1}"), port=10000 + at)
        stranger.tx("S")
        strangers.append(stranger)
        if at % 50 == 49:
            net.host.fence()  # no more at once than a NIC's queue holds
    net.host.fence()
    return strangers


def _answered_under_a_flood(net: Stack, **options: int) -> tuple[Conversation, Socket]:
    """A client that has got its SYN-ACK though the backlog of the listener is full: a cookie."""
    listener, number = net.listen(backlog=4)
    _flood(net, number, 100)
    c = net.talk(number, **options)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    return c, listener


@pytest.mark.requirement("4987:1")
def test_a_flood_of_syns_does_not_lock_a_client_out(net: Stack) -> None:
    listener, number = net.listen(backlog=16)
    _flood(net, number, 400)
    honest = net.talk(number)
    honest.tx("S")
    honest.rx("SA", ack=honest.snd)
    honest.tx("A")
    honest.tx("PA", data=10)
    assert listener.accept().recv_exactly(10).bad is None


@pytest.mark.requirement("4987:2")
def test_a_forged_last_ack_opens_nothing(net: Stack) -> None:
    c, listener = net.listening()
    for guess in (0, 1, 0x1234_5678, 0xFFFF_FFFF):
        c.tx("A", seq=add(c.iss, 1), ack=guess)
        c.rx("R", seq=guess, track=False)
    assert not listener.has_connection()


@pytest.mark.requirement("4987:2")
def test_under_a_flood_a_last_ack_with_a_wrong_cookie_opens_nothing(net: Stack) -> None:
    c, listener = _answered_under_a_flood(net)
    for wrong in (0x10, -0x10, 0x100, -0x1000_0000):  # a few lower bits of a cookie may name its class of MSS
        c.tx("A", ack=add(c.rcv, wrong))
        c.rx("R", seq=add(c.rcv, wrong), track=False)
    other = net.talk(c.target_port)
    other.snd, other.rcv = c.snd, c.rcv
    other.tx("A")
    other.rx("R", track=False)
    assert not listener.has_connection()
    c.tx("A")
    assert listener.accept().peer == (wire.dotted(c.source), c.port)


@pytest.mark.requirement("4987:2")
@pytest.mark.parametrize(("mss", "least"), [(536, 256), (1460, 1025)])
def test_a_connection_that_began_under_a_flood_keeps_the_class_of_its_mss(net: Stack, mss: int, least: int) -> None:
    c, listener = _answered_under_a_flood(net, mss=mss)
    c.tx("A")
    listener.accept().send(2 * mss)
    assert least <= max(len(segment.payload) for segment in c.rx_data(2 * mss, reply=True)) <= mss


@pytest.mark.timed(135)
@pytest.mark.requirement("4987:2")
def test_an_old_cookie_opens_nothing(net: Stack) -> None:
    """Nobody keeps anything of the SYN, so that the number alone has to tell how old it is."""
    c, listener = _answered_under_a_flood(net)
    net.host.elapse(135)
    c.gone()
    assert not listener.has_connection()


def _isns(net: Stack, count: int, **how: Any) -> list[int]:
    found = []
    listener, number = net.listen(backlog=count)
    for _ in range(count):
        c = net.talk(number, **how)
        c.tx("S")
        found.append(c.rx("SA").seq)
        c.tx("R")
    net.host.fence()
    assert listener is not None
    return found


@pytest.mark.requirement("9293:MUST-9", "9293:SHLD-1", "6528:1")
def test_initial_numbers_of_other_endpoints_tell_nothing(net: Stack) -> None:
    """Each bit is set about half the time, and steps between neighbours are spread over the whole space."""
    found = _isns(net, 256)
    assert len(set(found)) == len(found)
    for bit in range(32):
        ones = sum(number >> bit & 1 for number in found)
        assert 64 < ones < 192, f"bit {bit} is set in {ones} of {len(found)} initial sequence numbers"
    steps = [(other - one) % (1 << 32) for one, other in pairwise(found)]
    quarters = [sum(step >> 30 == quarter for step in steps) for quarter in range(4)]
    assert min(quarters) > 30, f"steps between initial sequence numbers crowd: {quarters}"


@pytest.mark.requirement("9293:MUST-8", "9293:SHLD-1", "6528:1")
def test_initial_numbers_of_the_same_endpoints_grow_with_the_clock(net: Stack) -> None:
    listener, number = net.listen()
    port = net.port()
    times, found = [], []
    for _ in range(12):
        c = net.talk(number, port=port)
        c.tx("S")
        segment = c.rx("SA")
        times.append(segment.time)
        found.append(segment.seq)
        c.tx("R")
        net.host.elapse(0.003)
    assert listener is not None
    rates = [diff(found[at], found[0]) % (1 << 32) / (times[at] - times[0]) for at in range(3, len(found))]
    assert all(rate >= 200_000 for rate in rates), f"numbers per second: {rates}"
    assert max(rates) / min(rates) < 3, f"the rate is not steady: {rates}"


def _steps_between_fixed_endpoints(net: Stack) -> list[int]:
    """How far the initial numbers of some connections are from the first one's; the endpoints are always the same."""
    listener, _ = net.listen(port=_FIXED_PORT)
    found = []
    for at in range(17):
        c = net.talk(_FIXED_PORT, port=_FIXED_PORT + at)
        c.tx("S")
        found.append(c.rx("SA").seq)
        c.tx("R")
    listener.close()
    return [diff(number, found[0]) for number in found[1:]]


@pytest.mark.needs("boots-stack")
@pytest.mark.requirement("6528:2")
def test_initial_numbers_of_another_boot_tell_nothing(net: Stack, another: Another) -> None:
    """The clock's part of the numbers cancels out between endpoints: with one secret each step would be the same."""
    once = _steps_between_fixed_endpoints(net)
    with another() as second:
        again = _steps_between_fixed_endpoints(second)
    same = sum(abs(diff(one, other)) < _CLOCKS_PART for one, other in zip(once, again, strict=True))
    assert same < len(once) // 2, f"{same} of {len(once)} initial numbers follow from those of an earlier boot"


@pytest.mark.requirement("6056:1")
def test_ephemeral_ports_can_not_be_counted(net: Stack) -> None:
    """To different peers, so that a stack may count per peer (RFC 6056, algorithms 3 and 4)."""
    ports = []
    for at in range(60):
        sock = net.app.open()
        sock.connect(f"192.0.2.{100 + at}", 4321)
        net.host.wait(lambda: bool(net.host.strays), 2)
        ports.append(net.host.strays.popleft().source_port)
        sock.abort()
        net.host.fence()
        net.host.strays.clear()
    assert len(set(ports)) > 50
    steps = [other - one for one, other in pairwise(ports)]
    assert sum(abs(step) <= 2 for step in steps) < 6, f"neighbouring ports: {ports}"
    assert max(ports) - min(ports) > 4000, f"a narrow range: {min(ports)} to {max(ports)}"


@pytest.mark.requirement("9293:MUST-42", "9293:MAY-2")
@pytest.mark.parametrize("timestamps", [False, True])
def test_endpoints_are_used_again_after_a_reset(net: Stack, timestamps: bool) -> None:
    c = net.est(ts=timestamps)
    c.tx("R")
    c.silent()
    again = net.talk(c.target_port, port=c.port, ts=timestamps)
    again.tx("S")
    again.rx("SA", ack=again.snd)


@pytest.mark.requirement("9293:MUST-4", "9293:MUST-14", "9293:SHLD-5", "9293:MAY-3")
def test_a_syn_ack_offers_an_mss(net: Stack, target: LiveTarget) -> None:
    c, _ = net.listening()
    c.tx("S")
    assert c.rx("SA").options.mss == target.network.mtu - 40


@pytest.mark.requirement("9293:MUST-14", "9293:MUST-67", "9293:SHLD-5")
def test_a_syn_offers_an_mss(net: Stack, target: LiveTarget) -> None:
    c = net.syn_sent()
    assert c.last is not None
    assert c.last.options.mss == target.network.mtu - 40


@pytest.mark.needs("mtu")
@pytest.mark.requirement("9293:SHLD-6", "9293:MUST-67")
@pytest.mark.usefixtures("host")
@pytest.mark.parametrize("mtu", [1280, 620])
def test_an_mss_follows_the_interfaces_mtu(another: Another, mtu: int) -> None:
    with another(mtu) as net:
        c, _ = net.listening()
        c.tx("S")
        assert c.rx("SA").options.mss == mtu - 40
        opened = net.syn_sent()
        assert opened.last is not None
        assert opened.last.options.mss == mtu - 40


@pytest.mark.requirement("9293:SHLD-8", "3168:1")
def test_an_ecn_setup_syn_is_answered_with_ece_and_without_cwr(net: Stack) -> None:
    c, _ = net.listening()
    c.tx("SEC")
    segment = c.rx()
    assert segment.flags & (wire.SYN | wire.ACK | wire.CWR) == wire.SYN | wire.ACK
    assert segment.flags & wire.ECE
    assert segment.ip.tos & 3 == 0


@pytest.mark.requirement("3168:1")
@pytest.mark.parametrize("flags", ["SE", "SC"])
def test_half_an_ecn_setup_is_none(net: Stack, flags: str) -> None:
    c, _ = net.listening()
    c.tx(flags)
    segment = c.rx("SA")
    assert not segment.flags & wire.ECE


@pytest.mark.requirement("7413:1")
@pytest.mark.parametrize(
    "option", ["2202", "220a0001020304050607", "22120001020304050607000102030405060708", "2205000102"]
)
@pytest.mark.parametrize("data", [0, 20])
def test_a_fast_open_option_changes_nothing_where_that_is_off(net: Stack, option: str, data: int) -> None:
    """A request for a cookie, cookies of two lengths, and a length that none may have."""
    c, listener = net.listening()
    c.tx("S", data=data, opts=wire.padded(wire.mss(1460) + bytes.fromhex(option)))
    segment = c.rx("SA")
    assert 34 not in segment.options.kinds
    c.snd = segment.ack
    c.tx("A")
    if diff(c.snd, c.iss) == 1:
        c.tx("PA", data=20)
    assert listener.accept().recv_exactly(20).bad is None
