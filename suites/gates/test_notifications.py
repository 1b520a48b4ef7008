"""Notifications are kept until they are taken: none is lost because it came early, and none is invented."""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent

from .puppet import Puppet

#: KEUOS_FOREVER, which is a macro.
FOREVER = 2**64 - 1

pytestmark = pytest.mark.needs("agent", "channels")


def test_a_notification_that_comes_before_the_wait_is_there_when_it_comes(agent: Agent) -> None:
    """The peer waits for nothing when the doorbell rings; looking for it later finds it, once."""
    with Puppet(agent) as one, Puppet(agent, core=agent.info().cores - 1) as other:
        agent.bind(one.process, other.process, "polled")
        bell, end = one.accept().capability, other.accept().capability
        bit = 1 << (end % 64)
        assert other.call("wait", bit, 0) == 0, "nobody has rung"
        one.call("doorbell", bell)
        one.call("doorbell", bell)
        assert other.call("wait", bit, 0) == bit
        assert other.call("wait", bit, 0) == 0, "it was taken already"


@pytest.mark.needs("smp")
def test_a_sleeper_on_an_idle_core_is_woken(agent: Agent) -> None:
    """Nothing else will interrupt that core: whoever rings has to."""
    with Puppet(agent) as one, Puppet(agent, core=agent.info().cores - 1) as other:
        agent.bind(one.process, other.process, "polled")
        bell, end = one.accept().capability, other.accept().capability
        bit = 1 << (end % 64)
        other.begin("syscall", bit, FOREVER, number=other.constant("KEUOS_SYS_WAIT"))
        waiting = agent.image.constant("KEUOS_PROCESS_WAITING")
        while other.process.info().state != waiting:
            agent.ping()
        one.call("doorbell", bell)
        assert other.wait().value == bit
