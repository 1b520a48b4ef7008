"""Traps and set-up: what an empty system call, a wake-up and a channel cost, from end to end."""

from __future__ import annotations

import numpy as np
import pytest

from keuos_hil.agent import Agent
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .programs import finish, spawn_pair

pytestmark = pytest.mark.needs("agent", "channels")


def test_null_system_call(fresh_target: LiveTarget, agent: Agent, record: Recorder) -> None:
    process = agent.spawn("ring_null", core=1 if agent.info().cores > 1 else 0, suspended=True)
    process.write_struct("params", count=2_000)
    process.start()
    finish(process)
    results = process.read_struct("results")
    assert results.samples == 2_000
    baseline = np.median(process.read_array("baseline", 2_000))
    record.add("syscall.null", {}, samples=process.read_array("samples", 2_000).astype(float) - baseline)
    per_call = (int(results.batch_ticks) - int(results.batch_baseline)) / 2_000
    assert per_call > 0, "a loop of system calls took no longer than one of nops"
    record.add("syscall.null_batch", {}, value=per_call)


@pytest.mark.parametrize("mode", ["polled", "polled_proof", "verified"])
def test_channel_setup_and_teardown(fresh_target: LiveTarget, agent: Agent, record: Recorder, mode: str) -> None:
    process = agent.spawn("ring_null", core=1 if agent.info().cores > 1 else 0, suspended=True)
    code = process.elf.layouts.constant("KEUOS_" + mode.upper())
    before = agent.counts()
    process.write_struct("params", count=1, channels=200, mode=code, data_order=0)
    process.start()
    finish(process)
    assert process.read_struct("results").channels == 200
    after = agent.counts()
    assert after.channels == before.channels, "channels were bound and unmapped, and are still there"
    record.add("ring.setup", {"mode": mode}, samples=process.read_array("setup", 200))
    record.add("ring.teardown", {"mode": mode}, samples=process.read_array("teardown", 200))


@pytest.mark.parametrize("cores", ["same", pytest.param("cross", marks=pytest.mark.needs("smp"))])
def test_doorbell_wakes_its_sleeper(fresh_target: LiveTarget, agent: Agent, record: Recorder, cores: str) -> None:
    count = 1_000
    sleeper, waker = spawn_pair(agent, "ring_wake", "ring_wake", cores)
    for process in (sleeper, waker):
        process.write_struct("params", count=count, dawdle=50, same_core=int(cores == "same"))
    agent.bind(sleeper, waker, "polled")
    sleeper.start()
    waker.start()
    finish(sleeper, waker)
    assert sleeper.read_struct("results").samples == waker.read_struct("results").samples == count
    assert sleeper.read_struct("results").early == 0, "a sleep without a deadline ended by itself"
    rung, woke = (process.read_array("stamps", count).astype(np.int64) for process in (waker, sleeper))
    assert (woke > rung).all(), (
        "somebody was awake before the doorbell rang: the cores' clocks differ, or it did not sleep"
    )
    record.add("ring.wake", {"cores": cores}, samples=woke - rung)
