"""Streams: a great many messages in one direction, none lost, changed, repeated or out of order, whatever the pace."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from keuos_hil.agent import Agent, Process
from keuos_hil.errors import WaitTimeout
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .programs import HANG_S, finish, spawn_pair

pytestmark = pytest.mark.needs("agent", "channels")

#: How often a long stream is looked at for the sake of a person; nothing is measured meanwhile.
LOOK_S = 1.0


@dataclass(frozen=True)
class Stream:
    """What both sides are told, and what only one of them is.

    Attributes:
        group: messages with a call, at most, of the producer and the consumer; (0, 0): one by one.
    """

    mode: str = "polled"
    cores: str = "cross"
    order: int = 1
    count: int = 20_000
    length: tuple[int, int] = (0, 200)
    batch: int = 1
    sleep: bool = False
    dawdle: int = 0
    group: tuple[int, int] = (0, 0)
    producer: dict[str, int] = field(default_factory=dict)
    consumer: dict[str, int] = field(default_factory=dict)


STREAMS = {
    "one_slot_each": Stream(length=(0, 56), count=50_000),
    "two_slots_each": Stream(length=(57, 112)),
    "mixed_inline_and_data": Stream(length=(0, 1000)),
    "always_through_the_data_ring": Stream(length=(113, 4096)),
    "data_ring_of_one_message": Stream(length=(4096, 4096), order=0, count=3_000),
    "proof": Stream(mode="polled_proof", length=(0, 300)),
    "proof_sleeping": Stream(mode="polled_proof", length=(0, 300), sleep=True, dawdle=50),
    "verified": Stream(mode="verified", length=(0, 300)),
    "verified_in_batches": Stream(mode="verified", length=(0, 300), batch=32),
    "verified_sleeping": Stream(mode="verified", length=(0, 300), sleep=True, batch=4, dawdle=50),
    "same_core": Stream(cores="same", length=(0, 300)),
    "same_core_sleeping": Stream(cores="same", length=(0, 300), sleep=True),
    "same_core_verified_sleeping": Stream(cores="same", mode="verified", length=(0, 300), sleep=True, batch=8),
    "slow_consumer": Stream(consumer={"slow": 200}, count=5_000),
    "slow_consumer_of_a_sleeping_producer": Stream(consumer={"slow": 200}, count=5_000, sleep=True),
    "slow_producer_of_a_sleeping_consumer": Stream(producer={"slow": 200}, count=5_000, sleep=True, dawdle=100),
    "lost_wake_up_race": Stream(sleep=True, dawdle=30, length=(8, 8), count=50_000),
    # The data ring holds two such groups and a part of a third; the other side asks for as many, for fewer, for more.
    "groups": Stream(length=(64, 64), group=(32, 32), count=50_000),
    "groups_partly_taken": Stream(length=(64, 64), group=(50, 7)),
    "groups_smaller_than_asked_for": Stream(length=(56, 56), group=(5, 32)),
    "groups_across_the_rings_end": Stream(length=(1500, 1500), group=(5, 3), count=5_000),
    "groups_larger_than_the_ring": Stream(length=(200, 200), group=(60, 60), order=0),
    "groups_with_proof": Stream(mode="polled_proof", length=(64, 64), group=(32, 20)),
    "groups_verified": Stream(mode="verified", length=(64, 64), group=(32, 20), batch=4),
    "groups_sleeping": Stream(length=(100, 100), group=(32, 20), sleep=True, dawdle=50),
    "groups_on_one_core": Stream(cores="same", length=(64, 64), group=(32, 20), sleep=True),
    "wake_up_per_batch": Stream(sleep=True, batch=16, dawdle=30),
}


def start(agent: Agent, stream: Stream, seed: int) -> tuple[Process, Process]:
    """Both sides of a stream, bound and running: (producer, consumer)."""
    producer, consumer = spawn_pair(agent, "ring_stream", "ring_stream", stream.cores)
    common = {
        "seed": seed | 1,
        "count": stream.count,
        "length_min": stream.length[0],
        "length_max": stream.length[1],
        "batch": stream.batch,
        "sleep": int(stream.sleep),
        "same_core": int(stream.cores == "same"),
        "dawdle": stream.dawdle,
    }
    producer.write_struct("params", **common, group=stream.group[0], **stream.producer)
    consumer.write_struct("params", **common, group=stream.group[1], **stream.consumer)
    agent.bind(producer, consumer, stream.mode, order=stream.order)
    consumer.start()
    producer.start()
    return producer, consumer


def _watch(consumer: Process, stream: Stream, progress: Progress, timeout: float = HANG_S) -> None:
    """Show how many messages have arrived, until the consumer has ended or its time is over: :func:`finish` judges."""
    clock = consumer.agent.console.clock
    deadline, seen = clock() + timeout, 0
    with progress("messages", stream.count) as advance:
        while clock() < deadline:
            try:
                consumer.wait_exit(LOOK_S)
                break
            except WaitTimeout:
                arrived = int(consumer.read_struct("results").messages)
                advance(arrived - seen)
                seen = arrived


def _check(producer: Process, consumer: Process, stream: Stream) -> None:
    finish(producer, consumer)
    sent, got = producer.read_struct("results"), consumer.read_struct("results")
    assert got.messages == sent.messages == stream.count
    assert got.wrong == 0, f"{got.wrong} messages arrived changed, the first was number {got.first_wrong}"
    assert (got.bytes, got.checksum) == (sent.bytes, sent.checksum)


@pytest.mark.needs("smp")
@pytest.mark.parametrize("name", STREAMS)
def test_stream_arrives_whole_and_in_order(target: LiveTarget, agent: Agent, seed: int, name: str) -> None:
    stream = STREAMS[name]
    producer, consumer = start(agent, stream, seed)
    _check(producer, consumer, stream)
    sent, got = producer.read_struct("results"), consumer.read_struct("results")
    if stream.group[0] > stream.group[1]:
        assert got.groups > sent.groups, "no group was taken in parts: the case shows nothing"
    elif stream.group[0] and stream.group[0] < stream.group[1]:
        assert got.partial == got.groups, "more messages than were sent together"
    if name == "groups_larger_than_the_ring":
        assert sent.partial > 0, "every group had room: the case shows nothing"
    if stream.producer.get("slow") and stream.sleep:
        assert got.sleeps > 0, "the consumer never slept: the case shows nothing"
    if stream.consumer.get("slow"):
        assert sent.idle_polls > 0, "the ring was never full: the case shows nothing"


@pytest.mark.needs("smp")
@pytest.mark.parametrize("mode", ["polled", "polled_proof", "verified"])
def test_million_messages_arrive_whole_and_in_order(
    target: LiveTarget, agent: Agent, seed: int, mode: str, progress: Progress
) -> None:
    stream = Stream(mode=mode, count=1_000_000, length=(0, 120), batch=16)
    producer, consumer = start(agent, stream, seed)
    _watch(consumer, stream, progress)
    _check(producer, consumer, stream)


@pytest.mark.needs("smp")
@pytest.mark.parametrize("sleep", [False, True], ids=["polling", "sleeping"])
@pytest.mark.parametrize("mode", ["polled", "verified"])
@pytest.mark.parametrize("dies", ["producer", "consumer"])
def test_peer_that_dies_is_noticed(
    target: LiveTarget, agent: Agent, seed: int, dies: str, mode: str, sleep: bool
) -> None:
    half = {"stop_after": 500}
    stream = Stream(
        mode=mode,
        sleep=sleep,
        count=2_000,
        producer=half if dies == "producer" else {},
        consumer=half if dies == "consumer" else {},
    )
    producer, consumer = start(agent, stream, seed)
    dead, survivor = (producer, consumer) if dies == "producer" else (consumer, producer)
    assert dead.wait_exit().ok
    assert not survivor.wait_exit().ok, "the survivor finished a stream whose other end had died"
    results = survivor.read_struct("results")
    closed = (survivor.elf.layouts.constant("KEUOS_RING_CLOSED"), -survivor.elf.layouts.constant("KEUOS_ECLOSED"))
    assert results.error in closed, f"expected the end of the channel, found error {results.error}"
    assert results.reason == survivor.elf.layouts.constant(f"KEUOS_CLOSE_{dies.upper()}_DIED")
    if dies == "producer":
        assert results.messages == (500 if mode == "polled" else results.messages), "what was sent before must arrive"
        assert results.wrong == 0


@pytest.mark.needs("smp")
@pytest.mark.parametrize("batch", [1, 32])
@pytest.mark.parametrize("size", [56, 64, 256, 1500])
def test_throughput(fresh_target: LiveTarget, agent: Agent, record: Recorder, seed: int, size: int, batch: int) -> None:
    stream = Stream(
        length=(size, size), order=4, batch=batch, count=50_000, producer={"plain": 1}, consumer={"plain": 1}
    )
    producer, consumer = start(agent, stream, seed)
    finish(producer, consumer)
    got = consumer.read_struct("results")
    assert got.messages == stream.count
    seconds = int(got.ticks) / (fresh_target.timebase.hz or int(agent.info().tick_hz))
    params = {"size": size, "batch": batch}
    record.add("ring.throughput", params, "messages/s", value=(stream.count - 1) / seconds)
    record.add("ring.throughput", params, "bytes/s", value=(stream.count - 1) * size / seconds)


@pytest.mark.soak
@pytest.mark.needs("smp")
@pytest.mark.parametrize("sleep", [False, True], ids=["polling", "sleeping"])
@pytest.mark.parametrize("mode", ["polled", "polled_proof", "verified"])
def test_twenty_million_messages_arrive_whole_and_in_order(
    target: LiveTarget, agent: Agent, seed: int, mode: str, sleep: bool, progress: Progress
) -> None:
    stream = Stream(mode=mode, count=20_000_000, length=(0, 200), batch=16, sleep=sleep, dawdle=30 if sleep else 0)
    producer, consumer = start(agent, stream, seed)
    _watch(consumer, stream, progress, timeout=3600)
    finish(producer, consumer)
    sent, got = producer.read_struct("results"), consumer.read_struct("results")
    assert got.messages == sent.messages == stream.count
    assert got.wrong == 0
    assert (got.bytes, got.checksum) == (sent.bytes, sent.checksum)
