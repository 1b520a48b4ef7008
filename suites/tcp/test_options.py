"""TCP options: every one that is known, every one that is not, and lengths that lie."""

from __future__ import annotations

import pytest

from keuos_hil.net import wire
from keuos_hil.net.seq import add
from keuos_hil.net.tcp import Stack

pytestmark = pytest.mark.needs("link", "sockets")

MSS = wire.mss(1000)
NOP = b"\1"


def _option(kind: int, size: int) -> bytes:
    return bytes((kind, size)) + bytes(max(size - 2, 0))


WELL_FORMED = {
    "none": b"",
    "mss": MSS,
    "nop-mss": NOP + MSS,
    "nop-nop-mss": NOP * 2 + MSS,
    "three-nops-mss": NOP * 3 + MSS,
    "eol": b"\0",
    "mss-eol": MSS + b"\0",
    "all-nops": NOP * 40,
    "mss-twice": wire.mss(600) + MSS,
    "unknown-253-mss": _option(253, 4) + MSS,
    "unknown-254-odd-mss": _option(254, 5) + MSS,
    "unknown-200-bare-mss": _option(200, 2) + MSS,
    "unknown-longest": _option(253, 36) + MSS,
    "unknown-full": _option(77, 40),
    "md5": _option(19, 18) + MSS,
    "tcp-ao": _option(29, 16) + MSS,
    "mptcp": _option(30, 12) + MSS,
    "fast-open": _option(34, 6) + MSS,
    "sack-in-syn": wire.sack((1, 2)) + MSS,
    "everything": MSS + wire.sack_ok() + wire.timestamps(1, 0) + NOP + wire.wscale(3),
}


@pytest.mark.requirement("9293:MUST-4", "9293:MUST-6", "9293:MUST-64")
@pytest.mark.parametrize("name", WELL_FORMED)
def test_a_syn_opens_whatever_options_it_bears(net: Stack, name: str) -> None:
    options = WELL_FORMED[name]
    if name == "md5":
        pytest.skip("a stack may refuse a signature that it holds no key for")
    c, listener = net.listening()
    c.tx("S", opts=options)
    c.rx("SA", ack=c.snd)
    c.tx("A", opts=wire.timestamps(2, 0) if name == "everything" else b"")
    sock = listener.accept()
    sock.send(3000)
    net.host.fence()
    sizes = [len(segment.payload) for segment in c.segments if segment.payload]
    longest = {"none": 536, "eol": 536, "all-nops": 536, "unknown-full": 536}.get(name, 1000)
    assert max(sizes) <= longest
    if name != "mss-twice":
        assert max(sizes) >= longest - 12


HOSTILE = {
    "length-0": _option(8, 0) + bytes(8),
    "length-1": bytes((8, 1)) + bytes(10),
    "unknown-length-0": bytes((253, 0)) + bytes(10),
    "unknown-length-1": bytes((253, 1)) + bytes(10),
    "past-the-header": bytes((253, 40)) + bytes(2),
    "length-255": bytes((253, 255)) + bytes(2),
    "kind-without-length": NOP * 3 + b"\x08",
    "mss-length-3": bytes((2, 3, 5)) + NOP,
    "mss-length-5": bytes((2, 5, 5, 5, 5)) + NOP * 3,
    "mss-length-0": bytes((2, 0, 5, 5)),
    "mss-length-2": bytes((2, 2)) + NOP * 2,
    "wscale-length-2": bytes((3, 2)) + NOP * 2,
    "wscale-length-4": bytes((3, 4, 1, 1)),
    "sack-ok-length-3": bytes((4, 3, 0)) + NOP,
    "timestamps-length-9": bytes((8, 9)) + bytes(10),
    "timestamps-length-11": bytes((8, 11)) + bytes(10),
    "timestamps-cut": NOP * 2 + bytes((8, 10)) + bytes(4),
    "sack-length-9": bytes((5, 9)) + bytes(10),
    "sack-length-2": bytes((5, 2)) + NOP * 2,
    "sack-length-255": bytes((5, 255)) + bytes(10),
    "behind-eol": b"\0" + MSS + NOP * 3,
    "all-ones": b"\xff" * 40,
}


@pytest.mark.requirement("9293:MUST-7")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_syn_with_a_lying_option_does_no_harm(net: Stack, name: str) -> None:
    """It may be answered or dropped; the target lives and the next client comes in."""
    c, listener = net.listening()
    c.tx("S", opts=HOSTILE[name])
    c.host.fence()
    other = net.talk(c.target_port)
    other.tx("S")
    other.rx("SA", ack=other.snd)
    other.tx("A")
    assert listener.accept().peer == (wire.dotted(other.source), other.port)


@pytest.mark.requirement("9293:MUST-7")
@pytest.mark.parametrize("name", HOSTILE)
def test_data_with_a_lying_option_does_no_harm(net: Stack, name: str) -> None:
    c = net.est()
    c.tx("PA", data=100, opts=HOSTILE[name])
    c.host.fence()
    c.tx("PA", seq=add(c.iss, 1), data=100)
    assert c.sock.recv_exactly(100).bad is None
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:MUST-5", "9293:MUST-6")
@pytest.mark.parametrize("name", [n for n in WELL_FORMED if n not in ("md5", "tcp-ao")])
def test_data_is_delivered_whatever_options_it_bears(net: Stack, name: str) -> None:
    c = net.est()
    c.tx("PA", data=100, opts=WELL_FORMED[name])
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("9293:MUST-5")
@pytest.mark.parametrize("name", ["unknown-253-mss", "all-nops", "everything"])
def test_a_fin_and_an_ack_may_bear_options(net: Stack, name: str) -> None:
    c = net.est()
    c.sock.send(10)
    c.rx("A", data=10)
    c.tx("A", opts=WELL_FORMED[name])
    c.tx("FA", opts=WELL_FORMED[name])
    c.rx_ack()
    assert c.sock.recv().end


@pytest.mark.requirement("9293:MUST-65")
def test_an_mss_outside_a_syn_is_ignored(net: Stack) -> None:
    c = net.est(mss=1000)
    c.tx("A", opts=wire.mss(100))
    c.sock.send(1000)
    c.rx("A", data=1000)


@pytest.mark.requirement("9293:MUST-15")
@pytest.mark.parametrize("active", [False, True])
def test_without_an_mss_option_segments_hold_536_bytes_at_most(net: Stack, active: bool) -> None:
    c = net.active(mss=None) if active else net.est(mss=None)
    c.sock.send(3000)
    taken = c.rx_data(3000, reply=True)
    assert max(len(segment.payload) for segment in taken) == 536


@pytest.mark.requirement("9293:MUST-14", "9293:MUST-16", "9293:SHLD-28")
@pytest.mark.parametrize("mss", [100, 256, 536, 1000, 1460, 9000, 65535])
@pytest.mark.parametrize("ts", [False, True])
def test_segments_hold_what_the_peers_mss_allows(net: Stack, mss: int, ts: bool) -> None:
    c = net.est(mss=mss, ts=ts, options={"sndbuf": 1 << 20})
    c.sock.send(4000)
    taken = c.rx_data(4000, reply=True)
    bound = min(mss, net.host.network.mtu - 40) - (12 if ts else 0)
    assert max(len(segment.payload) for segment in taken) == bound


@pytest.mark.requirement("9293:MUST-16")
@pytest.mark.parametrize("mss", [0, 1, 8, 40])
def test_a_tiny_mss_does_not_make_a_flood_of_tiny_segments(net: Stack, mss: int) -> None:
    """A floor on the MSS is wise: RFC 9293 sets none, and what a stack chooses is its own, but bytes keep flowing."""
    c = net.est(mss=mss, options={"sndbuf": 1 << 20})
    c.rules.allowed.add("mss")
    c.sock.send(2000)
    taken = c.rx_data(2000, reply=True)
    assert len(taken) <= 2000 // 8


@pytest.mark.requirement("7323:WS1")
@pytest.mark.parametrize("shift", [0, 1, 7, 14])
def test_window_scale_is_answered_when_it_was_offered(net: Stack, shift: int) -> None:
    c, _ = net.syn_received(shift=shift)
    assert c.last is not None
    assert c.last.options.wscale is not None


@pytest.mark.requirement("7323:WS1")
def test_window_scale_is_not_offered_where_the_syn_had_none(net: Stack) -> None:
    c, _ = net.syn_received()
    assert c.last is not None
    assert c.last.options.wscale is None


@pytest.mark.requirement("7323:WS1", "9293:REC-1", "9293:MUST-1")
def test_a_scaled_window_is_used_to_its_end(net: Stack) -> None:
    c = net.est(shift=4, window=100_000, options={"sndbuf": 1 << 20})
    c.sock.send(200_000)
    taken, count = 0, 0
    while taken < 100_000:
        for segment in c.rx_data(1460):
            taken += len(segment.payload)
            count += 1
        c.tx("A")
    assert count >= 100_000 // 1460


@pytest.mark.requirement("7323:WS1")
def test_a_scaled_window_is_filled(net: Stack) -> None:
    """The header's field alone would be a window of 156 bytes."""
    c = net.est(shift=7, window=20_000)
    c.sock.send(60_000)
    flights = []
    for _ in range(4):
        segments = c.burst()
        flights.append(sum(len(segment.payload) for segment in segments))
        for segment in segments:
            c.tx("A", ack=add(segment.seq, segment.length))
    assert max(flights) > 10_000


@pytest.mark.requirement("7323:WS1")
def test_without_scaling_from_the_peer_the_window_is_taken_as_it_stands(net: Stack) -> None:
    """The target offered window scaling; the SYN-ACK has none."""
    c = net.syn_sent(window=1000)
    c.tx("SA")
    c.rx("A", ack=c.snd)
    c.sock.send(5000)
    c.rx_data(1000)
    c.silent()


@pytest.mark.requirement("7323:WS2")
def test_the_window_of_a_syn_is_not_scaled(net: Stack) -> None:
    c, listener = net.listening(shift=7)
    c.tx("S", win=500)
    c.rx("SA")
    c.tx("A", win=500 >> 7)
    sock = listener.accept()
    sock.send(5000)
    got = sum(len(segment.payload) for segment in c.burst())
    assert got <= 500


@pytest.mark.requirement("7323:WS2")
def test_the_window_of_the_peers_syn_ack_is_not_scaled(net: Stack) -> None:
    c = net.syn_sent(shift=7)
    c.tx("SA", win=500)
    c.rx("A", ack=c.snd)
    c.sock.send(5000)
    assert sum(len(segment.payload) for segment in c.burst()) <= 500


@pytest.mark.requirement("7323:WS2")
def test_the_window_of_a_syn_ack_is_not_scaled_either(net: Stack) -> None:
    """What the SYN-ACK offers as it stands is about what the next segment offers scaled."""
    c = net.est(shift=7)
    assert c.last is not None
    offered = c.last.window
    c.tx("PA", data=1)
    c.rx_ack()
    assert offered >= min(c.target_window // 4, 0xC000), f"{offered} bytes in the SYN-ACK, {c.target_window} behind it"


@pytest.mark.requirement("7323:WS2")
@pytest.mark.parametrize("active", [False, True], ids=["passive", "simultaneous"])
def test_a_window_before_the_handshake_is_complete_is_scaled(net: Stack, active: bool) -> None:
    """What answers an unacceptable segment in SYN-RECEIVED is no SYN: its window must not be taken back afterwards."""
    c = net.simultaneous(shift=7) if active else net.syn_received(shift=7)[0]
    c.tx("A", seq=add(c.snd, -100), data=b"\0")
    c.rx("A")
    c.tx("A")
    c.tx("PA", data=1)
    c.rx_ack()  # the rules look at the right edge


@pytest.mark.requirement("7323:WS3")
@pytest.mark.parametrize("shift", [15, 30, 255])
def test_a_shift_over_14_counts_as_14(net: Stack, shift: int) -> None:
    c = net.est(shift=shift, window=1 << 14)
    c.sock.send(50_000)
    sizes = []
    for _ in range(5):  # until more than the window would fit the congestion window, and a scale of 15
        sizes.append(sum(len(segment.payload) for segment in c.burst(0.05)))  # Linux spreads it over a moment
        c.tx("A", win=1)
        c.sock.send(sizes[-1])  # a small buffer has room again
    assert max(sizes) <= 1 << 14
    assert sizes[-1] > (1 << 14) - 1460


@pytest.mark.requirement("7323:WS5", "7323:WS1")
def test_window_scale_outside_a_syn_changes_nothing(net: Stack) -> None:
    c = net.est()
    c.tx("PA", data=1)
    c.tx("PA", data=1, win=2920, opts=NOP + wire.wscale(10))
    c.sock.send(5000)
    got = sum(len(segment.payload) for segment in c.burst())
    assert got == 2920


@pytest.mark.requirement("7323:TS1")
@pytest.mark.parametrize("ts", [False, True])
def test_timestamps_are_in_a_syn_ack_if_they_were_in_the_syn(net: Stack, ts: bool) -> None:
    c, _ = net.syn_received(ts=ts)
    assert c.last is not None
    assert (c.last.options.ts is not None) == ts


@pytest.mark.requirement("7323:TS1", "7323:TS3")
def test_every_segment_bears_timestamps_once_they_are_negotiated(net: Stack) -> None:
    c = net.est(ts=True)
    for _ in range(3):
        c.tx("PA", data=10)
        assert c.rx_ack().options.ts is not None
        c.sock.send(10)
        assert c.rx("A", data=10).options.ts is not None
        c.tx("A")
    c.sock.shutdown()
    assert c.rx("FA").options.ts is not None


@pytest.mark.requirement("7323:TS5")
def test_a_syn_has_no_echo_in_its_timestamps(net: Stack) -> None:
    c = net.syn_sent()
    assert c.last is not None
    if c.last.options.ts is None:
        pytest.skip("the target offers no timestamps")
    assert c.last.options.ts[1] == 0


@pytest.mark.requirement("7323:TS5")
def test_an_echo_in_a_syn_without_ack_is_ignored(net: Stack) -> None:
    c, listener = net.listening(ts=True)
    c.tx("S", opts=wire.mss(1460) + wire.timestamps(5000, 0xDEAD_BEEF))
    c.rx("SA")
    c.clock = 5000
    c.tx("A")
    c.tx("PA", data=10)
    assert listener.accept().recv_exactly(10).bad is None


@pytest.mark.requirement("7323:TS3")
def test_the_echo_is_the_value_of_the_segment_that_moved_the_window(net: Stack) -> None:
    c = net.est(ts=True)
    assert c.timestamps
    c.tx("PA", data=100)
    first = c.clock
    assert c.rx_ack().options.ts[1] == first  # type: ignore[index]
    missing = c.snd
    c.tx("PA", seq=add(c.snd, 100), data=100)  # a hole: its value must not be echoed
    assert c.rx("A", ack=missing).options.ts[1] == first  # type: ignore[index]
    c.tx("PA", data=100)
    filler = c.clock
    c.snd = add(c.snd, 100)
    assert c.rx_ack().options.ts[1] == filler  # type: ignore[index]


@pytest.mark.requirement("7323:TS2", "7323:TS6")
def test_data_without_timestamps_never_aborts_a_connection_that_has_them(net: Stack) -> None:
    c = net.est(ts=True)
    c.tx("PA", data=100, opts=b"")
    c.host.fence()
    assert not [segment for segment in c.segments if segment.flags & wire.RST]
    c.tx("PA", seq=add(c.iss, 1), data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("7323:TS2")
def test_data_without_timestamps_is_dropped_on_a_connection_that_has_them(net: Stack) -> None:
    c = net.est(ts=True)
    c.tx("PA", data=100, opts=b"")
    assert c.sock.nothing()


@pytest.mark.requirement("7323:TS7", "7323:TS1")
def test_timestamps_that_were_not_negotiated_are_ignored(net: Stack) -> None:
    c = net.est()
    for value in (1000, 5, 0x8000_0000):
        c.tx("PA", data=100, opts=wire.timestamps(value, 77))
        assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("7323:PAWS1")
@pytest.mark.parametrize("older", [1, 1000, (1 << 31) - 1])
def test_data_with_an_older_timestamp_is_acknowledged_and_dropped(net: Stack, older: int) -> None:
    c = net.est(ts=True)
    c.tx("PA", data=100)
    c.rx_ack()
    c.sock.recv_exactly(100)
    c.tx("PA", seq=c.snd, data=100, opts=wire.timestamps(c.clock - older, c.ts_recent))
    c.rx("A", ack=c.snd)
    assert c.sock.nothing()
    c.tx("PA", data=100)
    assert c.sock.recv_exactly(100).bad is None


@pytest.mark.requirement("7323:PAWS1")
def test_data_with_an_equal_timestamp_is_delivered(net: Stack) -> None:
    c = net.est(ts=True)
    c.tx("PA", data=100)
    c.tx("PA", data=100, opts=wire.timestamps(c.clock, c.ts_recent))
    assert c.sock.recv_exactly(200).bad is None


@pytest.mark.requirement("7323:PAWS1")
def test_timestamps_wrap(net: Stack) -> None:
    c, listener = net.listening(ts=True)
    c.clock = 0xFFFF_FFFE
    c.tx("S")
    c.rx("SA")
    for _ in range(6):
        c.clock = (c.clock + 1) & 0xFFFF_FFFF
        c.tx("PA", data=10, opts=wire.timestamps(c.clock, c.ts_recent))
    assert listener.accept().recv_exactly(60).bad is None


@pytest.mark.requirement("7323:PAWS2", "7323:RST")
@pytest.mark.parametrize("value", [0, 1, 0x7FFF_FFFF])
def test_a_reset_is_not_subject_to_timestamps(net: Stack, value: int) -> None:
    c = net.est(ts=True)
    c.tx("R", opts=wire.timestamps(c.clock - value, 0))
    c.silent()
    assert c.sock.failure() == "ECONNRESET"


@pytest.mark.requirement("7323:PAWS2", "7323:RST")
def test_a_reset_without_timestamps_resets(net: Stack) -> None:
    c = net.est(ts=True)
    c.tx("R", opts=b"")
    c.silent()
    assert c.sock.failure() == "ECONNRESET"


@pytest.mark.requirement("6691:1", "9293:MUST-16")
def test_options_are_taken_off_the_payload(net: Stack) -> None:
    """Timestamps and SACK blocks at once: a segment that bears both still fits."""
    c = net.est(ts=True, sack=True)
    c.tx("PA", seq=add(c.snd, 100), data=100)
    c.rx("A", ack=c.snd)
    c.sock.send(3000)
    taken = c.rx_data(3000, reply=True)
    assert max(len(s.payload) + (s.ip.payload[12] >> 4) * 4 for s in taken) <= 1480


@pytest.mark.requirement("9293:MUST-68", "9293:MUST-69", "9293:MUST-65", "9293:MUST-2", "9293:MUST-45")
@pytest.mark.parametrize("active", [False, True])
def test_every_segment_of_a_whole_conversation_is_well_formed(net: Stack, active: bool) -> None:
    """Options of every kind, a hole, a probe, both FINs: what holds of every frame is held against each of them."""
    c = net.active(shift=3, sack=True, ts=True) if active else net.est(shift=3, sack=True, ts=True)
    c.tx("PA", seq=add(c.snd, 100), data=100)
    c.tx("PA", data=100)
    c.snd = add(c.snd, 100)
    c.rx_ack()
    c.sock.recv_exactly(200)
    c.sock.send(5000)
    c.rx_data(5000, reply=True)
    c.tx("A", seq=add(c.snd, -1))
    c.tx("FA")
    c.rx_ack()
    c.sock.close()
    c.rx("FA")
    c.tx("A")
    frames = [entry.frame for entry in c.host.transcript.entries if entry.direction == "<"]
    segments = [packet for packet in map(wire.parse, frames) if isinstance(packet, wire.Segment)]
    assert len(segments) >= 8
    for segment in segments:
        assert segment.options.problem == ""
        assert segment.checksum_ok
        assert segment.ip.source == net.host.target
