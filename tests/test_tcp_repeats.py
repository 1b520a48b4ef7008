"""The TCP suite says the same sixty times in a row, half of them with every core busy.

The runs themselves are a soak, which goes on where an earlier one was ended (see tests/repeats.py):

    pytest -m soak tests/test_tcp_repeats.py -k netd
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from keuos_hil.errors import InfraError
from tests.repeats import Repeats, Run, digest, packaged

#: How often, by target. A Linux guest takes minutes, and is no stack of ours.
RUNS = {"netd": 60, "qemu-x86": 60, "linux": 60, "lwip": 60, "linux-guest": 6}
#: Of one run, in seconds of a loaded machine.
RUN_S = 1800


@pytest.mark.soak
@pytest.mark.parametrize("target_name", RUNS)
def test_sixty_runs_say_the_same(
    pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str], target_name: str
) -> None:
    root = pytestconfig.rootpath
    sources = digest(root, packaged(target_name))

    def once(results: Path) -> dict[str, str]:
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--target={target_name}"]
        command += [f"--rootdir={root}", f"-c{root}/pyproject.toml", f"--results={results}", f"{root}/suites/tcp"]
        done = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=RUN_S, check=False)
        found = results / "latest" / "results.json"
        assert done.returncode in (0, 1), f"status {done.returncode}: {(done.stdout + done.stderr)[-2000:]}"
        assert found.is_file(), f"{' '.join(command)} left no results:\n{(done.stdout + done.stderr)[-2000:]}"
        assert digest(root, packaged(target_name)) == sources, (
            "the sources were changed during a run, which counts for nothing"
        )
        return {test["id"]: test["verdict"] for test in json.loads(found.read_text())["tests"]}

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n{target_name}: {line}", end="", flush=True)

    repeats = Repeats(root / "build" / "repeats" / sources / target_name, once, tell)
    problem = repeats.up_to(RUNS[target_name])
    assert not problem, problem


def _said(verdicts: list[dict[str, str]], folder: Path, count: int) -> tuple[str, list[str]]:
    """What is wrong with runs that come to `verdicts`, and what was told of each."""
    told: list[str] = []
    left = iter(verdicts)
    once: Callable[[Path], dict[str, str]] = lambda results: next(left)  # noqa: E731
    return Repeats(folder, once, told.append).up_to(count), told


def test_runs_go_on_where_they_were_ended(tmp_path: Path) -> None:
    good = {"a": "passed", "b": "skipped"}
    assert _said([good] * 2, tmp_path, 2)[0] == ""
    problem, told = _said([good], tmp_path, 3)
    assert problem == ""
    assert ["kept" in line for line in told] == [True, True, False]
    assert ["cores busy" in line for line in told] == [False, True, False]


@pytest.mark.parametrize(
    ("second", "says"),
    [
        ({"a": "skipped"}, r"\{'a': \('passed', 'skipped'\)\}"),
        ({"b": "passed"}, r"'a': \('passed', None\)"),
        ({"a": "failed"}, "not everything passed"),
        ({}, "no test ran"),
    ],
)
def test_another_verdict_is_told_and_stays_until_it_is_removed(
    tmp_path: Path, second: dict[str, str], says: str
) -> None:
    problem, _ = _said([{"a": "passed"}, second], tmp_path, 3)
    assert "run 2 of 3" in problem
    assert re.search(says, problem)
    assert _said([], tmp_path, 3)[0] == problem
    (tmp_path / "001.json").unlink()
    assert _said([{"a": "passed"}] * 2, tmp_path, 3)[0] == ""


def test_a_failure_of_every_run_is_no_agreement(tmp_path: Path) -> None:
    assert "not everything passed" in _said([{"a": "failed"}], tmp_path, 1)[0]


def test_a_run_tells_its_counts() -> None:
    run = Run(True, 12.3, {"a": "passed", "b": "passed", "c": "skipped"})
    assert run.describe() == "cores busy, 12 s: 2 passed, 1 skipped"


def test_the_digest_follows_the_sources(tmp_path: Path) -> None:
    (tmp_path / "netd").mkdir()
    source = tmp_path / "netd" / "a.c"
    source.write_text("1")
    before = digest(tmp_path)
    source.write_text("2")
    assert digest(tmp_path) != before


def test_the_digest_follows_what_packages_bring(tmp_path: Path) -> None:
    library = tmp_path / "library.so"
    library.write_text("1")
    before = digest(tmp_path, [library])
    library.write_text("2")
    assert len({before, digest(tmp_path, [library]), digest(tmp_path)}) == 3


@pytest.mark.parametrize(
    ("target_name", "names"),
    [
        ("netd", set()),
        ("lwip", {"init.h", "opt.h", "liblwip.so"}),
        ("qemu-x86", {"qemu-system-x86_64"}),
        ("qemu-arm64", {"qemu-system-aarch64"}),
    ],
)
def test_what_a_target_takes_from_packages_is_found(target_name: str, names: set[str]) -> None:
    found = packaged(target_name)
    assert names <= {path.name for path in found}
    assert bool(found) == bool(names)


def test_the_guests_kernel_and_its_emulator_are_found() -> None:
    try:
        names = [path.name for path in packaged("linux-guest")]
    except InfraError as error:
        if "make linux-guest" not in str(error):
            raise
        pytest.skip(str(error))
    assert names[0] == "qemu-system-x86_64"
    assert names[1].startswith("vmlinuz-")
