"""Tables made to fit a terminal: no figure is cut and no column of figures is lost, however narrow it is. Pure.

What gives way, in this order: columns that may be left out (a histogram), then the width of text, which goes on in
another line of its cell, and then the table is told in several parts, each with the first columns again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich import box
from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.table import Column, Table

#: Of a file or a pipe, which has no width of its own.
PLAIN_WIDTH = 160
#: Text is not folded to fewer characters than this.
_TEXT_MIN = 12
#: Wide enough for any table to be measured at.
_UNBOUNDED = 10_000


@dataclass(frozen=True)
class _Column:
    """One of a table's; `text`: it is no column of figures, and may be folded."""

    heading: str
    cells: list[str]
    text: bool

    @property
    def natural(self) -> int:
        """Characters of its longest line."""
        return max(cell_len(line) for cell in (self.heading, *self.cells) for line in (cell.splitlines() or [""]))

    @property
    def least(self) -> int:
        """Characters that it needs."""
        return min(self.natural, _TEXT_MIN) if self.text else self.natural


def titled(title: str = "", caption: str = "") -> Table:
    """An empty table in the one form that all of them have."""
    return Table(
        title=title or None,
        caption=caption or None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )


def width_of(table: Table) -> int:
    """Characters that a table needs to be shown whole."""
    wide = RichConsole(width=_UNBOUNDED, markup=False, emoji=False)
    return max(wide.measure(table).maximum, 1)


def fitted(table: Table, width: int, expendable: int = 0) -> list[Table]:
    """The table as one or several that fit `width` characters, or that are as narrow as their figures allow.

    Args:
        table: whose columns of figures are justified to the right, and all others are text.
        expendable: how many of its last columns are left out rather than anything else folded.
    """
    if width_of(table) <= width:
        return [table]
    columns = [_of(column) for column in table.columns]
    if expendable:
        columns = columns[:-expendable]
    keys = next((at for at, column in enumerate(columns) if not column.text), len(columns))
    parts: list[list[_Column]] = [columns[:keys]]
    for column in columns[keys:]:
        if len(parts[-1]) > keys and _least([*parts[-1], column]) > width:
            parts.append(columns[:keys])
        parts[-1] = [*parts[-1], column]
    return [_made(table, part, width, first=part is parts[0], last=part is parts[-1]) for part in parts]


def show(terminal: RichConsole, table: Table, expendable: int = 0) -> None:
    """Print it so that it fits; where even its figures don't, wider than the terminal rather than cut."""
    for part in fitted(table, terminal.width, expendable):
        had, terminal.width = terminal.width, max(terminal.width, width_of(part))
        terminal.print(part)
        terminal.width = had


def _of(column: Column) -> _Column:
    return _Column(str(column.header), [str(cell) for cell in column.cells], column.justify != "right")


def _least(columns: Sequence[_Column]) -> int:
    return sum(column.least for column in columns) + _between(len(columns))


def _between(count: int) -> int:
    """Characters that are no column's own."""
    empty = titled()
    for _ in range(count):
        empty.add_column("x")
    return width_of(empty) - count


def _made(table: Table, columns: Sequence[_Column], width: int, *, first: bool, last: bool) -> Table:
    widths = [column.natural for column in columns]
    texts = [at for at, column in enumerate(columns) if column.text and column.natural > column.least]
    room = width - _between(len(columns))
    while sum(widths) > room and texts:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= _TEXT_MIN:
            break
        widths[widest] -= 1
    made = titled(str(table.title or "") if first else "", str(table.caption or "") if last else "")
    for column, wide in zip(columns, widths, strict=True):
        justify = "left" if column.text else "right"
        made.add_column(column.heading, justify=justify, width=wide, no_wrap=not column.text, overflow="fold")  # type: ignore[arg-type]
    for line in zip(*(column.cells for column in columns), strict=True):
        made.add_row(*line)
    return made
