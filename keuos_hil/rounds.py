"""Statistics of interleaved rounds: a row's ratio to its floor, with an interval that may be quoted. Pure.

A machine changes its mind while it is measured: a hypervisor moves its cores, a governor its frequency. So a *visit* to
a row (some thousand samples) lies between two visits to that row's *floor*, on the same cores; what is said of the row
is the ratio to those two. A visit whose floors disagree is rejected and counted. Floors fall into *strata* (the two
cores near each other or far apart), and ratios of different strata are never pooled. Several launches of the programs
are: what differs between launches (where pages and code came to lie) is more than what differs within one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
#: Two floors around a visit that differ by more than this share of the smaller say that the machine changed meanwhile.
FLOORS_DIFFER = 0.15
#: Neighbours among the sorted floors whose ratio is larger than this lie in two strata.
STRATA_APART = 1.5
#: Fewer accepted rounds of one launch than this in a stratum say nothing, and are counted as rejected.
ROUNDS_MIN = 6
_RESAMPLES = 2_000


@dataclass(frozen=True)
class Visit:
    """One row, measured once.

    Attributes:
        row: what was measured.
        launch: of the programs, counted from 0.
        round: of that launch.
        centre: ticks; the trimmed mean of the visit's samples, less the cost of taking one.
        before, after: the same of the floor, right before and right after on the same cores; None if that was not had.
        order: of the visit in its launch.
        spoilt: why the visit itself is not to be used; "" if it is.
    """

    row: Hashable
    launch: int
    round: int
    centre: float
    before: float | None
    after: float | None
    order: int = 0
    spoilt: str = ""

    @property
    def rejected(self) -> str:
        """Why nothing may be concluded from it; "" if something may."""
        if self.spoilt:
            return self.spoilt
        if not math.isfinite(self.centre) or self.centre <= 0:
            return "not above the cost of measuring"
        if self.before is None or self.after is None:
            return "no floor beside it"
        low, high = sorted((self.before, self.after))
        if not (math.isfinite(low) and math.isfinite(high)) or low <= 0:
            return "floor not above the cost of measuring"
        return "floors around it differ" if high > low * (1 + FLOORS_DIFFER) else ""

    @property
    def floor(self) -> float:
        """Ticks; the geometric mean of both floors. Only of a visit that is not rejected."""
        if self.before is None or self.after is None:
            raise ValueError("a visit without floors has no mean of them")
        return math.sqrt(self.before * self.after)

    @property
    def ratio(self) -> float:
        """The row to its floor."""
        return self.centre / self.floor


@dataclass(frozen=True)
class Strata:
    """Where floors fall apart: ticks, ascending, between one stratum and the next."""

    cuts: tuple[float, ...]

    @classmethod
    def of(cls, floors: Iterable[float]) -> Strata:
        """Those of all `floors` of one kind, from every row and launch that is to be compared."""
        ordered = sorted(floors)
        return cls(tuple(math.sqrt(a * b) for a, b in pairwise(ordered) if b > a * STRATA_APART))

    def name(self, floor: float) -> str:
        """The stratum of a floor: "only" if there is but one; of two "near" and "far"; of more their numbers."""
        at = sum(floor > cut for cut in self.cuts)
        names = {0: ("only",), 1: ("near", "far")}.get(len(self.cuts))
        return names[at] if names else str(at + 1)


@dataclass(frozen=True)
class Estimate:
    """A figure and its interval.

    Attributes:
        value: the figure.
        low, high: the ends of the interval; None where there is too little to say one.
        rounds: accepted visits behind it.
        launches: how many launches these are of.
    """

    value: float
    low: float | None
    high: float | None
    rounds: int
    launches: int

    def to_dict(self) -> dict[str, Any]:
        """As results.json has it."""
        ci95 = None if self.low is None or self.high is None else [self.low, self.high]
        return {"value": self.value, "ci95": ci95, "rounds": self.rounds, "launches": self.launches}


@dataclass(frozen=True)
class Row:
    """What is known of a row in one stratum.

    Attributes:
        stratum: see :meth:`Strata.name`; "" where no visit was accepted.
        ratio: to the floor; None where the row is missing, and then `missing` says why.
        centre: ticks; median over the accepted visits' centres.
        floor: the same of the floors around them.
        rejected: why visits were left out, and how many, whatever their stratum.
        launches: that have a part in the figures.
    """

    row: Hashable
    stratum: str
    ratio: Estimate | None
    centre: float | None
    floor: float | None
    rejected: Mapping[str, int]
    missing: str = ""
    launches: frozenset[int] = frozenset()


def trimmed_mean(samples: ArrayLike, cut: float = 0.1) -> float:
    """The mean of what is left when the share `cut` is taken off either end. Finer than a coarse clock's grain.

    Raises ValueError for no samples.
    """
    ordered = np.sort(np.asarray(samples, dtype=np.float64).ravel())
    if not len(ordered):
        raise ValueError("no samples")
    off = int(len(ordered) * cut)
    return float(ordered[off : len(ordered) - off].mean())


def bootstrap_median(
    values: ArrayLike, generator: np.random.Generator, *, confidence: float = CONFIDENCE, resamples: int = _RESAMPLES
) -> tuple[float, float]:
    """The percentile-bootstrap interval for the median. Efron and Tibshirani, An Introduction to the Bootstrap, ch. 13.

    `resamples` must be some dozens of 2 / (1 - confidence), or the interval's ends are noise. Raises ValueError for
    fewer than two values.
    """
    data = np.asarray(values, dtype=np.float64).ravel()
    if len(data) < 2:
        raise ValueError("an interval takes at least two values")
    tail = (1 - confidence) / 2
    medians = np.median(generator.choice(data, size=(resamples, len(data))), axis=1)
    low, high = np.quantile(medians, [tail, 1 - tail])
    return float(low), float(high)


def bootstrap_quantile(
    rounds: Iterable[ArrayLike], q: float, generator: np.random.Generator, *, resamples: int = 500
) -> Estimate:
    """A quantile of all rounds' samples together (nearest rank), its interval by resampling whole rounds.

    Samples of one round are not independent of each other: what disturbs one disturbs its neighbours. So a round is
    what is drawn. With fewer than ROUNDS_MIN rounds there is no interval. Raises ValueError for no samples.
    """
    arrays = [np.asarray(samples, dtype=np.float64).ravel() for samples in rounds]
    arrays = [samples for samples in arrays if len(samples)]
    if not arrays:
        raise ValueError("no samples")
    pooled = np.concatenate(arrays)
    order = np.argsort(pooled, kind="stable")
    ordered = pooled[order]
    owner = np.repeat(np.arange(len(arrays)), [len(samples) for samples in arrays])[order]
    value = float(ordered[max(math.ceil(q * len(ordered)) - 1, 0)])
    if len(arrays) < ROUNDS_MIN:
        return Estimate(value, None, None, len(arrays), 1)
    found = np.empty(resamples)
    for i in range(resamples):
        drawn = np.bincount(generator.integers(len(arrays), size=len(arrays)), minlength=len(arrays))
        reached = np.cumsum(drawn[owner])
        found[i] = ordered[np.searchsorted(reached, max(math.ceil(q * reached[-1]), 1))]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(found, [tail, 1 - tail], method="nearest")
    return Estimate(value, float(low), float(high), len(arrays), 1)


def student_t(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t: |t| stays below it with probability `confidence`.

    Abramowitz and Stegun, 26.7.3 and 26.7.4, solved by bisection. Raises ValueError for no degree of freedom.
    """
    if freedom < 1 or not 0 < confidence < 1:
        raise ValueError(f"no quantile of Student's t for {freedom} degrees of freedom and confidence {confidence}")
    low, high = 0.0, 1.0
    while _within_t(high, freedom) < confidence:
        high *= 2
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if _within_t(middle, freedom) < confidence else (low, middle)
    return high


def _within_t(t: float, freedom: int) -> float:
    """P(|T| <= t)."""
    angle = math.atan(t / math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    odd = freedom % 2
    term, total = (cosine, cosine if freedom > 1 else 0.0) if odd else (1.0, 1.0)
    for i in range(2 + odd, freedom - 1, 2):
        term *= cosine**2 * (i - 1) / i
        total += term
    return 2 / math.pi * (angle + sine * total) if odd else sine * total


def pool(by_launch: Mapping[int, Sequence[float] | NDArray[np.float64]], generator: np.random.Generator) -> Estimate:
    """One ratio out of the accepted ratios of each launch, all of one stratum.

    Of one launch: the median, its interval by bootstrap over rounds; what another launch would give is not in it. Of
    several: the geometric mean of the launches' medians, its interval by Student's t over launches, so that both kinds
    of spread are in it. Launches with fewer than ROUNDS_MIN ratios must have been left out.

    Raises ValueError for no launch.
    """
    if not by_launch:
        raise ValueError("no launch")
    rounds = sum(len(ratios) for ratios in by_launch.values())
    if len(by_launch) == 1:
        [ratios] = by_launch.values()
        low, high = bootstrap_median(ratios, generator)
        return Estimate(float(np.median(ratios)), low, high, rounds, 1)
    medians = np.log([float(np.median(ratios)) for ratios in by_launch.values()])
    centre = float(medians.mean())
    half = student_t(CONFIDENCE, len(medians) - 1) * float(medians.std(ddof=1)) / math.sqrt(len(medians))
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), rounds, len(medians))


@dataclass
class _Accepted:
    ratios: dict[int, list[float]] = field(default_factory=dict)
    centres: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    def add(self, visit: Visit) -> None:
        self.ratios.setdefault(visit.launch, []).append(visit.ratio)
        self.centres.append(visit.centre)
        self.floors.append(visit.floor)


def judge(visits: Iterable[Visit], strata: Strata, generator: np.random.Generator) -> list[Row]:
    """The rows of one kind of floor, in the order in which they first occur, a line for each stratum that has any.

    A row of which no visit is accepted stands there once, missing, with the reason: rejected visits are never used.
    """
    by_row: dict[Hashable, list[Visit]] = {}
    for visit in visits:
        by_row.setdefault(visit.row, []).append(visit)
    return [made for row, found in by_row.items() for made in _rows(row, found, strata, generator)]


def _rows(row: Hashable, visits: list[Visit], strata: Strata, generator: np.random.Generator) -> list[Row]:
    groups: dict[tuple[str, int], list[Visit]] = {}
    rejected: Counter[str] = Counter()
    for visit in visits:
        if why := visit.rejected:
            rejected[why] += 1
        else:
            groups.setdefault((strata.name(visit.floor), visit.launch), []).append(visit)
    accepted: dict[str, _Accepted] = {}
    for (stratum, _), members in groups.items():
        if len(members) < ROUNDS_MIN:
            rejected[f"fewer than {ROUNDS_MIN} in its stratum"] += len(members)
            continue
        for visit in members:
            accepted.setdefault(stratum, _Accepted()).add(visit)
    if not accepted:
        why = ", ".join(f"{name}: {count}" for name, count in rejected.most_common())
        return [Row(row, "", None, None, None, dict(rejected), f"all {len(visits)} rounds were rejected ({why})")]
    return [
        Row(
            row,
            stratum,
            pool(found.ratios, generator),
            float(np.median(found.centres)),
            float(np.median(found.floors)),
            dict(rejected),
            launches=frozenset(found.ratios),
        )
        for stratum, found in sorted(accepted.items(), key=lambda entry: float(np.median(entry[1].floors)))
    ]


@dataclass(frozen=True)
class Pairs:
    """Rounds in which two rows were both accepted in the same stratum.

    Attributes:
        ratios: the second's centre to the first's, each over its own floor, by stratum and launch.
        rejected: why other rounds were left out, and how many.
    """

    ratios: Mapping[str, Mapping[int, NDArray[np.float64]]]
    rejected: Mapping[str, int]


def pairs(visits: Iterable[Visit], first: Hashable, second: Hashable, strata: Strata) -> Pairs:
    """The rows `first` and `second` of the same rounds, paired. Nothing is judged here; see :func:`pool`."""
    found: dict[tuple[int, int], dict[Hashable, Visit]] = {}
    for visit in visits:
        if visit.row in (first, second):
            found.setdefault((visit.launch, visit.round), {})[visit.row] = visit
    ratios: dict[str, dict[int, list[float]]] = {}
    rejected: Counter[str] = Counter()
    for (launch, _), both in found.items():
        why = "only one of the two was measured" if len(both) < 2 else ""
        why = why or next((visit.rejected for visit in both.values() if visit.rejected), "")
        if not why and strata.name(both[first].floor) != strata.name(both[second].floor):
            why = "the two lie in different strata"
        if why:
            rejected[why] += 1
        else:
            stratum = strata.name(both[first].floor)
            ratios.setdefault(stratum, {}).setdefault(launch, []).append(both[second].ratio / both[first].ratio)
    kept: dict[str, dict[int, NDArray[np.float64]]] = {}
    for stratum, launches in ratios.items():
        for launch, values in launches.items():
            if len(values) < ROUNDS_MIN:
                rejected[f"fewer than {ROUNDS_MIN} in its stratum"] += len(values)
            else:
                kept.setdefault(stratum, {})[launch] = np.asarray(values)
    return Pairs(kept, dict(rejected))
