"""The end of a channel that neither side brought about: whoever bound it closes it, or takes it away."""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent, ChannelHandle, Process
from keuos_hil.rig import LiveTarget

from .programs import spawn_pair

pytestmark = [pytest.mark.needs("agent", "channels", "smp")]


def _stream(agent: Agent, mode: str, *, sleep: bool) -> tuple[Process, Process, ChannelHandle]:
    """A stream without an end, under way: (producer, consumer, channel)."""
    producer, consumer = spawn_pair(agent, "ring_stream", "ring_stream", "cross")
    for process in (producer, consumer):
        process.write_struct(
            "params", seed=1, count=0xFFFF_FFFF, length_min=0, length_max=200, batch=1, sleep=int(sleep)
        )
    channel = agent.bind(producer, consumer, mode, order=1)
    consumer.start()
    producer.start()
    return producer, consumer, channel


@pytest.mark.parametrize("sleep", [False, True], ids=["polling", "sleeping"])
@pytest.mark.parametrize("mode", ["polled", "polled_proof", "verified"])
def test_both_sides_learn_that_their_channel_was_closed(
    target: LiveTarget, agent: Agent, mode: str, sleep: bool
) -> None:
    producer, consumer, channel = _stream(agent, mode, sleep=sleep)
    channel.close()
    constant = producer.elf.layouts.constant
    for process in (producer, consumer):
        end = process.wait_exit()
        assert (end.name, end.detail) == ("code", constant("RING_EXIT_FAILED")), end
        results = process.read_struct("results")
        assert results.error in (constant("KEUOS_RING_CLOSED"), -constant("KEUOS_ECLOSED")), results
        assert results.reason == constant("KEUOS_CLOSE_BY_PEER")
        assert results.wrong == 0


@pytest.mark.parametrize("mode", ["polled", "verified"])
def test_revoked_channel_is_gone_from_both_address_spaces(target: LiveTarget, agent: Agent, mode: str) -> None:
    """Both are in the middle of it, so the next access faults: neither can go on with pages it no longer has."""
    producer, consumer, channel = _stream(agent, mode, sleep=False)
    channel.revoke()
    for process in (producer, consumer):
        end = process.wait_exit()
        # A producer of a verified channel may be told by its next notify, before it touches a page.
        refused = process is producer and mode == "verified" and end.name == "code"
        assert end.name in ("fault_read", "fault_write") or refused, end
    agent.ping()
