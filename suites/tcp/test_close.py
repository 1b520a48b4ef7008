"""Closing: every order of FINs, half-closed connections, resets instead of FINs, what the applications learn."""

from __future__ import annotations

import pytest

from keuos_hil.errors import SocketError
from keuos_hil.net import wire
from keuos_hil.net.seq import add, diff
from keuos_hil.net.tcp import SYNCHRONISED, Stack

pytestmark = pytest.mark.needs("link", "sockets")


@pytest.mark.requirement("9293:S-13", "9293:MUST-12")
def test_the_peer_closes_first(net: Stack) -> None:
    c = net.est()
    c.tx("FA")
    c.rx_ack()
    assert c.sock.recv().end
    c.sock.close()
    c.rx("FA", ack=c.snd)
    c.tx("A")
    c.silent()
    c.gone()


@pytest.mark.requirement("9293:S-13")
def test_the_target_closes_first(net: Stack) -> None:
    c = net.est()
    c.sock.close()
    c.rx("FA", ack=c.snd)
    c.tx("A")
    c.silent()
    c.tx("FA")
    c.rx("A", ack=c.snd)
    c.tx("FA", seq=add(c.snd, -1))
    c.rx("A", ack=c.snd)


@pytest.mark.requirement("9293:S-13")
def test_both_close_at_once(net: Stack) -> None:
    c = net.closing()
    c.tx("A")
    c.silent()
    c.tx("FA", seq=add(c.snd, -1))
    c.rx("A", ack=c.snd)


@pytest.mark.requirement("9293:S-13")
def test_a_fin_that_acknowledges_the_targets_fin_goes_straight_to_time_wait(net: Stack) -> None:
    c = net.fin_wait_1()
    c.tx("FA")
    c.rx("A", ack=c.snd)
    c.tx("FA", seq=add(c.snd, -1))
    c.rx("A", ack=c.snd)


@pytest.mark.requirement("9293:S-13")
@pytest.mark.parametrize("active", [False, True])
@pytest.mark.parametrize("size", [0, 1, 100, 1460])
def test_data_rides_on_a_fin(net: Stack, active: bool, size: int) -> None:
    c = net.active() if active else net.est()
    c.tx("FPA", data=size)
    c.rx_ack()
    if size:
        assert c.sock.recv_exactly(size).bad is None
    assert c.sock.recv().end


@pytest.mark.requirement("9293:S-18")
@pytest.mark.parametrize("size", [1, 1460, 10_000])
def test_what_was_sent_before_a_close_leaves_before_the_fin(net: Stack, size: int) -> None:
    c = net.est()
    c.sock.send(size)
    c.sock.close()
    taken = c.rx_data(size, reply=True, fin=True)
    assert b"".join(segment.payload for segment in taken) == wire.pattern(0, size)
    assert taken[-1].flags & wire.FIN


@pytest.mark.requirement("9293:S-18")
def test_a_fin_waits_for_a_window_that_holds_the_data_before_it(net: Stack) -> None:
    c = net.est(window=1000)
    c.sock.send(3000)
    c.sock.close()
    taken = c.rx_data(3000, reply=True, fin=True)
    assert [bool(segment.flags & wire.FIN) for segment in taken] == [False] * (len(taken) - 1) + [True]


@pytest.mark.requirement("9293:S-16")
@pytest.mark.parametrize("state", ["FIN-WAIT-1", "FIN-WAIT-2"])
def test_a_half_closed_application_still_receives(net: Stack, state: str) -> None:
    c = net.state(state)
    ack = c.rcv if state == "FIN-WAIT-2" else add(c.rcv, -1)
    for _ in range(3):
        c.tx("PA", data=100, ack=ack)
    assert c.sock.recv_exactly(300).bad is None
    c.tx("FA", ack=ack)
    c.rx_ack()
    assert c.sock.recv().end


@pytest.mark.requirement("9293:S-13", "9293:S-16")
def test_an_application_sends_on_in_close_wait(net: Stack) -> None:
    c = net.close_wait()
    for _ in range(3):
        c.sock.send(500)
        c.rx_data(500)
        c.tx("A")
    c.sock.close()
    c.rx("FA")


@pytest.mark.requirement("9293:SHLD-3", "9293:MAY-1")
def test_a_close_with_unread_data_is_a_reset(net: Stack) -> None:
    c = net.est()
    c.tx("PA", data=100)
    c.rx_ack()
    c.sock.close()
    segment = c.rx()
    assert segment.flags & wire.RST


@pytest.mark.requirement("9293:SHLD-3")
def test_data_after_a_full_close_is_answered_by_a_reset(net: Stack) -> None:
    c = net.est()
    c.sock.close()
    c.rx("FA")
    c.tx("A")
    c.tx("PA", data=100)
    segment = c.rx()
    assert segment.flags & wire.RST


@pytest.mark.requirement("9293:MUST-12")
def test_an_abort_is_a_reset_at_the_next_number(net: Stack) -> None:
    c = net.est()
    c.sock.send(100)
    c.rx_data(100)
    c.tx("A")
    c.sock.abort()
    segment = c.rx()
    assert segment.flags & wire.RST
    assert segment.seq == c.rcv


@pytest.mark.requirement("9293:MUST-12", "5961:RST-1")
def test_a_reset_is_told_as_one_and_not_as_an_end(net: Stack) -> None:
    c = net.est()
    c.tx("R")
    c.silent()
    assert c.sock.failure() == "ECONNRESET"


@pytest.mark.requirement("9293:MUST-12")
def test_sending_after_a_reset_fails(net: Stack) -> None:
    c = net.est()
    c.tx("R")
    c.silent()
    with pytest.raises(SocketError, match=r"EPIPE|ECONNRESET"):
        c.sock.send(10)


@pytest.mark.requirement("9293:MUST-12")
def test_data_before_a_fin_is_read_before_the_end_is_told(net: Stack) -> None:
    c = net.est()
    c.tx("PA", data=100)
    c.tx("FA")
    c.rx_ack()
    got = c.sock.recv_exactly(100)
    assert got.count == 100
    assert c.sock.recv().end


@pytest.mark.requirement("9293:SHLD-2")
@pytest.mark.parametrize("size", [1, 100])
@pytest.mark.parametrize("state", ["SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-2", "CLOSE-WAIT"])
def test_a_reset_may_bear_data(net: Stack, state: str, size: int) -> None:
    c = net.state(state)
    c.tx("R", seq=c.snd, data=b"x" * size)
    c.silent()
    c.gone()


@pytest.mark.requirement("9293:S-19", "5961:RST-1")
@pytest.mark.parametrize("state", [s for s in SYNCHRONISED if s != "TIME-WAIT"])
def test_nothing_is_sent_on_a_connection_that_was_reset(net: Stack, state: str) -> None:
    c = net.state(state)
    c.tx("R")
    c.silent()
    c.host.elapse(0.3)
    c.silent()
    c.gone()


@pytest.mark.requirement("9293:S-13")
def test_a_fin_out_of_order_is_held_until_the_data_before_it_came(net: Stack) -> None:
    c = net.est()
    start = c.snd
    c.tx("FA", seq=add(start, 100))
    c.rx("A", ack=start)
    assert c.sock.nothing()
    c.tx("PA", seq=start, data=100)
    c.snd = add(start, 101)
    c.rx_ack()
    assert c.sock.recv_exactly(100).bad is None
    assert c.sock.recv().end


@pytest.mark.requirement("9293:S-13")
@pytest.mark.parametrize("state", ["CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"])
def test_a_repeated_fin_is_acknowledged_again(net: Stack, state: str) -> None:
    c = net.state(state)
    ack = add(c.rcv, -1) if state in ("CLOSING", "LAST-ACK") else c.rcv
    c.tx("FA", seq=add(c.snd, -1), ack=ack)
    segment = c.rx()
    assert segment.flags & wire.ACK
    assert not segment.flags & wire.RST
    assert segment.ack == c.snd


@pytest.mark.requirement("9293:S-13")
@pytest.mark.parametrize("state", ["CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT"])
def test_data_behind_a_fin_is_not_delivered(net: Stack, state: str) -> None:
    c = net.state(state)
    before = c.snd
    c.tx("PA", seq=c.snd, ack=add(c.rcv, -1) if state in ("CLOSING", "LAST-ACK") else c.rcv, data=100)
    for segment in c.burst():
        assert segment.flags & wire.RST or segment.ack == before
    if state == "CLOSE-WAIT":
        assert c.sock.failure() in ("EOF", "ECONNRESET")


@pytest.mark.requirement("9293:S-19")
@pytest.mark.parametrize("how", ["read", "both"])
def test_shutting_down_reading_keeps_the_connection_sound(net: Stack, how: str) -> None:
    c = net.est()
    c.sock.shutdown(how)
    if how == "both":
        c.rx("FA")
        c.tx("A")
    c.tx("PA", data=100)
    c.host.fence()
    assert c.last is not None
    assert c.last.flags & wire.RST or c.last.ack in (c.snd, add(c.snd, -100))


@pytest.mark.requirement("9293:MAY-2", "9293:SHLD-4", "6191:1")
@pytest.mark.parametrize("ts", [False, True])
def test_a_later_syn_opens_a_new_connection_out_of_time_wait(net: Stack, ts: bool) -> None:
    c = net.time_wait(ts=ts)
    again = net.talk(c.target_port, port=c.port, iss=add(c.snd, 100_000), ts=ts)
    again.clock = c.clock + 1000
    again.tx("S")
    segment = again.rx()
    if segment.flags & wire.SYN:
        assert segment.ack == again.snd
        again.tx("A")
        again.alive()
    else:
        assert segment.ack == c.snd


@pytest.mark.requirement("9293:MAY-2")
def test_a_connection_out_of_time_wait_begins_above_the_one_before(net: Stack) -> None:
    """However fast that one has sent: its last segments must not be taken for the new one's."""
    c = net.est(options={"sndbuf": 400_000})
    c.sock.send(60_000)
    c.rx_data(60_000, reply=True)
    c.sock.shutdown()
    c.rx("FA")
    c.tx("FA")
    c.rx("A", ack=c.snd)
    again = net.talk(c.target_port, port=c.port, iss=add(c.snd, 100_000))
    again.tx("S")
    segment = again.rx()
    if not segment.flags & wire.SYN:
        pytest.skip("this stack opens no connection out of TIME-WAIT, as it may")
    assert diff(segment.seq, c.rcv) >= 0


@pytest.mark.requirement("9293:MAY-2")
def test_an_earlier_syn_is_refused_in_time_wait(net: Stack) -> None:
    c = net.time_wait()
    c.tx("S", seq=add(c.snd, -100_000))
    c.rx("A", seq=c.rcv, ack=c.snd)


@pytest.mark.requirement("9293:SHLD-4", "6191:1")
def test_an_earlier_syn_with_a_later_timestamp_is_accepted_in_time_wait(net: Stack) -> None:
    c = net.time_wait(ts=True)
    again = net.talk(c.target_port, port=c.port, iss=add(c.snd, -100_000), ts=True)
    again.clock = c.clock + 5000
    again.tx("S")
    again.rx("SA", ack=again.snd)


@pytest.mark.requirement("1337:1")
def test_old_data_in_time_wait_does_not_end_it(net: Stack) -> None:
    c = net.time_wait()
    c.tx("PA", seq=add(c.snd, -500), data=100)
    c.rx("A", ack=c.snd)
    c.alive()
