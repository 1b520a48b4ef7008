"""What a run leaves for other programs: results.json (keuos_hil/schema/results.schema.json) and the raw samples.

One run, one folder; `latest` beside it is a link to the last. Under pytest-xdist each worker collects and the
controller writes.
"""

from __future__ import annotations

import base64
import io
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .errors import InfraError
from .line import LineCounts
from .measure import Summary, summarise
from .saved import replace, replace_text

SCHEMA = "keuos-hil/results/1"
SAMPLES_FILE = "samples.npz"
#: From the best to the worst; of several phases of a test the worst counts.
VERDICTS = ("passed", "xfailed", "skipped", "xpassed", "failed", "error")


@dataclass
class Results:
    """Everything one process has collected."""

    measurements: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)
    references: list[dict[str, Any]] = field(default_factory=list)
    tests: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    gates: dict[str, dict[str, Any]] = field(default_factory=dict)
    requirements: dict[str, dict[str, Any]] = field(default_factory=dict)
    fuzz: list[dict[str, Any]] = field(default_factory=list)
    build_ids: dict[str, str] = field(default_factory=dict)
    samples: dict[str, NDArray[Any]] = field(default_factory=dict)
    timebases: dict[str, str] = field(default_factory=dict)
    commands: dict[str, str] = field(default_factory=dict)
    build_options: dict[str, str] = field(default_factory=dict)
    stacks: dict[str, str] = field(default_factory=dict)
    lines: dict[str, dict[str, float]] = field(default_factory=dict)
    #: Why a target could not be started any more, by target.
    lost: dict[str, str] = field(default_factory=dict)

    def add_measurement(
        self,
        name: str,
        params: dict[str, Any],
        unit: str,
        *,
        target: str,
        timebase: str,
        samples: ArrayLike | None = None,
        value: float | None = None,
        ci95: tuple[float, float] | None = None,
        ci_of: str | None = None,
        at_most: float | None = None,
        at_least: float | None = None,
        beside: Mapping[str, float] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """One row, from all samples or from one value; see :meth:`keuos_hil.record.Recorder.add`."""
        if (samples is None) == (value is None):
            raise ValueError(f"{name}: give samples or a value, one of the two")
        row: dict[str, Any] = {"name": name, "params": params, "target": target, "timebase": timebase, "unit": unit}
        key = None
        if samples is not None:
            data = np.asarray(samples).ravel()
            summary: Summary = summarise(data)
            row.update({k: v for k, v in asdict(summary).items() if k != "ci95"})
            ci95, ci_of = summary.ci95, "p50"
            key = f"m{len(self.measurements)}"
            self.samples[key] = data
        else:
            row |= {"n": 1, "value": float(value)}  # type: ignore[arg-type]
        row |= {"ci95": None if ci95 is None else list(ci95), "ci_of": ci_of if ci95 is not None else None}
        if at_most is not None:
            row["at_most"] = float(at_most)
        if at_least is not None:
            row["at_least"] = float(at_least)
        if beside:
            row["beside"] = [{"source": source, "value": float(figure)} for source, figure in beside.items()]
        row |= more or {}
        row["samples"] = None if key is None else {"file": SAMPLES_FILE, "key": key}
        self.measurements.append(row)
        return row

    def add_missing(self, name: str, params: dict[str, Any], target: str, reason: str) -> None:
        """A row that was asked for and can't be given, and why."""
        self.missing.append({"name": name, "params": params, "target": target, "reason": reason})

    def add_reference(self, what: str, value: float, unit: str, source: str) -> None:
        """What somebody else published, once."""
        entry = {"what": what, "value": float(value), "unit": unit, "source": source}
        if entry not in self.references:
            self.references.append(entry)

    def note_line(self, target: str, counts: LineCounts) -> None:
        """What a target's line did in one process; several add up."""
        total = LineCounts(**self.lines.get(target, {}))  # type: ignore[arg-type]
        total.add(counts)
        self.lines[target] = total.to_dict()

    def add_test(
        self,
        test_id: str,
        target: str,
        verdict: str,
        seconds: float,
        board: str = "",
        failure: Iterable[Sequence[str]] = (),
    ) -> None:
        """One phase of a test; phases of one test add up.

        Args:
            board: which of several boards of the target it ran on.
            failure: what a person needs to see of a phase that failed: pairs of a heading and a text.
        """
        old = self.tests.setdefault(
            (test_id, target), {"id": test_id, "target": target, "verdict": verdict, "seconds": 0.0}
        )
        old["verdict"] = max(old["verdict"], verdict, key=VERDICTS.index)
        old["seconds"] = round(old["seconds"] + seconds, 6)
        if board:
            old["board"] = board
        for name, text in failure:
            old.setdefault("failure", []).append([name, text])

    def add_verdict(self, table: str, name: str, target: str, verdict: str, cases: int) -> None:
        """A line of `gates` or `requirements`; several of one name and target add up to the worst verdict."""
        entry = getattr(self, table).setdefault(name, {}).setdefault(target, {"verdict": verdict, "cases": 0})
        if entry["verdict"] == "skipped" and not entry["cases"]:
            entry["verdict"] = verdict
        entry["verdict"] = max(entry["verdict"], verdict, key=VERDICTS.index)
        entry["cases"] += cases

    def add_evidence(self, name: str, target: str, test: str, verdict: str, reason: str = "") -> None:
        """A test that shows the requirement `name`, how it did and, if it was expected to fail, why."""
        self.add_verdict("requirements", name, target, verdict, 1)
        entry = self.requirements[name][target]
        shown = entry.setdefault("tests", {})
        shown[test] = max(shown.get(test, verdict), verdict, key=VERDICTS.index)
        if reason and reason not in entry.setdefault("waived", []):
            entry["waived"].append(reason)

    def add_skip(self, name: str, target: str, reason: str) -> None:
        """A test that would show the requirement `name` was left out; that counts only if all are."""
        entry = self.requirements.setdefault(name, {}).setdefault(target, {"verdict": "skipped", "cases": 0})
        if reason not in entry.setdefault("skipped", []):
            entry["skipped"].append(reason)

    # Between processes -----------------------------------------------------------------------------------------

    def to_text(self) -> str:
        """Everything, as text that :meth:`merge` of another process takes."""
        packed = io.BytesIO()
        np.savez_compressed(packed, **self.samples)  # type: ignore[arg-type]
        names = (
            "measurements",
            "missing",
            "references",
            "gates",
            "requirements",
            "fuzz",
            "build_ids",
            "timebases",
            "commands",
            "build_options",
            "stacks",
            "lost",
            "lines",
        )
        document = {name: getattr(self, name) for name in names}
        document["tests"] = list(self.tests.values())
        document["samples"] = base64.b64encode(packed.getvalue()).decode()
        return json.dumps(document)

    def merge(self, text: str) -> None:
        """Add what another process collected."""
        document = json.loads(text)
        with np.load(io.BytesIO(base64.b64decode(document["samples"])), allow_pickle=False) as arrays:
            self.add(document, arrays)

    def add(self, document: Mapping[str, Any], samples: Mapping[str, NDArray[Any]]) -> None:
        """Add what somebody else collected, as :meth:`to_text` has it; rows whose samples are not there lose them."""
        for theirs in document["measurements"]:
            row = dict(theirs)
            if row["samples"] is not None:
                key = f"m{len(self.measurements)}"
                if row["samples"]["key"] in samples:
                    self.samples[key] = samples[row["samples"]["key"]]
                    row["samples"] = row["samples"] | {"key": key}
                else:
                    row["samples"] = None
            self.measurements.append(row)
        for test in document["tests"]:
            board, failure = test.get("board", ""), test.get("failure", ())
            self.add_test(test["id"], test["target"], test["verdict"], test["seconds"], board, failure)
        for table in ("gates", "requirements"):
            for name, targets in document[table].items():
                for target, entry in targets.items():
                    for reason in entry.get("skipped", []):
                        self.add_skip(name, target, reason)
                    if entry["verdict"] == "skipped" and not entry["cases"]:
                        continue
                    self.add_verdict(table, name, target, entry["verdict"], entry["cases"])
                    mine = getattr(self, table)[name][target]
                    if "tests" in entry:
                        mine["tests"] = mine.get("tests", {}) | entry["tests"]
                    if "waived" in entry:
                        mine["waived"] = list(dict.fromkeys(mine.get("waived", []) + entry["waived"]))
        self.missing += document["missing"]
        for entry in document["references"]:
            self.add_reference(entry["what"], entry["value"], entry["unit"], entry["source"])
        self.fuzz += document["fuzz"]
        self.build_ids |= document["build_ids"]
        self.timebases |= document["timebases"]
        self.commands |= document["commands"]
        self.build_options |= document["build_options"]
        self.stacks |= document["stacks"]
        self.lost |= document.get("lost", {})
        for target, counts in document["lines"].items():
            self.note_line(target, LineCounts(**counts))

    # To disk ---------------------------------------------------------------------------------------------------

    def write(self, directory: Path, environment: dict[str, Any]) -> Path:
        """Write results.json and the samples into `directory`; the path of results.json.

        Raises:
            InfraError: they can't be written, say because the disk is full.
        """
        document = {
            "schema": SCHEMA,
            "build_id": self.build_ids,
            "environment": environment,
            "measurements": self.measurements,
            "missing": self.missing,
            "references": self.references,
            "tests": list(self.tests.values()),
            "gates": self.gates,
            "requirements": self.requirements,
            "fuzz": self.fuzz,
        }
        path = directory / "results.json"
        try:
            if self.samples:
                replace(directory / SAMPLES_FILE, lambda sink: np.savez_compressed(sink, **self.samples))  # type: ignore[arg-type]
        except OSError as error:
            raise _unwritten(directory, error) from None
        _replace(path, document)
        return path


def add_judgement(path: Path, judgement: Mapping[str, Any]) -> None:
    """Put what a baseline says into the results.json that it was said of.

    Raises:
        InfraError: it can't be written; then the file stays as it was.
    """
    _replace(path, json.loads(path.read_text()) | {"baseline": judgement})


def _replace(path: Path, document: Mapping[str, Any]) -> None:
    """Write the file whole, or not at all."""
    try:
        replace_text(path, json.dumps(document, indent=1) + "\n")
    except OSError as error:
        raise _unwritten(path.parent, error) from None


def _unwritten(directory: Path, error: OSError) -> InfraError:
    return InfraError(f"no results could be written to {directory}: {error.strerror or error}")


def make_run_directory(base: Path) -> Path:
    """A new folder below `base`, named by the time; never one that exists.

    Raises:
        InfraError: it can't be made.
    """
    stamp = datetime.now(tz=UTC).strftime("%Y%m%dT%H%M%SZ")
    try:
        base.mkdir(parents=True, exist_ok=True)
        for attempt in range(1000):
            directory = base / (f"{stamp}-{os.getpid()}" + (f"-{attempt}" if attempt else ""))
            try:
                directory.mkdir()
            except FileExistsError:
                continue
            return directory
    except OSError as error:
        raise InfraError(f"no folder for the results can be made in {base}: {error.strerror}") from None
    raise InfraError(f"no free name for the results in {base}")


def point_latest(directory: Path) -> None:
    """Make `latest`, beside `directory`, a link to it; two runs that end together both leave a whole link.

    Raises:
        InfraError: it can't be made.
    """
    link = directory.parent / f".latest-{os.getpid()}"
    try:
        link.unlink(missing_ok=True)
        link.symlink_to(directory.name)
        link.replace(directory.parent / "latest")
    except OSError as error:
        raise InfraError(f"no link `latest` can be made in {directory.parent}: {error.strerror}") from None
