"""Several runs' results as one: of several machines, boards or targets. Pure; `keuos-hil merge` reads and writes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from .compare import fingerprint
from .errors import UsageError
from .results import Results


@dataclass(frozen=True)
class Run:
    """One run as it was read.

    Attributes:
        label: tells its targets from those of the others: `big` makes of `linux` `linux@big`; "" if nothing has to.
        document: its results.json.
        samples: the raw samples by their keys.
    """

    label: str
    document: Mapping[str, Any]
    samples: Mapping[str, NDArray[Any]]

    def name(self, target: str) -> str:
        """What the target is called in the whole."""
        return f"{target}@{self.label}" if self.label else target


def _targets(document: Mapping[str, Any]) -> set[str]:
    rows = [*document["measurements"], *document["tests"], *document.get("missing", []), *document.get("fuzz", [])]
    found = {str(row["target"]) for row in rows}
    for table in ("gates", "requirements"):
        found |= {target for targets in document[table].values() for target in targets}
    return found


def _renamed(rows: Iterable[Mapping[str, Any]], run: Run) -> list[dict[str, Any]]:
    return [dict(row) | {"target": run.name(row["target"])} for row in rows]


def _by_target(table: Mapping[str, Any], run: Run) -> dict[str, Any]:
    """A table whose keys are TARGET or TARGET/VARIANT."""
    found = {}
    for key, value in table.items():
        target, slash, variant = key.partition("/")
        found[run.name(target) + slash + variant] = value
    return found


def join(runs: Sequence[Run]) -> tuple[Results, dict[str, Any]]:
    """All runs' results, and the environment of the whole.

    The environment is the last run's, with every run's own under `merged`; `machine` is left out if they differ, for
    there is then none whose figures these are.

    Raises:
        UsageError: two runs have a target of one name, so that their rows could not be told apart.
    """
    seen: dict[str, int] = {}
    for number, run in enumerate(runs, 1):
        for target in sorted(_targets(run.document)):
            name = run.name(target)
            if name in seen:
                raise UsageError(
                    f"runs {seen[name]} and {number} both have a target {name}; "
                    "give each a name: NAME=RUN, such as desk=..."
                )
            seen[name] = number
    whole = Results()
    for run in runs:
        document, environment = run.document, run.document["environment"]
        tables = {
            table: {
                name: {run.name(target): entry for target, entry in targets.items()}
                for name, targets in document[table].items()
            }
            for table in ("gates", "requirements")
        }
        rows = {name: _renamed(document.get(name, []), run) for name in ("measurements", "missing", "tests", "fuzz")}
        of_targets = {
            "build_ids": _by_target(document["build_id"], run),
            "timebases": _by_target(environment["timebases"], run),
            "commands": _by_target(environment["commands"], run),
            "build_options": _by_target(environment.get("build_options", {}), run),
            "stacks": _by_target(environment.get("stacks", {}), run),
            "lines": _by_target(environment.get("lines", {}), run),
            "lost": _by_target(environment.get("lost", {}), run),
        }
        whole.add(rows | tables | of_targets | {"references": document.get("references", [])}, run.samples)
    environment = dict(max((run.document["environment"] for run in runs), key=lambda e: str(e["time"])))
    environment |= {
        "timebases": whole.timebases,
        "commands": whole.commands,
        "build_options": whole.build_options,
    }
    for name, found in (("stacks", whole.stacks), ("lines", whole.lines), ("lost", whole.lost)):
        environment.pop(name, None)
        if found:
            environment[name] = found
    if len({fingerprint(run.document["environment"]) for run in runs}) > 1:
        environment.pop("machine", None)
    environment["merged"] = [
        {"name": run.label, "targets": sorted(map(run.name, _targets(run.document)))}
        | {"environment": run.document["environment"]}
        for run in runs
    ]
    return whole, environment
