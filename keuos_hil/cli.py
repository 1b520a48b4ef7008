"""The command `keuos-hil`: what is done with results when no test runs. `python -m keuos_hil` is the same."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console as RichConsole
from rich.table import Table

from . import history, kernel_run
from .compare import JUDGED_ROWS, THRESHOLD, Verdict, changes, judge_pairs, judge_results, pair_ratios, unjudged
from .errors import HilError, UsageError
from .fitted import PLAIN_WIDTH, show
from .judged_table import unattributed
from .merge import Run, join
from .rows import FLOOR, NOTHING
from .rows_program import run
from .saved import read_results, read_samples
from .terminal import changes_tables, number, verdicts_table

EXIT_SLOWER, EXIT_USAGE = 1, 2
#: As a shell has it of a command that SIGINT ended.
EXIT_INTERRUPTED = 130
#: And of one that SIGPIPE ended.
EXIT_UNREAD = 141
#: What the program that measures rows says when it is called wrongly; no other program has it.
_ROWS_PROGRAM = b"usage: linux_rows FILE ROUNDS "
#: Characters of a figure's longest bar.
_BAR = 40


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) == b"\x7fELF"
    except OSError:
        return False


def _require_rows_programs(*paths: Path) -> None:
    for path in paths:
        if _ROWS_PROGRAM not in path.read_bytes():
            raise UsageError(f"{path} is neither a KeuOS kernel nor a program linux_rows, and nothing else is compared")


def _require_rows(program: Path, wanted: Sequence[str]) -> None:
    """Raises UsageError if the program knows no such rows; a moment, for it is asked for one round of them."""

    def known(rows: Sequence[str]) -> list[str]:
        with tempfile.TemporaryDirectory(prefix="keuos-hil-compare-") as directory:
            made = run(program, Path(directory), seed=0, rounds=1, rows=rows)
        measured = [f"{m.name.row}:{m.name.how}" for m in made.measured if m.name.row not in (NOTHING, FLOOR)]
        return list(dict.fromkeys([*measured, *(f"{m.row}:{m.how}" for m in made.missing)]))

    unknown = sorted(set(wanted) - set(known(wanted)))
    if unknown:
        raise UsageError(f"--row {unknown[0]}: {program} has no such row; there are {' '.join(sorted(known(())))}")


def _show(verdicts: Sequence[Verdict], threshold: float) -> None:
    _print(verdicts_table(verdicts, threshold))


class _Terminal(RichConsole):
    def on_broken_pipe(self) -> None:
        """Leave the status to :func:`main`: rich's own is 1, which says that something is slower."""
        raise BrokenPipeError


def _print(table: Table) -> None:
    width = None if sys.stdout.isatty() else PLAIN_WIDTH
    show(_Terminal(highlight=False, markup=False, emoji=False, width=width), table)


def _pairs(old: Path, new: Path, pairs: int, rounds: int, rows: Sequence[str], seed: int) -> dict[str, list[float]]:
    """Launch both alternately, which first by chance; by row the ratios of each pair."""
    order = random.Random(seed)
    found: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="keuos-hil-compare-") as directory:
        for number in range(pairs):
            programs = [old, new]
            first = order.randrange(2)
            made = {}
            for which in (first, 1 - first):
                made[which] = run(
                    programs[which], Path(directory), seed=seed + 2 * number + which, rounds=rounds, rows=rows
                )
            for name, ratio in pair_ratios(made[0], made[1], seed).items():
                found.setdefault(str(name), []).append(ratio)
    return found


def _compare_programs(options: argparse.Namespace) -> int:
    seed = random.SystemRandom().getrandbits(32) if options.seed is None else options.seed
    rows = tuple(options.row or JUDGED_ROWS)
    _require_rows_programs(options.old, options.new)
    if options.row:
        for program in (options.old, options.new):
            _require_rows(program, rows)

    def once(seed: int) -> list[Verdict]:
        ratios = _pairs(options.old, options.new, options.pairs, options.rounds, rows, seed)
        verdicts = judge_pairs(ratios, threshold=options.threshold)
        if len(verdicts) < len(rows):
            print(f"only {len(verdicts)} of {len(rows)} rows could be judged: too few rounds between floors that agree")
        return verdicts

    judged = slower = 0
    for repeat in range(options.repeat):
        print(f"comparison {repeat + 1} of {options.repeat}, seed {seed + 1000 * repeat}", flush=True)
        verdicts = once(seed + 1000 * repeat)
        _show(verdicts, options.threshold)
        suspects = {v.row for v in verdicts if v.slower}
        if suspects:
            print("once more, to confirm:")
            again = once(seed + 1000 * repeat + 500)
            _show(again, options.threshold)
            suspects &= {v.row for v in again if v.slower}
        judged += len(verdicts)
        slower += len(suspects)
        if suspects:
            print(f"slower in both: {', '.join(sorted(suspects))}")
    if options.repeat > 1:
        print(f"{judged} rows judged in {options.repeat} comparisons: {slower} slower ({slower / max(judged, 1):.2%})")
    if not judged:
        raise UsageError("nothing could be judged; more --rounds, or a quieter machine")
    if not slower:
        print("no row is slower")
    return EXIT_SLOWER if slower else 0


def _compare(options: argparse.Namespace) -> int:
    if options.pairs < 4 or options.rounds < 6 or options.repeat < 1:
        raise UsageError("at least 4 --pairs, 6 --rounds and 1 --repeat are needed to judge anything")
    for path in (options.old, options.new):
        if not path.exists():
            raise UsageError(f"{path}: no such file")
    programs = [_is_program(path) for path in (options.old, options.new)]
    if all(programs):
        kernels = [kernel_run.is_kernel(path) for path in (options.old, options.new)]
        if all(kernels):
            return _compare_kernels(options)
        if any(kernels):
            raise UsageError("one of the two is a kernel, and one is not")
        return _compare_programs(options)
    if any(programs):
        raise UsageError("give two kernels, two programs linux_rows, or two runs' results; not one of each")
    return _compare_results(read_results(options.old), read_results(options.new), options.threshold)


def _compare_kernels(options: argparse.Namespace) -> int:
    """Both are run on an emulator that counts; they need no turns, for a count is the same each time."""
    with tempfile.TemporaryDirectory(prefix="keuos-hil-compare-") as directory:
        made = []
        for which, kernel, initrd in (
            ("old", options.old, options.old_initrd),
            ("new", options.new, options.new_initrd),
        ):
            print(f"counting {which}: {kernel}", flush=True)
            folder = kernel_run.count(kernel, initrd, options.target, Path(directory) / which)
            made.append(read_results(folder))
    old, new = made
    return _compare_results(old, new, options.threshold)


def _compare_results(old: Mapping[str, Any], new: Mapping[str, Any], threshold: float) -> int:
    verdicts, notes = judge_results(old, new, threshold=threshold)
    if not verdicts:
        raise UsageError(unjudged(old, new))
    _show(verdicts, threshold)
    changed = changes(old, new)
    for title, table in changes_tables(changed):
        print(title)
        _print(table)
    for note in [*unattributed(changed), *notes]:
        print(note)
    slower = [v.row for v in verdicts if v.slower]
    print(f"{len(verdicts)} rows compared: {len(slower)} slower{': ' if slower else ''}{', '.join(slower)}")
    return EXIT_SLOWER if slower else 0


def _folder(results: Path) -> Path:
    return results if results.is_dir() else results.parent


def _merge(options: argparse.Namespace) -> int:
    runs = []
    for text in options.runs:
        label, equals, rest = text.partition("=")
        path = Path(rest if equals else text)
        runs.append(Run(label if equals else "", read_results(path), read_samples(_folder(path))))
    whole, environment = join(runs)
    try:
        options.output.mkdir(parents=True)
    except FileExistsError:
        raise UsageError(f"{options.output} is there already: the joined results get a folder of their own") from None
    except OSError as error:
        raise UsageError(f"the folder {options.output} can't be made: {error.strerror}") from None
    try:
        print(whole.write(options.output, environment))
    except BaseException:  # Ctrl-C, too: a folder without results would be in the next one's way
        shutil.rmtree(options.output, ignore_errors=True)
        raise
    return 0


def _report(options: argparse.Namespace) -> int:
    began = time.monotonic()
    from .report import write  # jinja2 is a moment that the other commands shall not pay for

    results = read_results(options.results)
    folder = _folder(options.results)
    output = options.output or folder / "report.html"
    write(output, results, read_samples(folder), folder)
    size = f"{output.stat().st_size / 1e6:.1f} MB, " if output.is_file() else ""
    print(f"{output}: {size}made in {time.monotonic() - began:.1f} s")
    return 0


def _history(options: argparse.Namespace) -> int:
    wanted = {}
    for text in options.with_ or []:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"--with {text}: expected NAME=VALUE, such as size=56")
        wanted[key] = value
    found = history.series(options.file, options.name, wanted)
    if not found and wanted and history.series(options.file, options.name, {}):
        raise UsageError(_no_such_param(options.file, options.name, wanted))
    if not found:
        known = ", ".join(history.names(options.file)) or "nothing"
        raise UsageError(f"the history has no such figures of {options.name}; it has {known}")
    for (target, timebase, unit, machine, params), series in found.items():
        given = " ".join(f"{key}={value}" for key, value in json.loads(params).items())
        print(f"{options.name} {given}, {unit}, on {target}, timebase {timebase}\n  {machine}")
        most = max(abs(point.value) for point in series) or 1
        for point in series:
            interval = "" if point.low is None or point.high is None else f"[{number(point.low)}..{number(point.high)}]"
            bar = "█" * max(round(abs(point.value) / most * _BAR), 1)
            print(f"  {point.time}  {point.build[:12]:12}  {number(point.value):>12} {interval:24} {bar}")
    return 0


def _no_such_param(file: Path, name: str, wanted: Mapping[str, str]) -> str:
    """Which of the params no row of a quantity has, and which values there are."""
    values = history.params(file, name)
    for key, value in wanted.items():
        if key not in values:
            return f"--with {key}={value}: no row of {name} has a {key}; they have {', '.join(values) or 'no params'}"
        if value not in values[key]:
            return f"--with {key}={value}: no row of {name} has that; {key} is {', '.join(values[key])}"
    return f"no row of {name} has all of {' '.join(f'{key}={value}' for key, value in wanted.items())} at once"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="keuos-hil", description=__doc__.splitlines()[0] if __doc__ else None)
    commands = parser.add_subparsers(dest="command", required=True)
    compare = commands.add_parser(
        "compare",
        help="whether something became slower; exit status 1 if so",
        description="Compares two runs (results.json or its folder), counts the instructions of two kernels on an "
        "emulator, or launches two programs linux_rows in turn.",
    )
    compare.add_argument("old", type=Path)
    compare.add_argument("new", type=Path)
    compare.add_argument("--threshold", type=float, default=THRESHOLD, help="%(default)s")
    for which in ("old", "new"):
        help_ = f"of kernels: what {which} is booted with (by default initrd.cpio beside it or one folder up)"
        compare.add_argument(f"--{which}-initrd", type=Path, metavar="FILE", help=help_)
    compare.add_argument("--target", help="of kernels: where they run (the emulator of their architecture)")
    compare.add_argument("--pairs", type=int, default=12, help="of programs: launches of each (%(default)s)")
    compare.add_argument("--rounds", type=int, default=20, help="of programs: rounds of each launch (%(default)s)")
    compare.add_argument(
        "--row", action="append", help=f"of programs: NAME:HOW, may be repeated ({' '.join(JUDGED_ROWS)})"
    )
    compare.add_argument("--repeat", type=int, default=1, help="of programs: compare so often, and say how it came out")
    compare.add_argument("--seed", type=int, help="of programs: of orders and delays; by default another each time")
    compare.set_defaults(run=_compare)
    past = commands.add_parser("history", help="a quantity's figures over builds, as every run appends them")
    past.add_argument("name", help="of the quantity, such as ring.round_trip")
    past.add_argument("--with", dest="with_", action="append", metavar="NAME=VALUE", help="only rows with this param")
    past.add_argument("--file", type=Path, default=Path("build/results") / history.FILE, help="%(default)s")
    past.set_defaults(run=_history)
    merge = commands.add_parser("merge", help="joins the results of several machines, boards or targets")
    merge.add_argument(
        "runs", nargs="+", metavar="[NAME=]RUN", help="results.json or its folder; NAME tells targets apart"
    )
    merge.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder for the joined results")
    merge.set_defaults(run=_merge)
    report = commands.add_parser("report", help="a run's results as one HTML file that needs no network")
    report.add_argument("results", type=Path, help="results.json, or its run's folder")
    report.add_argument("--output", type=Path, help="by default report.html beside results.json")
    report.set_defaults(run=_report)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status. A mistake in what was given is one line on standard error, and so is a Ctrl-C.

    A reader that wants no more, such as `head`, ends it without a word.
    """
    options = _parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except HilError as error:
        print(f"keuos-hil: {error}", file=sys.stderr)
        return EXIT_USAGE
    except KeyboardInterrupt:
        print("keuos-hil: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # what is left in the buffer has nowhere to go
        return EXIT_UNREAD
