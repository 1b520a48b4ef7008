"""The table of messages between two processes of one machine, for the terminal: each row beside its floor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike
from rich.table import Table

from . import histogram
from .fitted import titled

QUANTITY = "linux.round_trip"
_BINS = 24
_PLACES = ("none", "cross", "same")


def is_row(row: Mapping[str, Any]) -> bool:
    """Whether a measurement belongs into this table."""
    return row["name"] == QUANTITY and "ratio" in row


def sorted_rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """By where the two processes ran, and then by the ratio to the floor."""
    return sorted(rows, key=lambda row: (_PLACES.index(row["params"]["cores"]), row["ratio"]["value"]))


def row_name(row: Mapping[str, Any]) -> str:
    """Such as `ring-56:pause`."""
    return ":".join(filter(None, (row["params"]["row"], row["params"]["how"])))


def ratio_to_floor(row: Mapping[str, Any]) -> str:
    """With its interval; digits behind the point where they tell something."""
    return with_interval(row["ratio"], 3 if row["ratio"]["value"] < 10 else 0)


def rows_table(
    measurements: Sequence[Mapping[str, Any]], samples: Mapping[str, ArrayLike], target: str
) -> Table | None:
    """A line for each row and stratum, ordered by the ratio to its floor; None if there are none.

    The last column, a histogram, is expendable (see :func:`keuos_hil.fitted.fitted`).
    """
    rows = [row for row in measurements if is_row(row) and row["target"] == target]
    if not rows:
        return None
    kept = {row["samples"]["key"]: samples[row["samples"]["key"]] for row in rows if row["samples"] is not None}
    axis = histogram.common_axis(kept, _BINS)
    title = (
        f"messages between two processes, there and back, on {target}, in ticks, timebase silicon; rounds/launches; "
    )
    title += "the article's figures are of another machine"
    table = titled(title)
    strata = {row["params"]["stratum"] for row in rows} != {"only"}
    for heading in ("row", "cores", *(["stratum"] if strata else [])):
        table.add_column(heading, no_wrap=True)
    for heading in ("article", "p50", "p99", "p99.9 [95 %]", "to floor [95 %]", "rounds", "rejected"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(f"{_short(axis[0])} to {_short(axis[-1])} ticks", no_wrap=True)
    for row in sorted_rows(rows):
        params, tails, key = row["params"], row["tails"], row["samples"]["key"]
        article = next((f"{other['value']:,.0f}" for other in row.get("beside", [])), "")
        table.add_row(
            row_name(row),
            params["cores"],
            *([params["stratum"]] if strata else []),
            article,
            f"{row['p50']:,.0f}",
            f"{tails['p99']['value']:,.0f}",
            tail_with_interval(tails["p999"]),
            ratio_to_floor(row),
            f"{row['ratio']['rounds']}/{row['ratio']['launches']}",
            str(sum(row["rejected"].values())),
            histogram.line(kept[key], axis),
        )
    return table


def _short(ticks: float) -> str:
    return f"{ticks / 1_000:,.0f} k" if ticks >= 10_000 else f"{ticks:,.0f}"


def missing_lines(missing: Sequence[Mapping[str, Any]]) -> list[str]:
    """Which rows are missing and why, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for row in missing:
        name = ":".join(str(value) for value in row["params"].values() if value != "")
        by_reason.setdefault(f"{row['name']} on {row['target']}: {row['reason']}", []).append(name)
    return [f"missing, {reason}: {', '.join(names)}" for reason, names in by_reason.items()]


def tail_with_interval(estimate: Mapping[str, Any]) -> str:
    """A tail, which says nothing without its interval: too few rounds give none."""
    return "too few" if estimate["ci95"] is None else with_interval(estimate, 0)


def with_interval(estimate: Mapping[str, Any], digits: int) -> str:
    """A figure and its interval; without one it says so."""
    interval = estimate["ci95"]
    ends = "no interval" if interval is None else f"{interval[0]:,.{digits}f}..{interval[1]:,.{digits}f}"
    return f"{estimate['value']:,.{digits}f} [{ends}]"
