"""Data: in order and out of it, twice and in part, across the wrap of the numbers; acknowledgments; urgent data."""

from __future__ import annotations

import itertools
import zlib

import pytest

from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.sockets import pattern_crc
from keuos_hil.net.tcp import Conversation, Stack

pytestmark = pytest.mark.needs("link", "sockets")

ORDERS = list(itertools.permutations(range(4)))


@pytest.mark.requirement("9293:SHLD-31")
@pytest.mark.parametrize("order", ORDERS, ids=lambda order: "".join(map(str, order)))
def test_segments_in_any_order_make_the_stream(net: Stack, order: tuple[int, ...]) -> None:
    c = net.est()
    start = c.snd
    for at in order:
        c.tx("PA", seq=add(start, 100 * at), data=100)
    c.snd = add(start, 400)
    c.rx_ack()
    got = c.sock.recv_exactly(400)
    assert (got.bad, got.crc) == (None, pattern_crc(400))


@pytest.mark.requirement("9293:S-15")
@pytest.mark.parametrize("left", [-100, -50, -1, 0, 50, 100, 150])
@pytest.mark.parametrize("size", [1, 50, 100, 101, 300])
def test_a_segment_that_overlaps_one_in_the_queue_adds_what_is_new(net: Stack, left: int, size: int) -> None:
    """The stream's bytes 0..100 are there, 200..300 wait in the queue; one more segment comes from 100 + `left` on."""
    c = net.est()
    start = c.snd
    c.tx("PA", data=100)
    c.tx("PA", seq=add(start, 200), data=100)
    c.tx("PA", seq=add(start, 100 + left), data=size)
    c.host.fence()
    c.tx("PA", seq=add(start, 100), data=100)
    c.tx("PA", seq=add(start, 300), data=300)
    c.snd = add(start, 600)
    c.rx_ack()
    got = c.sock.recv_exactly(600)
    assert (got.bad, got.crc, got.total) == (None, pattern_crc(600), 600)


@pytest.mark.requirement("9293:S-15")
@pytest.mark.parametrize("before", [1, 99, 100, 101, 150])
def test_a_segment_that_was_partly_received_is_trimmed(net: Stack, before: int) -> None:
    c = net.est()
    start = c.snd
    c.tx("PA", data=200)
    c.rx_ack()
    c.tx("PA", seq=add(start, 200 - before), data=before + 50)
    c.snd = add(start, 250)
    c.rx_ack()
    got = c.sock.recv_exactly(250)
    assert (got.bad, got.crc) == (None, pattern_crc(250))


@pytest.mark.requirement("9293:S-15")
def test_what_was_delivered_is_not_changed_by_a_later_copy(net: Stack) -> None:
    c = net.est()
    start = c.snd
    c.tx("PA", data=b"A" * 100)
    c.rx_ack()
    c.tx("PA", seq=start, data=b"B" * 150)
    c.snd = add(start, 150)
    c.rx_ack()
    assert c.sock.recv_bytes(150) == b"A" * 100 + b"B" * 50


@pytest.mark.requirement("9293:S-15")
def test_overlapping_copies_in_the_queue_are_delivered_once(net: Stack) -> None:
    """Whose bytes win is the stack's choice; lengths are not."""
    c = net.est()
    start = c.snd
    c.tx("PA", seq=add(start, 100), data=b"B" * 100)
    c.tx("PA", seq=add(start, 150), data=b"C" * 100)
    c.tx("PA", seq=add(start, 50), data=b"D" * 100)
    c.tx("PA", seq=start, data=b"A" * 60)
    c.snd = add(start, 250)
    c.rx_ack()
    text = c.sock.recv_bytes(1000)
    assert len(text) == 250
    assert text[:50] == b"A" * 50
    assert text[200:] == b"C" * 50


@pytest.mark.requirement("9293:S-17")
@pytest.mark.parametrize("iss", [0xFFFF_FFFF, 0xFFFF_FFFE, 0xFFFF_FF00, 0x7FFF_FFFF, 0x7FFF_FF00, 0, 0xFFFF_F000])
def test_a_stream_crosses_the_wrap_of_our_numbers(net: Stack, iss: int) -> None:
    c = net.est(iss=iss)
    for _ in range(8):
        c.tx("PA", data=1000)
        c.rx_ack()
    got = c.sock.recv_exactly(8000)
    assert (got.bad, got.crc) == (None, pattern_crc(8000))
    c.tx("FA")
    c.rx_ack()
    assert c.sock.recv().end


@pytest.mark.requirement("9293:S-17", "9293:SHLD-31")
@pytest.mark.parametrize("iss", [0xFFFF_FF00, 0x7FFF_FF00])
def test_segments_out_of_order_are_put_together_across_the_wrap(net: Stack, iss: int) -> None:
    c = net.est(iss=iss)
    start = c.snd
    for at in (3, 1, 2, 0):
        c.tx("PA", seq=add(start, 200 * at), data=200)
    c.snd = add(start, 800)
    c.rx_ack()
    assert c.sock.recv_exactly(800).bad is None


@pytest.mark.requirement("9293:S-17")
@pytest.mark.timed(20)
def test_a_stream_crosses_the_wrap_of_the_targets_numbers(net: Stack) -> None:
    """As much as it takes from the ISN that the target chose: one that lies near the end is looked for."""
    listener, port = net.listen(sndbuf=1 << 20)
    for _ in range(2000):
        c = net.talk(port, shift=7, window=1 << 20)
        c.tx("S")
        if (1 << 32) - c.rx("SA", ack=c.snd).seq < 16 << 20:
            break
        c.tx("R", remark="too far from the wrap")
        net.conversations.remove(c)
    else:
        pytest.skip("no initial sequence number near the wrap in 2000 connections")
    c.tx("A")
    c.app = listener.accept()
    left = (1 << 32) - c.irs + 100_000
    while left > 0:
        left -= c.sock.send(min(left, 500_000)) if left else 0
        while c.burst():
            c.tx("A")
    c.tx("PA", data=10)
    c.rx_ack()
    assert c.sock.recv_exactly(10).bad is None


@pytest.mark.requirement("862:1")
@pytest.mark.parametrize("size", [1, 536, 1460, 1461, 20_000, 100_000])
def test_a_transfer_in_each_direction_is_whole(net: Stack, size: int) -> None:
    c = net.est(options={"sndbuf": 400_000, "rcvbuf": 400_000})
    crc = sent = 0
    while sent < size:  # as much at a time as the target's buffer takes
        count = c.sock.send(size - sent)
        for segment in c.rx_data(count, reply=True):
            crc = zlib.crc32(segment.payload, crc)
        sent += count
    assert crc == pattern_crc(size)
    sent = 0
    while sent < size:
        count = min(1460, size - sent)
        c.tx("PA", data=count)
        sent += count
        if diff(c.edge, c.snd) < 1460:
            c.rx_ack()
            c.sock.recv()
            c.host.fence()
    c.rx_ack()
    c.tx("PA", data=1)
    got = c.sock.recv_exactly(1)
    while got.total < size + 1:
        got = c.sock.recv()
    assert (got.total, got.bad, got.crc) == (size + 1, None, pattern_crc(size + 1))


# Acknowledgments ---------------------------------------------------------------------------------------------------


@pytest.mark.requirement("9293:MUST-40")
def test_a_single_small_segment_is_acknowledged_within_half_a_second(net: Stack) -> None:
    c = net.est()
    c.sock.send(1)  # a stack that acknowledges at once while a connection is young has left that behind
    c.rx("A", data=1)
    c.tx("PA", data=1)
    start = c.host.clock.now()
    c.rx_ack()
    assert c.host.clock.now() - start < 0.5


@pytest.mark.requirement("9293:SHLD-18")
def test_the_acknowledgment_of_a_request_rides_on_the_answer(net: Stack) -> None:
    c = net.est()
    for _ in range(3):
        c.tx("PA", data=100)
        c.sock.recv_exactly(100)
        c.sock.send(100)
        c.host.fence()
        first = next(segment for segment in c.segments if segment.payload)
        assert first.ack == c.snd
        c.rx_data(100)
        c.tx("A")


@pytest.mark.requirement("9293:SHLD-19", "5681:ACK2", "9293:MUST-58")
def test_every_second_full_segment_is_acknowledged_and_no_segment_twice(net: Stack) -> None:
    c = net.est()
    count = 0
    for _ in range(10):
        c.tx("A", data=1460)
        c.tx("A", data=1460)
        acks = [segment for segment in c.burst() if not segment.payload]
        assert acks
        assert acks[-1].ack == c.snd
        assert len(acks) <= 2
        count += len(acks)
        c.sock.recv()
        c.burst()
    assert count <= 20


@pytest.mark.requirement("9293:MUST-59", "5681:ACK1")
def test_filling_a_hole_is_acknowledged_at_once_and_once(net: Stack) -> None:
    c = net.est()
    start = c.snd
    for at in (1, 2, 3, 4):
        c.tx("A", seq=add(start, 1000 * at), data=1000)
    c.burst()
    c.tx("A", seq=start, data=1000)
    acks = c.burst()
    assert [diff(segment.ack, start) for segment in acks] == [5000]


@pytest.mark.requirement("9293:MAY-13", "5681:ACK1")
def test_each_segment_out_of_order_is_answered_at_once_by_a_duplicate_ack(net: Stack) -> None:
    c = net.est()
    for at in (1, 2, 3):
        c.tx("A", seq=add(c.snd, 1000 * at), data=1000)
        assert [segment.ack for segment in c.burst()] == [c.snd]


@pytest.mark.requirement("5681:ACK1")
def test_filling_part_of_a_hole_is_acknowledged_at_once(net: Stack) -> None:
    c = net.est()
    c.tx("A", seq=add(c.snd, 2000), data=1000)
    c.rx("A", ack=c.snd)
    c.tx("A", data=500)
    assert [segment.ack for segment in c.burst()] == [c.snd]


@pytest.mark.requirement("9293:S-10")
def test_data_without_the_ack_flag_is_not_delivered(net: Stack) -> None:
    c = net.est()
    c.tx("P", seq=c.snd, data=100)
    c.silent()
    assert c.sock.nothing()


@pytest.mark.requirement("9293:S-11")
@pytest.mark.parametrize("ahead", [1, 1000, 1 << 30])
def test_data_that_acknowledges_what_was_not_sent_is_not_delivered(net: Stack, ahead: int) -> None:
    c = net.est()
    c.tx("PA", seq=c.snd, ack=add(c.rcv, ahead), data=100)
    c.rx("A", seq=c.rcv, ack=c.snd)
    assert c.sock.nothing()


@pytest.mark.requirement("5961:ACK-1", "9293:MAY-12")
@pytest.mark.parametrize("behind", [0x2000_0000, 0x7FFF_0000])
def test_data_with_an_acknowledgment_that_is_far_too_old_is_not_delivered(net: Stack, behind: int) -> None:
    c = net.est()
    c.tx("PA", seq=c.snd, ack=add(c.rcv, -behind), data=100)
    c.rx("A", seq=c.rcv, ack=c.snd)
    assert c.sock.nothing()


@pytest.mark.requirement("5961:ACK-1")
def test_data_with_an_acknowledgment_that_is_a_little_old_is_delivered(net: Stack) -> None:
    c = net.est()
    c.sock.send(500)
    c.rx_data(500)
    c.tx("A")
    c.tx("PA", ack=add(c.rcv, -200), data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:S-12")
def test_an_old_segment_does_not_change_the_window(net: Stack) -> None:
    c = net.est()
    c.tx("PA", data=100)
    c.tx("PA", data=100)
    c.rx_ack()
    c.tx("A", seq=add(c.snd, -100), data=50, win=10)
    c.burst()
    c.sock.send(2920)
    c.rx_data(2920)


@pytest.mark.requirement("9293:S-12")
def test_a_segment_that_was_overtaken_does_not_change_the_window(net: Stack) -> None:
    """It is older than the one whose window is in force (SND.WL1), though its data is new."""
    c = net.est()
    c.tx("A", seq=add(c.snd, 100), data=100)
    c.tx("A", data=100, win=10)
    c.rx_ack(add(c.snd, 100))
    c.sock.send(2920)
    c.rx_data(2920)


@pytest.mark.requirement("9293:S-12")
def test_a_window_update_with_the_same_numbers_and_a_smaller_window_is_taken(net: Stack) -> None:
    """SND.WL1 = SEG.SEQ and SND.WL2 =< SEG.ACK: the latest segment of equal numbers counts."""
    c = net.est()
    c.tx("A", win=2920)
    c.sock.send(5000)
    assert sum(len(segment.payload) for segment in c.burst()) == 2920


@pytest.mark.requirement("9293:S-12")
def test_a_window_update_with_the_same_numbers_and_a_larger_window_is_taken(net: Stack) -> None:
    c = net.est(window=1000)
    c.sock.send(5000)
    c.rx_data(1000)
    c.tx("A", win=2000)
    c.rx_data(2000)
    c.tx("A", ack=add(c.rcv, -2000), win=4000 + 2000)
    assert c.flight >= 0


# PSH ---------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("9293:MUST-61", "9293:MUST-60")
@pytest.mark.parametrize("size", [1, 1460, 1461, 5000])
def test_the_last_segment_of_a_write_bears_psh(net: Stack, size: int) -> None:
    c = net.est()
    c.sock.send(size)
    taken = c.rx_data(size, reply=True)
    assert taken[-1].flags & wire.PSH


@pytest.mark.requirement("9293:MUST-60")
def test_data_without_psh_is_delivered(net: Stack) -> None:
    c = net.est()
    c.tx("A", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:SHLD-27", "9293:SHLD-28", "9293:MAY-16")
def test_writes_that_wait_for_a_window_leave_in_full_segments(net: Stack) -> None:
    c = net.est(window=0)
    for _ in range(50):
        c.sock.send(100)
    c.host.fence()
    c.segments.clear()
    c.window = 0xFFFF
    c.tx("PA", data=1)
    taken = c.rx_data(5000, reply=True)
    assert max(len(segment.payload) for segment in taken) == 1460
    assert len(taken) <= 5


# Nagle -------------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("9293:SHLD-7")
def test_a_second_small_write_waits_for_the_first_to_be_acknowledged(net: Stack) -> None:
    c = net.est()
    c.sock.send(10)
    c.rx("A", data=10)
    c.sock.send(20)
    c.sock.send(30)
    c.silent()
    c.tx("A")
    c.rx("A", data=50)


@pytest.mark.requirement("9293:MUST-17")
def test_nagle_can_be_switched_off(net: Stack) -> None:
    c = net.est()
    c.sock.set("nodelay", 1)
    for size in (10, 20, 30):
        c.sock.send(size)
        c.rx("A", data=size)


@pytest.mark.requirement("9293:SHLD-7")
def test_full_segments_do_not_wait(net: Stack) -> None:
    c = net.est()
    c.sock.send(10)
    c.rx("A", data=10)
    c.sock.send(1460 * 2 + 5)
    full = [len(segment.payload) for segment in c.burst() if segment.payload]
    assert full == [1460, 1460]
    c.tx("A")
    c.rx("A", data=5)


# Urgent data -------------------------------------------------------------------------------------------------------


@pytest.mark.requirement("9293:MUST-30", "9293:MUST-31", "9293:MUST-32")
@pytest.mark.parametrize("pointer", [1, 50, 100, 101, 150, 1000, 5000, 0xFFFF])
def test_urgent_data_is_told_and_no_byte_is_lost(net: Stack, pointer: int) -> None:
    """Inline, so that each byte stays in the stream, wherever the stack sees the urgent one."""
    c = net.est(options={"oobinline": 1})
    before = c.sock.notices()
    c.tx("PUA", data=100, urg=pointer)
    c.rx_ack()
    assert c.sock.notices() == before + 1
    if pointer <= 100:
        assert "u" in c.sock.ready()
    for _ in range(20):
        c.tx("PA", data=100)
        c.rx_ack()
    got = 0
    while got < 2100:
        part = c.sock.recv(2100 - got)
        assert part.bad is None
        got += part.count


@pytest.mark.requirement("9293:MUST-30")
@pytest.mark.parametrize("pointer", [0, 1])
def test_an_urgent_pointer_without_the_flag_means_nothing(net: Stack, pointer: int) -> None:
    c = net.est()
    before = c.sock.notices()
    c.tx("PA", data=100, urg=pointer)
    c.host.fence()
    assert "u" not in c.sock.ready()
    assert c.sock.recv_exactly(100).bad is None
    assert c.sock.notices() == before


@pytest.mark.requirement("9293:MUST-31")
def test_urgent_data_may_span_segments(net: Stack) -> None:
    c = net.est(options={"oobinline": 1})
    for at in range(5):
        c.tx("PUA", data=100, urg=500 - 100 * at)
    assert "u" in c.sock.ready()
    assert c.sock.recv_exactly(500).bad is None


@pytest.mark.requirement("9293:MUST-33")
def test_an_application_can_tell_whether_urgent_data_remains(net: Stack) -> None:
    c = net.est(options={"oobinline": 1})
    c.tx("PA", data=10)
    c.tx("PUA", data=10, urg=10)
    c.tx("PA", data=10)
    c.rx_ack()
    marks = []
    for _ in range(30):
        marks.append(c.sock.at_mark())
        c.sock.recv_bytes(1)
    assert marks.count(True) == 1
    assert 18 <= marks.index(True) <= 20


@pytest.mark.requirement("9293:MUST-62", "9293:MUST-30")
def test_the_urgent_pointer_points_behind_the_urgent_octet(net: Stack) -> None:
    c = net.est()
    c.sock.send(10)
    c.rx_data(10)
    c.tx("A")
    c.sock.send(1, "u")
    segment = c.rx("UA", data=1)
    assert segment.urgent == 1


@pytest.mark.requirement("9293:MUST-62")
def test_urgent_data_in_the_middle_of_a_write_is_found_by_the_pointer(net: Stack) -> None:
    c = net.est(window=0)
    c.sock.send(20)
    c.sock.send(5, "u")
    c.window = 0xFFFF
    c.host.fence()
    c.segments.clear()
    c.tx("PA", data=1)
    segment = c.rx_data(25)[0]
    assert segment.flags & wire.URG
    assert segment.urgent == 25


# The window that is full -------------------------------------------------------------------------------------------


def _fill(c: Conversation) -> int:
    """Send until the target's window is closed; how much that was."""
    total = 0
    while (room := diff(c.edge, c.snd)) > 0:
        count = min(1460, room)
        c.tx("A", data=count)
        total += count
        if room <= 1460 or total % 14600 == 0:
            c.rx_ack()
    return total


@pytest.mark.requirement("9293:S-08", "9293:SHLD-14")
def test_a_window_that_was_offered_can_be_filled(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 20_000})
    total = _fill(c)
    assert c.target_window == 0
    assert c.sock.recv_exactly(total).bad is None


@pytest.mark.requirement("9293:S-08")
def test_data_behind_a_full_window_is_answered_and_dropped(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 20_000})
    total = _fill(c)
    c.tx("A", seq=c.snd, data=100)
    c.rx("A", ack=c.snd, win=0)
    assert c.sock.recv_exactly(total).total == total
    assert c.sock.nothing()


@pytest.mark.requirement("9293:MUST-66", "5961:RST-1")
def test_a_reset_is_taken_while_the_window_is_closed(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 20_000})
    _fill(c)
    c.tx("R")
    c.silent()
    c.gone()


@pytest.mark.requirement("9293:MUST-66")
def test_an_ack_is_taken_while_the_window_is_closed(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 20_000}, window=1000)
    _fill(c)
    c.sock.send(3000)
    c.rx_data(1000)
    c.tx("A")
    c.rx_data(1000)


@pytest.mark.requirement("9293:MUST-66")
def test_urgent_notice_is_taken_while_the_window_is_closed(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 20_000})
    _fill(c)
    before = c.sock.notices()
    c.tx("UA", urg=10)
    c.host.fence()
    assert c.sock.notices() == before + 1


@pytest.mark.requirement("9293:MUST-39")
def test_a_receiver_opens_its_window_in_steps_worth_a_segment(net: Stack) -> None:
    """The application reads a few bytes at a time; the window stays closed until a segment or half the buffer fits."""
    c = net.est(options={"rcvbuf": 20_000})
    total = _fill(c)
    buffer = total
    read = 0
    while read < 20 * 100 and read < total:
        read += c.sock.recv(100).count
        for segment in c.burst():
            window = c.rules.scaled(segment)
            assert window == 0 or window >= min(1460, buffer // 2), f"a window of {window} after {read} bytes"


@pytest.mark.requirement("9293:SHLD-14")
def test_a_window_update_follows_when_the_application_reads(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 20_000})
    total = _fill(c)
    c.sock.recv_exactly(total)
    c.host.fence()
    assert c.target_window >= 1460
    c.tx("A", data=1000)
    assert c.sock.recv_exactly(1000).bad is None


@pytest.mark.requirement("9293:SHLD-14")
def test_the_right_edge_stays_when_the_buffer_is_made_smaller(net: Stack) -> None:
    c = net.est(options={"rcvbuf": 60_000})
    edge = c.edge
    c.sock.set("rcvbuf", 4096)
    c.tx("A", data=1000)
    c.rx_ack()
    assert diff(c.edge, edge) >= 0
    while diff(edge, c.snd) > 0:
        c.tx("A", data=min(1000, diff(edge, c.snd)))
    c.host.fence()
    while not c.sock.nothing():
        assert c.sock.recv().bad is None
