"""What may be held to a number: instructions, counted exactly, on the release kernel, user code of both sides included.

Only under --timebase=instructions. A nop loop is subtracted. A count that grows fails; a time never does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from keuos_hil.agent import Agent, Process
from keuos_hil.parts import Asked
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .executed import executed_per_operation, total
from .programs import finish, round_trip_pair, round_trips

pytestmark = pytest.mark.needs("agent", "channels", "instructions")

COUNT = 1_000
#: The most that a null system call may take, and a round trip on the data plane of one-slot messages, both sides
#: together and empty polls apart, the same with a proof that the receiver checks, and one of 64 bytes that the kernel
#: verifies, both sides sleeping on one core. A target may ask for less, and know others' figures.
NULL_MAX, DATA_MAX, PROOF_MAX, VERIFIED_MAX = 60, 100, 100, 1_000
#: Instructions of the loop around an operation, which the row has subtracted, and of a pointer's wrap now and then.
LOOP = 6


@dataclass(frozen=True)
class Own:
    """What ring_self or ring_null found: instructions of one operation, as the batch has it and each sample."""

    batch: float
    samples: NDArray[np.float64]


def _agrees(row: dict[str, Any], batch: float) -> None:
    """By two ways of counting: QEMU's clock, and each function by itself."""
    if "executed" in row:
        assert total(row) == pytest.approx(batch, abs=LOOP), row["executed"]


def _prepared(agent: Agent, program: str, **parameters: int) -> Process:
    process = agent.spawn(program, core=1 if agent.info().cores > 1 else 0, suspended=True)
    process.write_struct("params", **parameters)
    return process


def _own(agent: Agent, program: str, **parameters: int) -> Own:
    process = _prepared(agent, program, count=COUNT, **parameters)
    process.start()
    finish(process)
    results = process.read_struct("results")
    assert results.samples == COUNT
    baseline = float(np.median(process.read_array("baseline", COUNT)))
    return Own(
        (int(results.batch_ticks) - int(results.batch_baseline)) / COUNT,
        process.read_array("samples", COUNT).astype(np.float64) - baseline,
    )


def _require(count: float, asked: Asked, what: str) -> None:
    assert asked.at_most is not None
    assert count <= asked.at_most, f"{count} instructions for {what}; at most {asked.at_most} are allowed"


@pytest.mark.parametrize(("path", "size"), [("data", 56), ("receiver-proof", 48)])
def test_data_plane_round_trip(fresh_target: LiveTarget, agent: Agent, record: Recorder, path: str, size: int) -> None:
    mode = agent.image.constant("KEUOS_POLLED" if path == "data" else "KEUOS_POLLED_PROOF")
    found = _own(agent, "ring_self", mode=mode)
    params = {"size": size, "path": path, "wait": "poll", "cores": "none"}
    if path == "data":
        asked = fresh_target.asked("round_trip", DATA_MAX)
    else:
        asked = fresh_target.asked("round_trip_with_proof", PROOF_MAX)
    more = executed_per_operation(
        fresh_target, lambda warm_up: [_prepared(agent, "ring_self", mode=mode, warm_up=warm_up)]
    )
    limits: dict[str, Any] = {"at_most": asked.at_most, "beside": asked.beside}
    _agrees(record.add("ring.round_trip", params, samples=found.samples, more=more, **limits), found.batch)
    _require(found.batch, asked, "a round trip")
    assert found.batch > 40, f"{found.batch} instructions can't move {size} bytes four times: something was elided"


def test_null_system_call(fresh_target: LiveTarget, agent: Agent, record: Recorder) -> None:
    found = _own(agent, "ring_null")
    asked = fresh_target.asked("null_system_call", NULL_MAX)
    more = executed_per_operation(fresh_target, lambda warm_up: [_prepared(agent, "ring_null", warm_up=warm_up)])
    limits: dict[str, Any] = {"at_most": asked.at_most, "beside": asked.beside}
    _agrees(record.add("syscall.null", {"loop": "counted"}, samples=found.samples, more=more, **limits), found.batch)
    _require(found.batch, asked, "a null system call")


def test_verified_round_trip_of_sleepers_on_one_core(fresh_target: LiveTarget, agent: Agent, record: Recorder) -> None:
    params: dict[str, Any] = {"size": 64, "path": "notify_and_wait", "wait": "wake", "cores": "same"}
    found = round_trips(agent, **params, count=COUNT)
    asked = fresh_target.asked("verified_round_trip", VERIFIED_MAX)
    more = executed_per_operation(fresh_target, lambda n: round_trip_pair(agent, **params, count=1, warm_up=n))
    limits: dict[str, Any] = {"at_most": asked.at_most, "beside": asked.beside}
    _agrees(record.add("ring.round_trip_batch", params, value=found.batch, more=more, **limits), found.batch)
    _require(found.batch, asked, "a round trip")


@pytest.mark.needs("hil")
def test_a_counter_of_instructions_that_a_hil_build_opens_agrees_with_the_timebase(
    fresh_target: LiveTarget, agent: Agent
) -> None:
    """Both are read around a loop of 2,000 instructions, one in front and two behind it that belong to the reading."""
    process = agent.spawn("probe", core=agent.info().cores - 1, suspended=True)
    count = process.elf.symbols.get("probe_count_instructions")
    if count is None:
        pytest.skip(f"programs on {agent.image.kernel.machine} have one counter, and that is the timebase")
    process.write_struct("params", op=process.elf.layouts.constant("PROBE_EXECUTE"), address=count.address)
    process.start()
    finish(process)
    results = process.read_struct("results")
    assert (results.value, results.second) == (2_003, 2_003)


#: By target, what the first boot counted.
_first_boot: dict[str, dict[str, object]] = {}


@pytest.mark.needs("smp")
@pytest.mark.parametrize("boot", ["first", "second"])
def test_two_boots_count_the_same(fresh_target: LiveTarget, agent: Agent, record: Recorder, boot: str) -> None:
    """To the digit: every sample of a polled round trip across cores."""
    params: dict[str, Any] = {"size": 56, "path": "data", "wait": "poll", "cores": "cross"}
    found = round_trips(agent, **params, count=COUNT)
    if boot == "first":
        most = fresh_target.asked("round_trip", DATA_MAX).at_most
        more = executed_per_operation(fresh_target, lambda n: round_trip_pair(agent, **params, count=1, warm_up=n))
        name = "ring.round_trip_without_empty_polls"
        record.add(name, params, value=found.batch_without_polls, at_most=most, more=more)
    figures: dict[str, object] = {"samples": found.samples.tolist(), "batch": int(found.ping.batch_ticks)}
    if boot == "first":
        _first_boot[fresh_target.name] = figures
    elif fresh_target.name not in _first_boot:
        pytest.fail("the first boot has to be counted in the same run: select both, -k two_boots")
    else:
        assert figures == _first_boot[fresh_target.name]
