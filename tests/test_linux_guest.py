"""The target linux-guest: calls and frames in their order on one wire, and a clock that moves as the test waits."""

from __future__ import annotations

import os
import time

import pytest
from keuos_hil.targets.linux_guest import LinuxGuest, LinuxGuestOptions

from keuos_hil.errors import InfraError, SocketError, UsageError
from keuos_hil.hookspecs import RunOptions
from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Stack


def _attach(directory, **options):
    target = LinuxGuest("linux-guest", LinuxGuestOptions(**options), RunOptions())
    try:
        target.check()
    except InfraError as error:
        if "make linux-guest" not in str(error):
            raise
        pytest.skip(str(error))
    return target.attach(directory)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    opened = _attach(tmp_path_factory.mktemp("guest"))
    yield opened
    opened.close()


@pytest.fixture
def host(session):
    return Host(session.link, session.network, session.clock)


def test_two_hours_pass_in_less_than_a_tenth_of_them(session, host):
    host.fence()
    before, began = session.clock.now(), time.monotonic()
    host.elapse(7200)
    passed = session.clock.now() - before
    assert 7200 <= passed < 7201
    assert time.monotonic() - began < passed / 10


def test_hardly_any_time_passes_while_the_test_thinks(session, host):
    host.fence()
    began, before = time.monotonic(), session.clock.now()
    time.sleep(0.5)
    host.fence()
    assert session.clock.now() - before < time.monotonic() - began


def test_a_frame_ends_the_wait(session, host):
    host.fence()
    before = session.clock.now()
    host.ping()
    assert host.clock.receive(host.link, 3600) is not None
    assert session.clock.now() - before < 60


def test_what_the_guest_sends_before_an_answer_comes_before_it(session, host):
    host.fence()
    for _ in range(20):
        host.ping()
    session.sockets.call("reset")
    assert sum(host.link.receive(0) is not None for _ in range(20)) == 20


def test_a_request_and_an_answer_of_many_frames_arrive_whole(session, host):
    stack = Stack(host, App(session.sockets, host), iter(range(3000, 4000)).__next__)
    c = stack.est()
    data = os.urandom(10_000)
    for at in range(0, len(data), 1000):
        c.tx("PA", data=data[at : at + 1000])
    host.fence()
    assert c.sock.recv_bytes(len(data)) == data
    c.sock.send_bytes(wire.pattern(0, 10_000))
    assert b"".join(segment.payload for segment in c.rx_data(10_000, reply=True)) == wire.pattern(0, 10_000)
    stack.clean_up()


def test_what_can_not_be_done_is_named(session):
    with pytest.raises(SocketError) as caught:
        session.sockets.call("send", 77, 1, "-")
    assert caught.value.name == "EBADF"


def test_a_setting_that_the_kernel_refuses_is_one_line(tmp_path):
    with pytest.raises(InfraError, match=r"tcp_sack can't be set to nonsense") as caught:
        _attach(tmp_path, set=["ipv4/tcp_sack=nonsense"])
    assert "\n" not in str(caught.value)


def test_without_a_kernel_there_is_a_line_that_tells_how_to_get_one(tmp_path):
    target = LinuxGuest("linux-guest", LinuxGuestOptions(root=str(tmp_path)), RunOptions())
    with pytest.raises(InfraError, match="make linux-guest") as caught:
        target.check()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"mtu": 100}, {"set": ["tcp_sack"]}, {"memory": "lots"}])
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(UsageError):
        LinuxGuest("linux-guest", LinuxGuestOptions(**options), RunOptions())
