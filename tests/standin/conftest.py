"""Fixtures: stand-ins, and whole runs of pytest on them, as a person would start them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keuos_hil.plugins import grub_iso

from .bench import ROOT, UBOOT, Bench


@dataclass(frozen=True)
class Run:
    """What a run of pytest left: its status, what it said, and results.json, if there is one."""

    status: int
    output: str
    results: dict[str, Any]

    @property
    def verdicts(self) -> dict[str, str]:
        """Of each test, by the name of its function and its parameters."""
        return {test["id"].rpartition("::")[2]: test["verdict"] for test in self.results["tests"]}


@pytest.fixture(scope="session")
def stick(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image of a stick with both builds of KeuOS for PCs."""
    path = tmp_path_factory.mktemp("stick") / "stick.iso"
    assert grub_iso.main(["--output", str(path)]) == 0
    return path


@contextmanager
def _benches(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """What makes stand-ins; they are gone behind it.

    Their folders, of which `name` is the last part, are short, as paths of sockets have to be.
    """
    benches: list[Bench] = []
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:

        def make(kind: str, name: str = "", **options: Any) -> Bench:
            if kind == "arm64" and not Path(UBOOT).exists():
                pytest.fail(f"{UBOOT} is not installed; `make setup` installs it")
            if kind == "pc":
                options["files"] = {"stick": request.getfixturevalue("stick")}
            place = Path(folder, name or f"{len(benches)}")
            place.mkdir()
            benches.append(Bench(place, kind, **options))
            return benches[-1]

        yield make
        for bench in benches:
            bench.close()


@pytest.fixture
def make_place() -> Iterator[Callable[[], Path]]:
    """Makes folders for stand-ins that run in a process of their own."""
    with tempfile.TemporaryDirectory(prefix="standin-") as folder:
        yield lambda: Path(tempfile.mkdtemp(dir=folder))


@pytest.fixture
def make_bench(request: pytest.FixtureRequest) -> Iterator[Callable[..., Bench]]:
    """Makes stand-ins for one test."""
    with _benches(request) as make:
        yield make


@pytest.fixture(scope="session")
def lasting_bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """An arm64 stand-in that many tests share: what one has left running on it, the next need not load."""
    with _benches(request) as make:
        yield make("arm64")


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Run]:
    """Runs pytest with a configuration, in the checkout; `meanwhile` is called on a thread of its own."""

    def start(
        configuration: str, *arguments: str, timeout: float = 300, meanwhile: Callable[[], None] = lambda: None
    ) -> Run:
        config = tmp_path / "keuos-hil.toml"
        config.write_text(configuration)
        results = tmp_path / "results"
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q", f"--hil-config={config}"]
        command += ["-p", "tests.standin.starved", f"--results={results}", *arguments]
        helper = threading.Thread(target=meanwhile, daemon=True)
        helper.start()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
        helper.join(10)
        file = results / "latest" / "results.json"
        left = json.loads(file.read_text()) if file.is_file() else {}
        return Run(done.returncode, done.stdout + done.stderr, left)

    return start
