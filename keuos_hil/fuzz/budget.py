"""How much a run tries, with which seed, and where its failures are kept."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Fuzzing:
    """The run's choices: see the options --fuzz-seed, --fuzz-count, --fuzz-time and --fuzz-corpus.

    Attributes:
        seed: of every case.
        count: bulk cases asked for; None for a test's own default.
        seconds: after which each test stops; None for no such limit.
        corpus: the folder of failures.
    """

    seed: int
    count: int | None
    seconds: float | None
    corpus: Path

    def split(self, phases: int) -> Fuzzing:
        """Of a test that goes on in so many phases, one of them: each has an equal part of the time."""
        return self if self.seconds is None else replace(self, seconds=self.seconds / phases)

    def budget(self, default: int, share: float = 1.0) -> Budget:
        """A test's own budget.

        Args:
            default: cases if neither a count nor a time was given.
            share: how many of this test's cases go with each bulk case that --fuzz-count asks for.
        """
        if self.count is not None:
            return Budget(max(round(self.count * share), 1), self.seconds)
        return Budget(default if self.seconds is None else None, self.seconds)


class Budget:
    """Says when enough cases were tried.

    Args:
        cases: how many, or None for as many as the time allows.
        seconds: from now on, or None.
    """

    def __init__(self, cases: int | None, seconds: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self.cases = cases
        self.seconds = seconds
        self._clock = clock
        self._start = clock()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._start

    def left(self, done: int) -> bool:
        """Whether to go on after so many cases."""
        in_time = self.seconds is None or self.elapsed < self.seconds
        return in_time and (self.cases is None or done < self.cases)
