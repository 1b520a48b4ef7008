"""The `record` fixture: where a suite puts its figures and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from .results import Results

if TYPE_CHECKING:
    from .fuzz import Matrix


@dataclass
class Gate:
    """A gate that a test is about, and how many cases the test tried on it."""

    name: str
    cases: int


class Recorder:
    """Adds to the run's results under one target's name.

    Args:
        results: of this process.
        target: the target's name.
        timebase: what ticks count there.
    """

    def __init__(self, results: Results, target: str, timebase: str) -> None:
        self._results = results
        self._target = target
        self._timebase = timebase
        self._gates: list[Gate] = []

    def add(
        self,
        name: str,
        params: dict[str, Any] | None = None,
        unit: str = "ticks",
        *,
        samples: ArrayLike | None = None,
        value: float | None = None,
        ci95: tuple[float, float] | None = None,
        ci_of: str | None = None,
        timebase: str | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
        beside: Mapping[str, float] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Record a quantity; the row as it stands in results.json.

        Args:
            name: of the table in docs/measuring.md.
            params: what distinguishes this row, such as {"size": 56, "path": "data"}.
            samples: all raw samples, warm-up dropped; percentiles and the median's interval are computed.
            value: instead of samples, one figure; `ci95` and `ci_of` may say its interval and what that is of.
            timebase: if it is not the target's, as for milliseconds of the host: "host".
            at_most, at_least: the figure asked for, in the same unit; shown beside ours.
            beside: others' published figures, by source. They are cited, never measured here.
            more: further fields of the row, such as `ratio` and `rejected`; the schema has them.
        """
        return self._results.add_measurement(
            name,
            dict(params or {}),
            unit,
            target=self._target,
            timebase=timebase or self._timebase,
            samples=samples,
            value=value,
            ci95=ci95,
            ci_of=ci_of,
            at_most=at_most,
            at_least=at_least,
            beside=beside,
            more=more,
        )

    __call__ = add

    def missing(self, name: str, params: dict[str, Any], reason: str) -> None:
        """A row of the quantity `name` that can't be given, and why."""
        self._results.add_missing(name, params, self._target, reason)

    def reference(self, what: str, value: float, unit: str, source: str) -> None:
        """What somebody else published: cited in the tables, never a measurement of this run."""
        self._results.add_reference(what, value, unit, source)

    def build_options(self, options: str) -> None:
        """How that was built which the test measured, if the target did not boot it. Baselines go by it."""
        self._results.build_options[self._target] = options

    def stack(self, system: str) -> None:
        """Which network stack it is that the test is about, by name and version."""
        self._results.stacks[self._target] = system

    def gate(self, name: str, cases: int = 1) -> Gate:
        """The test is about this gate, over so many cases: said before anything is tried. The gate does as the test."""
        self._gates.append(Gate(name, cases))
        return self._gates[-1]

    def close(self, verdict: str) -> None:
        """How the test ended: "passed" or "failed"."""
        for gate in self._gates:
            self._results.add_verdict("gates", gate.name, self._target, verdict, gate.cases)
        self._gates.clear()

    def fuzz(self, speed: str, seed: int, cases: int, matrix: Matrix) -> None:
        """What came of fuzzing the gates.

        Args:
            speed: "bulk" or "full".
            cases: how many in all.
            matrix: those of them whose verdicts were compared one by one.
        """
        run = {"target": self._target, "speed": speed, "seed": seed, "cases": cases, "compared": matrix.cases}
        self._results.fuzz.append(run | {"verdicts": matrix.verdicts, "rows": matrix.rows()})

    def requirement(self, name: str, verdict: str, cases: int = 1) -> None:
        """How a numbered requirement did: "passed" or "failed", over so many cases."""
        self._results.add_verdict("requirements", name, self._target, verdict, cases)
