"""Connections that nobody holds any more, but whose data their peers don't take: they end, and they keep nobody out."""

from __future__ import annotations

import pytest

from tests.netd.stack import NetdError, Peer, Stack

ECHO = 7
CONNECTIONS = 64  # of NETD_LIMITS_DEFAULT
MOST = 300  # seconds that an orphan may last: TCP_ORPHAN_MOST
FOREVER = 2**32 - 1
UNCHANGED = ("LISTEN", "TIME-WAIT")


def living(stack: Stack) -> list[str]:
    """The states of what is a connection."""
    return [state for state in stack.states() if state not in UNCHANGED]


def seconds_until_none_is_left(stack: Stack, peers: list[Peer], at_most: float, taken: int = 0) -> float:
    """How long the last one lasts while each peer answers whatever comes; of new data it takes `taken` bytes."""
    begun = stack.now
    while living(stack):
        assert stack.now - begun < at_most * 1e6, f"still there: {living(stack)}"
        assert stack.step() is not None, f"without a timer: {living(stack)}"
        segments = stack.segments()
        for peer in peers:
            for segment in peer.mine(segments):
                if "R" not in segment.flags:
                    peer.ack = max(peer.ack, min(segment.seq + segment.length, peer.ack + taken))
                    peer.tx_blind(".")
    return (stack.now - begun) / 1e6


@pytest.fixture
def shut_off(stack) -> list[Peer]:
    """As many peers as there are buffers: each let echo have something to send and ended, its window shut."""
    peers = [Peer(stack, 6000 + i, ECHO) for i in range(CONNECTIONS)]
    for peer in peers:
        peer.window = 0
        peer.open()
        peer.tx(".", b"x" * 500)
        peer.tx("FA")
    assert living(stack) == ["LAST-ACK"] * CONNECTIONS
    return peers


def test_a_host_that_shuts_its_windows_keeps_no_other_one_out(stack, shut_off):
    newcomer = Peer(stack, 7000, ECHO).open()
    newcomer.tx(".", b"early")  # there is no room: it waits, as for a segment that was lost
    stack.advance(2)
    stack.segments()
    (echoed,) = newcomer.tx(".", b"early", seq=newcomer.iss + 1)
    assert echoed.data == b"early"
    assert stack.counters()["tcp_orphans_reset"] == 1
    assert [segment.flags for segment in shut_off[0].tx(".")] == ["R"]


def test_a_host_that_shuts_its_windows_keeps_no_application_from_connecting(stack, shut_off):
    with pytest.raises(NetdError, match="no-room"):
        stack.connect()
    stack.advance(2)
    stack.segments()
    stack.connect()
    resets = [segment for segment in stack.segments() if "R" in segment.flags]
    assert [segment.dport for segment in resets] == [shut_off[0].port], "the oldest one gives way, and no other"


def test_an_orphan_ends_however_its_peer_answers_probes(stack, shut_off):
    assert seconds_until_none_is_left(stack, shut_off, MOST + 1) == pytest.approx(MOST, abs=1)
    assert stack.counters()["tcp_orphans_reset"] == CONNECTIONS


def test_an_orphan_ends_however_slowly_its_peer_takes_its_data(stack, accepted):
    peer, socket = accepted()
    stack.write(socket, bytes(1000))
    peer.window = 1
    peer.tx(".")
    stack.command("close", socket)
    assert seconds_until_none_is_left(stack, [peer], MOST + 1, taken=1) == pytest.approx(MOST, abs=1)


@pytest.mark.parametrize("option", ["user_timeout", "linger"])
def test_no_option_keeps_an_orphan_for_longer(stack, accepted, option):
    _, socket = accepted(options={"user_timeout": FOREVER, option: FOREVER - 1})
    stack.write(socket, bytes(1000))
    stack.command("close", socket)
    assert seconds_until_none_is_left(stack, [], MOST + 1) == pytest.approx(MOST, abs=1)


def test_a_connection_that_somebody_holds_gives_way_to_nobody(stack, accepted):
    stack.reset(connections=1)
    peer, socket = accepted()
    peer.window = 0
    peer.tx(".")
    stack.write(socket, bytes(1000))
    stack.command("shutdown", socket)
    stack.advance(10)
    with pytest.raises(NetdError, match="no-room"):
        stack.connect()
    assert stack.state(socket) == "FIN-WAIT-1"


def test_those_that_were_closed_first_give_way_first(stack, accepted):
    stack.reset(connections=2)
    (_, first), (other, second) = accepted(sport=1001), accepted(sport=1002)
    for socket in (second, first):
        stack.write(socket, bytes(1000))
        stack.command("close", socket)
        stack.advance(3)
    stack.segments()
    stack.connect()
    assert [segment.dport for segment in stack.segments() if "R" in segment.flags] == [other.port]


def test_an_orphan_gives_way_to_a_peer_that_has_shown_its_address_and_not_to_a_syn(stack, accepted):
    stack.reset(blocks=5, connections=2)  # three are the services', one is the listener
    peer, socket = accepted()
    stack.write(socket, bytes(1000))
    stack.command("close", socket)
    stack.advance(10)
    stack.segments()
    newcomer = Peer(stack, 1002, 4000)
    (synack,) = newcomer.tx("S")
    assert living(stack) == ["FIN-WAIT-1"]
    newcomer.ack = synack.seq + 1
    newcomer.tx_blind(".")
    segments = stack.segments()
    assert [segment.flags for segment in peer.mine(segments)] == ["RA"]
    assert living(stack) == ["ESTABLISHED"]


def test_an_orphan_without_buffers_is_not_reset_for_their_sake(stack, accepted):
    stack.reset(connections=2)
    (done, first), (_, second) = accepted(sport=1001), accepted(sport=1002)
    stack.command("close", first)
    done.take()
    done.tx(".")
    stack.write(second, bytes(1000))
    stack.command("close", second)
    stack.advance(3)
    stack.connect()
    stack.connect()
    assert sorted(living(stack)) == ["FIN-WAIT-2", "SYN-SENT", "SYN-SENT"]
