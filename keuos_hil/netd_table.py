"""The table of what packets cost NetD, beside the figures of the article that KeuOS follows. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Measurement = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One quantity.

    Attributes:
        what, unit: its name, and what its figures count.
        article, traditional: what the article says of its KeuOS, and of a traditional microkernel; "" if nothing.
        cells: ours, in the order of the columns; "" where it was not measured.
    """

    what: str
    unit: str
    article: str
    traditional: str
    cells: list[str]


#: By quantity: what it is called, and the article's figures.
_PACKETS = {
    "net.syscalls": ("system calls", "~1,000", "~2,000"),
    "net.notifications": ("notifications", "", ""),
    "net.interrupts": ("interrupts", "", ""),
    "net.kicks": ("writes to the NIC's notification registers", "", ""),
    "net.copied": ("bytes copied", "0", "2 copies"),
    "net.instructions": ("a packet's cost", "~450 cycles", "~3,500 cycles"),
}
#: What belongs beside: quantity, the params that choose its rows, and how it is called; with the article's figure.
_BESIDE: tuple[tuple[str, Mapping[str, str], str, str], ...] = (
    ("ring.wake", {"cores": "cross"}, "waking a sleeper on another core, by IPI", "~1 microsecond"),
    ("ring.wake", {"cores": "same"}, "waking a sleeper on the same core", ""),
    ("ring.round_trip", {"path": "data", "wait": "poll", "cores": "cross"}, "there and back, polled", "150 cycles"),
    ("ring.round_trip", {"path": "data", "wait": "wake", "cores": "cross"}, "there and back, woken", ""),
    ("ring.setup", {}, "setting a channel up", "a few dozen system calls"),
    ("net.recovery", {}, "from NetD's death until a connection is answered again", ""),
    ("net.recovery_under_load", {}, "the same under a bulk transfer", ""),
)


def packets(measurements: Sequence[Measurement], number: Callable[[float], str]) -> tuple[list[str], list[Line]]:
    """A column for each target, mode and load, a line for each quantity; none of either if nothing was measured.

    A quantity that was measured nowhere keeps its line where the article has a figure for it: what is missing is seen.
    """
    rows = [row for row in measurements if row["name"] in _PACKETS]
    columns = list(dict.fromkeys(map(_column, rows)))
    lines = []
    for name, (what, article, traditional) in _PACKETS.items():
        of = [row for row in rows if row["name"] == name]
        phases = list(dict.fromkeys(str(row["params"].get("phase", "")) for row in of)) or [""]
        for phase in phases if of or article else []:
            found = {_column(row): number(_figure(row)) for row in of if str(row["params"].get("phase", "")) == phase}
            unit = next((str(row["unit"]) for row in of), "not measured")
            called = f"{what}: {phase}" if phase else what
            theirs = ("", "") if phase else (article, traditional)
            lines.append(Line(called, unit, *theirs, [found.get(column, "") for column in columns]))
    return columns, lines if columns else []


def beside(measurements: Sequence[Measurement], number: Callable[[float], str]) -> list[Line]:
    """What a packet's way to an application rests on, a line each: waking, polling, setting up, starting again."""
    lines = []
    for name, wanted, what, article in _BESIDE:
        for row in measurements:
            if row["name"] == name and all(row["params"].get(key) == value for key, value in wanted.items()):
                rest = [f"{k}={v}" for k, v in row["params"].items() if k not in wanted]
                where = f"{row['target']}, {row['timebase']}"
                lines.append(
                    Line(" ".join([what, *rest]), f"{row['unit']} ({where})", article, "", [number(_figure(row))])
                )
    return lines


def _column(row: Measurement) -> str:
    params = row["params"]
    named = [str(params[name]) for name in ("load", "direction", "mode") if name in params]
    return f"{' '.join(named)} ({row['target']})"


def _figure(row: Measurement) -> float:
    return float(row["value"] if row.get("value") is not None else row["p50"])
