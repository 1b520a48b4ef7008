"""The gates against descriptors by the million: every verdict is predicted, and none may differ."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from keuos_hil.fuzz import Batch, Generator, Matrix, difference_of
from keuos_hil.image import Image
from keuos_hil.oracle import BulkOracle, Descriptor, Shadow, Template
from keuos_hil.oracle.bulk import Verdicts
from keuos_hil.rig import LiveTarget

from .bulk import STILL, Answer, Bench, Move, make_bench
from .fuzz_run import FuzzRun
from .judgement import by_bulk, fail, replay

pytestmark = pytest.mark.needs("agent", "channels", "debug", "hil")

#: Bulk cases of a default run; this share of them is compared verdict by verdict, the others by the count per verdict.
CASES, COMPARED = 20_000_000, 0.3
SOAK_CASES = 1_000_000_000
#: Under an emulator that counts instructions.
COUNTED_CASES = 400_000
#: The share of cases that must get as far as the last gate, or the fuzzing is shallow.
DEEP = 0.2
#: The figures asked for, cases per second of the host. They are shown, and judge nothing.
BULK_RATE, COMPARED_RATE = 5_000_000, 300_000
#: Rounds that are judged together where only counts are compared.
ROUNDS = 64


@dataclass
class _Asked:
    batch: Batch
    moves: list[Move]
    up_to_tag: Verdicts


class BulkRun:
    """Batches through the kernel's gate and the oracle.

    Args:
        wrong: called with the first case that the kernel judged otherwise than predicted; does not return.
    """

    def __init__(
        self, bench: Bench, generator: Generator, wrong: Callable[[Shadow, Descriptor], Any], seed: int
    ) -> None:
        self._gate = bench.gate
        self._abi = bench.channel.abi
        self._oracle = BulkOracle(bench.channel)
        self._generator = generator
        self._wrong = wrong
        self._rng = np.random.default_rng(seed)
        self._pending: deque[_Asked] = deque()
        self.matrix = Matrix(self._abi)
        self.asked = self.cases = self.deep = 0

    def moves(self, count: int) -> list[Move]:
        """What the shadows are moved by in rounds that are counted; the last round is judged as it is."""
        heads = self._rng.choice([0, 0, 0, 1, -1, 63, -64, 1 << 31], count)
        datas = self._rng.choice([0, 0, 0, -64, -128, -4096, 64, 1 << 31], count)
        return [*zip(heads.tolist(), datas.tolist(), strict=True), STILL]

    def ask(self, counted: int) -> None:
        """One more batch, in so many rounds that are counted and one that is compared; first takes one if it has to."""
        batch, moves = self._generator.batch(self._gate.cases_max), self.moves(counted)
        if not self._gate.room:
            self.take()
        self._gate.ask(batch, moves)
        self.asked += len(batch) * len(moves)
        self._pending.append(_Asked(batch, moves, self._oracle.up_to_tag(batch.descriptors)))

    def take_all(self) -> None:
        """Until none is left."""
        while self._pending:
            self.take()

    def take(self) -> None:
        """Compare the answer that is due."""
        asked = self._pending.popleft()
        batch, number = asked.batch, self._abi.verdicts
        delivered = np.zeros(len(batch), bool)
        expected: list[Verdicts] = []
        for head, data in asked.moves:
            heads = batch.heads + np.uint32(head & 0xFFFF_FFFF)
            verdicts = self._oracle.finish(
                asked.up_to_tag, batch.descriptors, heads, batch.datas + np.uint32(data & 0xFFFF_FFFF)
            )
            delivered |= verdicts == number["ok"]
            expected.append(verdicts)
        answer = self._gate.take()
        self.cases += len(batch) * len(asked.moves)
        self.matrix.add(batch.fields, batch.mutations, expected[-1])
        self._compare_last(batch, expected[-1], delivered, answer)
        for row, (move, verdicts) in enumerate(zip(asked.moves, expected, strict=True)):
            counts = np.bincount(verdicts, minlength=answer.counts.shape[1])
            self.deep += int(counts[number["ok"]] + counts[number["sequence"]])
            if not np.array_equal(counts, answer.counts[row]):
                self._find(batch, move, verdicts, f"counted {answer.counts[row].tolist()}, expected {counts.tolist()}")

    def _compare_last(self, batch: Batch, expected: Verdicts, delivered: Any, answer: Answer) -> None:
        heads, datas = self._oracle.after(expected, batch.descriptors, batch.heads, batch.datas)
        words = batch.descriptors.view("<u8").reshape(len(batch), -1)
        mail = answer.delivered.view("<u8").reshape(len(batch), -1)
        wrong = (answer.verdicts != expected) | (answer.heads != heads) | (answer.datas != datas)
        wrong |= (mail != np.where(delivered[:, np.newaxis], words, np.uint64(0))).any(axis=1)
        if wrong.any():
            self._report(batch, int(np.flatnonzero(wrong)[0]), STILL)
        refused = np.flatnonzero(expected != self._abi.verdicts["ok"])
        if len(refused):
            assert answer.refused == batch.descriptors[refused[-1]].tobytes(), (
                "the record's copy is not what was refused"
            )

    def _find(self, batch: Batch, move: Move, expected: Verdicts, told: str) -> None:
        """Which case of a round was counted wrongly: the round is judged once more, alone."""
        while self._gate.waiting:
            self._gate.take()
        moved = Batch(
            batch.descriptors,
            batch.heads + np.uint32(move[0] & 0xFFFF_FFFF),
            batch.datas + np.uint32(move[1] & 0xFFFF_FFFF),
            batch.fields,
            batch.mutations,
        )
        self._gate.ask(moved)
        wrong = np.flatnonzero(self._gate.take().verdicts != expected)
        assert len(wrong), f"the counts of a round were wrong once, its verdicts are right: {told}"
        self._report(moved, int(wrong[0]), STILL)

    def _report(self, batch: Batch, at: int, move: Move) -> None:
        while self._gate.waiting:
            self._gate.take()
        shadow = Shadow(int(batch.heads[at]), int(batch.datas[at]))
        self._wrong(shadow, Descriptor.parse(self._abi, batch.descriptors[at].tobytes()))


def _proofs(image: Image) -> list[Template]:
    return [Template.of(template) for template in image.templates("gate_bulk")]


def _ask_all(on: FuzzRun, bench: Bench, run: BulkRun, cases: int) -> tuple[float, float]:
    """Verdict by verdict, and then by the count per verdict: cases a second of each. A time is halved between them."""
    fuzzing = on.fuzzing.split(2)
    compared = fuzzing.budget(round(cases * COMPARED), COMPARED)
    with on.progress("gates in bulk, verdict by verdict", compared.cases or 0) as advance:
        while compared.left(run.asked // 2):
            run.ask(counted=1)
            advance(bench.gate.cases_max)
        run.take_all()
    compared_rate = run.matrix.cases / compared.elapsed
    first, counted = run.cases, fuzzing.budget(cases)
    with on.progress("gates in bulk, by the count per verdict", max((counted.cases or 0) - first, 0)) as advance:
        run.ask(counted=ROUNDS - 1)
        while counted.left(run.asked):
            run.ask(counted=ROUNDS - 1)
            advance(ROUNDS * bench.gate.cases_max)
        run.take_all()
    return compared_rate, (run.cases - first) / counted.elapsed


def _fuzz_in_bulk(on: FuzzRun, cases: int) -> None:
    target, agent, image, fuzzing = on.target, on.agent, on.image, on.fuzzing
    bench = make_bench(target, agent, image)
    channel = bench.channel
    judge = by_bulk(bench.gate, channel)
    replay(judge, channel, fuzzing)

    def wrong(shadow: Shadow, descriptor: Descriptor) -> None:
        fail(judge, channel, image, fuzzing, difference_of(channel, shadow, descriptor), "bulk")

    run = BulkRun(bench, Generator(channel, bench.other, _proofs(image), fuzzing.seed), wrong, fuzzing.seed)
    gate = on.record.gate("fuzzed in bulk")
    try:
        compared_rate, bulk_rate = _ask_all(on, bench, run, cases)
    finally:
        gate.cases = run.cases
        on.record.fuzz("bulk", fuzzing.seed, run.cases, run.matrix)
    _finish(target, bench, run)
    cores = {"cores": agent.info().cores}
    on.record.add("fuzz.bulk_rate", cores, "1/s", value=bulk_rate, timebase="host", at_least=BULK_RATE)
    on.record.add("fuzz.compared_rate", cores, "1/s", value=compared_rate, timebase="host", at_least=COMPARED_RATE)
    deep = run.deep / run.cases
    on.record.add("fuzz.deep", {}, "share of cases", value=deep, timebase="host", at_least=DEEP)
    assert deep >= DEEP, f"{deep:.1%} of the cases get as far as the last gate: the fuzzing is shallow"


def _finish(target: LiveTarget, bench: Bench, run: BulkRun) -> None:
    """Every gate was met, nothing but the shadow moved, and nobody was harmed."""
    met = {verdict for row in run.matrix.rows() for verdict in row["verdicts"]}
    per_descriptor = {"ok", "ownership", "state", "alignment", "template", "tag", "length", "sequence"}
    assert met == per_descriptor, f"verdicts that never came: {per_descriptor - met}"
    record = target.kernel.read_element("channels", bench.channel.channel - 1)
    own = {name: value for name, value in record.as_dict().items() if name in bench.gate.scratch()}
    assert bench.gate.scratch() == own, "the gate changed more of the record than the shadow indices"
    info = bench.judge.info()
    assert not info.exit_reason, "the process that lent its channel was ended"


@pytest.mark.parametrize(
    "cases",
    [
        pytest.param(CASES, id="default"),
        pytest.param(SOAK_CASES, id="a_thousand_million", marks=[pytest.mark.soak, pytest.mark.needs("emulated")]),
    ],
)
def test_every_descriptor_in_bulk_gets_the_predicted_verdict(fuzz_run: FuzzRun, cases: int) -> None:
    _fuzz_in_bulk(fuzz_run, COUNTED_CASES if fuzz_run.counts_instructions else cases)
