"""What one application can have of what all share: three quarters of a limit, so that it alone keeps nobody out."""

from __future__ import annotations

from collections.abc import Callable

from tests.netd.stack import NetdError, Peer, Stack


def most(make: Callable[[], object], limit: int) -> int:
    """How many there are until there is no room."""
    for made in range(limit + 1):
        try:
            make()
        except NetdError as error:
            if str(error) != "no-room":
                raise
            return made
    raise AssertionError(f"more than {limit}")


def serving(stack: Stack) -> bool:
    """Whether a newcomer is served at once."""
    return [s.data for s in Peer(stack, 7000, 7).open().tx(".", b"hello")] == [b"hello"]


def test_connections(stack):
    stack.command("as", 1)
    assert most(stack.connect, 64) == 48
    assert serving(stack)
    stack.command("as", 2)
    assert most(stack.connect, 64) == 64 - 48 - 1, "what is left"
    stack.segments()


def test_blocks(stack):
    stack.command("as", 1)
    assert most(lambda: stack.command("open"), 256) == 192
    stack.command("as", 2)
    assert stack.command("open")
    assert serving(stack)


def test_udp_sockets(stack):
    stack.command("as", 1)
    assert most(lambda: stack.command("udp", 0, 0), 16) == 12
    stack.command("as", 2)
    assert stack.command("udp", 0, 0)


def test_a_limit_of_one_can_be_had(stack):
    stack.reset(connections=1, udp_sockets=2)  # one is the echo service's
    stack.command("as", 1)
    assert most(stack.connect, 1) == 1
    assert most(lambda: stack.command("udp", 0, 0), 2) == 1


def test_connections_that_wait_to_be_accepted_count(stack):
    stack.reset(connections=4)
    stack.command("as", 1)
    listener = stack.listen(4000, 16)
    peers = [Peer(stack, 1001 + i, 4000).open() for i in range(4)]
    assert stack.states().count("ESTABLISHED") == 3
    assert serving(stack)
    stack.command("abort", stack.command("accept", listener))
    stack.segments()
    peers[3].tx("P.", b"patience")
    assert stack.states().count("ESTABLISHED") == 3 + 1, "the one that waited, and echo's"
    *_, last = [int(stack.command("accept", listener)) for _ in range(3)]
    assert stack.recv(last) == b"patience"


def test_half_open_connections_beyond_its_blocks_get_a_cookie(stack):
    stack.reset(blocks=16, connections=8)
    stack.command("as", 1)
    stack.listen(4000, 16)
    for port in range(1001, 1017):
        assert [s.flags for s in Peer(stack, port, 4000).tx("S")] == ["SA"]
    assert stack.states().count("SYN-RECEIVED") == 11, "twelve blocks, one of them the listener's"
    assert stack.counters()["cookies_sent"] == 5


def test_what_it_has_closed_counts_until_it_is_over_and_its_oldest_gives_way_to_its_own(stack):
    stack.reset(connections=8)

    def orphan(application: int, port: int) -> Peer:
        stack.command("as", application)
        socket = stack.connect(port)
        peer = Peer(stack, 0, 0).answer(stack.segments()[-1])
        stack.write(socket, b"unheard")
        stack.command("close", socket)
        stack.segments()
        return peer

    orphan(2, 80)
    stack.advance(1)
    first, *_ = [orphan(1, 81 + i) for i in range(6)]
    assert most(stack.connect, 1) == 0, "six of eight"
    stack.advance(2)
    stack.segments()
    stack.connect()
    assert [s.dport for s in stack.segments() if "R" in s.flags] == [first.port], "its own, and not the other's"


def test_time_wait_that_nobody_holds_does_not_count(stack, accepted):
    stack.reset(blocks=12, connections=4)
    stack.command("as", 1)
    peer, socket = accepted()
    stack.command("close", socket)
    peer.take()
    peer.tx(".")
    peer.tx("F.")
    assert "TIME-WAIT" in stack.states()
    assert most(lambda: stack.command("open"), 12) == 8, "nine of twelve, with its listener"
    assert "TIME-WAIT" not in stack.states()
