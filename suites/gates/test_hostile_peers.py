"""Peers that go on doing wrong: the honest side is never punished, and an honest channel beside them loses nothing."""

from __future__ import annotations

import functools
import random

import pytest

from keuos_hil.agent import Agent, Exit, Process
from keuos_hil.image import Image
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from ..waiting import until
from .honest import Honest, honest_beside
from .hostile import hostile, wait_stage, wait_turns
from .pair import ORDER

pytestmark = pytest.mark.needs("agent", "channels", "smp")

MODES = ("polled", "polled_proof", "verified")
#: Pages of a channel by what a consumer may do with them (keuos/channel.h); the mailbox only on a verified channel.
CONSUMER_WRITES = ("tail",)
CONSUMER_READS = (*CONSUMER_WRITES, "slots", "head", "status", "tags", "mailbox", "data")


def stream_side(agent: Agent, *, core: int = 0, **parameters: int) -> Process:
    """An honest side of a stream without an end, not started."""
    process = agent.spawn("ring_stream", core=core, suspended=True)
    process.write_struct(
        "params",
        **{
            "seed": 1, "count": 0xFFFF_FFFF, "length_max": 200, "batch": 2, "sleep": 1, "endless": 1,
            "rest_ns": 20_000, **parameters,
        },
    )  # fmt: skip
    return process


def error_of(process: Process) -> str:
    """How an honest side learned of the end: an enum keuos_ring_result or keuos_error without prefix, in lower case."""
    error = int(process.read_struct("results").error)
    layouts = process.elf.layouts
    for name in ("RING_OK", "RING_TOO_LONG", "RING_CLOSED", "RING_VIOLATION", "RING_NOT_GRANTED", "ECLOSED"):
        value = layouts.constant("KEUOS_" + name)
        if error == (value if name.startswith("RING") else -value):
            return name.removeprefix("RING_").lower()
    return str(error)


def messages_of(process: Process) -> int:
    """How many messages a side of a stream has sent or received."""
    return int(process.read_struct("results").messages)


def left_by_itself(end: Exit) -> bool:
    """Whether nobody ended it."""
    return end.name == "code"


def verdicts(agent: Agent, first: int, pid: int) -> list[str]:
    """What gates have objected to of a process."""
    gate = agent.image.constant("KEUOS_EVENT_GATE")
    events = [event for event in agent.events(first) if event.kind == gate and event.pid == pid]
    return [agent.name_of("keuos_verdict", "KEUOS_VERDICT_", event.verdict) for event in events]


# Indices --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("liar", ["producer", "consumer"])
def test_scribbling_over_an_index_harms_the_scribbler_alone(
    target: LiveTarget, agent: Agent, record: Recorder, seed: int, liar: str, mode: str
) -> None:
    """Counters that jump, regress and race, and slots that are nearly right, against an honest peer on another core."""
    gate = record.gate("tail" if liar == "consumer" else "index")
    noticed = []
    with honest_beside(agent):
        for turn in range(4):
            first = agent.next_event()
            op = "scribble_head" if liar == "producer" else "scribble_tail"
            bad = hostile(agent, op, count=20_000, seed=seed + turn)
            good = stream_side(agent, core=0, rest_ns=0, sleep=0)
            pair = (bad, good) if liar == "producer" else (good, bad)
            channel = agent.bind(*pair, mode, order=1)
            good.start()
            bad.start()
            bad_end = bad.wait_exit()
            bad.close()  # a consumer that lied and left takes its channel along
            good_end = good.wait_exit()
            assert left_by_itself(good_end), f"the honest side was punished: {good_end} (the liar: {bad_end})"
            judged = verdicts(agent, first, bad.pid)
            if mode == "verified":
                assert bad_end.name in ("code", "gate"), bad_end
                allowed = {"tail"} if liar == "consumer" else None
                assert allowed is None or set(judged) <= allowed, f"a consumer was judged by {judged}"
            else:
                assert left_by_itself(bad_end), f"nobody can get another killed on a polled channel: {bad_end}"
                assert judged == []
            told = error_of(good)
            assert told in ("ok", "closed", "eclosed", "violation", "too_long"), told
            noticed.append(bad_end.name == "gate" or told == "violation")
            good.close()
            channel.drop()
    assert any(noticed), "no lie was ever noticed: nothing is shown"
    gate.cases = len(noticed)


def test_a_consumer_that_drains_before_the_notification_is_to_blame(target: LiveTarget, agent: Agent) -> None:
    """It can read the slots, and so be early; its tail then claims what the kernel has not accepted."""
    with honest_beside(agent):
        first = agent.next_event()
        early, sender = hostile(agent, "take_early", core=0, length=64), hostile(agent, "early", length=64)
        agent.bind(sender, early, "verified", order=ORDER)
        early.start()
        sender.start()
        end = early.wait_exit()
        assert (end.name, verdicts(agent, first, early.pid)) == ("gate", ["tail"]), end
        assert sender.wait_exit().ok, "the producer did nothing wrong"
        assert sender.read_struct("results").error == -agent.image.constant("KEUOS_ECLOSED")


def test_a_mailbox_kept_full_costs_its_sender_nothing_but_answers(target: LiveTarget, agent: Agent) -> None:
    """Thousands of notifications are refused and consume nothing; then there is room for one, and one passes."""
    slots, tries = agent.image.constant("KEUOS_SLOTS"), 5000
    with honest_beside(agent):
        sender = hostile(agent, "full", length=64, count=tries)
        holder = hostile(agent, "take_one", core=0, length=64)
        channel = agent.bind(sender, holder, "verified", order=ORDER)
        holder.start()
        sender.start()
        wait_stage(target, sender, "done")
        results = sender.read_struct("results")
        assert (results.accepted, results.turns) == (slots, tries)
        assert holder.read_struct("results").accepted == 0
        holder.write_struct("params", go=1)
        assert sender.wait_exit().ok
        assert sender.read_struct("results").accepted == slots + 1
        assert channel.number in [info.channel for info in agent.channels()]


def test_payload_that_changes_behind_the_check_is_copied_once(target: LiveTarget, agent: Agent) -> None:
    """The producer rewrites each payload while it is received; what was received is stable, and as long as checked."""
    count = 3000
    with honest_beside(agent):
        reader = hostile(agent, "stable", core=0)
        writer = hostile(agent, "rewrite", count=count, length=2048)
        agent.bind(writer, reader, "verified", order=ORDER)
        reader.start()
        writer.start()
        assert writer.wait_exit(120.0).ok
        assert reader.wait_exit(120.0).ok
    got = reader.read_struct("results")
    assert (got.turns, got.unstable) == (count, 0)
    assert got.error == reader.elf.layouts.constant("KEUOS_RING_CLOSED")
    assert got.changed > 0, "no payload was changed in time: nothing is shown"


# Memory ---------------------------------------------------------------------------------------------------------------


def _touch(agent: Agent, image: Image, page: str, access: str) -> tuple[Process, Process, Exit]:
    """A consumer that has received two messages and then touches a page: (producer, consumer, the consumer's end)."""
    offset = image.constant(f"KEUOS_OFFSET_{page.upper()}") + image.constant("KEUOS_PAGE_BYTES") - 8
    code = image.program("hostile").layouts.constant("HOSTILE_" + access.upper())
    consumer = hostile(agent, "touch", core=0, count=2, access=code, offset=offset)
    producer = stream_side(agent, core=1, length_max=64)
    agent.bind(producer, consumer, "verified", order=ORDER)
    consumer.start()
    producer.start()
    end = consumer.wait_exit()
    if end.name.startswith("fault"):
        assert end.detail == consumer.read_struct("results").end[0].base + offset
    return producer, consumer, end


@pytest.mark.parametrize("access", ["write", "read", "execute"])
@pytest.mark.parametrize("page", CONSUMER_READS)
def test_a_consumer_reaches_what_it_may_reach_and_its_producer_lives(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder, page: str, access: str
) -> None:
    record.gate("mmu-" + access)
    producer, _, end = _touch(agent, image, page, access)
    allowed = access == "read" or (access == "write" and page in CONSUMER_WRITES)
    assert end.ok if allowed else end.name == f"fault_{access}", f"{access} of the {page} page: {end}"
    left = producer.wait_exit()
    assert left_by_itself(left), f"the producer was harmed: {left}"
    assert error_of(producer) in ("closed", "eclosed"), "the producer did not learn of it"
    assert producer.read_struct("results").reason == image.constant("KEUOS_CLOSE_CONSUMER_DIED")


# Storms and sleepers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("op", "peer"), [("storm", "nothing"), ("send_on", "stable")], ids=["refused", "accepted"])
def test_storms_of_notifications_from_every_core_stop_nobody(
    target: LiveTarget, agent: Agent, op: str, peer: str
) -> None:
    """Two that ring and notify without end on each core, one across; all three kinds of channel go on meanwhile."""
    with honest_beside(agent, MODES) as streams:
        storms = []
        for core in (0, 1):
            for other in (0, 1):
                pair = hostile(agent, op, core=core, length=64), hostile(agent, peer, core=other)
                agent.bind(*pair, "verified", order=0)
                for process in pair:
                    process.start()
                storms.append(pair[0])
        for process in storms:
            wait_turns(target, process, 500)
        agent.ping()
        for stream in streams:
            stream.wait_progress()
        for process in storms:
            process.close()


def test_a_process_that_never_gives_way_stops_neither_the_console_nor_a_channel(
    target: LiveTarget, agent: Agent
) -> None:
    with honest_beside(agent, ("polled", "verified"), cores=(1, 1)) as streams:
        spinners = [hostile(agent, "spin", core=core, start=True) for core in (0, 1, 1)]
        for process in spinners:
            wait_stage(target, process, "accepted")
        agent.ping()
        for stream in streams:
            stream.wait_progress(16)
        for process in spinners:
            process.close()


@pytest.mark.parametrize("how", ["close", "revoke", "kill"])
@pytest.mark.parametrize("op", ["sleep", "wait_call"])
def test_a_peer_that_sleeps_is_woken_by_the_end_of_its_channel(
    target: LiveTarget, agent: Agent, op: str, how: str
) -> None:
    """Asleep in WAIT, or in NOTIFY_AND_WAIT for an answer that does not come."""
    with honest_beside(agent):
        sleeper, other = hostile(agent, op, length=64), hostile(agent, "nothing", core=0)
        channel = agent.bind(sleeper, other, "verified", order=ORDER)
        other.start()
        sleeper.start()
        waiting = agent.image.constant("KEUOS_PROCESS_WAITING")
        wait_stage(target, sleeper, "at_it")
        until(target, "it to sleep", lambda: sleeper.info().state == waiting)
        if how == "kill":
            other.kill()
        elif how == "close":
            channel.close()
        else:
            channel.revoke()
        end = sleeper.wait_exit()
        results = sleeper.read_struct("results")
        if how == "revoke":
            assert end.name == "fault_read" if op == "sleep" else not end.ok, f"its pages are gone: {end}"
        else:
            assert end.ok, end
            assert results.error == -agent.image.constant("KEUOS_ECLOSED")


# Ends in the middle ---------------------------------------------------------------------------------------------------


def _ends_of(who: str, how: str) -> set[str]:
    """How an honest side may end: nobody but the victim is killed, and only a revocation takes pages away."""
    if how == f"kill_{who}":
        return {"killed"}
    return {"code", "fault_read", "fault_write"} if how == "revoke" else {"code"}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("how", ["revoke", "kill_producer", "kill_consumer", "close"])
def test_an_end_in_the_middle_of_a_transfer_harms_nobody_else(
    target: LiveTarget, agent: Agent, seed: int, how: str, mode: str
) -> None:
    """At random moments, again and again; who is left has no message that was not sent."""
    draws = random.Random(seed)
    with honest_beside(agent):
        for turn in range(4):
            producer, consumer = (
                stream_side(agent, core=core, sleep=turn % 2, rest_ns=0, length_max=300) for core in (1, 0)
            )
            channel = agent.bind(producer, consumer, mode, order=1)
            consumer.start()
            producer.start()
            until(target, "the transfer to begin", functools.partial(messages_of, consumer))
            for _ in range(draws.randrange(4)):
                agent.ping()
            if how == "revoke":
                channel.revoke()
            elif how == "close":
                channel.close()
            else:
                (producer if how == "kill_producer" else consumer).kill()
            ends = [process.wait_exit() for process in (producer, consumer)]
            got = consumer.read_struct("results")
            assert got.wrong == 0, f"a message arrived that was not sent: {got}"
            for end, who in zip(ends, ("producer", "consumer"), strict=True):
                assert end.name in _ends_of(who, how), f"the {who}, after {how}: {end}"
            producer.close()
            consumer.close()
            channel.drop()


def test_honest_channels_notice_a_lost_message(target: LiveTarget, agent: Agent) -> None:
    """The ruler itself: a stream whose sender's count was falsified is not passed."""
    stream = Honest.start(agent)
    stream.wait_progress()
    stream.producer.write_struct("params", stop=1)
    assert stream.producer.wait_exit().ok
    sent = stream.producer.read_struct("results")
    stream.producer.write_struct("results", messages=sent.messages + 1)
    with pytest.raises(AssertionError, match="did not deliver"):
        stream.finish()
