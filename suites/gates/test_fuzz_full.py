"""Senders by the thousand, killed for what they notify: verdict, punishment, record, and what the peer learns."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from keuos_hil.fuzz import Difference, Matrix, carried, senders
from keuos_hil.oracle import Channel

from .full import FullGate, Judged
from .full_judge import by_full, by_senders, made_up, proofs_of
from .fuzz_run import FuzzRun
from .judgement import fail, replay, replay_senders

pytestmark = pytest.mark.needs("agent", "channels", "debug", "hil")

#: Senders of a default run, and under an emulator that counts instructions.
CASES, COUNTED_CASES = 10_000, 320
SOAK_CASES = 500_000
#: Bulk cases that --fuzz-count means for each full one.
PER_FULL = 2_000
#: The figure asked for, kills per second of the host. It is shown, and judges nothing.
KILL_RATE = 1_000


class _Tally:
    """Counts what became of senders; the first that ended otherwise than predicted ends the test."""

    def __init__(self, run: FuzzRun, gate: FullGate) -> None:
        self._run, self._gate = run, gate
        self.matrix = Matrix(gate.abi)
        self.done = self.kills = 0

    def add(self, wave: list[Judged]) -> None:
        """Every sender of a wave."""
        for one in wave:
            if not one.compared.right:
                run, judge = self._run, by_full(self._gate, one.case)
                channel = made_up(self._gate.abi, run.image, 1)
                fail(judge, channel, run.image, run.fuzzing, one.case.difference, "full", one.case)
        self.kills += sum(one.outcome.culprit == "producer" for one in wave)
        self.done += len(wave)
        labels = np.array(
            [(one.case.field, one.case.mutation, self._gate.abi.verdicts[one.outcome.verdict]) for one in wave],
            np.uint8,
        )
        self.matrix.add(*labels.T)


def _ask_all(run: FuzzRun, gate: FullGate, tally: _Tally, channel: Channel, count: int) -> tuple[int, float]:
    """How many senders were asked for, and kills a second."""
    quotas = gate.quotas
    made = senders(channel, made_up(gate.abi, run.image, 2), proofs_of(run.image), run.fuzzing.seed)
    budget = run.fuzzing.budget(count, 1 / PER_FULL)
    asked = 0
    with run.progress("gates by killed senders", budget.cases or 0) as advance:
        while budget.left(asked):
            if not gate.room:
                tally.add(gate.take())
                advance(gate.wave_max)
            gate.ask(list(islice(made, gate.wave_max)))
            asked += gate.wave_max
            assert _without_clocks(gate.quotas) == _without_clocks(quotas), "quotas did not come back after a wave"
        while gate.waiting:
            tally.add(gate.take())
    return asked, tally.kills / budget.elapsed


def _fuzz(run: FuzzRun, count: int) -> None:
    gate = FullGate(run.target, run.agent, run.image)
    channel = made_up(gate.abi, run.image, 1)
    replay(by_full(gate), channel, run.fuzzing)
    replay_senders(by_senders(gate), channel, run.fuzzing)
    for _ in range(gate.waves + 1):  # then the tables that map its windows are there to stay
        gate.ask([carried(Difference(0, 0, 0, {}))])
        gate.take_all()
    tally = _Tally(run, gate)
    recorded = run.record.gate("fuzzed by killed senders")
    try:
        asked, rate = _ask_all(run, gate, tally, channel, count)
    finally:
        recorded.cases = tally.done
        run.record.fuzz("full", run.fuzzing.seed, tally.done, tally.matrix)
    gate.stop()
    assert gate.supervisor.wait_exit().ok
    kills, done = tally.kills, tally.done
    assert done == asked
    assert kills >= done / 2, f"{kills} of {done} senders were killed: too many of the cases are harmless"
    assert kills < done, "no case was harmless: a gate that kills whoever notifies would pass"
    run.record.add("fuzz.kill_rate", {}, "1/s", value=rate, timebase="host", at_least=KILL_RATE)


def _without_clocks(quotas: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in quotas.items() if name != "syscalls"}


@pytest.mark.parametrize(
    "count",
    [
        pytest.param(CASES, id="default"),
        pytest.param(SOAK_CASES, id="half_a_million", marks=[pytest.mark.soak, pytest.mark.needs("emulated")]),
    ],
)
def test_every_sender_ends_as_predicted(fuzz_run: FuzzRun, count: int) -> None:
    _fuzz(fuzz_run, COUNTED_CASES if fuzz_run.counts_instructions else count)
