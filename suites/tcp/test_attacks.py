"""Attacks that are public, and what they must not achieve; an honest connection beside them goes on."""

from __future__ import annotations

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.sockets import Socket
from keuos_hil.net.tcp import Conversation, Stack

pytestmark = pytest.mark.needs("link", "sockets")

#: More than NetD is given buffers for, on whatever target (targets/netd.py, keuos_hil.net.netd.TEST_LIMITS).
_MORE_THAN_FIT = 160


@pytest.fixture
def honest(net: Stack) -> Conversation:
    """A connection that has to work whatever happens beside it."""
    return net.est()


def _works(c: Conversation) -> None:
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None
    c.sock.send(100)
    c.rx_data(100)
    c.tx("A")


@pytest.mark.requirement("5961:RST-2", "5961:THR-1")
def test_two_thousand_blind_resets_end_nothing(net: Stack, honest: Conversation) -> None:
    c = net.est()
    step = max(diff(c.edge, c.snd) // 2000, 1)
    for at in range(1, 2000):
        c.tx("R", seq=add(c.snd, at * step))
        if at % 100 == 0:
            c.burst()
    c.burst()
    _works(c)
    _works(honest)


@pytest.mark.requirement("5961:THR-1")
def test_challenge_acknowledgments_are_bounded(net: Stack) -> None:
    c = net.est()
    count = 0
    for at in range(1, 1001):
        c.tx("R", seq=add(c.snd, at))
        if at % 100 == 0:
            count += len(c.burst())
    assert count < 500, f"{count} challenge ACKs for 1000 segments"


@pytest.mark.requirement("5961:THR-1")
def test_the_challenges_of_one_connection_tell_nothing_about_another(net: Stack, honest: Conversation) -> None:
    """CVE-2016-5696: a limit that all connections share is a counter that anybody can read."""
    c = net.est()
    for _ in range(120):
        c.tx("R", seq=add(c.snd, 5))
    c.burst()
    honest.tx("R", seq=add(honest.snd, 5))
    honest.rx("A", ack=honest.snd)


@pytest.mark.requirement("5961:SYN-1")
def test_a_thousand_blind_syns_end_nothing(net: Stack) -> None:
    c = net.est()
    c.rules.allowed.add("ack")  # our numbers lie all round the space, so none is ahead of all
    for at in range(1000):
        c.tx("S", seq=(at * 4_294_967) % (1 << 32))
        if at % 100 == 0:
            c.burst()
    c.burst()
    _works(c)


@pytest.mark.requirement("5961:ACK-1")
def test_blind_data_with_random_acknowledgments_is_not_delivered(net: Stack) -> None:
    c = net.est()
    for at in range(1, 200):
        c.tx("PA", seq=c.snd, ack=add(c.rcv, at * 0x0100_0000 + 70_000), data=b"evil")
        if at % 50 == 0:
            c.burst()
    c.burst()
    _works(c)


@pytest.mark.requirement("9293:SHLD-31")
def test_out_of_order_data_is_held_to_the_window(net: Stack, honest: Conversation) -> None:
    """Whatever is sent behind a hole, nothing behind the window is kept, and an honest connection has room."""
    c = net.est()
    start, edge = c.snd, c.edge
    for at in range(1460, 200_000, 1460):
        c.tx("A", seq=add(start, at), data=b"x" * 1460)
        if at % 14600 == 0:
            c.burst()
    for segment in c.burst():
        assert segment.ack == start
    c.tx("R", seq=start)
    c.host.fence()
    assert diff(edge, start) > 0
    _works(honest)


@pytest.mark.requirement("9293:MUST-37")
def test_many_connections_with_a_closed_window_leave_room_for_another(net: Stack, honest: Conversation) -> None:
    """Sockstress: each has a window of zero behind data that the target wants to send."""
    listener, number = net.listen(backlog=256)
    for _ in range(80):
        c = net.talk(number, window=0)
        c.tx("S")
        c.rx("SA")
        c.tx("A")
        c.app = listener.accept()
        c.sock.send(2000)
    _works(honest)
    _works(net.est())


def _accept(net: Stack, listener: Socket, c: Conversation) -> Socket:
    """The connection of `c`, who repeats itself while the target finds room for it."""
    for _ in range(8):
        try:
            return listener.accept(0)
        except SocketError as error:
            if error.name != "EAGAIN":
                raise
        net.host.elapse(1)
        c.tx("A")
    return listener.accept()


@pytest.mark.requirement("6429:1")
@pytest.mark.parametrize("peer_closes", [False, True])
def test_connections_that_the_target_has_closed_keep_no_other_one_out(net: Stack, peer_closes: bool) -> None:
    """Sockstress, of more connections than there is room for: each has data that is not taken, and nobody holds it."""
    listener, number = net.listen(backlog=256)
    for _ in range(_MORE_THAN_FIT):
        c = net.talk(number, window=0)
        c.tx("S")
        c.rx("SA")
        c.tx("A")
        sock = _accept(net, listener, c)
        sock.send(2000)
        if peer_closes:
            c.tx("FA")
        sock.close()
    c = net.talk(number)
    c.tx("S")
    c.rx("SA")
    c.tx("A")
    c.app = _accept(net, listener, c)
    _works(c)


@pytest.mark.requirement("9293:MUST-16")
def test_a_thousand_tiny_segments_are_put_together(net: Stack) -> None:
    c = net.est()
    for at in range(1000):
        c.tx("PA", data=1)
        if at % 50 == 49:
            c.burst()
    c.rx_ack()
    got = 0
    while got < 1000:
        part = c.sock.recv(1000)
        assert part.bad is None
        got += part.count


@pytest.mark.requirement("9293:S-15")
@pytest.mark.parametrize("flags", ["SFRPAU", "SR", "SFPU", "FPU", ""])
def test_a_christmas_tree_is_survived(net: Stack, honest: Conversation, flags: str) -> None:
    listener, number = net.listen()
    for port in (number, net.port(), honest.target_port):
        c = net.talk(port)
        c.tx(flags, data=10, urg=3)
    net.host.fence()
    _works(honest)
    assert listener is not None


@pytest.mark.requirement("9293:S-03")
def test_a_land_attack_is_survived(net: Stack, honest: Conversation) -> None:
    """A SYN from the target's own address and port."""
    _, number = net.listen()
    c = Conversation(net.host, number, number, source=net.host.target)
    for flags in ("S", "SA", "A", "R"):
        c.tx(flags)
    net.host.fence()
    _works(honest)


@pytest.mark.requirement("4987:1")
def test_ports_that_run_out_are_told_and_do_no_harm(net: Stack, honest: Conversation) -> None:
    """A port is chosen by connect at the latest; the peer answers no SYN, so each keeps its own."""
    opened = []
    failure = ""
    for _ in range(300):
        try:
            sock = net.app.open()
            sock.connect(wire.dotted(net.host.address), 9)
        except SocketError as error:
            failure = error.name
            break
        opened.append(sock)
    assert failure in ("", "EADDRINUSE", "EADDRNOTAVAIL", "ENOBUFS", "EMFILE")
    assert len(opened) >= 32
    assert len({sock.name()[1] for sock in opened}) == len(opened)
    _works(honest)
    for sock in opened:
        sock.abort()


@pytest.mark.requirement("9293:S-17")
def test_a_guess_of_the_sequence_number_alone_delivers_nothing(net: Stack) -> None:
    """Without the acknowledgment number a blind injection fails (RFC 5961, 5)."""
    c = net.est()
    c.sock.send(100)
    c.rx_data(100)
    c.tx("A")
    for guess in (0, 0x4000_0000, 0x8000_0000, 0xC000_0000):
        if abs(diff(guess, c.rcv)) > 200_000:
            c.tx("PA", seq=c.snd, ack=guess, data=b"evil")
    c.burst()
    assert c.sock.nothing()


@pytest.mark.requirement("9293:MUST-58")
def test_a_burst_is_answered_by_no_more_acknowledgments_than_it_has_segments(net: Stack) -> None:
    c = net.est()
    for _ in range(20):
        c.tx("A", data=1000)
    acks = c.burst()
    assert len(acks) <= 20
    assert acks[-1].flags & ~wire.PSH == wire.ACK
