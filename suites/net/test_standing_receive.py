"""Standing credit (docs/sockets.md): data comes as it arrives, until it is used up; and rings that run full."""

from __future__ import annotations

import pytest

from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd
from keuos_hil.net.sockets import App

from .conftest import connect_to
from .programs import until
from .reader import Reader

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

PLENTY = 1 << 24
#: Of an application's events ring (docs/sockets.md).
RING = 1 << 16


@pytest.fixture
def reader(host: Host, netd: Netd) -> Reader:
    """It, with a connection that nothing was sent on yet."""
    return Reader(host, netd)


def test_credits_add_up_and_are_used_to_the_last_byte_and_no_further(reader: Reader) -> None:
    reader.credit(700)
    reader.credit(300)
    for size in (500, 1400, 900):
        reader.peer.tx("PA", data=size)
    reader.received(1000)
    reader.credit(1)
    reader.received(1001)
    reader.credit(PLENTY)
    assert reader.received(2800).error == 0
    reader.peer.tx("PA", data=50)
    reader.received(2850)
    reader.peer.kill()


def test_the_end_of_the_stream_is_told_behind_all_data_and_once(reader: Reader) -> None:
    reader.peer.tx("PA", data=1200)
    reader.peer.tx("FA")
    reader.credit(1200)
    assert not reader.received(1200).ended, "the credit is used up: not even the end is told without one"
    reader.credit(1)
    until("the end", lambda: reader.results, lambda r: r.ended)
    results = reader.received(1200)
    assert (results.ended, results.error) == (results.messages + 1, 0)
    reader.peer.kill()


def test_a_reset_ends_a_credit_with_an_error(reader: Reader) -> None:
    reader.credit(PLENTY)
    reader.peer.tx("PA", data=300)
    reader.received(300)
    reader.peer.tx("R")
    results = until("the error", lambda: reader.results, lambda r: r.error)
    reset = reader.process.elf.layouts.enum("keuos_socket_result")["KEUOS_SOCKET_RESET"]
    assert (results.error, results.ended, results.received) == (reset, 0, 300)


def test_a_ring_that_runs_full_closes_the_window_and_loses_nothing(host: Host, netd: Netd, reader: Reader) -> None:
    living = connect_to(host, App(netd.application(), host), 4910, 4911)
    reader.credit(PLENTY)
    reader.hold(True)
    peer, sent = reader.peer, 0
    while peer.target_window:
        size = min(1460, peer.target_window)
        peer.tx("PA", data=size)
        peer.rx_ack()
        sent += size
    assert sent > RING, "ring and receive buffer are filled, and the peer is told so"
    assert reader.results.received == 0
    living.tx("PA", data=1000)
    assert living.sock.recv_exactly(1000).bad is None, "others have theirs"
    reader.go_on()
    reader.received(sent)
    host.wait(lambda: peer.target_window > 0, 5)
    assert peer.target_window > 0, "the window opens again, unasked"
    peer.tx("PA", data=100)
    reader.received(sent + 100)
    peer.kill()


def test_who_does_not_read_answers_is_not_served_and_gets_each_of_them_later(
    host: Host, netd: Netd, reader: Reader
) -> None:
    living = connect_to(host, App(netd.application(), host), 4920, 4921)
    questions, before = 200, netd.counters()["blocked"]
    reader.hold(True)
    reader.ask(questions)
    until("NetD to wait for room", lambda: netd.counters()["blocked"], lambda n: n > before)
    asked = until("both rings to be full", reader.asked_at_rest, bool)
    assert asked < questions
    assert reader.results.answered == 0
    living.tx("PA", data=1000)
    assert living.sock.recv_exactly(1000).bad is None, "others have their turn"
    assert reader.results.asked == asked, "nobody takes a question whose answer there is no room for"
    reader.go_on()
    results = reader.answers()
    assert (results.answered, results.no_room, results.error) == (questions, 0, 0)
    reader.peer.kill()
