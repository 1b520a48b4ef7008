"""Fixtures of the network cases: our end of the wire, the target's application side, and what is known to deviate."""

from __future__ import annotations

import fnmatch
import itertools
import re
import tomllib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from keuos_hil.bench import bench_key, suite_relative
from keuos_hil.errors import TargetFailure
from keuos_hil.net.fault_plugin import link_of
from keuos_hil.net.host import Host
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Stack
from keuos_hil.record import Recorder
from keuos_hil.reporting import frames_key
from keuos_hil.rig import LiveTarget

_HERE = Path(__file__).parent
#: Longer than this nobody waits for a case in real time.
_PATIENCE_S = 300
#: Longer than this a machine is not let idle whose clock jumps from one of its timers to the next.
_JUMPS_S = 86400
Another = Callable[..., AbstractContextManager[Stack]]
#: Below those that stacks choose from by themselves (RFC 6056), above the well-known ones.
_ports = itertools.cycle(range(2000, 32000))


@dataclass(frozen=True)
class Deviation:
    """One table of deviations.toml, or of another stack's file beside it."""

    system: re.Pattern[str]
    tests: list[str]
    reason: str
    text: str
    run: bool


@cache
def deviations() -> list[Deviation]:
    """What those files hold."""
    files = sorted(_HERE.glob("deviations*.toml"))
    tables = [table for path in files for table in tomllib.loads(path.read_text())["deviation"]]
    return [Deviation(re.compile(t["system"]), t["tests"], t["reason"], t["text"], t.get("run", True)) for t in tables]


def fits(test: str, glob: str) -> bool:
    """Whether a test's id is meant; brackets stand for themselves."""
    return fnmatch.fnmatchcase(test, glob.replace("[", "[[]"))


def deviation_of(test: str, system: str) -> Deviation | None:
    """What is known about `test` on the stack `system`."""
    for one in deviations():
        if one.system.match(system) and any(fits(test, glob) for glob in one.tests):
            return one
    return None


def without_target(node: pytest.Item, target: str) -> str:
    """The test's id from the suites folder on, the target's name taken out of its parameters."""
    name = suite_relative(node.nodeid)
    for found, left in ((f"[{target}]", ""), (f"[{target}-", "["), (f"-{target}]", "]"), (f"-{target}-", "-")):
        if found in name:
            return name.replace(found, left, 1)
    return name


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A case that takes the target's time is slow where that time is real, and out of reach if it takes hours."""
    bench = config.stash[bench_key]
    for item in items:
        timed = item.get_closest_marker("timed")
        if timed is not None:
            parameters: dict[str, Any] = getattr(getattr(item, "callspec", None), "params", {})
            name = parameters.get("keuos_target_name")
            if name is None:
                continue
            has = bench.target_capabilities(bench.rig.target(name), ("sockets",))
            if "test-clock" not in has:
                item.add_marker(pytest.mark.slow)
            patience, lacks = (
                (_PATIENCE_S, "no clock to wind") if "test-clock" not in has else (_JUMPS_S, "no days-clock")
            )
            if "days-clock" not in has and timed.args[0] > patience:
                why = f"takes {timed.args[0]} s of the target's time, and target {name} has {lacks}"
                item.add_marker(pytest.mark.skip(reason=why))


@pytest.fixture
def host(request: pytest.FixtureRequest, target: LiveTarget, record: Recorder) -> Host:
    """Our end of the wire."""
    record.stack(target.sockets.system)
    known = deviation_of(without_target(request.node, target.name), target.sockets.system)
    if known is not None:
        why = f"{known.reason} ({known.text})"
        if not known.run:
            pytest.xfail(why)
        failures = (TargetFailure, AssertionError, pytest.fail.Exception)
        request.node.add_marker(pytest.mark.xfail(reason=why, raises=failures, strict=True))
    link = link_of(request.config, target.link, target.network)
    made = Host(link, target.network, target.clock)
    request.node.stash[frames_key] = lambda: made.transcript, target.directory
    made.judging = False
    made.fence()
    for queue in (made.arps, made.icmps, made.udps, made.fragments, made.strays):
        queue.clear()
    made.transcript.entries.clear()
    made.judging = True
    return made


@pytest.fixture
def app(host: Host, target: LiveTarget) -> App:
    """The program on the target that makes socket calls."""
    return App(target.sockets, host)


@pytest.fixture
def another(target: LiveTarget, tmp_path: Path) -> Another:
    """Opens conversations with the same target, started a second time, while a block runs: `mtu` is its interface's."""

    @contextmanager
    def open_one(mtu: int | None = None) -> Iterator[Stack]:
        with target.another(tmp_path, mtu) as second:
            sockets = second.sockets  # first: on KeuOS the wire has another end from then on
            host = Host(second.link, second.network, second.clock)
            stack = Stack(host, App(sockets, host), _ports.__next__)
            host.fence()
            yield stack
            stack.clean_up()

    return open_one


@pytest.fixture
def net(host: Host, app: App) -> Iterator[Stack]:
    """Opens conversations with the target; behind the test whatever is open is closed, on both sides."""
    stack = Stack(host, app, _ports.__next__)
    yield stack
    stack.clean_up()
