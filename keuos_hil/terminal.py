"""Tables on the terminal, made of the run's results: one for each suite that measured something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console as RichConsole
from rich.table import Table

from .compare import THRESHOLD, Change, Verdict
from .fitted import PLAIN_WIDTH, show, titled
from .judged_table import Sheet, changes_sheets, headline, remarks, verdicts_sheet
from .line import LineCounts
from .netd_table import beside, packets
from .rows_table import is_row, missing_lines, rows_table

if TYPE_CHECKING:  # the command keuos-hil shall not pay for pytest
    import pytest

    from .baseline import Judgement
    from .bench import Bench

#: A quantity that was measured for at least so many values of PIVOT, all else equal, is shown as a table by it.
PIVOT, PIVOT_FROM = "size", 3


def tables(measurements: Iterable[dict[str, Any]]) -> list[Table]:
    """The run's figures, those of each suite, target and timebase apart: different timebases never share a table."""

    def key(row: dict[str, Any]) -> tuple[str, str, str]:
        return row["name"].partition(".")[0], row["target"], row["timebase"]

    made = []
    for (suite, target, timebase), group in groupby(sorted(measurements, key=key), key):
        note = "; shown, never judged" if timebase == "emulated" else ""
        where = f"on {target}, timebase {timebase}{note}"
        rows = list(group)
        pivoted, rest = _split(rows)
        made += [_pivot(f"{name} {where}", quantity) for name, quantity in pivoted.items()]
        if rest:
            made.append(_list(f"{suite} {where}", rest))
    return made


def _others(row: dict[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in row["params"].items() if name != PIVOT)


def _split(rows: list[dict[str, Any]]) -> tuple[dict[str, list[dict[str, Any]]], list[dict[str, Any]]]:
    """Rows to show as a table by PIVOT, by quantity and unit; and the others."""
    counts = Counter((row["name"], row["unit"], _others(row)) for row in rows if PIVOT in row["params"])
    pivoted: dict[str, list[dict[str, Any]]] = {}
    rest = []
    for row in rows:
        if PIVOT in row["params"] and counts[row["name"], row["unit"], _others(row)] >= PIVOT_FROM:
            pivoted.setdefault(f"{row['name']}, {row['unit']},", []).append(row)
        else:
            rest.append(row)
    return pivoted, rest


def _pivot(title: str, rows: list[dict[str, Any]]) -> Table:
    """One line for each way of doing it, one column for each size: the median, or the value."""
    of = "median" if "p50" in rows[0] else "value"
    table = titled(f"{title}: {of} by {PIVOT} in bytes")
    names = list(dict.fromkeys(name for row in rows for name, _ in _others(row)))
    sizes = sorted({row["params"][PIVOT] for row in rows})
    for name in names:
        table.add_column(name)
    for size in sizes:
        table.add_column(str(size), justify="right", no_wrap=True)
    lines: dict[tuple[tuple[str, Any], ...], dict[Any, str]] = {}
    for row in rows:
        lines.setdefault(_others(row), {})[row["params"][PIVOT]] = number(
            row["value"] if "value" in row else row["p50"]
        )
    for params, figures in lines.items():
        table.add_row(*(str(dict(params).get(name, "")) for name in names), *(figures.get(size, "") for size in sizes))
    return table


def _list(title: str, rows: list[dict[str, Any]]) -> Table:
    """One line for each row. A 99.9th percentile is not in it: these rows have no interval of it."""
    table = titled(title)
    table.add_column("quantity", overflow="fold")
    table.add_column("with", overflow="fold")
    for heading in ("n", "min", "p50", "95 % CI", "p90", "p99", "max"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("unit")
    for row in rows:
        params = " ".join(f"{name}={value}" for name, value in row["params"].items())
        interval = "" if row["ci95"] is None else f"{number(row['ci95'][0])}..{number(row['ci95'][1])}"
        if "value" in row:
            cells = ["", "", number(row["value"]), interval, "", "", ""]
        else:
            names = ("p90", "p99", "max")
            cells = [str(row["n"]), number(row["min"]), number(row["p50"]), interval, *(number(row[n]) for n in names)]
        table.add_row(row["name"], params, *cells, row["unit"])
    return table


def netd(measurements: list[dict[str, Any]]) -> list[Table]:
    """What packets cost NetD, beside the article's figures, and what that rests on; none if nothing was measured."""
    columns, lines = packets(measurements, number)
    if not lines:
        return []
    table = titled("what packets cost NetD, beside the article's figures (cited, not measured here)")
    table.add_column("quantity")
    table.add_column("unit")
    for heading in ("article", "traditional", *columns):
        table.add_column(heading, justify="right")
    for line in lines:
        table.add_row(line.what, line.unit, line.article, line.traditional, *line.cells)
    return [table, *_netd_beside(measurements)]


def _netd_beside(measurements: list[dict[str, Any]]) -> list[Table]:
    lines = beside(measurements, number)
    if not lines:
        return []
    table = titled("what that rests on: waking, polling, setting up, starting again")
    table.add_column("quantity")
    table.add_column("ours", justify="right")
    table.add_column("unit")
    table.add_column("article")
    for line in lines:
        table.add_row(line.what, *line.cells, line.unit, line.article)
    return [table]


def published(references: Iterable[Mapping[str, Any]]) -> list[Table]:
    """What others published; none if the run cites nothing."""
    table = titled("published by others (cited, not measured here)")
    table.add_column("what")
    table.add_column("figure", justify="right")
    table.add_column("unit")
    for reference in references:
        table.add_row(reference["what"], number(reference["value"]), reference["unit"])
    return [table] if table.row_count else []


def comparison(measurements: Iterable[dict[str, Any]]) -> Table | None:
    """Our figures beside the ones asked for and those that others published; None if no row has either.

    Target and timebase have a column where rows differ in it.
    """
    rows = [row for row in measurements if {"at_most", "at_least", "beside"} & row.keys()]
    if not rows:
        return None
    table = titled("asked for, and published by others (cited, not measured here)")
    apart = [name for name in ("target", "timebase") if len({row[name] for row in rows}) > 1]
    for heading in ("quantity", "with", *apart):
        table.add_column(heading)
    table.add_column("ours", justify="right")
    limits = {"at most": "at_most", "at least": "at_least"}
    limits = {heading: name for heading, name in limits.items() if any(name in row for row in rows)}
    for heading in limits:
        table.add_column(heading, justify="right")
    table.add_column("others")
    for row in rows:
        params = " ".join(f"{name}={value}" for name, value in row["params"].items())
        others = "\n".join(f"{number(other['value'])}  {other['source']}" for other in row.get("beside", []))
        ours = row["value"] if "value" in row else row["p50"]
        asked = [number(row[name]) if name in row else "" for name in limits.values()]
        places = [row[name] for name in apart]
        figure = f"{number(ours)} {row['unit']}" + (", missed" if missed(row) else "")
        table.add_row(row["name"], params, *places, figure, *asked, others)
    return table


def missed(row: dict[str, Any]) -> bool:
    """Whether a figure is beyond what was asked for: its value, or its median."""
    ours = row["value"] if "value" in row else row["p50"]
    return bool(ours > row.get("at_most", ours) or ours < row.get("at_least", ours))


def _table(sheet: Sheet) -> Table:
    table = titled(caption=sheet.below)
    for heading, figures in sheet.headings:
        table.add_column(heading, justify="right" if figures else "left")
    for line in sheet.lines:
        table.add_row(*line)
    return table


def verdicts_table(verdicts: Iterable[Verdict], threshold: float) -> Table:
    """A line for each row that was compared."""
    return _table(verdicts_sheet(verdicts, threshold))


def changes_tables(changes: Iterable[Change]) -> list[tuple[str, Table]]:
    """Functions of which an operation executes more or fewer instructions, by row that differs: title and table."""
    return [(sheet.title, _table(sheet)) for sheet in changes_sheets(changes, number)]


def _judged(terminal: RichConsole, path: Path, judgement: Judgement) -> None:
    """What a baseline says of the run: the rows that are slower, and of instructions whose code grew."""
    terminal.print(headline(str(path), judgement))
    if judgement.slower:
        show(terminal, verdicts_table(judgement.slower, THRESHOLD))
    for title, table in changes_tables(judgement.changes):
        terminal.print(f"  {title}")
        show(terminal, table)
    for line in remarks(judgement):
        terminal.print(f"  {line}")


def fuzz_matrix(fuzz: Iterable[dict[str, Any]]) -> list[Table]:
    """What came of fuzzing the gates, by target: one line for each field and mutation, a column for each verdict."""
    made = []
    for target, group in groupby(sorted(fuzz, key=lambda run: str(run["target"])), lambda run: run["target"]):
        runs = list(group)
        counts: dict[tuple[str, str], Counter[str]] = {}
        for row in (row for run in runs for row in run["rows"]):
            counts.setdefault((row["field"], row["mutation"]), Counter()).update(row["verdicts"])
        kinds = "; ".join(
            f"{run['speed']}: {run['cases']:,} cases, {run['compared']:,} compared one by one, seed {run['seed']}"
            for run in runs
        )
        table = titled(f"gates fuzzed on {target}, compared cases by verdict ({kinds})")
        verdicts = list(dict.fromkeys(verdict for run in runs for verdict in run["verdicts"]))
        table.add_column("field")
        table.add_column("mutation")
        for verdict in verdicts:
            table.add_column(verdict, justify="right", no_wrap=True)
        for (field, mutation), found in counts.items():
            table.add_row(field, mutation, *(f"{found[v]:,}" if found[v] else "" for v in verdicts))
        made.append(table)
    return made


def boards(tests: Iterable[dict[str, Any]]) -> list[str]:
    """Which board ran how many tests, a line for each target that stands for several."""
    ran: dict[str, Counter[str]] = {}
    for test in tests:
        if "board" in test:
            ran.setdefault(test["target"], Counter())[test["board"]] += 1
    return [
        f"boards of {target}: " + ", ".join(f"{board} ran {count} tests" for board, count in sorted(counts.items()))
        for target, counts in ran.items()
    ]


def spoiler_lines(measurements: Iterable[Mapping[str, Any]], spoilers: Iterable[Mapping[str, str]]) -> list[str]:
    """What spoils timings on this machine, with the command that mends it; nothing if no timing is its silicon's."""
    if not any(row["timebase"] == "silicon" for row in measurements):
        return []
    return [f"spoils timings: {spoiler['found']} ({spoiler['why']}); {spoiler['fix']}" for spoiler in spoilers]


def number(value: float) -> str:
    """Few digits, but no fewer than the figure has meaning."""
    if value == int(value) and abs(value) < 1e12:
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def write_summary(reporter: pytest.TerminalReporter, bench: Bench) -> None:
    """Everything that this run has to say behind pytest's own lines."""
    writer = reporter._tw
    width = writer.fullwidth if writer.hasmarkup else max(writer.fullwidth, PLAIN_WIDTH)
    # Names may be a kernel's own: nothing in them is markup.
    terminal = RichConsole(file=writer._file, width=width, highlight=False, markup=False, emoji=False)
    measurements = bench.results.measurements
    for target in dict.fromkeys(row["target"] for row in measurements):
        beside_floors = rows_table(measurements, bench.results.samples, target)
        if beside_floors is not None:
            show(terminal, beside_floors, expendable=1)
    others = [row for row in measurements if not is_row(row)]
    made = [*tables(others), *netd(measurements), *fuzz_matrix(bench.results.fuzz)]
    asked = comparison(others)
    made += [] if asked is None else [asked]
    for table in [*made, *published(bench.results.references)]:
        show(terminal, table)
    for line in [*spoiler_lines(measurements, bench.spoilers), *missing_lines(bench.results.missing)]:
        reporter.write_line(line)
    if bench.baseline is not None and bench.judgement is not None:
        _judged(terminal, bench.baseline.path, bench.judgement)
    for why in bench.rig.retries:
        reporter.write_line(f"started at the second try: {why}")
    if bench.results_path is not None:
        for name, counts in bench.results.lines.items():
            reporter.write_line(f"line of {name}: {LineCounts(**counts)}")  # type: ignore[arg-type]
        for line in boards(bench.results.tests.values()):
            reporter.write_line(line)
        reporter.write_line(f"results: {bench.results_path}")
    if bench.report_path is not None:
        reporter.write_line(f"report: {bench.report_path}")
