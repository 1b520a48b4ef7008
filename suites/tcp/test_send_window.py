"""The sender and the window it is given: not beyond it, not in silly pieces, not dead when it closes."""

from __future__ import annotations

import pytest

from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.tcp import Conversation, Stack

pytestmark = pytest.mark.needs("link", "sockets")


def _sent(c: Conversation) -> int:
    """How many bytes of the stream have come, copies counted once."""
    c.burst()
    return diff(c.rules.max_sent or add(c.irs, 1), add(c.irs, 1))


@pytest.mark.requirement("9293:MUST-1", "9293:SHLD-15")
@pytest.mark.parametrize("window", [1, 2, 100, 536, 1459, 1460, 1461, 2920, 5000, 0x7FFF, 0x8000, 0xFFFF])
def test_a_sender_fills_the_window_and_not_a_byte_more(net: Stack, window: int) -> None:
    c = net.est(window=window, options={"sndbuf": 300_000})
    c.sock.set("nodelay", 1)
    c.sock.send(100_000)
    before = -1
    while before != (total := _sent(c)):
        before = total
        c.tx("A", win=window - diff(c.rcv, add(c.irs, 1)))
    if total < window:  # the last piece is smaller than a segment: a sender may hold it back for a while (MUST-38)
        c.host.elapse(0.6)
    assert _sent(c) == window


@pytest.mark.requirement("9293:MUST-1")
@pytest.mark.parametrize("window", [0x8000, 0xFFFF])
def test_a_window_with_the_highest_bit_is_no_negative_number(net: Stack, window: int) -> None:
    c = net.est(window=window)
    c.sock.send(10_000)
    c.rx_data(10_000, reply=True)


@pytest.mark.requirement("9293:MUST-34", "9293:SHLD-15", "9293:MAY-7")
@pytest.mark.parametrize("window", [1, 500, 2000])
def test_a_sender_survives_a_window_that_shrinks_below_what_is_in_flight(net: Stack, window: int) -> None:
    c = net.est()
    c.sock.send(20_000)
    first = [segment for segment in c.burst() if segment.payload]
    flight = sum(len(segment.payload) for segment in first)
    c.tx("PA", data=1, ack=add(c.irs, 1 + len(first[0].payload)), win=window)
    c.host.fence()
    c.segments.clear()
    more = c.sock.send(10_000)  # as much as there is room for
    c.tx("PA", data=1, win=0xFFFF)
    c.rx_data(20_000 - flight + more, reply=True)
    c.alive()


@pytest.mark.requirement("9293:SHLD-15", "9293:MUST-34")
def test_no_new_data_is_sent_after_the_window_shrank(net: Stack) -> None:
    c = net.est()
    c.sock.send(4380)
    c.rx_data(4380)
    c.tx("PA", data=1, ack=add(c.irs, 1461), win=100)
    c.host.fence()
    c.segments.clear()
    c.sock.send(10_000)
    assert all(diff(segment.seq, c.rcv) < 0 or not segment.payload for segment in c.burst())


@pytest.mark.requirement("9293:MUST-38", "9293:SHLD-7")
@pytest.mark.parametrize("step", [1, 10, 100, 500])
def test_a_sender_does_not_answer_small_openings_with_small_segments(net: Stack, step: int) -> None:
    """The window opens in small steps while data waits: at most the first piece is small until a segment fits."""
    c = net.est()
    for _ in range(2):
        c.tx("PA", data=1, win=0)
    c.sock.send(20_000)
    small = 0
    for offered in range(step, 1460, step):
        c.tx("A", win=offered - diff(c.rcv, add(c.irs, 1)))
        small += sum(0 < len(segment.payload) < 1460 for segment in c.burst())
        if offered > 60 * step:
            break
    assert small <= 1


@pytest.mark.requirement("9293:MUST-36", "9293:MUST-37")
def test_data_flows_on_when_a_closed_window_opens(net: Stack) -> None:
    c = net.est(window=2000)
    c.sock.set("nodelay", 1)  # the last piece is smaller than a segment (MUST-38)
    c.sock.send(5000)
    c.rx_data(2000)
    c.tx("A", win=0)
    c.silent()
    c.tx("A", win=3000)
    c.rx_data(3000)


@pytest.mark.requirement("9293:MUST-36", "9293:MUST-35", "9293:SHLD-29")
def test_a_closed_window_is_probed(net: Stack) -> None:
    """The update that opened it was lost: without a probe both sides would wait for ever."""
    c = net.est(window=2000)
    c.sock.set("nodelay", 1)  # the last piece is smaller than a segment (MUST-38)
    c.sock.send(5000)
    c.rx_data(2000)
    c.tx("A", win=0)
    c.host.fence()
    c.segments.clear()
    if not c.host.wait(lambda: bool(c.segments), 3.0):
        raise c.host.failure("no probe came within 3 s of a closed window with data waiting")
    probe = c.segments.popleft()
    assert len(probe.payload) <= 1
    assert probe.payload or diff(probe.seq, c.rcv) < 0, "a probe that nobody has to answer"
    c.rcv = max(c.rcv, add(probe.seq, len(probe.payload))) if len(probe.payload) else c.rcv
    c.tx("A", win=3000)
    c.rx_data(3000 - len(probe.payload))


@pytest.mark.requirement("9293:MUST-35")
def test_a_window_that_shrinks_to_zero_with_data_in_flight_is_probed(net: Stack) -> None:
    c = net.est()
    c.sock.send(2920)
    c.rx_data(2920)
    c.tx("PA", data=1, ack=add(c.irs, 1), win=0)
    c.rx_ack()
    c.segments.clear()
    if not c.host.wait(lambda: bool(c.segments), 3.0):
        raise c.host.failure("nothing came within 3 s of a window that shrank to zero")
    c.tx("PA", data=1, win=0xFFFF)
    c.rx_ack()
    c.sock.send(100)
    c.rx_data(100)


@pytest.mark.requirement("9293:MUST-37", "9293:MUST-36")
def test_probes_that_are_answered_keep_a_connection_open(net: Stack) -> None:
    c = net.est(window=1000)
    c.sock.send(5000)
    c.rx_data(1000)
    c.tx("A", win=0)
    for _ in range(3):
        # The intervals may double each time, from an RTO of a second or more (9293:SHLD-29, 9293:SHLD-30).
        if not c.host.wait(lambda: bool(c.segments), 12.0):
            raise c.host.failure("no probe came within 12 s")
        c.segments.clear()
        c.tx("A", win=0)
    c.tx("A", win=4000)
    c.rx_data(4000, reply=True)


@pytest.mark.requirement("9293:MAY-6", "9293:S-08")
@pytest.mark.parametrize("octets", [0, 1])
def test_a_probe_of_ours_is_answered(net: Stack, octets: int) -> None:
    """A keep-alive or window probe: one number before the next, with or without a garbage octet."""
    c = net.est()
    c.tx("A", seq=add(c.snd, -1), data=b"\xaa" * octets)
    c.rx("A", seq=c.rcv, ack=c.snd)


@pytest.mark.requirement("7323:WS4")
def test_an_edge_that_moves_left_by_rounding_does_no_harm(net: Stack) -> None:
    c = net.est(shift=10, window=20 << 10, options={"sndbuf": 1 << 20})
    c.sock.send(40_000)
    received = 0
    while received < 40_000:
        for segment in c.rx_data(1):
            received += len(segment.payload)
        room = (20 << 10) - received % 1024  # not a multiple of the scale: it is rounded down
        c.tx("A", win=room >> 10)
    c.alive()


@pytest.mark.requirement("9293:MUST-60")
def test_an_odd_last_piece_is_sent(net: Stack) -> None:
    c = net.est()
    c.sock.send(1461)
    taken = c.rx_data(1461, reply=True)
    assert taken[0].flags & wire.ACK
