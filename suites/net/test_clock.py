"""NetD's clock domain, taken over by a test; only netd_hil has such a clock."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keuos_hil.image import NETD_TEST_PROGRAM as TEST_PROGRAM
from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd, NetdClock, NetdLine
from keuos_hil.net.tcp import Conversation
from keuos_hil.rig import LiveTarget

from .programs import HeldClock

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

SECOND = 1_000_000


def test_a_retransmission_comes_with_a_step_and_not_with_real_time(
    target: LiveTarget, start_netd: Callable[..., Netd]
) -> None:
    netd = start_netd(program=TEST_PROGRAM)
    host = Host(target.link, netd.network)
    host.judging = False
    host.fence()
    clock = HeldClock(netd)
    held = clock.do("hold")
    c = Conversation(host, 7, 5100)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    host.elapse(0.3)
    assert not c.segments, "a clock that is held lets no timer run out"
    for _ in range(3):
        before = clock.do("hold").now
        after = clock.do("advance", 61 * SECOND)
        assert after.now == before + 61 * SECOND
        assert after.steps > held.steps
        c.rx("SA", within=5)
    c.kill()


def test_a_step_ends_at_the_next_deadline_and_not_beyond(target: LiveTarget, start_netd: Callable[..., Netd]) -> None:
    netd = start_netd(program=TEST_PROGRAM)
    host = Host(target.link, netd.network)
    host.judging = False
    host.fence()
    clock = HeldClock(netd)
    held = clock.do("hold")
    short = clock.do("step", 1)
    assert short.now <= held.now + 1
    assert clock.do("release").held == 0


def test_an_order_by_a_frame_is_reported_behind_all_that_was_sent(
    target: LiveTarget, start_netd: Callable[..., Netd]
) -> None:
    """Twenty echo requests and a wait of no time: every reply is there when the wait is over."""
    netd = start_netd(program=TEST_PROGRAM)
    line = NetdLine(netd, target.link)
    clock = NetdClock(line)
    host = Host(line, netd.network, clock)
    host.fence()
    before = clock.now()
    for _ in range(20):
        host.ping()
    host.elapse(0)
    assert len(host.icmps) == 20
    assert clock.now() == before, "nothing ran out, so no time passed"


def test_a_wait_ends_with_the_frame_that_a_timer_sends(target: LiveTarget, start_netd: Callable[..., Netd]) -> None:
    """A SYN-ACK is sent again after a second of a clock that goes no further by itself."""
    netd = start_netd(program=TEST_PROGRAM)
    line = NetdLine(netd, target.link)
    clock = NetdClock(line)
    host = Host(line, netd.network, clock)
    host.fence()
    c = Conversation(host, 7, 5101)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    before = clock.now()
    c.rx("SA", within=7200)
    assert 0.5 < clock.now() - before < 4, "RFC 6298: a second, not the two hours that the test would wait"
    host.elapse(3600)
    assert clock.now() - before >= 3600
    c.kill()


def test_a_release_image_has_no_clock_to_hold_and_no_line(target: LiveTarget) -> None:
    symbols = target.image.program("netd").symbols
    assert "clock_idle" in symbols
    assert not [name for name in symbols if name.startswith("test_")]
    assert "test_line_send" in target.image.program(TEST_PROGRAM).symbols
    assert "test_clock_params" in target.image.program(TEST_PROGRAM).symbols
