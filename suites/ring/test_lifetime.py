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
@pytest.mark.parametrize("page", ["slots", "status", "tags"])
def test_revoked_channel_is_gone_from_its_sides(target: LiveTarget, agent: Agent, mode: str, page: str) -> None:
    """A process that reads a page over and over is stopped by the revocation, and by nothing else."""
    sender, receiver = spawn_pair(agent, "gate_sender", "gate_receiver", "cross")
    constant = sender.elf.layouts.constant
    offset = constant("KEUOS_OFFSET_" + page.upper())
    sender.write_struct("params", action=constant("GATE_LOAD_ON"), relative=1, address=offset, wait=1)
    receiver.write_struct("params", drain=0, doorbell=1)
    channel = agent.bind(sender, receiver, mode, order=1)
    receiver.start()
    sender.start()
    for process in (sender, receiver):  # a revoked end can't be accepted any more
        while not process.read_struct("results").end.base:
            assert process.info().state != constant("KEUOS_PROCESS_DEAD"), "it stopped before anything was revoked"
    channel.revoke()
    end = sender.wait_exit()
    assert end.name == "fault_read", f"expected a fault on a page that is no longer there: {end}"
    assert end.detail == sender.read_struct("results").end.base + offset
    receiver.wait_exit()
    agent.ping()
