"""The report of a run: one HTML file that needs no network and no script. `keuos-hil report` writes it.

The page is keuos_hil/templates/report.html; here its contents are put together from results.json and the samples, and
the plots drawn (matplotlib, as SVG within the page, in the page's own text colour).
"""

from __future__ import annotations

import io
import math
import re
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from numpy.typing import ArrayLike, NDArray

from . import histogram
from .baseline import Judgement
from .errors import UsageError
from .judged_table import Sheet, changes_sheets, headline, remarks, verdicts_sheet
from .line import LineCounts
from .net.kept_frames import told
from .netd_table import beside, packets
from .results import VERDICTS
from .rows_table import QUANTITY, is_row, ratio_to_floor, row_name, sorted_rows, tail_with_interval
from .saved import replace_text
from .terminal import number

#: Stands for the page's text colour until the SVG is in the page.
_TEXT = "#010203"
#: Okabe and Ito's colours, which the colour-blind tell apart, less black and yellow: they must show on white and black.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
_DASHES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (8, 2)))
_BINS = 60
_BLOCKS = 28
_CURVE = 200
#: Of a plot, in inches: without its legend, of that what is below the axis, and a line of the legend.
_PLOT_HEIGHT, _AXIS_HEIGHT, _LEGEND_LINE = 3.3, 0.55, 0.19
_LEGEND_COLUMNS = 4
#: Functions of a row that have a line of their own; the others have one together.
_EXECUTED_MOST = 15


def write(output: Path, results: Mapping[str, Any], samples: Mapping[str, ArrayLike], folder: Path) -> None:
    """Write the page.

    Args:
        results, samples: as for :func:`render`.
        folder: the run's, where the frames of its failed tests are.

    Raises:
        UsageError: it can't be made of these, or not be written.
    """
    try:
        replace_text(output, render(told(results, folder), samples))
    except (OSError, ValueError) as error:
        raise UsageError(f"no report can be made of {folder}: {error}") from None


def render(results: Mapping[str, Any], samples: Mapping[str, ArrayLike]) -> str:
    """The whole page.

    Args:
        results: of a results.json.
        samples: the raw samples by their keys; rows whose samples are not there have no histogram.
    """
    page = Environment(loader=PackageLoader("keuos_hil"), autoescape=True, trim_blocks=True, undefined=StrictUndefined)
    page.filters |= {"number": _number, "interval": _interval, "params": _params, "figure": _figure}
    measurements = results["measurements"]
    rows = [row for row in measurements if is_row(row)]
    tables = [(target, *_table(list(group), samples)) for target, group in _grouped(rows, "target")]
    missing = results.get("missing", [])
    netd_columns, netd_lines = packets(measurements, number)
    netd_beside = beside(measurements, number) if netd_lines else []
    references = results.get("references", [])
    failures = [test for test in results["tests"] if test.get("failure")]
    others = [row for row in measurements if not is_row(row)]
    asked = [row for row in others if {"at_most", "at_least", "beside"} & row.keys()]
    measured = [
        (f"{target}, timebase {timebase}", list(group))
        for (target, timebase), group in groupby(
            sorted(others, key=lambda row: (row["target"], row["timebase"])), lambda r: (r["target"], r["timebase"])
        )
    ]
    executed = [_executed(row) for row in measurements if row.get("executed")]
    matrices = [
        (key, title, *_matrix(results[key]))
        for key, title in (("gates", "Gates"), ("requirements", "Requirements"))
        if results[key]
    ]
    fuzz = [run | {"rows": [row | {"verdicts": Counter(row["verdicts"])} for row in run["rows"]]}
            for run in results.get("fuzz", [])]  # fmt: skip
    counts = Counter(test["verdict"] for test in results["tests"])
    sections = [("failures", "What failed")] if failures else []
    sections += [("baseline", "Baseline")] if "baseline" in results else []
    sections += [(f"rows-{i}", f"Messages: {target}") for i, (target, *_) in enumerate(tables, 1)]
    sections += [("references", "Published by others")] if references else []
    sections += [("netd", "NetD's packets")] if netd_lines else []
    sections += [("missing", "Missing rows")] if missing else []
    sections += [("asked", "Asked for")] if asked else []
    sections += [("measured", "Measured")] if measured else []
    sections += [("executed", "Executed instructions")] if executed else []
    sections += [(key, title) for key, title, *_ in matrices]
    sections += [(f"fuzz-{i}", f"Fuzzed in {run['speed']}: {run['target']}") for i, run in enumerate(fuzz, 1)]
    sections += [("tests", "Tests"), ("environment", "Environment")]
    targets = sorted(
        {str(test["target"]) for test in results["tests"]}
        | {str(row["target"]) for row in measurements}
        | set(map(str, results["build_id"]))
    )
    return page.get_template("report.html").render(
        title=f"keuos-hil on {', '.join(targets) or 'no target'}",
        environment=results["environment"] | {"spoilers": results["environment"].get("spoilers", [])},
        verdicts=[(verdict, counts[verdict]) for verdict in VERDICTS if counts[verdict]],
        sections=sections,
        failures=failures,
        baseline=_judged(results["baseline"]) if "baseline" in results else None,
        executed=executed,
        tables=tables,
        missing=missing,
        references=references,
        netd_columns=netd_columns,
        netd_lines=netd_lines,
        netd_beside=netd_beside,
        asked=[{"beside": []} | row for row in asked],
        measured=[(where, [_full(row) for row in group]) for where, group in measured],
        matrices=matrices,
        fuzz=fuzz,
        tests=results["tests"],
        on_boards=any("board" in test for test in results["tests"]),
        facts=_facts(results),
    )


def _grouped(rows: Sequence[dict[str, Any]], key: str) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        found.setdefault(str(row[key]), []).append(row)
    return list(found.items())


def _number(value: float | None) -> str:
    return "" if value is None else number(value)


def _interval(ends: Sequence[float] | None) -> str:
    return "" if ends is None else f"{number(ends[0])}..{number(ends[1])}"


def _params(params: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in params.items())


def _figure(row: Mapping[str, Any]) -> str:
    return number(row["value"] if row.get("value") is not None else row["p50"])


def _full(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row with None for the figures that a single value has not."""
    return dict.fromkeys(("value", "min", "p50", "p90", "p99", "max")) | dict(row)


def _judged(document: Mapping[str, Any]) -> dict[str, Any]:
    """What a baseline says: as on the terminal, and all rows that were compared."""
    judgement = Judgement.of_document(document)
    threshold = document["threshold"]
    return {
        "headline": headline(document["file"], judgement),
        "slower": verdicts_sheet(judgement.slower, threshold),
        "compared": verdicts_sheet(judgement.verdicts, threshold),
        "changes": changes_sheets(judgement.changes, number),
        "remarks": remarks(judgement),
    }


def _executed(row: Mapping[str, Any]) -> tuple[str, Sheet]:
    """What a row of instructions is, and its functions, those that execute most first."""
    entries = [(count, name, f) for name, functions in row["executed"].items() for f, count in functions.items()]
    found = sorted(entries, key=lambda entry: (-entry[0], *entry[1:]))
    lines = [[name, function, number(round(count, 2))] for count, name, function in found[:_EXECUTED_MOST]]
    rest = found[_EXECUTED_MOST:]
    if rest:
        lines.append(["", f"{len(rest)} more", number(round(sum(count for count, *_ in rest), 2))])
    total = number(round(sum(count for count, *_ in found), 2))
    row_title = " ".join(filter(None, (row["name"], _params(row["params"]), row["target"])))
    title = f"{row_title}: {_figure(row)} {row['unit']}, {total} instructions by function"
    return title, Sheet("", [("in", False), ("function", False), ("instructions", True)], lines)


def _matrix(table: Mapping[str, Mapping[str, Any]]) -> tuple[list[str], list[tuple[str, list[Any]]]]:
    columns = sorted({target for entries in table.values() for target in entries})
    return columns, [(name, [entries.get(column) for column in columns]) for name, entries in table.items()]


def _facts(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    environment = results["environment"]
    facts = []
    for run in environment.get("merged", [{"environment": environment, "targets": []}]):
        of = run["environment"]
        facts += [("targets", ", ".join(run["targets"]))] if run["targets"] else []
        facts += [("time", of["time"]), ("host's system", of["host"]["system"])]
        for name, value in of.get("machine", {}).items():
            text = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            facts.append((f"host's {name.replace('_', ' ')}", "unknown" if text is None else str(text)))
    facts += [("python", environment["python"]), ("seed", str(environment["seed"]))]
    facts += [(f"build of {name}", build) for name, build in results["build_id"].items()]
    facts += [(f"machine of {name}", command) for name, command in environment["commands"].items() if command]
    facts += [(f"line of {name}", str(LineCounts(**counts))) for name, counts in environment.get("lines", {}).items()]
    return facts


# Rows --------------------------------------------------------------------------------------------------------------


def _label(row: Mapping[str, Any]) -> str:
    stratum = row["params"]["stratum"]
    return row_name(row) + ("" if stratum == "only" else f", {stratum}")


def _table(
    rows: Sequence[Mapping[str, Any]], samples: Mapping[str, ArrayLike]
) -> tuple[list[dict[str, Any]], list[tuple[str, str]]]:
    """Lines of the table, and the plots: for each way of placing the two processes, all rows laid over each other."""
    rows = sorted_rows(rows)
    kept = {
        row["samples"]["key"]: np.asarray(samples[row["samples"]["key"]], dtype=np.float64)
        for row in rows
        if row["samples"] is not None and row["samples"]["key"] in samples
    }
    axis = histogram.common_axis(kept, _BLOCKS) if kept else None
    lines = []
    for row in rows:
        article = next((number(other["value"]) for other in row.get("beside", [])), "")
        tails = [tail_with_interval(row["tails"][name]) if name in row["tails"] else "" for name in ("p99", "p999")]
        found = kept.get(row["samples"]["key"]) if row["samples"] is not None else None
        cells = [article, number(round(row["p50"])), number(round(row["p90"])), *tails, number(round(row["max"]))]
        cells += [ratio_to_floor(row)]
        cells += [f"{row['ratio']['rounds']} of {row['ratio']['launches']} launches", sum(row["rejected"].values())]
        lines.append(
            {
                "name": row_name(row),
                "cores": row["params"]["cores"],
                "stratum": row["params"]["stratum"],
                "cells": cells,
                "blocks": "" if found is None or axis is None else histogram.line(found, axis),
            }
        )
    plots = []
    for cores, title in (("cross", "two cores"), ("same", "one core"), ("none", "one process")):
        curves = {
            _label(row): kept[row["samples"]["key"]]
            for row in rows
            if row["params"]["cores"] == cores and row["samples"] is not None and row["samples"]["key"] in kept
        }
        if curves:
            plots.append((f"{QUANTITY}, {title}: histogram and cumulative curve", plot(curves)))
    return lines, plots


def plot(curves: Mapping[str, NDArray[np.float64]]) -> str:
    """An SVG element: a histogram and the cumulative curve of each row, over one logarithmic axis of ticks."""
    from matplotlib import rc_context  # half a second that no test run shall pay for
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axis = histogram.common_axis(curves, _BINS)
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "keuos-hil", "font.size": 9}):
        # Placed by hand, and without mathematics in the labels: matplotlib's own ways take half of the time.
        legend = _LEGEND_LINE * math.ceil(len(curves) / _LEGEND_COLUMNS)
        height = _PLOT_HEIGHT + legend
        figure = Figure(figsize=(10, height))
        above, below = figure.subplots(1, 2, sharex=True)
        figure.subplots_adjust(0.085, (_AXIS_HEIGHT + legend) / height, 0.985, 0.98, wspace=0.19)
        for number_, (name, values) in enumerate(curves.items()):
            colour = _COLOURS[number_ % len(_COLOURS)]
            dash = _DASHES[number_ // len(_COLOURS) % len(_DASHES)]
            style: dict[str, Any] = {"color": colour, "linestyle": dash, "linewidth": 1.2}
            share = histogram.counts(values, axis) / max(len(values), 1)
            above.stairs(np.where(share > 0, share, np.nan), axis, label=name, **style)
            ranks = np.linspace(0, 1, _CURVE)
            below.plot(np.quantile(values, ranks), ranks, **style)
        above.set_ylabel("share of samples in a bin")
        above.set_yscale("log")
        below.set_ylabel("share of samples up to")
        for part in (above, below):
            part.set_xscale("log")
            part.set_xlim(axis[0], axis[-1])
            part.set_xlabel("ticks")
            part.grid(alpha=0.25)
            part.patch.set_alpha(0)
            part.xaxis.set_major_formatter(FuncFormatter(lambda ticks, _: f"{ticks:,.0f}"))
            part.xaxis.set_minor_formatter(NullFormatter())
            for text in (part.xaxis.label, part.yaxis.label):
                text.set_color(_TEXT)
            part.tick_params(which="both", colors=_TEXT)
            for spine in part.spines.values():
                spine.set_color(_TEXT)
        above.yaxis.set_major_formatter(FuncFormatter(lambda share, _: f"{share:g}"))
        above.yaxis.set_minor_formatter(NullFormatter())
        figure.patch.set_alpha(0)
        figure.legend(loc="lower center", ncols=_LEGEND_COLUMNS, frameon=False, labelcolor=_TEXT)
        drawn = io.StringIO()
        figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    svg = drawn.getvalue()
    svg = svg[svg.index("<svg") :].replace(_TEXT, "currentColor")
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Names within an SVG are the page's: two figures must not share one.
    mark = f"p{zlib.crc32('|'.join(curves).encode()):08x}-"
    return re.sub(r'(id="|href="#|url\(#)', rf"\g<1>{mark}", svg)
