"""The suites on what was built, and what became of the fault in it."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from keuos_hil.errors import InfraError
from keuos_hil.reporting import EXIT_BENCH

from .bounded import Bounded
from .products import Built
from .workshop import ROOT

_TRIAL_S = 900.0
_FAILED = re.compile(r"^FAILED (.+?)(?: - (.*))?$", re.MULTILINE)
_WAITED = re.compile(r"^E .*\b(?:WaitTimeout|Silent|TimeoutExpired|TimeoutError)\b", re.MULTILINE)
_PASSED = re.compile(r"^.*\b([1-9]\d*) passed\b", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What one run of pytest said.

    Attributes:
        noticed: the first test that failed, or "" if all passed.
        words: the first line of its failure.
        waited: it failed because a wait ran out.
        trouble: why the run says nothing, or "".
        idle: the trouble is that no test ran.
    """

    noticed: str = ""
    words: str = ""
    waited: bool = False
    trouble: str = ""
    idle: bool = False


@dataclass(frozen=True)
class Verdict:
    """What became of a fault.

    Attributes:
        killed: its own tests noticed, every run of them.
        elsewhere: its own tests did not; this one did.
    """

    fault: str
    outcomes: list[Outcome] = field(default_factory=list)
    elsewhere: Outcome = Outcome()
    trouble: str = ""
    seconds: float = 0.0

    @property
    def killed(self) -> bool:
        """Whether each of its runs noticed it."""
        return bool(self.outcomes) and not self.trouble and all(o.noticed for o in self.outcomes)

    @property
    def word(self) -> str:
        """For the table."""
        if self.trouble:
            return "trouble"
        if self.killed:
            return "killed"
        return "killed elsewhere" if self.elsewhere.noticed else "SURVIVED"


def first_failure(said: str) -> Outcome | None:
    """The first failure in pytest's summary; None if there is none. A test's id may hold blanks."""
    failed = _FAILED.search(said)
    return Outcome(noticed=failed.group(1), words=(failed.group(2) or "").strip()) if failed else None


def run(built: Built, selection: Sequence[str], place: Path, bounded: Bounded) -> Outcome:
    """Run the tests that `selection` names until the first fails. `place` is emptied, and keeps log and results.

    `{tree}` in the selection is the folder of the faulty sources: for tests that build from the sources themselves.
    """
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    argv = [sys.executable, "-m", "pytest", "-q", "-x", "-ra", "-p", "no:cacheprovider", *built.arguments]
    argv += [f"--results={place / 'results'}"]
    argv += [f"--fuzz-corpus={place / 'corpus'}"]  # what a fault fails by is no case for kernels without it
    argv += [word.replace("{tree}", str(built.tree)) for word in selection]
    status = bounded.run(argv, place / "pytest.log", _TRIAL_S, cwd=ROOT)
    said = (place / "pytest.log").read_text(errors="replace")
    if status == pytest.ExitCode.NO_TESTS_COLLECTED or (status == 0 and not _PASSED.search(said)):
        return Outcome(trouble=f"no test of {' '.join(selection)} ran", idle=True)
    if status == 0:
        return Outcome()
    failed = first_failure(said)
    if status == 1 and failed is not None:
        return replace(failed, waited=bool(_WAITED.search(said)))
    if status is None:
        return Outcome(trouble=f"the run did not end within {_TRIAL_S:g} s, or was stopped; see {place / 'pytest.log'}")
    why = "only the bench failed" if status == EXIT_BENCH else f"pytest ended with status {status}"
    return Outcome(trouble=f"{why}; see {place / 'pytest.log'}")


def try_fault(name: str, built: Built, selections: Sequence[Sequence[str]], place: Path, bounded: Bounded) -> Verdict:
    """Its own tests first; if one run of them misses it, all that there is."""
    outcomes = [run(built, selection, place / str(i), bounded) for i, selection in enumerate(selections)]
    trouble = "; ".join(o.trouble for o in outcomes if o.trouble)
    elsewhere = Outcome()
    if not trouble and not all(o.noticed for o in outcomes):
        elsewhere = run(built, built.everything, place / "everything", bounded)
        trouble = elsewhere.trouble
    return Verdict(name, outcomes, elsewhere, trouble)


def confirmed(
    verdict: Verdict,
    sound: Callable[[], Built],
    selections: Sequence[Sequence[str]],
    place: Path,
    bounded: Bounded,
) -> Verdict:
    """The verdict, but where a wait ran out: that shows a fault only if it does not run out without one, too.

    `sound` gives what was built without a fault; it is asked only if it is needed.
    """
    for outcome, selection in zip(verdict.outcomes, selections, strict=True):
        if outcome.waited and (again := run(sound(), selection, place / "sound", bounded)).noticed:
            return replace(verdict, trouble=f"{again.noticed} fails without the fault, too: {again.words}")
    return verdict


def require_sound(built: Built, selections: Sequence[Sequence[str]], place: Path, bounded: Bounded) -> None:
    """Raises InfraError if the tests fail without any fault: then a failure would prove nothing.

    Tests that don't run prove nothing either, but of the faults that name them alone: see try_fault.
    """
    for i, selection in enumerate(selections):
        outcome = run(built, selection, place / str(i), bounded)
        if (outcome.noticed or outcome.trouble) and not outcome.idle:
            raise InfraError(
                f"pytest {' '.join(selection)} does not pass without a fault, so it can't show one: "
                f"{outcome.trouble or outcome.noticed + ' ' + outcome.words}"
            )
