"""`python -m keuos_hil.conformance`: a page that says which requirements a stack meets, made of the results of runs.

One row for each requirement of the table, one column for each target: passed, failed, waived with the reason, or
untested. Several results.json may be given: runs of one target, say without and with the slow cases, add up.
"""

from __future__ import annotations

import argparse
import csv
import re
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from .errors import UsageError
from .requirements import BINDING, Requirement, table
from .results import VERDICTS
from .saved import read_results, replace_text

_WAIVERS = Path(__file__).parent / "net" / "waivers.csv"
_SUITES = Path(__file__).parent.parent / "suites"
#: Of the SHOULD rows a stack that is held to them meets so many.
_SHARE = 0.95
_SHOULD = ("SHOULD", "SHOULD NOT", "RECOMMENDED")
#: What a page says of a verdict of results.json.
_WORDS = {"passed": "passed", "xfailed": "waived", "failed": "FAILED", "error": "FAILED", "xpassed": "FAILED"}


@dataclass(frozen=True)
class Waiver:
    """Why no case shows a requirement.

    Attributes:
        kind: "unobservable" (no stack shows anything of it), "refused" (by policy), or "not offered" (an option).
        reason: why that is right for every target.
    """

    kind: str
    reason: str


def waivers() -> dict[str, Waiver]:
    """The reviewed list: requirements that no case shows, by their ids."""
    with _WAIVERS.open(newline="") as source:
        return {name: Waiver(kind, reason) for name, kind, reason in list(csv.reader(source))[1:]}


@dataclass
class Cell:
    """How one target did with one requirement."""

    word: str
    cases: int = 0
    waived: int = 0
    reasons: list[str] = field(default_factory=list)
    tests: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        if self.word == "waived" and self.cases:
            return f"waived in {self.waived} of {self.cases}"
        return f"{self.word} ({self.cases})" if self.cases else self.word


def cell(requirement: str, entry: dict[str, Any] | None) -> Cell:
    """Read an entry of results.json's `requirements`; None if the run had no test for it."""
    if entry is None or not entry["cases"]:
        known = waivers().get(requirement)
        left_out = [] if entry is None else entry.get("skipped", [])
        return Cell("untested", reasons=left_out) if known is None else Cell("waived", reasons=[known.reason])
    tests = entry.get("tests", {})
    functions = Counter(name.partition("[")[0] for name in tests)
    word = _WORDS.get(entry["verdict"], "untested")
    waived = sum(verdict == "xfailed" for verdict in tests.values())
    return Cell(word, entry["cases"], waived, entry.get("waived", []), dict(functions))


@dataclass(frozen=True)
class Report:
    """Rows of (requirement, target to cell), the targets, and what each run says of itself."""

    rows: list[tuple[Requirement, dict[str, Cell]]]
    targets: list[str]
    runs: dict[str, str]


def _add(found: dict[str, dict[str, Any]], name: str, entry: dict[str, Any]) -> None:
    """Add another run's entry for a requirement; the worst verdict counts."""
    mine = found.setdefault(name, {"verdict": "passed", "cases": 0, "tests": {}, "waived": [], "skipped": []})
    if entry["cases"]:
        mine["verdict"] = max(mine["verdict"], entry["verdict"], key=VERDICTS.index)
        mine["cases"] += entry["cases"]
        mine["tests"] |= entry.get("tests", {})
    for reasons in ("waived", "skipped"):
        mine[reasons] = list(dict.fromkeys(mine[reasons] + entry.get(reasons, [])))


def read(paths: Sequence[Path]) -> Report:
    """Read results.json files, or those of runs' folders. Raises UsageError with one line for one that is none."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    runs: dict[str, str] = {}
    for path in paths:
        document = read_results(path)
        environment = document["environment"]
        for name, targets in document["requirements"].items():
            for target, entry in targets.items():
                _add(found.setdefault(target, {}), name, entry)
                stack = environment.get("stacks", {}).get(target, "a stack that the run does not name")
                runs[target] = f"{stack}; run of {environment['time']} on {environment['host']['system']}"
    targets = sorted(found)
    rows = [(row, {target: cell(name, found[target].get(name)) for target in targets}) for name, row in table().items()]
    return Report(rows, targets, runs)


def summary(report: Report, target: str) -> list[tuple[str, Counter[str]]]:
    """Verdicts counted by level."""
    levels = (("binding (MUST, MUST NOT, RULE)", BINDING), ("SHOULD, SHOULD NOT, RECOMMENDED", _SHOULD))
    counted: list[tuple[str, Counter[str]]] = []
    for name, members in levels:
        counted.append((name, Counter(cells[target].word for row, cells in report.rows if row.level in members)))
    rest = [cells[target].word for row, cells in report.rows if row.level not in (*BINDING, *_SHOULD)]
    return [*counted, ("other (MAY, BCP, INFO)", Counter(rest))]


@dataclass(frozen=True)
class Totals:
    """What a stack is held to: every binding row, and most of those that it should follow.

    Attributes:
        binding, listed: binding rows that passed, and that stand on the waiver list.
        lacking: ids of those that do neither; untested ones among them.
        should: rows of SHOULD that passed.
        missed: ids of those that did not, but for what no stack shows anything of.
    """

    binding: int
    listed: int
    lacking: list[str]
    should: int
    missed: list[str]

    @property
    def share(self) -> float:
        """Of the SHOULD rows, those that passed."""
        return self.should / max(self.should + len(self.missed), 1)

    @property
    def met(self) -> bool:
        """Whether that is enough."""
        return not self.lacking and self.share >= _SHARE

    def __str__(self) -> str:
        binding = self.binding + self.listed + len(self.lacking)
        should = self.should + len(self.missed)
        lacking = f": {', '.join(self.lacking)}" if self.lacking else ""
        missed = f": {', '.join(self.missed)}" if self.missed else ""
        return (
            f"of {binding} binding rows {self.binding} passed, {self.listed} are on the waiver list, "
            f"{len(self.lacking)} deviate or are untested{lacking}; of {should} SHOULD rows {self.should} passed "
            f"({self.share:.1%}), {len(self.missed)} not{missed}"
        )


def totals(report: Report, target: str) -> Totals:
    """How `target` stands."""
    listed = waivers()
    binding, should = (
        {row.id: cells[target] for row, cells in report.rows if row.level in levels} for levels in (BINDING, _SHOULD)
    )
    passed = [name for name, one in binding.items() if one.word == "passed"]
    waived = [name for name, one in binding.items() if name in listed and not one.cases]
    kept = [name for name, one in should.items() if one.word == "passed"]
    hidden = [name for name in should if name in listed and listed[name].kind == "unobservable"]
    return Totals(
        binding=len(passed),
        listed=len(waived),
        lacking=[name for name in binding if name not in passed and name not in waived],
        should=len(kept),
        missed=[name for name in should if name not in kept and name not in hidden],
    )


def failed(report: Report, target: str) -> list[str]:
    """Ids of rows with a case that failed without a written reason."""
    return [row.id for row, cells in report.rows if cells[target].word == "FAILED"]


_INTRODUCTION = """Generated by `make conformance`; don't edit. One row for each requirement of
[requirements.csv](../keuos_hil/net/requirements.csv), one column for each target. In brackets: the number of cases.
*Waived*: at least one case fails for a known reason, told below the table, or no case can show it; a target that later
meets such a case is reported by the run. What stands on the waiver list, no stack is held to; what else is waived, is a
deviation of that stack. *Untested*: no case ran there; why, below the table.
`pytest --target=TARGET --requirement=ID suites/tcp` runs what shows one.
"""


def _where(row: Requirement) -> list[tuple[str, str]]:
    """The RFC and each of the sections that a row names, as text and address."""
    page = f"https://www.rfc-editor.org/rfc/{row.rfc.replace(' ', '').lower()}"
    sections = [part.strip() for part in row.section.split(",") if part.strip() != "-"]
    return [(row.rfc, page), *((one, f"{page}#section-{one}" if one[0].isdigit() else page) for one in sections)]


@cache
def _lines(file: str) -> dict[str, int]:
    """Where a suite's functions begin; nothing of a file that is not there."""
    path = _SUITES / file
    found = re.finditer(r"^def (\w+)", path.read_text(), re.MULTILINE) if path.is_file() else ()
    return {match[1]: match.string.count("\n", 0, match.start()) + 1 for match in found}


def _shown_by(cells: dict[str, Cell]) -> dict[str, list[tuple[str, str]]]:
    """The cases by their files, each as text and address; a page lies in a folder beside that of the suites."""
    names = dict.fromkeys(name for one in cells.values() for name in one.tests)
    files: dict[str, list[tuple[str, str]]] = {}
    for name in names:
        file, _, function = name.partition("::")
        line = _lines(file).get(function)
        address = f"../suites/{file}" + (f"#L{line}" if line else "")
        files.setdefault(file, []).append((function.removeprefix("test_").replace("_", " "), address))
    return files


def markdown(report: Report) -> str:
    """The page."""
    lines = ["# TCP/IP conformance", "", _INTRODUCTION]
    for target in report.targets:
        lines += [f"**{target}**: {report.runs[target]}", ""]
        lines += ["| level | passed | waived | failed | untested |", "| --- | --- | --- | --- | --- |"]
        for name, count in summary(report, target):
            lines.append(
                f"| {name} | {count['passed']} | {count['waived']} | {count['FAILED']} | {count['untested']} |"
            )
        lines += ["", f"In short, {totals(report, target)}.", ""]
    lines += ["## Requirement by requirement", ""]
    head = ["id", "where", "level", "what", *report.targets, "shown by"]
    lines += [f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row, cells in report.rows:
        where = ", ".join(f"[{text}]({address})" for text, address in _where(row))
        shown = "; ".join(
            f"{file}: " + ", ".join(f"[{text}]({address})" for text, address in cases)
            for file, cases in _shown_by(cells).items()
        )
        values = [row.id, where, row.level, row.text, *(str(cells[t]) for t in report.targets), shown]
        lines.append("| " + " | ".join(value.replace("|", "\\|") for value in values) + " |")
    lines += ["", "## Why what is waived is waived, and what was untested is untested", ""]
    for row, cells in report.rows:
        told: dict[str, list[str]] = {}
        for target, one in cells.items():
            for reason in one.reasons:
                told.setdefault(reason.removesuffix("."), []).append(target)
        lines += [f"- **{row.id}** on {', '.join(targets)}: {reason}." for reason, targets in told.items()]
    return "\n".join(lines) + "\n"


def html(report: Report) -> str:
    """The same as a page for a browser, where rows can be told apart by colour."""
    colours = {"passed": "#e6f4e6", "waived": "#fff6d6", "FAILED": "#f9d9d9", "untested": "#eeeeee"}
    parts = ["<!doctype html><meta charset=utf-8><title>TCP/IP conformance</title>"]
    parts.append("<style>body{font:14px sans-serif}td,th{padding:3px 8px;text-align:left;vertical-align:top}</style>")
    parts.append("<h1>TCP/IP conformance</h1><table><tr>")
    parts += [f"<th>{escape(name)}" for name in ("id", "where", "level", "what", *report.targets, "shown by")]
    for row, cells in report.rows:
        where = ", ".join(f'<a href="{address}">{text}</a>' for text, address in _where(row))
        parts.append(f"<tr><td>{row.id}<td>{where}<td>{row.level}<td>{escape(row.text)}")
        for target in report.targets:
            one = cells[target]
            told = escape("; ".join(one.reasons), quote=True)
            parts.append(f'<td style="background:{colours[one.word]}" title="{told}">{escape(str(one))}')
        shown = (
            f"{file}: " + ", ".join(f'<a href="{address}">{escape(text)}</a>' for text, address in cases)
            for file, cases in _shown_by(cells).items()
        )
        parts.append(f"<td>{'; '.join(shown)}")
    return "\n".join(parts) + "\n</table>\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m keuos_hil.conformance", description=__doc__)
    parser.add_argument("results", nargs="+", type=Path, help="results.json of runs")
    parser.add_argument("--output", type=Path, metavar="FILE", help="where the page goes (default: standard output)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as HTML, too")
    parser.add_argument(
        "--hold", action="append", default=[], metavar="TARGET",
        help="fail unless it meets every binding row that is not on the waiver list, and 95 %% of the SHOULD rows",
    )  # fmt: skip
    options = parser.parse_args(arguments)
    try:
        report = read(options.results)
        page = markdown(report)
        if options.output is None:
            sys.stdout.write(page)
        else:
            replace_text(options.output, page)
        if options.html is not None:
            replace_text(options.html, html(report))
        return _judge(report, options.hold)
    except (OSError, ValueError, UsageError) as error:
        print(f"conformance: {error}", file=sys.stderr)
        return 1


def _judge(report: Report, held: Sequence[str]) -> int:
    """Tell how each target stands; the exit status. Raises ValueError for a target that no run was of."""
    status = 0
    for name in held:
        if name not in report.targets:
            raise ValueError(f"--hold {name}: none of these runs was of it; they are of {', '.join(report.targets)}")
    for target in report.targets:
        one, wrong = totals(report, target), failed(report, target)
        print(f"conformance: {target}: {one}", file=sys.stderr)
        if wrong:
            print(f"conformance: {target}: failed without a reason: {', '.join(wrong)}", file=sys.stderr)
        if wrong or (target in held and not one.met):
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
