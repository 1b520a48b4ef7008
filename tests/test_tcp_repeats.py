"""The TCP suite says the same sixty times in a row, half of them with every core busy. A soak."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

RUNS = 60
#: Of one run, in seconds of a loaded machine.
RUN_S = 900


@contextmanager
def _every_core_busy() -> Iterator[None]:
    with ExitStack() as stack:
        for _ in range(os.cpu_count() or 1):
            busy = stack.enter_context(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            stack.callback(busy.kill)
        yield


def _verdicts(root: Path, target: str, results: Path) -> dict[str, str]:
    """The suite's verdict for each of its cases."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--target={target}"]
    command += [f"--rootdir={root}", f"-c{root}/pyproject.toml", f"--results={results}", f"{root}/suites/tcp"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=RUN_S, check=False)
    found = results / "latest" / "results.json"
    assert found.is_file(), f"{' '.join(command)} left no results:\n{(done.stdout + done.stderr)[-2000:]}"
    return {test["id"]: test["verdict"] for test in json.loads(found.read_text())["tests"]}


@pytest.mark.soak
@pytest.mark.parametrize("target_name", ["linux", "netd", "qemu-x86"])
def test_sixty_runs_say_the_same(pytestconfig: pytest.Config, tmp_path: Path, target_name: str) -> None:
    first: dict[str, str] | None = None
    for run in range(RUNS):
        with _every_core_busy() if run % 2 else ExitStack():
            verdicts = _verdicts(pytestconfig.rootpath, target_name, tmp_path / str(run))
        first = first or verdicts
        changed = {name: (first.get(name), verdicts.get(name)) for name in first.keys() | verdicts.keys()}
        differ = {name: pair for name, pair in changed.items() if pair[0] != pair[1]}
        assert not differ, f"run {run} of {RUNS}, cores {'busy' if run % 2 else 'as they were'}: {differ}"
    assert first is not None
    assert not [name for name, verdict in first.items() if verdict in ("failed", "error")]
