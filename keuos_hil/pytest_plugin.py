"""The pytest plugin: options, fixtures, the `needs` marker, and the rules between tests.

This file is the seam between pytest and the rest: what is decided here is taken from :mod:`keuos_hil.rig` (sessions),
:mod:`keuos_hil.capabilities` (skips), :mod:`keuos_hil.reporting` (verdicts) and :mod:`keuos_hil.results` (files).
"""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, nullcontext, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import pluggy
import pytest

from . import link_choice, options, printed_plugin, registry, reporting, requirements_plugin, telling
from .agent import Agent
from .baseline import Baseline
from .bench import Bench, bench_key
from .capabilities import KNOWN, Kind, lookup, reason
from .console import Console
from .errors import HilError, InfraError, Silent, UsageError
from .fuzz import Fuzzing
from .hookspecs import TargetType
from .image import Image
from .locks import timing_lock
from .parts import Apart, Lacking, booting
from .progress import Progress, own_terminal
from .record import Recorder
from .results import make_run_directory
from .rig import LiveTarget
from .terminal import write_summary

DEFAULT_TARGET = "qemu-x86"
#: Below the rootdir.
CORPUS = ".keuos-hil/corpus"
_plugins_key = pytest.StashKey[pluggy.PluginManager]()
_failed_key = pytest.StashKey[bool]()
#: Why a test's target could not be started.
_start_failure_key = pytest.StashKey[InfraError]()
#: Of the test itself; a test that was interrupted has none.
_outcome_key = pytest.StashKey[str]()
_terminal_key = pytest.StashKey[TextIO | None]()


# Options -----------------------------------------------------------------------------------------------------------


def _whole_number(text: str) -> int:
    with suppress(ValueError):
        if (number := int(text, 0)) >= 0:
            return number
    raise argparse.ArgumentTypeError(f"expected a whole number, 0 or more, and not {text!r}")


def _number_of_cases(text: str) -> int:
    if (number := _whole_number(text)) > 0:
        return number
    raise argparse.ArgumentTypeError("expected at least 1 case")


def _seconds(text: str) -> float:
    with suppress(ValueError):
        if 0 < (number := float(text)) < float("inf"):
            return number
    raise argparse.ArgumentTypeError(f"expected seconds, more than 0, and not {text!r}")


def pytest_addoption(parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager) -> None:
    """Our options and, from their dataclasses, those of every target type that is installed."""
    group = parser.getgroup("keuos-hil", "hardware in the loop (keuos-hil)")
    known: dict[str, bool] = {}

    def add(*names: str, **how: Any) -> None:
        group.addoption(*names, **how)
        known.update(dict.fromkeys(names, how.get("action") not in ("store_true",)))

    add("--target", dest="keuos_target", action="append", metavar="NAME", default=None,
        help=f"target to run on; may be repeated (default: {DEFAULT_TARGET})")  # fmt: skip
    add("--hil-config", dest="keuos_config", metavar="FILE", default=None,
        help=f"named targets, in TOML (default: {registry.CONFIG_NAME} at the rootdir, if it is there)")  # fmt: skip
    add("--kernel", dest="keuos_kernel", metavar="FILE", default=None,
        help="kernel to boot instead of the bundled one: an ELF, or a flat image with --symbols")  # fmt: skip
    add("--initrd", dest="keuos_initrd", metavar="FILE", default=None, help="initrd to boot with (cpio, newc)")
    add("--netd", dest="keuos_netd", metavar="ELF", default=None,
        help="NetD to run instead of the bundled one: the ELF of a `netd`; it takes that place in the initrd, "
             "and `netd_hil`, whose clock tests can wind, is left out")  # fmt: skip
    add("--symbols", dest="keuos_symbols", metavar="ELF", default=None,
        help="the ELF of a flat --kernel, matched by its build-id")  # fmt: skip
    add("--timebase", dest="keuos_timebase", default="default",
        choices=("default", "instructions", "emulated", "silicon"),
        help="what ticks count; the default is what the target has, `instructions` is exact")  # fmt: skip
    add("--executed", dest="keuos_executed", action="store_true",
        help="count how often each function's instructions are executed, on emulated targets, so that a comparison "
             "can tell which grew (needs a C compiler; slower)")  # fmt: skip
    add("--accel", dest="keuos_accel", default="tcg", choices=("tcg", "kvm", "auto"),
        help="accelerator of emulated targets; `auto` times a loop before it trusts KVM (default: tcg)")  # fmt: skip
    add("--link", dest="keuos_link", metavar="LINK", default=None,
        help="wire to the targets instead of their own: "
             + "; ".join(f"{kind}{':INTERFACE' if named else ''}, {what}"
                         for kind, (what, named) in link_choice.KINDS.items()))  # fmt: skip
    add("--require", dest="keuos_require", action="append", metavar="CAP", default=None,
        help="make an error of every skip for want of this capability; may be repeated")  # fmt: skip
    add("--results", dest="keuos_results", metavar="DIR", default=None,
        help="where each run makes a folder with its results (default: build/results/TARGET)")  # fmt: skip
    add("--save-baseline", dest="keuos_save_baseline", metavar="FILE", default=None,
        help="keep this run's instruction counts and the ring's timings, for --baseline of later runs")  # fmt: skip
    add("--baseline", dest="keuos_baseline", metavar="FILE", default=None,
        help="compare with a run that --save-baseline kept, and fail where something takes more instructions, "
             "or is slower in two sets of launches")  # fmt: skip
    group.addoption("--report", dest="keuos_report", action="store_true",
        help="write report.html beside results.json, as `keuos-hil report` does")  # fmt: skip
    add("--seed", dest="keuos_seed", type=_whole_number, metavar="N", default=None,
        help="seed of every random choice (default: a new one, shown with each failure)")  # fmt: skip
    add("--fuzz-seed", dest="keuos_fuzz_seed", type=_whole_number, metavar="N", default=None,
        help="seed of fuzzed cases, to repeat a run (default: that of --seed)")  # fmt: skip
    add("--fuzz-count", dest="keuos_fuzz_count", type=_number_of_cases, metavar="N", default=None,
        help="bulk cases to fuzz a gate with; full ones in proportion (default: what each test says)")  # fmt: skip
    add("--fuzz-time", dest="keuos_fuzz_time", type=_seconds, metavar="SECONDS", default=None,
        help="how long each fuzzing test goes on; with --fuzz-count, whichever ends first")  # fmt: skip
    add("--net-bytes", dest="keuos_net_bytes", type=_whole_number, metavar="N", default=None,
        help="how much each bulk transfer of the network suite moves each way")  # fmt: skip
    add("--fuzz-corpus", dest="keuos_fuzz_corpus", metavar="DIR", default=None,
        help=f"where failing cases are kept, and tried first by every later run (default: {CORPUS})")  # fmt: skip
    group.addoption("--hold", dest="keuos_hold", action="store_true",
        help="keep the target after a failure and print how to attach gdb, until Enter")  # fmt: skip
    printed_plugin.add_printed_options(add)
    requirements_plugin.add_requirement_options(add)
    known["-m"] = True  # pytest's own; without it a long run that is repeated would be deselected
    manager = registry.load_plugins()
    prefixes: dict[str, dict[type[Any], None]] = {}
    for kind in registry.target_types(manager).values():
        if kind.option_prefix:
            prefixes.setdefault(kind.option_prefix, {})[kind.options] = None
    for prefix, kinds in prefixes.items():
        options.add_to_command_line(add, prefix, *kinds)
    pluginmanager.keuos_hil = (manager, known)  # type: ignore[attr-defined]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check everything that can be checked without starting anything; a mistake is one line and pytest's status 4."""
    config.addinivalue_line("markers", "needs(*capabilities): skip, with a reason, where one is missing")
    config.addinivalue_line("markers", "soak: a long run; only with `-m soak`")
    config.addinivalue_line("markers", "slow: waits in real time for more than a moment; only with `-m slow`")
    config.addinivalue_line("markers", "timed(seconds): takes so much of the target's time; slow where that is real")
    config.addinivalue_line("markers", "requirement(*ids): what the test shows, by the ids of net/requirements.csv")
    manager, known = config.pluginmanager.keuos_hil  # type: ignore[attr-defined]
    registry.add_plugins(manager, config.pluginmanager.get_plugins())
    config.stash[_plugins_key] = manager
    config.stash[reporting.option_names_key] = known
    try:
        config.stash[bench_key] = Bench(
            manager=manager,
            registry=registry.Registry(registry.target_types(manager), _config_file(config)),
            target_names=list(dict.fromkeys(config.getoption("keuos_target") or [DEFAULT_TARGET])),
            overrides=_command_line_of(config),
            timebase=config.getoption("keuos_timebase"),
            accel=config.getoption("keuos_accel"),
            executed=config.getoption("keuos_executed"),
            link=None if config.getoption("keuos_link") is None else link_choice.parse(config.getoption("keuos_link")),
            kernel=_path(config, "keuos_kernel"),
            initrd=_path(config, "keuos_initrd"),
            symbols=_path(config, "keuos_symbols"),
            netd=_path(config, "keuos_netd"),
            required=frozenset(c.name for c in lookup(config.getoption("keuos_require") or (), "--require")),
            seed=_seed(config),
            fuzz_seed=config.getoption("keuos_fuzz_seed"),
            root=config.rootpath,
            results_base=_path(config, "keuos_results"),
            baseline=_baseline(config),
            save_baseline=_path(config, "keuos_save_baseline"),
            reports=config.getoption("keuos_report"),
        )
        _require_taken(config)
        _require_folder(config, "keuos_fuzz_corpus", "--fuzz-corpus")
        _try_results_base(config)
    except InfraError as error:
        raise pytest.UsageError(f"keuos-hil: {error}") from None
    config.pluginmanager.register(printed_plugin, "keuos-hil printed")
    config.pluginmanager.register(requirements_plugin, "keuos-hil requirements")
    config.stash[_terminal_key] = None if hasattr(config, "workerinput") else own_terminal()
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(reporting.ExitStatus(), "keuos-hil exit status")


def _config_file(config: pytest.Config) -> Path | None:
    named = _path(config, "keuos_config")
    if named is not None:
        return named
    found = config.rootpath / registry.CONFIG_NAME
    return found if found.is_file() else None


def _path(config: pytest.Config, dest: str) -> Path | None:
    text = config.getoption(dest)
    return None if text is None else (config.invocation_params.dir / Path(text).expanduser()).resolve()


def _baseline(config: pytest.Config) -> Baseline | None:
    path = _path(config, "keuos_baseline")
    return None if path is None else Baseline.load(path)


def _try_results_base(config: pytest.Config) -> None:
    """Raises UsageError if --results can't be used. Only trying it tells, for root above all."""
    base = _path(config, "keuos_results")
    if base is None or hasattr(config, "workerinput") or config.getoption("collectonly"):
        return
    try:
        make_run_directory(base).rmdir()
    except InfraError as error:
        raise UsageError(f"--results: {error}") from None


def _require_folder(config: pytest.Config, dest: str, option: str) -> None:
    """Raises UsageError if something that is no folder lies where one shall be made when it is needed."""
    path = _path(config, dest)
    if path is not None and path.exists() and not path.is_dir():
        raise UsageError(f"{option}: {path} is no folder")


def _seed(config: pytest.Config) -> int:
    worker: dict[str, Any] = getattr(config, "workerinput", {})
    if "keuos_seed" in worker:
        return int(worker["keuos_seed"])
    given = config.getoption("keuos_seed")
    return secrets.randbits(32) if given is None else int(given)


def _command_line_of(config: pytest.Config) -> Callable[[TargetType], dict[str, Any]]:
    def overrides(kind: TargetType) -> dict[str, Any]:
        if not kind.option_prefix:
            return {}
        # A type that a conftest.py brings comes too late to declare options: it has the configuration's only.
        return options.from_command_line(lambda dest: config.getoption(dest, None), kind.option_prefix, kind.options)

    return overrides


def _require_taken(config: pytest.Config) -> None:
    """Raises UsageError for an option of target types that none of the run's targets is of."""
    bench = config.stash[bench_key]
    named = [(name, bench.registry.require(name).kind) for name in bench.target_names]
    types = [kind for kind in bench.registry.types.values() if kind.option_prefix]
    for prefix in dict.fromkeys(kind.option_prefix for kind in types):
        options.require_taken(
            lambda dest: config.getoption(dest, None),
            prefix,
            {kind.name: kind.options for kind in types if kind.option_prefix == prefix},
            {name: kind.options for name, kind in named if kind.option_prefix == prefix},
        )


class _Xdist:
    """Registered only where xdist is: what the controller hands to its workers, and what it takes back."""

    @pytest.hookimpl
    def pytest_configure_node(self, node: Any) -> None:
        """Workers share the controller's folder, seed and options."""
        bench = node.config.stash[bench_key]
        node.workerinput["keuos_directory"] = str(bench.directory)
        node.workerinput["keuos_seed"] = bench.seed
        node.workerinput["keuos_options"] = reporting.options_given(node.config)

    @pytest.hookimpl
    def pytest_testnodedown(self, node: Any) -> None:
        """Take a worker's results."""
        text = getattr(node, "workeroutput", {}).get("keuos_results")
        if text:
            node.config.stash[bench_key].results.merge(text)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Under xdist the controller builds the kernel, before a worker looks for it."""
    config = session.config
    _end_in_good_order(config)
    _show_what_is_told(config)
    bench = config.stash[bench_key]
    worker: dict[str, Any] | None = getattr(config, "workerinput", None)
    if worker is not None:
        bench.directory = Path(worker["keuos_directory"]) / worker["workerid"]
        bench.directory.mkdir(parents=True, exist_ok=True)
        return
    if config.pluginmanager.hasplugin("dsession"):
        config.pluginmanager.register(_Xdist(), "keuos-hil xdist")
        if not config.getoption("collectonly"):
            _prepare(bench)


def _show_what_is_told(config: pytest.Config) -> None:
    """Lines of :mod:`keuos_hil.telling` pass the capture."""

    def show(line: str) -> None:
        capture = config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            print(f"\nkeuos-hil: {line}", file=sys.stderr, flush=True)

    stack = ExitStack()
    stack.enter_context(telling.shown(show))
    config.add_cleanup(stack.close)


def _end_in_good_order(config: pytest.Config) -> None:
    """Have SIGTERM (of `timeout`, of a CI that gave up) end the run as Ctrl-C does: results are kept, nothing stays."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:

        def end(number: int, frame: FrameType | None) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would hit what keeps the results
            signal.default_int_handler(number, frame)

        signal.signal(signal.SIGTERM, end)

        def undo() -> None:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

        config.add_cleanup(undo)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Nothing is built for a mere listing, or for tests that boot nothing."""
    config = session.config
    if config.getoption("collectonly") or hasattr(config, "workerinput"):
        return
    if any("keuos_target_name" in getattr(item, "fixturenames", ()) for item in session.items):
        _prepare(config.stash[bench_key])


def _prepare(bench: Bench) -> None:
    try:
        bench.prepare()
    except UsageError as error:
        raise pytest.UsageError(f"keuos-hil: {error}") from None
    except InfraError as error:
        pytest.exit(f"keuos-hil: {error}", returncode=reporting.EXIT_BENCH)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """What this run is about."""
    return config.stash[bench_key].header()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Nothing stays running; results go to the controller, or to disk."""
    config = session.config
    bench = config.stash.get(bench_key, None)
    if bench is None:
        return
    bench.rig.finish()
    bench.collect_lines()
    if hasattr(config, "workerinput"):
        config.workeroutput["keuos_results"] = bench.results.to_text()  # type: ignore[attr-defined]
    elif bench.has_directory and not config.getoption("collectonly"):
        try:
            path = bench.write_results(interrupted=session.exitstatus == pytest.ExitCode.INTERRUPTED)
            try:
                bench.judge_by_baseline(path, whole=session.exitstatus == pytest.ExitCode.OK)
            finally:
                bench.write_report(path)
        except InfraError as error:
            bench.undone = str(error)
            _have_status(session, reporting.EXIT_BENCH, "what is said above of results, baseline or report")
        if bench.judgement is not None and bench.judgement.slower:
            slower = ", ".join(verdict.row for verdict in bench.judgement.slower)
            _have_status(session, pytest.ExitCode.TESTS_FAILED, f"slower than the baseline: {slower}")
    elif bench.baseline is not None and not config.getoption("collectonly"):
        why = f"--baseline {bench.baseline.path}: no row could be judged: nothing was measured"
        _have_status(session, reporting.EXIT_BENCH, f"{why}; run the tests that the baseline was saved of")


def _have_status(session: pytest.Session, status: int, why: str) -> None:
    """End a run whose tests passed with another status after all, and say why in its last line."""
    if session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = status
        session.config.stash[bench_key].status_because = f"keuos-hil: status {int(status)}: {why}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Also after a Ctrl-C in the middle of anything."""
    bench = config.stash.get(bench_key, None)
    if bench is not None:
        bench.rig.finish()
        reporter = config.pluginmanager.get_plugin("terminalreporter")
        if bench.status_because and reporter is not None:
            reporter.write_line(bench.status_because, red=True)
    terminal = config.stash.get(_terminal_key, None)
    if terminal is not None:
        terminal.close()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """One table for each suite, and where the results lie."""
    bench = config.stash[bench_key]
    if bench.has_directory and not config.getoption("collectonly"):
        write_summary(terminalreporter, bench)
        if bench.undone:
            terminalreporter.write_line(f"keuos-hil: {bench.undone}", red=True)
        if bench.warning:
            terminalreporter.write_line(f"keuos-hil: {bench.warning}", yellow=True)


# Verdicts ----------------------------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Sort by who did wrong, in every phase; add what a person needs; keep the verdict for results.json."""
    report = yield
    phase = report.when
    if phase == "call":
        item.stash[_outcome_key] = report.outcome
    if report.outcome == "failed" and call.excinfo is not None:
        reporting.sort(report, call.excinfo.value)
        if call.excinfo.value is item.stash.get(_start_failure_key, None) and not item.config.option.fulltrace:
            report.longrepr = call.excinfo.getrepr(style="value", chain=False)  # how we came there helps nobody
        item.stash[_failed_key] = True
        live = item.stash.get(reporting.live_key, None)
        if "keuos_target_name" in getattr(item, "fixturenames", ()):
            running = live is not None and live is item.config.stash[bench_key].rig.live
            if live is not None and running and phase != "teardown":
                _look_closer(item, live, report)
                if isinstance(call.excinfo.value, Silent) and not item.config.getoption("keuos_hold"):
                    broken = item.config.stash[bench_key].rig.revive(live)
                    if broken is not None:
                        reporting.blame_the_bench(report, broken)
            reporting.add_sections(report, item)
            failed = report.when == "call" and phase != "teardown"
            if live is not None and running and failed and item.config.getoption("keuos_hold"):
                reporting.hold(item, live, report)
    if "keuos_target_name" in getattr(item, "fixturenames", ()):
        item.config.stash[bench_key].add_report(item, report)
    return report


def _look_closer(item: pytest.Item, live: LiveTarget, report: pytest.TestReport) -> None:
    try:
        lines = live.session.post_mortem(live.directory)
        for more in item.config.stash[_plugins_key].hook.keuos_hil_post_mortem(
            session=live.session, directory=live.directory
        ):
            lines += more
    except Exception as error:  # noqa: BLE001 - a plugin's mistake must not hide the failure
        lines = [f"the post-mortem failed: {error!r}"]
    if lines:
        report.sections.append((f"post-mortem of {live.name}", "\n".join(lines)))


# Which tests run where ---------------------------------------------------------------------------------------------


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test that touches a target runs on every target that was asked for."""
    if "keuos_target_name" in metafunc.fixturenames:
        names = metafunc.config.stash[bench_key].target_names
        metafunc.parametrize("keuos_target_name", names, scope="session")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Long runs are left out unless -m names them; with --dist=loadgroup one worker has all tests of a target."""
    for mark in ("soak", "slow"):
        if mark not in config.getoption("markexpr"):
            left = [item for item in items if item.get_closest_marker(mark) is not None]
            if left:
                config.hook.pytest_deselected(items=left)
                items[:] = [item for item in items if item.get_closest_marker(mark) is None]
    for item in items:
        call = getattr(item, "callspec", None)
        if call is not None and "keuos_target_name" in call.params and config.pluginmanager.hasplugin("xdist"):
            item.add_marker(pytest.mark.xdist_group(f"target-{call.params['keuos_target_name']}"))


def _needs(node: pytest.Item) -> list[str]:
    return [name for marker in node.iter_markers("needs") for name in marker.args]


def _skip_or_refuse(bench: Bench, name: str, why: str, *, alike: bool = False) -> None:
    """Skip, or raise under --require. Skips that are `alike` for a whole suite are told in one line of the summary."""
    if name in bench.required:
        raise InfraError(f"--require {name}: {why}")
    raise pytest.skip.Exception(why, _use_item_location=not alike)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip, without booting anything, for want of what target or image lack."""
    call = getattr(item, "callspec", None)
    wanted = _needs(item)
    found = lookup(wanted, item.nodeid)
    if not found or call is None or "keuos_target_name" not in call.params:
        return
    bench = item.config.stash[bench_key]
    target = bench.rig.target(call.params["keuos_target_name"])
    boots = booting(target)
    for capability in found:
        image = None
        if capability.kind is Kind.TARGET:
            has = bench.target_capabilities(target, wanted)
        elif boots is None:
            has = frozenset()
        elif capability.kind is Kind.IMAGE:
            image = bench.image(boots, wanted)
            has = image.capabilities
        else:
            continue
        if capability.name not in has:
            path = str(image.kernel_path) if image is not None else ""
            lacks = target.lacks if isinstance(target, Lacking) else {}
            why = reason(capability, target=target.name, image=path, known=lacks.get(capability.name, ""))
            _skip_or_refuse(bench, capability.name, why, alike=capability.kind is Kind.TARGET)


# Fixtures ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def keuos_target_name(request: pytest.FixtureRequest) -> str:
    """The name of the target that this test runs on: one of those that --target named."""
    return str(request.param)


@pytest.fixture
def image(request: pytest.FixtureRequest, keuos_target_name: str) -> Image:
    """What is booted for this test: --kernel, or the bundled kernel, its HIL build if the test needs `hil`."""
    found = _image(request, keuos_target_name)
    if found is None:
        pytest.skip(f"target {keuos_target_name} boots no image, and this test is about one")
    return found


def _image(request: pytest.FixtureRequest, name: str) -> Image | None:
    bench = request.config.stash[bench_key]
    boots = booting(bench.rig.target(name))
    return None if boots is None else bench.image(boots, _needs(request.node))


def _live(request: pytest.FixtureRequest, name: str, image: Image | None, *, fresh: bool) -> Iterator[LiveTarget]:
    bench = request.config.stash[bench_key]
    node = request.node
    try:
        live = reporting.started(request.config, lambda: bench.rig.get(name, image, fresh=fresh), bench)
    except InfraError as error:
        node.stash[_start_failure_key] = error
        raise
    bench.note(live)
    node.stash[reporting.live_key] = live
    live.begin_test()
    for capability in lookup(_needs(node), node.nodeid):
        if capability.kind is Kind.LIVE and capability.name not in live.live_capabilities:
            path = "" if image is None else str(image.kernel_path)
            _skip_or_refuse(bench, capability.name, reason(capability, target=name, image=path))
    yield live
    try:
        live.end_test()
    except HilError:
        bench.rig.close()
        if not node.stash.get(_failed_key, False):
            raise


@pytest.fixture
def target(request: pytest.FixtureRequest, keuos_target_name: str) -> Iterator[LiveTarget]:
    """The target, up and running the image; shared with other tests as long as each leaves it as it was at boot."""
    fresh = "fresh_target" in request.fixturenames
    yield from _live(request, keuos_target_name, _image(request, keuos_target_name), fresh=fresh)


@pytest.fixture
def fresh_target(request: pytest.FixtureRequest, keuos_target_name: str) -> Iterator[LiveTarget]:
    """The target straight from boot, while nobody else of this user measures on its processors: for measurements."""
    target = request.config.stash[bench_key].rig.target(keuos_target_name)
    with nullcontext() if isinstance(target, Apart) and target.apart else timing_lock():
        yield request.getfixturevalue("target")


@pytest.fixture
def agent(request: pytest.FixtureRequest, target: LiveTarget) -> Agent:
    """The agent on the target. What a test spawns and binds through it is killed and dropped behind the test."""
    if not target.has_agent:
        path = "" if target.booted is None else str(target.booted.kernel_path)
        why = reason(KNOWN["agent"], target=target.name, image=path)
        _skip_or_refuse(request.config.stash[bench_key], "agent", why)
    return target.agent


@pytest.fixture
def console(image: Image, target: LiveTarget) -> Console:
    """The target's console; what came before this test is not looked at. Skips where no kernel was booted on it."""
    return target.console


@pytest.fixture
def channel(agent: Agent) -> Callable[..., Any]:
    """Binds channels: `channel(producer, consumer, "verified", order=2)`; see Agent.bind."""
    return agent.bind


@pytest.fixture
def transfer_bytes(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How much a bulk transfer moves: what --net-bytes says, or else what the case says."""
    given: int | None = request.config.getoption("keuos_net_bytes")
    return lambda usual: usual if given is None else given


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed for this test's random choices; shown when the test fails, set by --seed."""
    value = request.config.stash[bench_key].seed
    request.node.stash[reporting.seed_key] = value
    return value


@pytest.fixture
def baseline(request: pytest.FixtureRequest) -> Baseline | None:
    """What --baseline names, for a test that can measure again what looks slower; None without the option."""
    return request.config.stash[bench_key].baseline


@pytest.fixture
def fuzzing(request: pytest.FixtureRequest, seed: int) -> Fuzzing:
    """How much to fuzz, with which seed, and where failures are kept: the options --fuzz-..."""
    config = request.config
    given = config.getoption("keuos_fuzz_seed")
    return Fuzzing(
        seed=seed if given is None else given,
        count=config.getoption("keuos_fuzz_count"),
        seconds=config.getoption("keuos_fuzz_time"),
        corpus=_path(config, "keuos_fuzz_corpus") or config.rootpath / CORPUS,
    )


@pytest.fixture
def record(request: pytest.FixtureRequest, target: LiveTarget) -> Iterator[Recorder]:
    """Where figures and verdicts go: `record.add("ring.round_trip", {"size": 56}, "ticks", samples=...)`."""
    made = Recorder(request.config.stash[bench_key].results, target.name, target.timebase.name)
    yield made
    outcome = request.node.stash.get(_outcome_key, "")
    if outcome in ("passed", "failed"):
        made.close(outcome)


@pytest.fixture
def progress(request: pytest.FixtureRequest) -> Progress:
    """A bar for a test that runs for long: `with progress("fuzzing", total) as advance: ... advance(n)`."""
    reporter = request.config.pluginmanager.getplugin("terminalreporter")
    newline = getattr(reporter, "ensure_newline", lambda: None)
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def uncaptured() -> None:
        with capture.global_and_fixture_disabled() if capture is not None else nullcontext():
            newline()

    return Progress(request.config.stash[_terminal_key], uncaptured)


@pytest.fixture
def run_directory(target: LiveTarget) -> Path:
    """A folder for what a test wants to keep; it lies with the results."""
    return Path(tempfile.mkdtemp(prefix="test-", dir=target.directory))
