"""A stand-in by itself, as a person starts it: `python -m tests.standin`."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from . import __main__ as standalone
from .bench import ROOT, Bench
from .damage import Noise


@contextmanager
def standing(place: Path, *arguments: str, end: signal.Signals = signal.SIGTERM) -> Iterator[str]:
    """What it printed; then it is ended by that signal. Its temporary files are in `place`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.standin", *arguments],
        cwd=ROOT, env={**os.environ, "TMPDIR": str(place)}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        said = ""
        while "server = " not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        yield said
        process.send_signal(end)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait(10)
        process.stdout.close()


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_it_leaves_nothing_of_its_own(make_place: Callable[[], Path], end: signal.Signals) -> None:
    place = make_place()
    mine = place / "mine"
    mine.mkdir()
    (mine / "notes").write_text("stay")
    folder = [] if end == signal.SIGINT else [str(mine)]
    with standing(place, "arm64", *folder, "--flip=1e-4", "--baud=115200", end=end) as said:
        table = tomllib.loads(said)["targets"]["standin"]
        assert (table["noisy"], table["baud"]) == (True, 115200)
        subprocess.run(table["power"]["cycle"], check=True, timeout=60)
        assert Path(table["console"]).with_name("pid").exists(), "it is on"
    assert list(place.iterdir()) == [mine]
    assert [path.name for path in mine.iterdir()] == ["notes"]


def test_what_is_asked_of_its_line_is_done_to_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def bench(place: Path, kind: str, **options: Any) -> Bench:
        asked.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(standalone, "Bench", bench)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    words = ["--flip=1e-4", "--drop=0.5", "--insert=1", "--baud=9600"]
    assert standalone.main(["arm64", str(tmp_path / "new"), *words]) == 0
    assert (asked["noise"], asked["baud"]) == (Noise(1e-4, 0.5, 1.0), 9600)
    assert not (tmp_path / "new").exists()


def test_a_rate_that_is_none_is_refused() -> None:
    for wrong in ("--flip=2", "--drop=nan", "--insert=x", "--baud=0"):
        done = subprocess.run(
            [sys.executable, "-m", "tests.standin", "arm64", wrong],
            cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert f"argument {wrong.partition('=')[0]}: invalid" in done.stderr


def test_a_folder_with_a_stand_in_in_it_is_not_taken_from_it(make_bench: Callable[..., Bench]) -> None:
    bench = make_bench("arm64")
    tty = os.readlink(bench.tty)
    done = subprocess.run(
        [sys.executable, "-m", "tests.standin", "arm64", str(bench.place)],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"{bench.place} holds a stand-in" in done.stderr
    assert os.readlink(bench.tty) == tty
    assert "Traceback" not in done.stderr
    subprocess.run([*bench.switch, "cycle"], check=True, timeout=60)
