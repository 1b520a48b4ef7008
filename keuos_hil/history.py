"""Figures over builds: a small SQLite file that every run appends to, and a quantity's way through it.

The table `figures` has a line for each row of a run's results; its columns are those of :class:`Point`.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from .compare import fingerprint
from .errors import InfraError

FILE = "history.sqlite"
#: How long a run waits for another that writes.
_WAIT_S = 30.0


@dataclass(frozen=True)
class Point:
    """One figure of one run.

    Attributes:
        time: when the run ended, ISO 8601.
        build: build-ids of what was booted on the target, "" if nothing was.
        machine: what hosts must have in common for timings to be compared; see :func:`keuos_hil.compare.fingerprint`.
        params: JSON, its keys in order, so that equal ones are equal text.
        value: the figure, or the median.
        low, high: of its interval, if it has one.
    """

    time: str
    build: str
    machine: str
    name: str
    params: str
    target: str
    timebase: str
    unit: str
    value: float
    low: float | None
    high: float | None


_COLUMNS = [column.name for column in fields(Point)]


def points(results: Mapping[str, Any]) -> list[Point]:
    """What a run's results.json adds."""
    machine = "; ".join(fingerprint(results["environment"]))
    made = []
    for row in results["measurements"]:
        builds = [build for name, build in results["build_id"].items() if name.startswith(f"{row['target']}/")]
        low, high = row["ci95"] or (None, None)
        made.append(
            Point(
                results["environment"]["time"],
                ",".join(builds),
                machine,
                row["name"],
                json.dumps(row["params"], sort_keys=True),
                row["target"],
                row["timebase"],
                row["unit"],
                row["value"] if "value" in row else row["p50"],
                low,
                high,
            )
        )
    return made


def append(path: Path, results: Mapping[str, Any]) -> None:
    """Add a run's figures; several runs at once take turns. Raises InfraError if the file can't be written."""
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S)) as base, base:
            base.execute(f"CREATE TABLE IF NOT EXISTS figures ({', '.join(_COLUMNS)})")
            marks = ", ".join("?" * len(_COLUMNS))
            base.executemany(f"INSERT INTO figures VALUES ({marks})", map(astuple, points(results)))
    except sqlite3.Error as error:
        raise InfraError(f"the history {path} can't be written: {error}") from None


def series(path: Path, name: str, wanted: Mapping[str, str]) -> dict[tuple[str, ...], list[Point]]:
    """A quantity's figures in the order of time: by target, timebase, unit, machine and params.

    Args:
        wanted: params by name, as text; rows with others are left out.

    Raises:
        InfraError: there is no such file, or it is none of ours.
    """
    if not path.is_file():
        raise InfraError(f"there is no history {path}; a run that measures makes it")
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S)) as base:
            query = f"SELECT {', '.join(_COLUMNS)} FROM figures WHERE name = ? ORDER BY time, rowid"
            found = [Point(*row) for row in base.execute(query, [name])]
    except sqlite3.Error as error:
        raise InfraError(f"the history {path} can't be read: {error}") from None
    made: dict[tuple[str, ...], list[Point]] = {}
    for point in found:
        params = json.loads(point.params)
        if all(str(params.get(key)) == value for key, value in wanted.items()):
            key = (point.target, point.timebase, point.unit, point.machine, point.params)
            made.setdefault(key, []).append(point)
    return made


def params(path: Path, name: str) -> dict[str, list[str]]:
    """The params that rows of a quantity have, each with its values as text. Raises InfraError as :func:`series`."""
    found: dict[str, set[str]] = {}
    for *_, text in series(path, name, {}):
        for key, value in json.loads(text).items():
            found.setdefault(key, set()).add(str(value))
    return {key: sorted(values) for key, values in sorted(found.items())}


def names(path: Path) -> list[str]:
    """The quantities that the file has figures of. Raises InfraError as :func:`series`."""
    try:
        with closing(sqlite3.connect(path, timeout=_WAIT_S)) as base:
            return [name for (name,) in base.execute("SELECT DISTINCT name FROM figures ORDER BY name")]
    except sqlite3.Error as error:
        raise InfraError(f"the history {path} can't be read: {error}") from None
