"""Whether something became slower: decisions about pairs of launches, and about two runs' results. Pure.

A slowdown is told only where the lower end of an interval for new to old passes a threshold, the confidence corrected
for the number of rows, and where a second set of launches says so again (docs/measuring.md). Instructions are counted
exactly and compared exactly.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import UsageError
from .executed import Grown, grown
from .rounds import CONFIDENCE, student_t
from .rows import Launch, Name, Session

THRESHOLD = 1.02
#: What is judged of rows of this machine: the ring's, polled barely, for a pause hides slowdowns.
JUDGED_ROWS = ("ring-56:bare", "ring-64:bare", "ring-proof-48:bare")
#: Below so many pairs of launches an interval is too wide to find anything.
PAIRS_MIN = 4


@dataclass(frozen=True)
class Verdict:
    """What is said of one row.

    Attributes:
        row: its name, with its stratum.
        ratio: new to old; of pairs the geometric mean.
        low, high: its 95 % interval, not corrected; None where it is not a matter of chance, or cannot be said.
        bound: the lower end that is judged, corrected for the number of rows.
        pairs: of launches, behind it.
        slower: whether the bound passes the threshold.
    """

    row: str
    ratio: float
    low: float | None
    high: float | None
    bound: float
    pairs: int
    slower: bool


def pair_ratios(old: Launch, new: Launch, seed: int) -> dict[Name, float]:
    """New to old, row by row, each over its own floor; of rows that both saw in one stratum often enough.

    Of several strata the one with the most rounds counts.
    """
    found: dict[Name, tuple[int, float]] = {}
    for (name, _), medians in Session([old, new], seed).medians().items():
        if len(medians) == 2:
            rounds = sum(count for _, count in medians.values())
            ratio = medians[1][0] / medians[0][0]
            found[name] = max(found.get(name, (0, 0.0)), (rounds, ratio))
    return {name: ratio for name, (_, ratio) in found.items()}


def judge_pairs(ratios: Mapping[str, Sequence[float]], *, threshold: float = THRESHOLD) -> list[Verdict]:
    """What pairs of launches say of each row; rows with fewer than PAIRS_MIN pairs are left out.

    The interval is Student's t over the pairs' log ratios. What is judged is its lower end at a confidence of 97.5 %,
    one-sided, for all rows together (Bonferroni).
    """
    enough = {row: np.log(values) for row, values in ratios.items() if len(values) >= PAIRS_MIN}
    made = []
    for row, logs in enough.items():
        mean, error = float(logs.mean()), float(logs.std(ddof=1)) / math.sqrt(len(logs))
        half = student_t(CONFIDENCE, len(logs) - 1) * error
        bound = mean - student_t(1 - (1 - CONFIDENCE) / len(enough), len(logs) - 1) * error
        made.append(
            Verdict(
                row,
                math.exp(mean),
                math.exp(mean - half),
                math.exp(mean + half),
                math.exp(bound),
                len(logs),
                math.exp(bound) > threshold,
            )
        )
    return made


def fingerprint(environment: Mapping[str, Any]) -> tuple[str, ...]:
    """What two hosts must have in common for their timings to be compared."""
    machine = environment.get("machine", {})
    names = ("cpu", "hypervisor", "frequency_policy", "boost", "smt")
    return tuple(f"{name}: {machine.get(name, 'unknown')}" for name in names)


def _key(row: Mapping[str, Any]) -> tuple[str, ...]:
    params = " ".join(f"{name}={value}" for name, value in sorted(row["params"].items()))
    return (row["name"], params, row["target"], row["timebase"], row["unit"])


def judge_results(
    old: Mapping[str, Any], new: Mapping[str, Any], *, threshold: float = THRESHOLD
) -> tuple[list[Verdict], list[str]]:
    """What two runs' results.json say of each row that both have; and what could not be compared, and why.

    Instructions: exactly, any more is slower. Timings with medians by launch: Welch's t on their logarithms, the
    interval corrected for the number of rows. Other timings are not judged: one run knows nothing of another launch.

    Raises:
        UsageError: timings were taken on machines that differ.
    """
    before = {_key(row): row for row in old["measurements"]}
    after = {_key(row): row for row in new["measurements"]}
    both = [key for key in after if key in before]
    notes = [f"{'only in the old' if key in before else 'only in the new'} results: {' '.join(key[:4])}"
             for key in before.keys() ^ after.keys()]  # fmt: skip
    exact = [key for key in both if key[3] == "instructions"]
    timed = [key for key in both if all(len(_medians(rows[key])) >= 2 for rows in (before, after))]
    rest = len(both) - len(exact) - len(timed)
    if rest:
        notes.append(f"{rest} rows carry no medians of several launches and are not judged")
    for document in (old, new):
        if timed and "merged" in document["environment"] and "machine" not in document["environment"]:
            raise UsageError(
                "results joined of several machines can't be compared by time; compare the runs by themselves"
            )
    unlike = _unlike_machines(old, new)
    if timed and unlike:
        raise UsageError(unlike)
    verdicts = []
    for key in exact:
        a, b = figure(before[key]), figure(after[key])
        ratio = b / a if a else math.inf if b else 1.0
        verdicts.append(Verdict(" ".join(key[:4]), ratio, None, None, ratio, 1, b > a))
    for key in timed:
        verdicts.append(_welch(" ".join(key[:2]), _medians(before[key]), _medians(after[key]), len(timed), threshold))
    return verdicts, sorted(notes)


def _unlike_machines(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What is to be said of hosts whose timings can't be compared; "" if they can."""
    hosts = zip(fingerprint(old["environment"]), fingerprint(new["environment"]), strict=True)
    differ = [f"{a} (old), {b} (new)" for a, b in hosts if a != b]
    return f"timings of unlike machines can't be compared: {'; '.join(differ)}" if differ else ""


def unjudged(
    old: Mapping[str, Any], new: Mapping[str, Any], names: tuple[str, str] = ("the old run", "the new run")
) -> str:
    """Why :func:`judge_results` has no verdict on two runs' results.json, and what to do, in one line.

    Args:
        names: what to call the two.
    """
    for document, name in zip((old, new), names, strict=True):
        if not document["measurements"]:
            return f"no row could be judged: {name} has no figures that can be; run the ring suite in both"
    for what in ("target", "timebase"):
        found = [sorted({row[what] for row in document["measurements"]}) for document in (old, new)]
        if not set(found[0]) & set(found[1]):
            was, now = (f"{', '.join(have)} in {name}" for have, name in zip(found, names, strict=True))
            return f"no row could be judged: the {what} is {was} and {now}; compare runs of one {what}"
    rows = [{_key(row): row for row in document["measurements"]} for document in (old, new)]
    both = rows[0].keys() & rows[1].keys()
    if not both:
        was, now = (f"{name} has {' '.join(next(iter(have))[:4])}" for name, have in zip(names, rows, strict=True))
        return f"no row could be judged: none is in both, as {was} and {now}; run the same tests in both"
    unlike = _unlike_machines(old, new)
    if unlike:
        return f"no row could be judged: {unlike}; compare runs of one machine"
    few = [name for name, have in zip(names, rows, strict=True) if all(len(_medians(have[key])) < 2 for key in both)]
    return (
        f"no row could be judged: {' and '.join(few) or 'one of the two'} has no timing of two launches or more; "
        "run the ring suite with several (--linux-launches), or count instructions (--timebase=instructions)"
    )


@dataclass(frozen=True)
class Change:
    """A row of instructions that differs.

    Attributes:
        row: its name, as in its Verdict.
        old, new: its figures.
        functions: of which one operation executes more or fewer instructions than before; None where one of the two
            runs did not count them.
    """

    row: str
    old: float
    new: float
    functions: list[Grown] | None


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """The rows of instructions that differ between two runs' results.json, in the order of the new one."""
    before = {_key(row): row for row in old["measurements"]}
    made = []
    for row in new["measurements"]:
        was = before.get(_key(row))
        if row["timebase"] != "instructions" or was is None or figure(was) == figure(row):
            continue
        both = "executed" in was and "executed" in row
        functions = grown(was["executed"], row["executed"]) if both else None
        made.append(Change(" ".join(_key(row)[:4]), figure(was), figure(row), functions))
    return made


def figure(row: Mapping[str, Any]) -> float:
    """The one figure that a row of results.json is compared by: its value, or the median of its samples."""
    return float(row.get("value", row.get("p50", math.nan)))


def _medians(row: Mapping[str, Any]) -> list[float]:
    return list(row.get("ratio", {}).get("medians", []))


def _welch(row: str, old: Sequence[float], new: Sequence[float], rows: int, threshold: float) -> Verdict:
    """Welch's t-test of two sets of launches' medians, with Satterthwaite's degrees of freedom rounded down."""
    logs = [np.log(old), np.log(new)]
    mean = float(logs[1].mean() - logs[0].mean())
    parts = [float(values.var(ddof=1)) / len(values) for values in logs]
    error = math.sqrt(sum(parts))
    freedom = 1.0
    if error > 0:
        freedom = error**4 / sum(part**2 / (len(values) - 1) for part, values in zip(parts, logs, strict=True))
    half = student_t(CONFIDENCE, max(int(freedom), 1)) * error
    bound = mean - student_t(1 - (1 - CONFIDENCE) / rows, max(int(freedom), 1)) * error
    launches = min(len(old), len(new))
    return Verdict(
        row, math.exp(mean), math.exp(mean - half), math.exp(mean + half), math.exp(bound), launches,
        math.exp(bound) > threshold,
    )  # fmt: skip
