"""The target lwip: a stack of another make, on a wire that is a socket pair, whose clock moves as the test waits."""

from __future__ import annotations

import os
import time

import pytest
from keuos_hil.targets.lwip import Lwip, LwipOptions, LwipSession

from keuos_hil.errors import InfraError, SocketError, TargetFailure, UsageError
from keuos_hil.hookspecs import RunOptions
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App, pattern_crc
from keuos_hil.net.tcp import Stack


@pytest.fixture
def session(tmp_path):
    target = Lwip("lwip", LwipOptions(), RunOptions())
    target.check()
    opened = target.attach(tmp_path)
    yield opened
    opened.close()


@pytest.fixture
def net(session):
    host = Host(session.link, session.network, session.clock)
    stack = Stack(host, App(session.sockets, host), iter(range(3000, 4000)).__next__)
    yield stack
    stack.clean_up()


def test_it_says_what_stack_it_is(session):
    assert session.sockets.system.startswith("lwIP 2.")


def test_a_stream_of_the_pattern_arrives_in_both_directions(net):
    c = net.est()
    c.tx("PA", data=1000)
    got = c.sock.recv_exactly(1000)
    assert (got.count, got.bad, got.crc) == (1000, None, pattern_crc(1000))
    assert c.sock.send(3000) == 3000
    taken = c.rx_data(3000, reply=True)
    assert b"".join(segment.payload for segment in taken) == wire.pattern(0, 3000)


def test_more_than_the_stacks_buffer_is_sent_before_the_fin_of_a_close(net):
    c = net.est(options={"sndbuf": 300_000})
    assert c.sock.send(200_000) == 200_000
    c.sock.close()
    taken = c.rx_data(200_000, reply=True, fin=True)
    assert b"".join(segment.payload for segment in taken) == wire.pattern(0, 200_000)


def test_what_was_sent_before_a_call_was_seen_before_it(session, net):
    c = net.est()
    for _ in range(100):
        c.tx("A", data=10)
    assert session.sockets.call("recv", c.sock.number, 1000)[0] == "1000"


def test_a_timer_of_the_stack_ends_the_wait_and_costs_nothing(net):
    c = net.est()
    c.sock.send(100)
    first = c.rx("A", data=100)
    began = time.monotonic()
    second = c.rx("A", data=100, seq=first.seq, within=60)
    assert 0.5 < second.time - first.time < 60
    assert time.monotonic() - began < second.time - first.time


def test_a_day_passes_in_less_than_a_tenth_of_it(session, net):
    net.est()
    before, began = session.clock.now(), time.monotonic()
    net.host.elapse(86_400)
    passed = session.clock.now() - before
    assert passed >= 86_400
    assert time.monotonic() - began < passed / 10


def test_a_connection_to_itself_is_survived(net):
    """What a stack sends to its own address comes back to it when it has returned, as with any port of it."""
    sock = net.app.open()
    sock.bind(port=5000)
    sock.connect(net.host.network.address, 5000)
    net.host.fence()


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (("send", 77, 1), "EBADF"),
        (("send", -1, 1), "EBADF"),
        (("fly", 0), "ENOSYS"),
        (("set", 0, "wings", 2), "ENOPROTOOPT"),
        (("recv", 0, 1), "ENOTCONN"),
        (("accept", 0), "EINVAL"),
        (("send", 0, 1, "u"), "EOPNOTSUPP"),
    ],
)
def test_what_can_not_be_done_is_named(session, words, name):
    session.sockets.call("open", "tcp")
    with pytest.raises(SocketError) as caught:
        session.sockets.call(*words)
    assert caught.value.name == name


def test_a_program_that_dies_is_the_targets_failure(session):
    os.kill(session._process.pid, 9)
    with pytest.raises(TargetFailure, match="lwip: "):
        session.sockets.call("open", "tcp")


def test_nothing_is_left_after_a_session(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    session = Lwip("lwip", LwipOptions(), RunOptions()).attach(tmp_path)
    assert isinstance(session, LwipSession)
    pid = session._process.pid
    session.close()
    session.close()
    assert not os.path.exists(f"/proc/{pid}")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_without_the_library_there_is_a_line_that_tells_how_to_get_it(tmp_path):
    target = Lwip("lwip", LwipOptions(headers=str(tmp_path)), RunOptions())
    with pytest.raises(InfraError, match="apt-get install liblwip-dev") as caught:
        target.check()
    assert "\n" not in str(caught.value)


def test_an_mtu_that_ipv4_can_not_have_is_refused():
    with pytest.raises(UsageError):
        Lwip("lwip", LwipOptions(mtu=100), RunOptions())
