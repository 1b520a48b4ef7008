"""How NetD's sender notices losses that no duplicates tell of (RFC 8985), and what two stacks make of a bad wire."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.netd.stack import Peer

MSS = 1460


@pytest.fixture
def sender(stack, accepted):
    """Makes (peer, socket) of a connection whose round trip is some 10 ms, and which has sent so many segments."""

    def make(segments: int, *, sack: bool = True) -> tuple[Peer, int]:
        peer, socket = accepted(sack=sack)
        stack.write(socket, b"measured")
        stack.advance(0.01)
        peer.take()
        peer.tx(".")
        stack.write(socket, bytes(segments * MSS))
        left = [s for s in peer.mine() if s.data]
        assert [(s.seq - peer.ack) // MSS for s in left] == list(range(segments))
        return peer, socket

    return make


def again(peer: Peer) -> list[int]:
    """The segments of data that were sent since, by their place in what `sender` wrote."""
    return [(s.seq - peer.ack) // MSS for s in peer.mine() if s.data]


def sacked(peer: Peer, *blocks: tuple[int, int]) -> None:
    """An acknowledgment of segments [first, last) behind holes, which the stack deals with before the next comes."""
    peer.tx_blind(".", sack=[(peer.ack + first * MSS, peer.ack + last * MSS) for first, last in blocks])
    peer.stack.advance(0)


def test_a_tail_that_nobody_acknowledges_is_probed_by_its_last_segment(stack, sender):
    peer, _ = sender(3)
    stack.advance(0.05)
    assert again(peer) == [2]
    stack.advance(0.5)
    assert again(peer) == [], "one probe"
    assert stack.counters()["tcp_tail_probes"] == 1
    assert stack.counters()["tcp_timeouts"] == 0


def test_the_probe_brings_back_what_was_lost_before_it(stack, sender):
    peer, _ = sender(3)
    stack.advance(0.05)
    assert again(peer) == [2]
    sacked(peer, (2, 3))
    stack.advance(0.05)
    assert again(peer)[0] == 0
    assert stack.counters()["tcp_timeouts"] == 0


def test_a_single_segment_is_not_probed_while_its_acknowledgment_may_be_delayed(stack, sender):
    peer, _ = sender(1)
    stack.advance(0.19)
    assert again(peer) == []
    stack.advance(0.1)
    assert again(peer) == [0]


def test_new_data_is_a_probe_if_there_is_any(stack, sender):
    peer, socket = sender(3)
    stack.write(socket, bytes(20 * MSS))
    assert again(peer) == list(range(3, 10)), "the initial window"
    stack.advance(0.05)
    assert again(peer) == [10]


def test_without_sack_only_the_timer_tells(stack, sender):
    peer, _ = sender(3, sack=False)
    stack.advance(0.9)
    assert again(peer) == []
    stack.advance(0.2)
    assert again(peer) == [0]


def test_a_hole_is_repaired_after_a_quarter_of_a_round_trip(stack, sender):
    peer, _ = sender(3)
    sacked(peer, (2, 3))
    assert again(peer) == []
    stack.advance(0.01)
    assert again(peer) == [0]
    assert stack.counters()["tcp_timeouts"] == 0


def test_a_hole_that_is_filled_in_time_is_not_repaired(stack, sender):
    peer, _ = sender(3)
    sacked(peer, (1, 2))
    peer.ack += 3 * MSS
    peer.tx(".")
    stack.advance(3)
    assert stack.counters()["tcp_retransmitted"] == 0


def test_a_repair_that_is_lost_is_sent_again_without_a_timeout(stack, sender):
    peer, socket = sender(8)
    stack.write(socket, bytes(20 * MSS))
    again(peer)
    for last in (2, 3, 4, 5, 6, 7, 8, 9, 10):
        sacked(peer, (1, last))
    sent = again(peer)
    assert sent[:3] == [10, 11, 0], "the first two duplicates each let a new segment out (RFC 3042)"
    assert sent.count(0) == 1
    window = stack.info(socket)["ssthresh"]
    for last in range(11, max(sent) + 2):  # what left behind the repair arrives, and the repair does not
        sacked(peer, (1, last))
    assert again(peer).count(0) == 1
    assert stack.info(socket)["ssthresh"] <= window // 2 + MSS
    assert stack.counters()["tcp_timeouts"] == 0


def test_a_loss_beyond_a_recovery_begins_the_next_at_once(stack, sender):
    peer, socket = sender(8)
    stack.write(socket, bytes(20 * MSS))
    again(peer)
    for last in (2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12):
        sacked(peer, (1, last))
    highest = max(again(peer)) + 1
    assert highest > 15
    before = stack.counters()["tcp_fast_retransmits"]
    at = peer.ack
    peer.ack += 12 * MSS  # the repair has arrived, and all that left before it; segment 12 is the hole now
    peer.tx_blind(".", sack=[(at + 13 * MSS, at + highest * MSS)])
    assert again(peer)[0] == 0
    assert stack.counters()["tcp_fast_retransmits"] == before + 1


@pytest.mark.parametrize("twice", [False, True], ids=["lost", "late"])
def test_a_loss_that_a_probe_repaired_is_congestion_and_a_late_segment_is_not(stack, sender, twice):
    peer, socket = sender(4)
    window = stack.info(socket)["cwnd"]
    stack.advance(0.05)
    assert again(peer) == [3]
    peer.ack += 4 * MSS
    peer.tx(".")
    if twice:  # the original was there already: the probe is answered too
        peer.tx(".")
    stack.write(socket, b"more")
    peer.take()
    peer.tx(".")
    after = stack.info(socket)["cwnd"]
    assert after >= window if twice else after <= window // 2 + MSS


def test_a_bad_wire_is_no_wait_for_timers(build):
    """In the time of a clock that nobody waits for: 2 ms there and back, and 1 % of each of four troubles."""
    totals: dict[str, int] = {}
    for seed in range(1, 6):
        command = [build / "transfer", str(4 << 20), "1000", "1", str(seed)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        for name, value in re.findall(r"(\w+) (\d+)", done.stdout):
            totals[name] = totals.get(name, 0) + int(value)
    assert totals["recoveries"] > 200, "the wire is bad"
    assert totals["timeouts"] * 40 < totals["recoveries"], totals
