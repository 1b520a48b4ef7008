"""A run's figures, kept to compare later runs with: `--save-baseline FILE` and `--baseline FILE`.

What is compared is alike: one machine's timings, one timebase, one compiler. Instructions exactly; timings where two
sets of launches both say so (:mod:`keuos_hil.compare`). Of instructions it is told which functions grew.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .compare import JUDGED_ROWS, THRESHOLD, Change, Verdict, changes, judge_results, unjudged
from .errors import InfraError, UsageError
from .executed import Grown
from .image import Image
from .saved import read, replace_text

SCHEMA = "keuos-hil/baseline/1"
#: In a row's `ratio`: the medians of a second set of launches, made because the first looked slower than a baseline.
CONFIRMING = "confirming"

#: By the file they are in, such as "qemu-x86/release/kernel": bytes of each function.
Functions = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Growth:
    """A function whose code has another size than in the baseline; 0 where there is none."""

    file: str
    function: str
    old: int
    new: int


@dataclass(frozen=True)
class Judgement:
    """What a baseline says of a run.

    Attributes:
        verdicts: of every row that was judged; slower means confirmed.
        changes: rows of instructions that differ, with what executes more or fewer.
        grown: functions of another size, those that grew most first; where rows grew and it is not known what of them
            executes more.
        notes: what could not be judged, and why.
    """

    verdicts: list[Verdict]
    changes: list[Change] = field(default_factory=list)
    grown: list[Growth] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def slower(self) -> list[Verdict]:
        """The rows for which the run fails."""
        return [verdict for verdict in self.verdicts if verdict.slower]

    def to_document(self, file: str) -> dict[str, Any]:
        """As results.json has it under `baseline`; `file` is where the baseline lies."""
        rows = [
            {
                "row": v.row,
                "ratio": _finite(v.ratio),
                "ci95": None if v.low is None or v.high is None else [v.low, v.high],
                "bound": _finite(v.bound),
                "launches": v.pairs,
                "slower": v.slower,
            }
            for v in self.verdicts
        ]
        changed, grown = [asdict(change) for change in self.changes], [asdict(each) for each in self.grown]
        return {"file": file, "threshold": THRESHOLD, "rows": rows, "changes": changed, "grown": grown,
                "notes": self.notes}  # fmt: skip

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Judgement:
        """What :meth:`to_document` made."""
        verdicts = []
        for row in document["rows"]:
            low, high = row["ci95"] or (None, None)
            ratio, bound = (math.inf if row[name] is None else row[name] for name in ("ratio", "bound"))
            verdicts.append(Verdict(row["row"], ratio, low, high, bound, row["launches"], row["slower"]))
        changed = [
            Change(**(change | {"functions": change["functions"] and [Grown(**g) for g in change["functions"]]}))
            for change in document["changes"]
        ]
        return cls(verdicts, changed, [Growth(**each) for each in document["grown"]], list(document["notes"]))


def _finite(ratio: float) -> float | None:
    """JSON knows no infinity, which a row of some instructions is to one of none."""
    return ratio if math.isfinite(ratio) else None


def functions_of(image: Image) -> Iterator[tuple[str, dict[str, int]]]:
    """The kernel's functions with their sizes, then those of each program that has symbols."""
    for name, elf in image.elfs():
        found = {symbol.name: symbol.size for symbol in elf.symbols.values() if symbol.kind == "func" and symbol.size}
        if found:
            yield name, found


def growth(old: Functions, new: Functions) -> list[Growth]:
    """Functions whose size differs, of files that both have; those that grew most first."""
    made = []
    for file in old.keys() & new.keys():
        for name in old[file].keys() | new[file].keys():
            sizes = old[file].get(name, 0), new[file].get(name, 0)
            if sizes[0] != sizes[1]:
                made.append(Growth(file, name, *sizes))
    return sorted(made, key=lambda g: (g.old - g.new, g.file, g.function))


def _compared(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows that can be judged: of instructions, and of the ring's bare polling."""
    return [
        {key: value for key, value in row.items() if key != "samples"}
        for row in rows
        if row["timebase"] == "instructions" or (_row_name(row) in JUDGED_ROWS and "medians" in row.get("ratio", {}))
    ]


def _row_name(row: Mapping[str, Any]) -> str:
    return f"{row['params'].get('row')}:{row['params'].get('how')}"


def _confirming(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows that were measured a second time, with what came of it."""
    again = []
    for row in rows:
        if CONFIRMING in row.get("ratio", {}):
            again.append(dict(row) | {"ratio": row["ratio"] | {"medians": row["ratio"][CONFIRMING]}})
    return again


@dataclass(frozen=True)
class Baseline:
    """A file that `--save-baseline` wrote."""

    path: Path
    document: Mapping[str, Any]

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """Raises UsageError if it is no such file."""
        return cls(path, read(path, "baseline", "a baseline, as --save-baseline FILE makes one"))

    def suspects(self, rows: Sequence[Mapping[str, Any]], environment: Mapping[str, Any]) -> bool:
        """Whether timings among `rows` look slower, so that a second set of launches has to say so, too.

        Another machine's are no suspects: :meth:`judge` refuses them when the run is over.
        """
        try:
            verdicts, _ = judge_results(self.document, {"measurements": _compared(rows), "environment": environment})
        except UsageError:
            return False
        return any(verdict.slower and verdict.low is not None for verdict in verdicts)

    def judge(self, results: Mapping[str, Any], functions: Functions) -> Judgement:
        """What this baseline says of a run's results.json.

        Args:
            functions: of what the run booted.

        Raises:
            UsageError: the two are not alike: another machine, timebase or compiler; or no row could be judged.
        """
        self._require_alike(results["environment"])
        rows = _compared(results["measurements"])
        environment = results["environment"]
        run = {"measurements": rows, "environment": environment}
        verdicts, notes = judge_results(self.document, run)
        if not verdicts:
            why = unjudged(self.document, run, ("the baseline", "this run"))
            raise UsageError(f"--baseline {self.path}: {why}")
        again, _ = judge_results(self.document, {"measurements": _confirming(rows), "environment": environment})
        confirmed = {verdict.row for verdict in again if verdict.slower}
        made = []
        for verdict in verdicts:
            exact = verdict.low is None
            if verdict.slower and not exact and verdict.row not in confirmed:
                notes.append(f"{verdict.row}: slower in one set of launches only, which is not judged")
                verdict = Verdict(**(vars(verdict) | {"slower": False}))  # noqa: PLW2901
            made.append(verdict)
        changed = changes(self.document, {"measurements": rows})
        unknown = any(change.functions is None and change.new > change.old for change in changed)
        grown = growth(self.document["functions"], functions) if unknown else []
        return Judgement(made, changed, grown, notes)

    def _require_alike(self, environment: Mapping[str, Any]) -> None:
        for what, key in (("timebase", "timebases"), ("build", "build_options")):
            old, new = self.document["environment"].get(key, {}), environment.get(key, {})
            for name in sorted(old.keys() & new.keys()):
                if old[name] != new[name]:
                    raise UsageError(
                        f"the baseline {self.path} can't be compared with: "
                        f"the {what} of {name} was {old[name]}, now it is {new[name]}"
                    )


def save(path: Path, results: Mapping[str, Any], functions: Functions) -> str:
    """Keep a run's figures; a warning in one line if timings among them can judge nothing, or "".

    Raises InfraError if the file can't be written, or there is nothing to keep.
    """
    rows = _compared(results["measurements"])
    if not rows:
        raise InfraError(f"no baseline {path} was saved: nothing was measured that one can judge")
    environment = results["environment"]
    document = {"schema": SCHEMA, "build_id": results["build_id"], "environment": environment, "measurements": rows}
    try:
        replace_text(path, json.dumps(document | {"functions": functions}, indent=1) + "\n")
    except OSError as error:
        raise InfraError(f"no baseline can be written to {path}: {error.strerror}") from None
    timed = [row for row in rows if row["timebase"] != "instructions"]
    few = [row for row in timed if len(row["ratio"]["medians"]) < 2]
    if not few:
        return ""
    return (
        f"{len(few)} of the {len(timed)} timings in the baseline {path} will never judge a run: they are of fewer than "
        "two launches; save it again with more (--linux-launches)"
    )
