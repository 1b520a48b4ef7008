"""What a baseline or a comparison says of a run: its words and tables, of the terminal and of the report. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .compare import Change, Verdict

if TYPE_CHECKING:
    from .baseline import Judgement

#: Functions of another size than in a baseline, and of each end of those that execute more and fewer.
_GROWN_MOST = 12


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        title: what it is of; "" if what stands above says so.
        headings: of the columns, and whether a column has figures, which stand to the right.
        lines: a text for each column.
        below: what is to be said of lines that are left out; "" if none are.
    """

    title: str
    headings: list[tuple[str, bool]]
    lines: list[list[str]]
    below: str = ""


def verdicts_sheet(verdicts: Iterable[Verdict], threshold: float) -> Sheet:
    """A line for each row that was compared."""
    headings = [("row", False), *((heading, True) for heading in ("new to old", "95 %", "judged", "launches"))]
    lines, exacts = [], set()
    for v in verdicts:
        exacts.add(v.low is None)
        interval = "exact" if v.low is None or v.high is None else f"{v.low:.3f}..{v.high:.3f}"
        lines.append([v.row, f"{v.ratio:.3f}", interval, f"{v.bound:.3f}", str(v.pairs), "slower" if v.slower else ""])
    over = "over 1" if exacts == {True} else f"over {threshold}" + (" (exact: 1)" if True in exacts else "")
    return Sheet("", [*headings, (over, False)], lines)


def changes_sheets(changes: Iterable[Change], number: Callable[[float], str]) -> list[Sheet]:
    """Functions of which an operation executes more or fewer instructions, by row that differs."""
    made = []
    headings = [("in", False), ("function", False), ("before", True), ("now", True), ("more", True)]
    for change in changes:
        if not change.functions:
            continue
        shown, below = change.functions, ""
        if len(shown) > 2 * _GROWN_MOST:
            shown = shown[:_GROWN_MOST] + shown[-_GROWN_MOST:]
            below = f"and {len(change.functions) - len(shown)} functions that differ less"
        lines = [
            [g.file, g.function, number(round(g.old, 2)), number(round(g.new, 2)), f"{g.new - g.old:+.1f}"]
            for g in shown
        ]
        title = f"{change.row}: {number(change.old)}, now {number(change.new)}; executed for each operation"
        made.append(Sheet(title, headings, lines, below))
    return made


def unattributed(changes: Iterable[Change]) -> list[str]:
    """What is to be said of rows that differ without its being known where."""
    unknown = [change.row for change in changes if change.functions is None]
    if not unknown:
        return []
    return [f"which functions execute more is known of runs with --executed; not of: {', '.join(unknown)}"]


def headline(file: str, judgement: Judgement) -> str:
    """What came of the baseline in `file`, in one line."""
    return f"baseline {file}: {len(judgement.verdicts)} rows compared, {len(judgement.slower)} slower"


def remarks(judgement: Judgement) -> list[str]:
    """What is to be said of a judgement behind its tables."""
    more = [change for change in judgement.changes if change.new > change.old]
    lines = unattributed(more)
    lines += [f"{g.file}: {g.function} was {g.old} bytes, now {g.new}" for g in judgement.grown[:_GROWN_MOST]]
    if len(judgement.grown) > _GROWN_MOST:
        lines.append(f"and {len(judgement.grown) - _GROWN_MOST} functions more of another size")
    if any(change.functions is None for change in more) and not judgement.grown:
        lines.append("no function has another size: the same code runs more often, or other instructions of it")
    return lines + judgement.notes
