"""What one run of pytest knows: targets, images, choices, results. Made once, when pytest configures itself."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pluggy
import pytest

from . import baseline as baselines
from . import bundled, history, registry
from . import initrd as cpio
from .baseline import Baseline, Judgement
from .environment import CpuTimes, host_environment
from .errors import ImageError, InfraError, UsageError
from .hookspecs import RunOptions, TargetType
from .image import NETD_PROGRAM, NETD_TEST_PROGRAM, NETD_VARIABLES, Elf, Grade, Image, is_elf
from .link_choice import LinkChoice
from .parts import AnyTarget, Apart, Placed, Target, booting
from .results import Results, add_judgement, make_run_directory, point_latest
from .rig import LiveTarget, Rig

#: Characters that results.json keeps of each part of a failure.
_FAILURE_MAX = 8_000


@dataclass
class Bench:
    """See the options of the same names in :mod:`keuos_hil.pytest_plugin`."""

    manager: pluggy.PluginManager
    registry: registry.Registry
    target_names: list[str]
    overrides: Callable[[TargetType], dict[str, Any]]
    timebase: str
    accel: str
    executed: bool
    link: LinkChoice | None
    kernel: Path | None
    initrd: Path | None
    symbols: Path | None
    netd: Path | None
    required: frozenset[str]
    seed: int
    #: That of --fuzz-seed; None: fuzzed cases follow from `seed`, too.
    fuzz_seed: int | None
    root: Path
    results_base: Path | None
    baseline: Baseline | None = None
    save_baseline: Path | None = None
    #: Whether --report was given.
    reports: bool = False
    results: Results = field(default_factory=Results)
    #: What --baseline says of the run, behind it.
    judgement: Judgement | None = None
    #: The results.json and the report, once they are written.
    results_path: Path | None = None
    report_path: Path | None = None
    #: What of this machine spoils timings; see :func:`keuos_hil.environment.spoilers`.
    spoilers: list[dict[str, str]] = field(default_factory=list)
    #: What could not be done at the end of the run, of results, baseline or report, and why.
    undone: str = ""
    #: What is to be known of the baseline that was saved.
    warning: str = ""
    #: Why the run's status is not that of its tests; the run's last line.
    status_because: str = ""
    #: What the cores had done when the run began.
    began: CpuTimes | None = field(default_factory=CpuTimes.read)
    _directory: Path | None = None
    _images: dict[tuple[str, str], Image] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.symbols is not None and self.kernel is None:
            raise UsageError("--symbols describes a flat --kernel; name that, too")
        self.target_names = list(dict.fromkeys(map(self.registry.resolve, self.target_names)))
        for name in self.target_names:
            self.rig.target(name)
        if self.executed and not any("executed" in self.rig.target(name).capabilities for name in self.target_names):
            names = ", ".join(self.target_names)
            raise UsageError(f"--executed: nobody can count what {names} executes; an emulator's can be")
        for path in (self.kernel, self.initrd, self.symbols, self.netd):
            if path is not None and not path.is_file():
                raise UsageError(f"there is no file {path}")
        if self.initrd is not None:
            self._check_initrd(self.initrd)
        if self._given is not None:
            for name in self.target_names:
                target = booting(self.rig.target(name))
                if target is None:
                    raise UsageError(f"target {name} boots no image; leave out --kernel {self.kernel}")
                self._given.kernel.require_machine(target.architecture, name)
        if self.netd is not None:
            self._check_netd(Elf.load(self.netd))

    def _check_initrd(self, initrd: Path) -> None:
        """Raise a UsageError or an ImageError unless every target boots, and can run the programs in it.

        A damaged program is the kernel's to refuse.
        """
        programs = []
        for name, data in cpio.read(initrd).items():
            if is_elf(data):
                with suppress(ImageError):
                    programs.append(Elf(data, f"{name} in {initrd}"))
        for name in self.target_names:
            target = booting(self.rig.target(name))
            if target is None:
                raise UsageError(f"target {name} boots no image; leave out --initrd {initrd}")
            for program in programs:
                program.require_machine(target.architecture, name)

    def _check_netd(self, netd: Elf) -> None:
        """Raise a UsageError or an ImageError unless every target can run it, and a test can find its way in it."""
        for name in self.target_names:
            target = booting(self.rig.target(name))
            if target is None:
                raise UsageError(f"target {name} runs no NetD of a KeuOS; leave out --netd {self.netd}")
            netd.require_machine(target.architecture, name)
        for variable in NETD_VARIABLES:
            netd.symbol(variable)
        if not netd.layouts.present:
            raise UsageError(f"--netd {self.netd} has no debug information (DWARF), which tests read its counters by")
        if self.kernel is not None and self.initrd is None and not self._lends_initrd:
            raise UsageError(
                "--netd takes the place of a program in an initrd, and there is none; name one by --initrd"
            )

    @cached_property
    def rig(self) -> Rig:
        """This process's sessions."""
        return Rig(lambda: self.directory / "sessions", self.make_target)

    def make_target(self, name: str) -> AnyTarget:
        """The target `name` with this run's choices."""
        run = RunOptions(
            self.timebase,
            self.accel,
            registry.panic_patterns(self.manager),
            registry.part_types(self.manager),
            executed=self.executed,
            link=self.link,
        )
        return self.registry.make(name, run, self.overrides)

    @cached_property
    def _given(self) -> Image | None:
        """What --kernel, --initrd and --symbols name, as it lies there; booted is a copy."""
        return None if self.kernel is None else Image.load(self.kernel, self.initrd, symbols=self.symbols)

    @cached_property
    def _lends_initrd(self) -> bool:
        """Whether a KeuOS without an initrd was named: it gets the bundled one, whose programs the suites need."""
        return self._given is not None and self.initrd is None and self._given.grade >= Grade.CHANNELS

    # Images ----------------------------------------------------------------------------------------------------

    def image(self, target: Target, needs: Iterable[str]) -> Image:
        """What `target` boots for a test with these needs."""
        variant = "given" if self.kernel is not None else "hil" if "hil" in needs else "release"
        key = (target.architecture, variant)
        if key not in self._images:
            place = self.directory / "images" / f"{target.architecture}-{variant}"
            kernel, symbols, initrd = bundled.snapshot_given(self.kernel, self.symbols, self.initrd, place)
            if kernel is None:
                found = bundled.snapshot(target.architecture, variant, place)
                kernel, initrd = found.kernel, initrd or found.initrd
            elif self._lends_initrd:
                initrd = bundled.snapshot_initrd(target.architecture, place)
            if self.netd is not None and initrd is not None:
                bundled.put_in(initrd, NETD_PROGRAM, self.netd, without=NETD_TEST_PROGRAM)
            self._images[key] = Image.load(kernel, initrd, symbols=symbols, variant=variant)
        return self._images[key]

    def prepare(self) -> None:
        """Build what is to be booted and see that every target's tools are there; before the first test."""
        for name in self.target_names:
            target = self.rig.target(name)
            target.check()
            boots = booting(target)
            if boots is not None and (self.kernel is None or self._lends_initrd):
                bundled.ensure(boots.architecture)

    def target_capabilities(self, target: AnyTarget, needs: Iterable[str] = ()) -> frozenset[str]:
        """Those of the parts, and the timebase's name.

        If a test needs sockets: `sockets`, `test-clock` and `days-clock`, too, where the image brings them.
        """
        found = target.capabilities | {target.timebase.name}
        boots = booting(target)
        if "sockets" in needs and "link" in found and boots is not None:
            offers = self.image(boots, needs).capabilities
            found |= {"sockets"} if "netd" in offers else set()
            found |= {"test-clock", "days-clock"} if "netd-clock" in offers else set()
        return found

    # Results ---------------------------------------------------------------------------------------------------

    @property
    def has_directory(self) -> bool:
        """Whether anything was booted, so that there is something to keep."""
        return self._directory is not None

    @property
    def directory(self) -> Path:
        """This run's own folder, made when first asked for."""
        if self._directory is None:
            base = self.results_base or self.root / "build" / "results" / "+".join(self.target_names)
            self._directory = make_run_directory(base)
        return self._directory

    @directory.setter
    def directory(self, path: Path) -> None:
        self._directory = path

    def note(self, live: LiveTarget) -> None:
        """Keep what was booted where."""
        self.results.timebases[live.name] = live.timebase.name
        if live.booted is None:
            self.results.commands[live.name] = live.session.command
            return
        self.results.build_options[f"{live.name}/{live.booted.variant}"] = live.booted.kernel.producer
        self.results.build_ids[f"{live.name}/{live.booted.variant}"] = live.booted.kernel.build_id
        self.results.commands[f"{live.name}/{live.booted.variant}"] = live.session.command

    def add_report(self, item: pytest.Item, report: pytest.TestReport) -> None:
        """Keep a phase of a test. Ids begin at the suites folder: the same in a checkout and in site-packages."""
        if report.when == "setup" and report.passed:  # what comes of it is not known yet, nor ever if it is interrupted
            item.stash[_setup_key] = report.duration
            return
        target = item.callspec.params["keuos_target_name"] if hasattr(item, "callspec") else self.target_names[0]
        verdict: str = report.outcome
        if hasattr(report, "wasxfail"):
            verdict = "xfailed" if report.skipped else "xpassed"
        elif report.failed and report.when != "call":
            verdict = "error"
        failure = _failure(report) if report.failed else ()
        test_id = suite_relative(item.nodeid)
        seconds = report.duration + item.stash.get(_setup_key, 0.0) * (report.when == "call")
        self.results.add_test(test_id, target, verdict, seconds, self._place(target), failure)

    def _place(self, target: str) -> str:
        made = self.rig.target(target)
        return made.place if isinstance(made, Placed) else ""

    def collect_lines(self) -> None:
        """Take into the results what lines of this process's targets did, and which were lost; behind all sessions."""
        for name, counts in self.rig.lines.items():
            if str(counts):
                self.results.note_line(name, counts)
        self.rig.lines.clear()
        self.results.lost |= {name: str(error).splitlines()[0] for name, error in self.rig.lost.items()}

    def write_results(self, *, interrupted: bool) -> Path:
        """results.json, the samples, the `latest` link and the history; `interrupted`: there would have been more.

        Raises:
            InfraError: they can't be written.
        """
        environment = host_environment(self.began) | {
            "seed": self.seed,
            "timebases": self.results.timebases,
            "commands": self.results.commands,
            "build_options": self.results.build_options,
        }
        if all(isinstance(t, Apart) and t.apart for t in map(self.rig.target, self.target_names)):
            environment["spoilers"] = []  # they are this host's
        self.spoilers = environment["spoilers"]
        if interrupted:
            environment["interrupted"] = True
        results = self.results
        for name, found in (("stacks", results.stacks), ("lines", results.lines), ("lost", results.lost)):
            if found:
                environment[name] = found
        path = self.results_path = self.results.write(self.directory, environment)
        point_latest(self.directory)
        if self.results.measurements:
            base = self.results_base or self.root / "build" / "results"
            history.append(base / history.FILE, json.loads(path.read_text()))
        return path

    def write_report(self, path: Path) -> None:
        """What --report asks for, of the results.json at `path`. Raises UsageError if it can't be made."""
        if self.reports:
            from . import report  # jinja2 and matplotlib are a moment that no other run shall pay for

            page = path.with_name("report.html")
            report.write(page, json.loads(path.read_text()), self.results.samples, path.parent)
            self.report_path = page

    def judge_by_baseline(self, path: Path, *, whole: bool) -> None:
        """What --baseline and --save-baseline ask for, of the results.json at `path`, which tells the judgement then.

        Args:
            whole: whether every test passed, without which there is no baseline.

        Raises:
            InfraError: one of them can't be done; a UsageError if what is to be compared is not alike.
        """
        if self.baseline is None and self.save_baseline is None:
            return
        document = json.loads(path.read_text())
        if self.baseline is not None:
            self.judgement = self.baseline.judge(document, self._functions())
            add_judgement(path, self.judgement.to_document(str(self.baseline.path)))
        if self.save_baseline is not None and not whole:
            raise InfraError(f"no baseline {self.save_baseline} was saved: the run failed")
        if self.save_baseline is not None:
            self.warning = baselines.save(self.save_baseline, document, self._functions())

    def _functions(self) -> dict[str, dict[str, int]]:
        """The sizes of the functions of all that was booted."""
        found: dict[str, dict[str, int]] = {}
        for name in self.results.build_ids:
            target, _, variant = name.partition("/")
            boots = booting(self.rig.target(target))
            if boots is not None:
                image = self.image(boots, ("hil",) if variant == "hil" else ())
                found |= {f"{name}/{file}": sizes for file, sizes in baselines.functions_of(image)}
        return found

    def header(self) -> list[str]:
        """Lines for pytest's header."""
        kernel = "bundled" if self.kernel is None else str(self.kernel)
        if self._lends_initrd:
            kernel += " with the bundled initrd, because it is a KeuOS and --initrd names none"
        elif self.initrd is not None:
            kernel += f" with the initrd {self.initrd}"
        if self.netd is not None:
            kernel += f", NetD {self.netd}"
        choices = f"kernel {kernel}; timebase {self.timebase}; seed {self.seed}"
        if self.fuzz_seed is not None:
            choices += f"; fuzz-seed {self.fuzz_seed}"
        return [f"keuos-hil: target {', '.join(self.target_names)}; {choices}"]


bench_key = pytest.StashKey[Bench]()
#: Seconds that a test took to set up.
_setup_key = pytest.StashKey[float]()


def _failure(report: pytest.TestReport) -> list[tuple[str, str]]:
    """What failed and the sections behind it, among them the console's slice; the end of each, if it is long."""
    parts = [("failure", report.longreprtext), *report.sections]
    return [(name, text if len(text) <= _FAILURE_MAX else f"(...)\n{text[-_FAILURE_MAX:]}") for name, text in parts]


def suite_relative(node_id: str) -> str:
    """A node id from the folder `suites` on."""
    path, colons, rest = node_id.partition("::")
    return path.rpartition("suites/")[2] + colons + rest
