"""Rows measured between two processes of this machine: what the measuring program says, and what may be said of it.

Pure: text and bytes in, figures out. The program is a target's (targets/linux_rows); its main.c describes its output.
The arithmetic of rounds is :mod:`keuos_hil.rounds`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import InfraError
from .rounds import ROUNDS_MIN, Estimate, Row, Strata, Visit, bootstrap_quantile, judge, pairs, pool, trimmed_mean

_MAGIC = 0x53574F52
_RECORD_WORDS = 8
#: What takes the place of a trip to find out what taking a sample costs; and what others are compared with.
NOTHING, FLOOR = "nothing", "floor"
TAILS = {"p99": 0.99, "p999": 0.999}
CUT_SHORT = "cut short by other work on the machine"


class Name(NamedTuple):
    """Of a row: what carries the message, how both sides wait ("" if there is one side), which cores, whose floor."""

    row: str
    how: str
    cores: str
    floor: str

    def __str__(self) -> str:
        return ":".join(part for part in (self.row, self.how) if part) + f" ({self.cores})"


class Missing(NamedTuple):
    """A row that the machine can't give, and why."""

    row: str
    how: str
    cores: str
    reason: str


@dataclass(frozen=True)
class Measured:
    """One visit as it was measured. `samples`: ticks, the cost of taking one included, of `each` messages."""

    name: Name
    round: int
    order: int
    wrong: int
    each: int
    cut: bool
    samples: NDArray[np.uint32]


@dataclass(frozen=True)
class Launch:
    """One run of the program. `hz`: ticks a second."""

    hz: float
    measured: Sequence[Measured]
    missing: Sequence[Missing]


@dataclass(frozen=True)
class Figures:
    """What is known of a row in one stratum; see :class:`keuos_hil.rounds.Row`.

    Attributes:
        samples: ticks of each sample of the accepted visits, less the cost of taking one; of streams, a message's.
        tails: quantiles of these and their intervals by round; of the names in TAILS.
    """

    name: Name
    judged: Row
    samples: NDArray[np.float32]
    tails: Mapping[str, Estimate]


def parse(said: str, data: bytes) -> Launch:
    """What the program printed and wrote. Raises InfraError if that is not whole."""
    names: dict[int, Name] = {}
    missing: list[Missing] = []
    hz = 0.0
    lines = [line.split(" ") for line in said.splitlines()]
    if ["done"] not in lines:
        last = lines[-1] if lines else ["(nothing)"]
        raise InfraError(f"the program that measures rows did not come to its end; it said last: {' '.join(last)}")
    for word, *rest in lines:
        if word == "hz":
            hz = float(rest[0])
        elif word == "row":
            index, cores, floor, how, name = rest
            names[int(index)] = Name(name, "" if how == "-" else how, cores, floor)
        elif word == "missing":
            cores, how, name, *reason = rest
            missing.append(Missing(name, "" if how == "-" else how, cores, " ".join(reason)))
    if len(data) % 4:
        raise InfraError(f"what the program measured can't be read: {len(data)} bytes are no whole words")
    return Launch(hz, list(_records(np.frombuffer(data, dtype=np.uint32), names)), missing)


def _records(words: NDArray[np.uint32], names: Mapping[int, Name]) -> Iterator[Measured]:
    at = 0
    while at < len(words):
        if len(words) - at < _RECORD_WORDS:
            raise InfraError(f"what the program measured can't be read from word {at} of {len(words)} on")
        magic, row, round_, order, count, wrong, each, cut = (int(word) for word in words[at : at + _RECORD_WORDS])
        samples = words[at + _RECORD_WORDS : at + _RECORD_WORDS + count]
        if magic != _MAGIC or row not in names or len(samples) < count or not count:
            raise InfraError(f"what the program measured can't be read from word {at} of {len(words)} on")
        yield Measured(names[row], round_, order, wrong, each, bool(cut), samples)
        at += _RECORD_WORDS + count


@dataclass
class _Group:
    """Everything of one kind of floor: all its visits, and the samples of each, less the cost of taking one."""

    visits: list[Visit] = field(default_factory=list)
    samples: dict[tuple[int, int], NDArray[np.float32]] = field(default_factory=dict)
    floors: list[float] = field(default_factory=list)


@dataclass
class Session:
    """Several launches of one program, to be judged together.

    Attributes:
        launches: in the order in which they ran.
        seed: of the bootstrap.
    """

    launches: Sequence[Launch]
    seed: int

    def __post_init__(self) -> None:
        self._groups: dict[str, _Group] = {}
        for number, launch in enumerate(self.launches):
            for floor in {measured.name.floor for measured in launch.measured}:
                members = [measured for measured in launch.measured if measured.name.floor == floor]
                _add(self._groups.setdefault(floor, _Group()), number, members)
        #: By the polling of the floor: where its figures fall apart. From all launches.
        self.strata = {floor: Strata.of(group.floors) for floor, group in self._groups.items()}

    @property
    def wrong(self) -> dict[Name, int]:
        """Rows in which an answer differed from what was sent, and how often."""
        counts: Counter[Name] = Counter()
        for launch in self.launches:
            for measured in launch.measured:
                counts[measured.name] += measured.wrong
        return {name: count for name, count in counts.items() if count}

    @property
    def missing(self) -> list[Missing]:
        """What no launch could give."""
        return list(dict.fromkeys(missing for launch in self.launches for missing in launch.missing))

    def figures(self) -> list[Figures]:
        """Every row but the supports, stratum by stratum; a row without an accepted visit once, with the reason."""
        generator = np.random.default_rng(self.seed)
        made = []
        for floor, group in sorted(self._groups.items()):
            strata = self.strata[floor]
            for judged in judge(group.visits, strata, generator):
                name = judged.row
                assert isinstance(name, Name)
                by_round = list(_accepted(group, judged, strata))
                tails = {}
                if by_round and len(by_round[0]) > 1:
                    tails = {tail: bootstrap_quantile(by_round, q, generator) for tail, q in TAILS.items()}
                samples = np.concatenate(by_round) if by_round else np.empty(0, np.float32)
                made.append(Figures(name, judged, samples, tails))
        return made

    def medians(self) -> dict[tuple[Name, str], dict[int, tuple[float, int]]]:
        """By row and stratum: of each launch that saw it often enough, the median ratio to the floor and the rounds."""
        found: dict[tuple[Name, str], dict[int, list[float]]] = {}
        for floor, group in self._groups.items():
            for visit in group.visits:
                if not visit.rejected:
                    assert isinstance(visit.row, Name)
                    key = (visit.row, self.strata[floor].name(visit.floor))
                    found.setdefault(key, {}).setdefault(visit.launch, []).append(visit.ratio)
        return {
            key: {n: (float(np.median(r)), len(r)) for n, r in launches.items() if len(r) >= ROUNDS_MIN}
            for key, launches in found.items()
        }

    def ratio(self, row: Name, to: Name) -> tuple[dict[str, Estimate], dict[str, int]]:
        """The ticks of `row` to those of `to`, paired round by round, by stratum, and why rounds were left out,
        with how many. Both have the same floor.
        """
        generator = np.random.default_rng(self.seed)
        found = (
            pairs(self._groups[row.floor].visits, to, row, self.strata[row.floor])
            if row.floor in self._groups
            else None
        )
        if found is None or row.floor != to.floor:
            return {}, {}
        pooled = {stratum: pool(launches, generator) for stratum, launches in found.ratios.items()}
        return pooled, dict(found.rejected)


def _accepted(group: _Group, judged: Row, strata: Strata) -> Iterator[NDArray[np.float32]]:
    """The samples of the visits behind a figure, in the order of their rounds."""
    for visit in group.visits:
        used = visit.launch in judged.launches and not visit.rejected
        if visit.row == judged.row and used and strata.name(visit.floor) == judged.stratum:
            yield group.samples[visit.launch, visit.order]


def _add(group: _Group, launch: int, members: Iterable[Measured]) -> None:
    """Put a launch's visits of one kind of floor between their floors; see main.c for the order in which they come."""
    by_round: dict[int, list[Measured]] = {}
    for measured in sorted(members, key=lambda m: m.order):
        by_round.setdefault(measured.round, []).append(measured)
    for number, visited in by_round.items():
        cost = next((trimmed_mean(m.samples) for m in visited if m.name.row == NOTHING), float("nan"))
        centres = [trimmed_mean(m.samples) / m.each - (cost if m.each == 1 else 0) for m in visited]
        for at, measured in enumerate(visited):
            if measured.name.row == NOTHING:
                continue
            if measured.name.row == FLOOR:
                if not measured.cut and centres[at] > 0:
                    group.floors.append(centres[at])
                continue
            group.visits.append(
                Visit(
                    measured.name,
                    launch,
                    number,
                    centres[at],
                    _floor(visited, centres, at - 1),
                    _floor(visited, centres, at + 1),
                    order=measured.order,
                    spoilt=CUT_SHORT if measured.cut else "",
                )
            )
            less = cost if measured.each == 1 else 0
            kept = (measured.samples.astype(np.float64) / measured.each - less).astype(np.float32)
            group.samples[launch, measured.order] = kept


def _floor(visited: Sequence[Measured], centres: Sequence[float], at: int) -> float | None:
    """The floor's centre at this place of a round; None if there is something else, or one that was cut short."""
    if not 0 <= at < len(visited) or visited[at].name.row != FLOOR or visited[at].cut:
        return None
    return centres[at]
