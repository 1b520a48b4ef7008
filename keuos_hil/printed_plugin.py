"""The part of the pytest plugin for kernels that only print: runs one, collects its lines, makes items of some.

The tests themselves are in the suite `printed`; the lines are understood in :mod:`keuos_hil.printed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from . import printed, reporting
from .bench import Bench, bench_key
from .errors import Ended, Exited, InfraError, PoweredOff, TargetFailure, UsageError
from .image import Image
from .record import Recorder
from .rig import LiveTarget
from .saved import replace_text

#: After all that had to come, a kernel that stays silent for so long has no more to say.
_QUIET_S = 1.0
_RUN_FOR_S = 30.0


class PrintedFailure(TargetFailure):
    """A line says FAIL, or a line that was expected is missing."""


@dataclass
class Run:
    """A kernel's whole life. `end` is None if it was still running when its time was over; `live` is closed."""

    printed: printed.Printed
    end: Ended | None
    junit: Path
    live: LiveTarget

    def require_orderly_end(self) -> None:
        """Raise how it ended, unless it was by exit, by power off, or by the bench when its time was over."""
        if self.end is not None and died(self.end):
            raise self.end


def died(end: Ended | None) -> bool:
    """Whether a kernel ended in any other way than by exit, by power off, or by the bench when its time was over."""
    return end is not None and not isinstance(end, Exited | PoweredOff)


def add_printed_options(add: Callable[..., None]) -> None:
    """--run-for and --expect-tests."""
    add("--run-for", dest="keuos_run_for", type=float, metavar="SECONDS", default=_RUN_FOR_S,
        help="a kernel that only prints is ended after so long, in its own pace, if what it began or what "
        "--expect-tests names has not come to its end earlier (default: %(default)g)")  # fmt: skip
    add("--expect-tests", dest="keuos_expect_tests", metavar="FILE", default=None,
        help="the lines that a kernel has to print, `suite:name` each: each becomes a test of its own")  # fmt: skip


def expected_tests(config: pytest.Config) -> list[str]:
    """What --expect-tests names. Raises UsageError if the file can't be used."""
    name = config.getoption("keuos_expect_tests")
    if name is None:
        return []
    path = config.invocation_params.dir / name
    try:
        return printed.parse_expected(path.read_text())
    except OSError as error:
        raise UsageError(f"--expect-tests {path} can't be read: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"--expect-tests {path}: {error}") from None


_expected_key = pytest.StashKey[list[str]]()
_runs_key = pytest.StashKey[dict[tuple[str, str], Run]]()


def pytest_configure(config: pytest.Config) -> None:
    """A file that can't be used is one line and pytest's status 4."""
    try:
        config.stash[_expected_key] = expected_tests(config)
    except UsageError as error:
        raise pytest.UsageError(f"keuos-hil: {error}") from None
    config.stash[_runs_key] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An item for each expected line."""
    if "expected_line" in metafunc.fixturenames:
        wanted = metafunc.config.stash[_expected_key]
        skip = pytest.mark.skip(reason="makes an item of each line that --expect-tests FILE names")
        metafunc.parametrize("expected_line", wanted if wanted else [pytest.param("", marks=skip)])


@pytest.fixture
def printed_run(request: pytest.FixtureRequest, keuos_target_name: str, image: Image) -> Run:
    """What the --kernel prints in its whole life; run once for all tests that ask. Skips for the bundled kernel."""
    bench = request.config.stash[bench_key]
    if bench.kernel is None:
        pytest.skip("collects the lines of a kernel that prints its results: name it by --kernel")
    runs = request.config.stash[_runs_key]
    key = (keuos_target_name, image.key)
    if key not in runs:
        runs[key] = _run(request.config, bench, keuos_target_name, image)
    request.node.stash[reporting.live_key] = runs[key].live  # a failure shows its console, and how to see it again
    return runs[key]


def _run(config: pytest.Config, bench: Bench, target: str, image: Image) -> Run:
    wanted = config.stash[_expected_key]
    live = reporting.started(config, lambda: bench.rig.get(target, image, fresh=True), bench)
    bench.note(live)
    try:
        end = _collect(live, config.getoption("keuos_run_for"), wanted)
        found = printed.parse(_text(live), wanted)
    finally:
        bench.rig.close()
    junit = bench.directory / f"lines-{target}.xml"
    write_document(junit, printed.junit(found, str(image.kernel_path), "" if end is None else str(end), died(end)))
    _record(Recorder(bench.results, target, live.timebase.name), found)
    return Run(found, end, junit, live)


def write_document(path: Path, text: str) -> None:
    """Write the JUnit document whole, or not at all. Raises InfraError."""
    try:
        replace_text(path, text)
    except OSError as error:
        raise InfraError(f"what the lines said can't be written to {path}: {error.strerror}") from None


def _collect(live: LiveTarget, run_for: float, wanted: list[str]) -> Ended | None:
    console = live.console
    seen = -1

    def done() -> bool | None:
        nonlocal seen
        quiet = time.monotonic() - console.last_byte >= _QUIET_S
        if not quiet or console.mark() == seen:
            return None
        seen = console.mark()
        return printed.parse(_text(live), wanted).finished() or None

    try:
        console.wait_for(done, run_for)
    except Ended as end:
        return end
    return None


def _text(live: LiveTarget) -> str:
    """All that was printed, one character for each that can't be shown: a stray one must stay a single one."""
    text = live.console.since(0).decode("utf-8", "replace")
    return "".join(c if c.isprintable() or c in "\r\n\t" else "\ufffd" for c in text)


def _record(record: Recorder, found: printed.Printed) -> None:
    benches = {(bench.name, tuple(bench.values.items())): bench for bench in found.benches}  # repeated ones once
    for bench in benches.values():
        for key, value in bench.values.items():
            if isinstance(value, float):
                record.add(f"printed.{bench.name}", {"key": key}, "as printed", value=value)
    for line in found.counted():
        if line.number is not None:
            record.add(f"printed.{line.suite}", {"key": line.name}, "as printed", value=line.number)


def check_line(line: printed.Line | None, wanted: str) -> None:
    """Pass, skip or fail as the line says.

    Raises:
        PrintedFailure: it says FAIL, or there is none.
    """
    if line is None:
        raise PrintedFailure(f"the kernel printed no line TEST:{wanted}:...")
    if line.verdict == "FAIL":
        raise PrintedFailure(f"TEST:{line.id}:FAIL {line.text}".rstrip())
    if line.verdict == "SKIP":
        pytest.skip(line.text or "the kernel said SKIP")


@pytest.fixture
def printed_check() -> Callable[[Any, str], None]:
    """:func:`check_line`, for the suite."""
    return check_line
