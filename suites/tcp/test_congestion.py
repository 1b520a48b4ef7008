"""Congestion control and loss recovery: bounds on what may be in flight, and what is sent again, when.

The bounds are those of RFC 5681 with RFC 6928's initial window, so that a gentler sender passes; nothing asks for the
exact window of one algorithm.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.tcp import Conversation, Stack
from keuos_hil.net.wire import Segment

pytestmark = pytest.mark.needs("link", "sockets")

MSS = 1460


def _sizes(segments: list[Segment]) -> list[int]:
    return [len(segment.payload) for segment in segments if segment.payload]


def _sender(net: Stack, count: int = 200_000, **how: Any) -> Conversation:
    """A connection whose application has a lot to send; nothing of it was taken yet."""
    how.setdefault("options", {"sndbuf": 1 << 20})
    how.setdefault("shift", 7)
    how.setdefault("window", 1 << 20)
    c = net.est(**how)
    c.sock.send(count)
    return c


def _at(c: Conversation, segment: Segment) -> int:
    """Where a segment's data stands in the stream."""
    return diff(segment.seq, add(c.irs, 1))


@pytest.mark.requirement("5681:IW", "6928:1")
@pytest.mark.parametrize("mss", [400, 536, 1000, 1095, 1096, 1460])
@pytest.mark.parametrize("active", [False, True])
def test_the_initial_window_is_bounded(net: Stack, mss: int, active: bool) -> None:
    how = {"mss": mss, "options": {"sndbuf": 1 << 20}, "window": 0xFFFF}
    c = net.active(**how) if active else net.est(**how)
    c.sock.send(60_000)
    sent = sum(_sizes(c.burst()))
    assert mss <= sent <= min(10 * mss, max(2 * mss, 14600))


@pytest.mark.requirement("5681:SS", "9293:MUST-19")
@pytest.mark.parametrize("every", [1, 2, 4])
def test_slow_start_grows_by_a_segment_for_each_acknowledgment_at_most(net: Stack, every: int) -> None:
    """Acknowledgments of `every` segments each."""
    c = _sender(net, 400_000)
    window = sum(_sizes(c.burst())) // MSS
    acked, sent = 0, window
    for acks in range(1, 2 * window // every + 1):
        acked = min(acked + every, sent)
        c.tx("A", ack=add(c.irs, 1 + acked * MSS))
        sent += len(_sizes(c.burst()))
        assert sent - acked <= window + acks, f"{sent - acked} in flight after {acks} acknowledgments"
    assert sent - acked > window


@pytest.mark.requirement("5681:ACKD", "5681:SS")
@pytest.mark.parametrize("pieces", [5, 20, 73])
def test_dividing_an_acknowledgment_gains_nothing(net: Stack, pieces: int) -> None:
    """Savage's ACK division: one segment acknowledged in pieces opens the window no further than byte counting does."""
    c = _sender(net)
    window = len(_sizes(c.burst()))
    start = add(c.irs, 1)
    for at in range(1, pieces + 1):
        c.tx("A", ack=add(start, MSS * at // pieces))
    sent = len(_sizes(c.burst()))
    assert sent <= 2 + 1, f"{sent} new segments for one acknowledged of {window}"


@pytest.mark.requirement("5681:SS", "9293:S-11")
def test_optimistic_acknowledgments_open_nothing(net: Stack) -> None:
    """Numbers that were not sent yet are acknowledged: the sender answers and its window stays."""
    c = _sender(net)
    c.burst()
    for ahead in (1, MSS, 10 * MSS):
        c.tx("A", ack=add(c.rules.max_sent or 0, ahead))
    answers = c.burst()
    assert not _sizes(answers)
    assert answers


@pytest.mark.requirement("5681:DUP", "5681:FR1")
def test_two_duplicates_do_not_make_a_retransmission(net: Stack) -> None:
    c = _sender(net, 20_000)
    c.burst()
    start = add(c.irs, 1)
    for _ in range(2):
        c.tx("A", ack=start)
    assert not [segment for segment in c.burst() if segment.payload and _at(c, segment) == 0]


@pytest.mark.requirement("5681:FR1", "6298:5.4")
def test_the_third_duplicate_makes_the_first_segment_be_sent_again(net: Stack) -> None:
    c = _sender(net, 14_600)
    flight = sum(_sizes(c.burst()))
    start = add(c.irs, 1)
    for _ in range(3):
        c.tx("A", ack=start)
    sent = [_at(c, segment) for segment in c.burst() if segment.payload]
    assert [at for at in sent if at < flight] == [0]


@pytest.mark.requirement("5681:FR1")
def test_further_duplicates_do_not_make_it_be_sent_twice(net: Stack) -> None:
    c = _sender(net, 14_600)
    c.burst()
    start = add(c.irs, 1)
    for _ in range(9):
        c.tx("A", ack=start)
    assert [_at(c, segment) for segment in c.burst() if segment.payload].count(0) == 1


@pytest.mark.requirement("5681:DUP")
@pytest.mark.parametrize("spoil", ["data", "window", "older"])
def test_what_is_no_duplicate_does_not_count(net: Stack, spoil: str) -> None:
    c = _sender(net, 14_600)
    c.burst()
    start = add(c.irs, 1)
    c.tx("A", ack=add(start, MSS))
    c.burst()
    for at in range(4):
        if spoil == "data":
            c.tx("PA", ack=add(start, MSS), data=1)
        elif spoil == "window":
            c.window += 4 << 7
            c.tx("A", ack=add(start, MSS))
        else:
            c.tx("A", ack=add(start, at))
    assert not [segment for segment in c.burst() if segment.payload and _at(c, segment) == MSS]


@pytest.mark.requirement("5681:FR2", "3042:1")
@pytest.mark.parametrize("duplicates", [1, 2])
def test_limited_transmit_sends_a_new_segment_for_each_of_two_duplicates_at_most(net: Stack, duplicates: int) -> None:
    c = _sender(net)
    sent = sum(_sizes(c.burst()))
    start = add(c.irs, 1)
    for _ in range(duplicates):
        c.tx("A", ack=start)
    new = [segment for segment in c.burst() if segment.payload]
    assert all(_at(c, segment) >= sent for segment in new)
    assert len(new) == duplicates


@pytest.mark.requirement("5681:FR2", "3042:1")
def test_limited_transmit_keeps_to_the_peers_window(net: Stack) -> None:
    c = _sender(net, window=2 * MSS, shift=None)
    assert sum(_sizes(c.burst())) == 2 * MSS
    for _ in range(2):
        c.tx("A", ack=add(c.irs, 1))
    assert not _sizes(c.burst())


@pytest.mark.requirement("5681:FR3", "6582:3")
def test_a_recovery_without_sack_ends_with_half_the_flight_at_most(net: Stack) -> None:
    c = _sender(net)
    flight = sum(_sizes(c.burst()))
    start = add(c.irs, 1)
    for _ in range(9):
        c.tx("A", ack=start)
    c.burst()
    c.tx("A")  # a full acknowledgment of all that came
    after = c.burst()
    bound = max(flight // 2, 2 * MSS) + MSS
    assert sum(_sizes(after)) <= bound, f"{sum(_sizes(after))} bytes after a recovery from a flight of {flight}"


@pytest.mark.requirement("6582:1")
def test_a_partial_acknowledgment_makes_the_next_hole_be_sent_at_once(net: Stack) -> None:
    c = _sender(net, 14_600)
    c.burst()
    start = add(c.irs, 1)
    for _ in range(5):
        c.tx("A", ack=start)
    assert [_at(c, segment) for segment in c.burst() if segment.payload][:1] == [0]
    c.tx("A", ack=add(start, 3 * MSS))
    assert 3 * MSS in [_at(c, segment) for segment in c.burst() if segment.payload]
    c.tx("A", ack=add(start, 6 * MSS))
    assert 6 * MSS in [_at(c, segment) for segment in c.burst() if segment.payload]


@pytest.mark.requirement("6582:2")
def test_duplicates_of_a_window_that_was_recovered_make_no_second_recovery(net: Stack) -> None:
    c = _sender(net, 14_600)
    c.burst()
    start = add(c.irs, 1)
    for _ in range(5):
        c.tx("A", ack=start)
    c.burst()
    c.tx("A", ack=add(start, 14_600))
    c.host.fence()
    c.segments.clear()
    for _ in range(6):
        c.tx("A", ack=add(start, 14_600))
    assert not _sizes(c.burst())
    c.sock.send(2 * MSS)  # something is in flight again, and none of it is older than the recovery's end
    c.burst()
    for _ in range(6):
        c.tx("A", ack=add(start, 14_600))
    assert not _sizes(c.burst())


@pytest.mark.requirement("2018:5", "6675:1")
@pytest.mark.parametrize("hole", [0, 1, 4])
def test_only_the_hole_between_sack_blocks_is_sent_again(net: Stack, hole: int) -> None:
    c = _sender(net, 14_600, sack=True)
    c.burst()
    start = add(c.irs, 1)
    ack = add(start, hole * MSS)
    left = add(ack, MSS)
    if hole:
        c.tx("A", ack=ack)
    for at in range(1, 10 - hole):
        c.tx("A", ack=ack, opts=wire.sack((left, add(left, at * MSS))))
    again = [_at(c, segment) for segment in c.burst() if segment.payload and _at(c, segment) < 14_600]
    assert again == [hole * MSS]


@pytest.mark.requirement("6675:1", "2018:5")
def test_two_holes_are_both_sent_again_and_nothing_else(net: Stack) -> None:
    c = _sender(net, 14_600, sack=True)
    c.burst()
    start = add(c.irs, 1)

    def at(segment: int) -> int:
        return add(start, segment * MSS)

    c.tx("A", ack=start, opts=wire.sack((at(1), at(2))))
    c.tx("A", ack=start, opts=wire.sack((at(1), at(3))))
    for end in range(5, 11):
        c.tx("A", ack=start, opts=wire.sack((at(4), at(end)), (at(1), at(3))))
    again = [_at(c, segment) // MSS for segment in c.burst() if segment.payload]
    assert again[0] == 0
    assert set(again) <= {0, 3}
    c.tx("A", ack=at(3), opts=wire.sack((at(4), at(10))))
    again += [_at(c, segment) // MSS for segment in c.burst() if segment.payload]
    assert sorted(set(again)) == [0, 3]


@pytest.mark.requirement("2018:7")
@pytest.mark.parametrize("name", ["reversed", "empty", "beyond", "below", "whole-space", "tiny", "many", "cut"])
def test_senseless_sack_blocks_do_no_harm(net: Stack, name: str) -> None:
    c = _sender(net, 14_600, sack=True)
    c.burst()
    start = add(c.irs, 1)
    blocks = {
        "reversed": [(add(start, 5 * MSS), add(start, 2 * MSS))],
        "empty": [(add(start, 2 * MSS), add(start, 2 * MSS))],
        "beyond": [(add(start, 20 * MSS), add(start, 40 * MSS))],
        "below": [(add(start, -5000), add(start, -1000))],
        "whole-space": [(start, add(start, -1))],
        "tiny": [(add(start, 3 * MSS + at), add(start, 3 * MSS + at + 1)) for at in (1, 3, 5)],
        "many": [(add(start, at * MSS), add(start, at * MSS + 1)) for at in (2, 4, 6, 8)],
        "cut": [(add(start, MSS), add(start, 2 * MSS))],
    }[name]
    opts = wire.sack(*blocks)
    c.tx("A", ack=start, opts=opts[:-3] if name == "cut" else opts)
    c.host.fence()
    c.tx("A", ack=add(start, 14_600))
    c.host.fence()
    c.segments.clear()
    c.sock.send(1000)
    c.rx_data(1000)
    c.alive()


@pytest.mark.requirement("2018:7")
def test_a_block_of_what_was_not_sent_yet_counts_for_nothing_later(net: Stack) -> None:
    """A recovery may send a segment for every second one that arrives (RFC 6937, 3), so that it takes some more."""
    c = _sender(net, sack=True)
    c.burst()
    start = add(c.irs, 1)
    c.tx("A", ack=start, opts=wire.sack((add(start, 12 * MSS), add(start, 14 * MSS))))
    c.host.fence()
    # In one acknowledgment: the window, and so what recovery may send again, is then the same however fast they come.
    c.tx("A", ack=add(start, 10 * MSS))
    c.burst()  # among it what the block was about
    sent: list[int] = []
    first = ((10, 16), (10, 17), (10, 18), (10, 19), (11, 19), (12, 19))
    for unacknowledged, last in (*first, *((12, last) for last in range(20, 25))):
        block = wire.sack((add(start, 15 * MSS), add(start, last * MSS)))
        c.tx("A", ack=add(start, unacknowledged * MSS), opts=block)
        sent += [_at(c, segment) for segment in c.burst() if segment.payload]
    assert 12 * MSS in sent, "a hole that the peer once called received is not sent again"


@pytest.mark.requirement("2018:7")
def test_thousands_of_one_byte_sack_blocks_are_survived(net: Stack) -> None:
    """CVE-2019-11477 to 11479: the queue is cut into the smallest pieces that SACK can cut it into."""
    c = _sender(net, 30_000, sack=True, mss=536)
    c.burst()
    start = add(c.irs, 1)
    for at in range(1, 3000, 8):
        edges = [(add(start, at + step), add(start, at + step + 1)) for step in (0, 2, 4, 6)]
        c.tx("A", ack=start, opts=wire.sack(*edges))
    c.host.fence()
    c.segments.clear()
    c.host.elapse(0.3)
    received = 0
    while received < 30_000:
        highest = diff(c.rules.max_sent or start, start)
        if highest == received and not c.host.wait(lambda: bool(c.segments), 3.0):
            raise c.host.failure(f"the transfer stopped at {received}")
        received = diff(c.rules.max_sent or start, start)
        c.burst()
        c.tx("A", ack=add(start, received))
        c.host.fence()
    c.alive()


# What the receiver says of losses ----------------------------------------------------------------------------------


@pytest.mark.requirement("2018:4", "2018:2", "2018:1")
def test_each_duplicate_acknowledgment_tells_what_is_held(net: Stack) -> None:
    c = net.est(sack=True)
    start = c.snd
    c.tx("A", seq=add(start, 1000), data=500)
    assert c.rx("A", ack=start).options.sack == [(add(start, 1000), add(start, 1500))]
    c.tx("A", seq=add(start, 1500), data=500)
    assert c.rx("A", ack=start).options.sack == [(add(start, 1000), add(start, 2000))]


@pytest.mark.requirement("2018:2", "2018:3")
@pytest.mark.parametrize("order", [(1, 3, 5), (5, 3, 1), (3, 5, 1), (1, 3, 5, 7), (7, 1, 5, 3)])
@pytest.mark.parametrize("ts", [False, True])
def test_the_first_sack_block_holds_the_latest_segment_and_older_ones_follow(
    net: Stack, order: tuple[int, ...], ts: bool
) -> None:
    c = net.est(sack=True, ts=ts)
    start = c.snd
    seen: list[tuple[int, int]] = []
    room = 3 if ts else 4
    for at in order:
        block = (add(start, 100 * at), add(start, 100 * at + 100))
        c.tx("A", seq=block[0], data=100)
        seen.insert(0, block)
        blocks = c.rx("A", ack=start).options.sack
        assert blocks is not None
        assert blocks[0] == block
        assert blocks == seen[:room]


@pytest.mark.requirement("2018:4")
def test_sack_ends_when_everything_is_there(net: Stack) -> None:
    c = net.est(sack=True)
    start = c.snd
    c.tx("A", seq=add(start, 100), data=100)
    c.rx("A", ack=start)
    c.tx("A", seq=start, data=100)
    c.snd = add(start, 200)
    assert c.rx_ack().options.sack is None


@pytest.mark.requirement("2018:1")
def test_without_permission_there_are_no_sack_blocks(net: Stack) -> None:
    c = net.est()
    c.tx("A", seq=add(c.snd, 1000), data=500)
    assert c.rx("A", ack=c.snd).options.sack is None


@pytest.mark.requirement("2883:1")
def test_a_duplicate_is_reported_once_in_the_first_block(net: Stack) -> None:
    c = net.est(sack=True)
    start = c.snd
    c.tx("PA", data=500)
    c.rx_ack()
    c.tx("PA", seq=start, data=500)
    blocks = c.rx("A", ack=c.snd).options.sack
    if blocks is None:
        pytest.skip("D-SACK is a stack's choice, and this one does without")
    assert blocks == [(start, add(start, 500))]
    c.tx("PA", data=10)
    assert c.rx_ack().options.sack is None


@pytest.mark.requirement("9293:SHLD-31", "2018:7")
def test_a_hole_behind_thousands_of_pieces_is_filled(net: Stack) -> None:
    """Out-of-order exhaustion: every other byte of what the window holds, then the rest."""
    c = net.est(sack=True)
    start = c.snd
    for at in range(1, 4001, 2):
        c.tx("A", seq=add(start, at), data=1)
        if at % 101 == 0:
            c.burst()
    c.burst()
    for at in range(0, 4000, 500):
        c.tx("A", seq=add(start, at), data=500)
    c.snd = add(start, 4000)
    c.tx("A", data=10)
    c.rx_ack()
    assert c.sock.recv_exactly(4010).bad is None


# The timer, as far as a moment of real time shows it -----------------------------------------------------------------


@pytest.mark.requirement("6298:5.4", "6298:5.1", "9293:MUST-19")
def test_the_earliest_segment_is_sent_again_when_nothing_is_acknowledged(net: Stack) -> None:
    c = net.est()
    c.sock.send(4 * MSS)
    assert len(c.burst()) > 1
    c.tx("A", ack=add(c.irs, 1 + MSS))
    c.burst()
    segment = c.rx("A", seq=add(c.irs, 1 + MSS), within=5, track=False)
    assert len(segment.payload) == MSS


@pytest.mark.requirement("5681:LW")
def test_after_a_timeout_one_segment_is_in_flight(net: Stack) -> None:
    c = _sender(net)
    c.burst()
    again = c.rx("A", seq=add(c.irs, 1), within=5, track=False)
    assert len(again.payload) == MSS
    more = [segment for segment in c.burst() if segment.payload]
    assert not more


@pytest.mark.requirement("5681:LW", "5681:SS")
def test_after_a_timeout_slow_start_begins_again(net: Stack) -> None:
    c = _sender(net)
    flight = sum(_sizes(c.burst()))
    c.rx("A", seq=add(c.irs, 1), within=5, track=False)
    c.tx("A", ack=add(c.irs, 1 + MSS))
    sent = sum(_sizes(c.burst()))
    assert sent <= 2 * MSS + MSS, f"{sent} bytes for the first segment acknowledged after a timeout of {flight}"


@pytest.mark.requirement("6298:5.2")
def test_nothing_is_sent_again_once_everything_is_acknowledged(net: Stack) -> None:
    c = net.est()
    c.sock.send(4 * MSS)
    c.rx_data(4 * MSS, reply=True)
    c.host.elapse(0.7)
    c.silent()


@pytest.mark.requirement("6298:5.5", "9293:MUST-18", "9293:MUST-19")
def test_the_timeout_doubles_while_nothing_is_acknowledged(net: Stack) -> None:
    c = net.est()
    c.sock.send(100)
    first = c.rx("A", data=100)
    times = [first.time]
    for _ in range(3):
        times.append(c.rx("A", data=100, within=10, track=False).time)
    gaps = [other - one for one, other in pairwise(times[1:])]
    assert gaps[1] / gaps[0] > 1.5, f"gaps of {gaps} s"


@pytest.mark.requirement("2018:6", "2018:8")
def test_data_that_was_sacked_and_then_lost_is_sent_again(net: Stack) -> None:
    """The receiver reneges: what it had SACKed it never acknowledges, until it is sent once more."""
    c = net.est(sack=True)
    c.sock.send(4 * MSS)
    c.rx_data(4 * MSS)
    start = add(c.irs, 1)
    for _ in range(3):
        c.tx("A", ack=start, opts=wire.sack((add(start, MSS), add(start, 4 * MSS))))
    c.host.fence()
    c.segments.clear()
    acked = 0
    while acked < 4:
        segment = c.rx("A", seq=add(start, acked * MSS), within=8, track=False)
        assert segment.payload == wire.pattern(acked * MSS, MSS)
        acked += 1
        c.tx("A", ack=add(start, acked * MSS))
        for extra in c.burst():
            if extra.payload and diff(extra.seq, add(start, acked * MSS)) == 0:
                c.segments.appendleft(extra)
    c.alive()


@pytest.mark.requirement("5681:IW1")
def test_after_a_lost_syn_ack_the_initial_window_is_one_segment(net: Stack) -> None:
    c, listener = net.syn_received(options={"sndbuf": 1 << 20})
    c.rx("SA", within=5)
    c.tx("A")
    sock = listener.accept()
    sock.send(30_000)
    assert sum(_sizes(c.burst())) <= MSS


@pytest.mark.requirement("3168:1")
def test_ece_is_repeated_until_cwr(net: Stack) -> None:
    c, listener = net.listening()
    c.tx("SEC")
    if not c.rx().flags & wire.ECE:
        pytest.skip("the target does without ECN")
    c.tx("A")
    sock = listener.accept()
    c.tx("PA", data=100, ip={"tos": 3})
    c.host.fence()
    for _ in range(2):
        c.tx("PA", data=100, ip={"tos": 2})
        assert c.rx_ack().flags & wire.ECE
    c.tx("PAC", data=100, ip={"tos": 2})
    c.host.fence()
    c.segments.clear()
    c.tx("PA", data=1460, ip={"tos": 2})
    c.tx("PA", data=1460, ip={"tos": 2})
    assert not c.rx_ack().flags & wire.ECE
    assert sock.recv_exactly(400).bad is None


@pytest.mark.requirement("3168:1", "9293:SHLD-8")
def test_data_bears_ect_where_ecn_was_negotiated_and_answers_ece_by_cwr(net: Stack) -> None:
    c, listener = net.listening(shift=7, window=1 << 20, options={"sndbuf": 1 << 20})
    c.tx("SEC")
    if not c.rx().flags & wire.ECE:
        pytest.skip("the target does without ECN")
    c.tx("A")
    listener.accept().send(200_000)
    first = [segment for segment in c.burst() if segment.payload]
    assert all(segment.ip.tos & 3 in (1, 2) for segment in first)
    c.tx("AE", ack=add(c.irs, 1 + 2 * MSS))
    c.tx("AE")
    after = [segment for segment in c.burst() if segment.payload]
    assert after
    assert any(segment.flags & wire.CWR for segment in after)


@pytest.mark.requirement("5681:CA", "9293:MUST-19")
def test_congestion_avoidance_grows_by_a_segment_a_round_at_most(net: Stack) -> None:
    """After a fast retransmit ssthresh is half of what was in flight; each round is acknowledged segment by segment.

    A sender may come out of recovery with less (RFC 6582, 3.2, step 3: FlightSize and a segment, so that there is no
    burst); up to ssthresh it is in slow start then, and may double. What is bounded is the window: a sender that leaves
    some of it unused, to send more at once with the next acknowledgment, has it a round later.
    """
    c = _sender(net, 600_000)
    half = max(len([segment for segment in c.burst() if segment.payload]) // 2, 2)
    start = add(c.irs, 1)
    for _ in range(6):
        c.tx("A", ack=start)
    c.burst()
    c.tx("A")  # the end of recovery
    flights: list[int] = []
    most = 0
    for _ in range(8):
        flight = [segment for segment in c.burst() if segment.payload]
        flights.append(len(flight))
        most = max(most + 1, min(2 * most, half + 1)) if most else len(flight)
        assert len(flight) <= most, f"flights of {flights} segments, the last at most {most}, ssthresh {half}"
        for segment in flight:
            c.tx("A", ack=add(segment.seq, len(segment.payload)))
    assert max(flights) > half, "the window grew past ssthresh"
