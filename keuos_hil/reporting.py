"""Sorts pytest's outcomes by who did wrong, and shows what a person needs to see of a failure.

A TargetFailure is FAILED and an InfraError is ERROR, in whatever phase they are raised. pytest itself goes by the phase
alone, and terminal and JUnit take it from the report's `when`.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .bench import Bench
from .console import printable
from .errors import CannotStart, HilError, InfraError
from .net import kept_frames
from .net.transcript import Transcript
from .rig import LiveTarget, kind_of

#: Exit status of a run in which nothing failed but the bench: pytest's own end at 5.
EXIT_BENCH = 10
_LINES = 200
_BYTES = 64 << 10

live_key = pytest.StashKey[LiveTarget]()
seed_key = pytest.StashKey[int]()
#: What gives the frames that a test has seen, and the folder that they are kept in if it fails.
frames_key = pytest.StashKey[tuple[Callable[[], Transcript], Path]]()
#: Name of each of our options, and whether it takes a value.
option_names_key = pytest.StashKey[dict[str, bool]]()


def sort(report: pytest.TestReport, failure: BaseException) -> None:
    """Have a failed `report` say FAILED or ERROR by the kind of `failure`, and remember the kind across processes."""
    kind = kind_of(failure)
    report.keuos_kind = kind  # type: ignore[attr-defined]
    if kind == "target":
        report.when = "call"
    elif kind == "bench" and report.when == "call":
        report.when = "setup"


def blame_the_bench(report: pytest.TestReport, why: InfraError) -> None:
    """What looked like the kernel's hang was the bench: nothing gets the board to answer again."""
    report.keuos_kind = "bench"  # type: ignore[attr-defined]
    report.when = "setup"
    report.longrepr = f"{report.longreprtext}\n\n{why}"


def started(config: pytest.Config, start: Callable[[], LiveTarget], bench: Bench) -> LiveTarget:
    """What `start` gives. The one target of a run, if it can't be started, ends it, with a line and the bench's status.

    Where others were asked for, too, and in a worker of xdist, which can't end a run, it is an error of each test.
    """
    try:
        return start()
    except CannotStart as error:
        if hasattr(config, "workerinput") or len(bench.target_names) > 1:
            raise
        began = bench.has_directory and any((bench.directory / "sessions").glob("*/*"))
        where = f"; what it did is in {bench.directory / 'sessions'}" if began else ""
        pytest.exit(f"keuos-hil: {str(error).splitlines()[0]}{where}", returncode=EXIT_BENCH)


def add_sections(report: pytest.TestReport, item: pytest.Item) -> None:
    """Attach what the console said during the test, and how to see the same again; keep its frames."""
    live = item.stash.get(live_key, None)
    seen, directory = item.stash.get(frames_key, (Transcript, Path()))
    transcript = seen()
    if transcript.entries:
        report.sections.append((kept_frames.HEADING, kept_frames.keep(transcript, directory, item.name)))
    if live is not None:
        said = live.console_slice()
        lines = printable(said[-_BYTES:]).splitlines()  # a flood is megabytes, and many may fail over it
        cut = said[:-_BYTES].count(b"\n") + max(len(lines) - _LINES, 0)
        if cut > 0 or len(said) > _BYTES:
            lines = [f"({cut} lines before these are in {live.directory / 'console.log'})", *lines[-_LINES:]]
        report.sections.append((f"console of {live.name} during this test", "\n".join(lines) or "(nothing)"))
    report.sections.append(("to repeat", "\n".join(repeat_lines(item, live))))


def repeat_lines(item: pytest.Item, live: LiveTarget | None) -> list[str]:
    """The command that runs exactly this test again, and the one that shows the machine by itself."""
    options = [a for a in options_given(item.config) if not a.startswith("--seed=")]
    if seed_key in item.stash:
        options.append(f"--seed={item.stash[seed_key]}")
    lines = [shlex.join(["pytest", _from_here(item), *options])]
    if live is not None:
        image = live.booted
        if image is not None:
            lines.append(f"image: {image.kernel_path} (build-id {image.kernel.build_id}), initrd {image.initrd_path}")
        if live.session.command:
            lines.append(f"machine: {live.session.command}")
        lines.append(f"logs: {live.directory}")
    return lines


def _from_here(item: pytest.Item) -> str:
    """The node id for the folder that pytest was called in: pytest's own begins at its rootdir, or at the package."""
    here = item.config.invocation_params.dir
    path = item.path.relative_to(here) if item.path.is_relative_to(here) else item.path
    return str(path) + "".join(item.nodeid.partition("::")[1:])


def options_given(config: pytest.Config) -> list[str]:
    """Those of our options that this run was given, as NAME=VALUE; a worker of xdist has the controller's."""
    given = getattr(config, "workerinput", {}).get("keuos_options")
    if given is not None:
        return list(given)
    option_names = config.stash.get(option_names_key, {})
    found: list[str] = []
    arguments = list(config.invocation_params.args)
    for at, argument in enumerate(arguments):
        name, equals, _ = str(argument).partition("=")
        if name in option_names:
            apart = not equals and at + 1 < len(arguments) and option_names[name]
            found.append(f"{name}={arguments[at + 1]}" if apart else str(argument))
    return found


class ExitStatus:
    """A pytest plugin that gives a run with nothing but bench errors a status of its own."""

    def __init__(self) -> None:
        self.bench = 0
        self.other = 0

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Count the kinds."""
        if report.failed:
            if getattr(report, "keuos_kind", "") == "bench":
                self.bench += 1
            else:
                self.other += 1

    def pytest_collectreport(self, report: Any) -> None:
        """What can't be collected is nobody's bench."""
        if report.failed:
            self.other += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int | pytest.ExitCode) -> None:
        """Only where pytest would say that tests failed."""
        if exitstatus == pytest.ExitCode.TESTS_FAILED and self.bench and not self.other:
            session.exitstatus = EXIT_BENCH


def hold(item: pytest.Item, live: LiveTarget, report: pytest.TestReport) -> None:
    """Keep the target for a person: print how to get in, wait for Enter."""
    capture = item.config.pluginmanager.getplugin("capturemanager")
    if capture is not None:
        capture.suspend_global_capture(in_=True)
    try:
        door = live.session.attach_command()
        if live.booted is not None:
            door += f" {live.booted.kernel.name}"
    except HilError as error:
        door = f"not possible: {error}"
    try:
        print(f"\n\n{item.nodeid} {report.outcome}; the target is held.", file=sys.stderr)
        print(f"  let gdb in:  {door}", file=sys.stderr)
        print(f"  logs:        {live.directory}", file=sys.stderr)
        print("  Enter lets it go and runs the next test; Ctrl-C ends the run.", file=sys.stderr, flush=True)
        with open_terminal() as terminal:
            terminal.readline()
    finally:
        if capture is not None:
            capture.resume_global_capture()


def open_terminal() -> Any:
    """The person's terminal, also when pytest's standard input is something else."""
    path = Path("/dev/tty")
    try:
        return path.open()
    except OSError:
        return os.fdopen(os.dup(0))
