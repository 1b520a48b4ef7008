"""Tables on narrow terminals: figures whole, every column of them there, names whole too."""

from __future__ import annotations

import io
import re
from itertools import pairwise

import pytest
from rich.console import Console as RichConsole

from keuos_hil.fitted import PLAIN_WIDTH, fitted, show, titled, width_of
from keuos_hil.rows_table import rows_table
from tests.row_results import recorded

NAMES = ("eventfd+signalfd:sleep", "floor-two-lines:pause", "ring-56:bare")
HEADINGS = ("article", "p50", "p99", "p99.9 [95 %]", "to floor [95 %]", "rounds", "rejected")
#: The least width of a part: both columns of text, folded to a dozen characters, and the widest column of figures.
WITH_NAMES = 1 + 12 + 5 + len("to floor [95 %]") + 2 * 2
FIGURES = [[f"{line}{column},{line}23,456" for column in range(len(HEADINGS))] for line in range(len(NAMES))]


def wide_table():
    table = titled("a title of some words")
    table.add_column("row", no_wrap=True)
    table.add_column("cores", no_wrap=True)
    for heading in HEADINGS:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("a histogram")
    for name, figures in zip(NAMES, FIGURES, strict=True):
        table.add_row(name, "cross", *figures, "[red]" + "█" * 24)
    return table


def shown(table, width, expendable=1):
    text = io.StringIO()
    show(RichConsole(file=text, width=width, highlight=False, markup=False, emoji=False), table, expendable)
    return [line.rstrip() for line in text.getvalue().splitlines()]


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, PLAIN_WIDTH, 300])
def test_no_figure_is_cut_and_no_column_of_them_lost(width):
    lines = shown(wide_table(), width)
    words = {word for line in lines for word in line.split()}
    assert {figure for figures in FIGURES for figure in figures} <= words
    assert all(any(heading in line for line in lines) for heading in HEADINGS)
    assert max(map(len, lines)) <= max(width, WITH_NAMES)
    assert "…" not in " ".join(lines)


@pytest.mark.parametrize(("width", "parts"), [(300, 1), (140, 1), (120, 1), (80, 2)])
def test_a_histogram_goes_before_anything_else_does(width, parts):
    made = fitted(wide_table(), width, expendable=1)
    assert len(made) == parts
    assert [[str(column.header) for column in part.columns][:2] for part in made] == [["row", "cores"]] * parts
    assert any("a histogram" in line for line in shown(wide_table(), width)) is (width == 300)
    assert all(width_of(part) <= width for part in made)


@pytest.mark.parametrize("width", [40, 80])
def test_a_name_goes_on_in_the_next_line_and_stands_in_each_part(width):
    lines = shown(wide_table(), width)
    first = [re.split(r"\s+", line.strip())[0] for line in lines]
    both = {one + two for one, two in pairwise(first)} | set(first)
    assert set(NAMES) <= both
    assert lines[0] == "a title of some words"
    assert sum("title" in line for line in lines) == 1


def test_what_fits_is_left_as_it_is():
    table = wide_table()
    assert fitted(table, 300, expendable=1) == [table]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_of_rows_keeps_every_figure(width):
    results = recorded()
    table = rows_table(results.measurements, results.samples, "linux")
    assert table is not None
    figures = {
        word
        for column in table.columns
        if column.justify == "right"
        for cell in column.cells
        for word in str(cell).split()
    }
    assert "[1.039..1.081]" in figures
    assert figures <= {word for line in shown(table, width) for word in line.split()}
