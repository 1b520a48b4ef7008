"""The fuzzers' kept inputs are run again, and a while is spent on new ones; `make -C netd fuzz` for more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.netd.conftest import make

CORPUS = Path(__file__).with_name("corpus")
RUNS = 20_000
LINES = 0.9  # of each folder that the kept inputs have to reach


@pytest.mark.parametrize("name", ["wire", "stack"])
def test_no_input_makes_a_sanitizer_or_the_audit_complain(name, tmp_path):
    program = make("fuzzers") / "fuzzers" / name
    fresh = tmp_path / "corpus"
    fresh.mkdir()
    command = [program, f"-runs={RUNS}", "-seed=1", "-max_len=700", "-timeout=30", fresh, CORPUS / name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]


def test_an_input_that_once_found_a_fault_stays_when_the_corpus_is_renewed(tmp_path):
    kept = tmp_path / "corpus" / "wire"
    kept.mkdir(parents=True)
    for name in ("wire-crash-1", "wire-crash-2", "0" * 40):
        (kept / name).write_bytes(b"\0the same, so that one of them is enough")
    make("corpus", f"CORPUS={kept.parent}", f"FOUND={tmp_path / 'found'}", "FUZZERS=wire")
    names = {path.name for path in kept.iterdir()}
    assert {name for name in names if "-" in name} == {"wire-crash-1", "wire-crash-2"}
    assert len(names) == 3, "of the others, as few as reach what all do"


def lines_run(listing: str) -> dict[str, tuple[int, int]]:
    """Of llvm-cov's annotated sources, by folder: lines of code that ran, and all."""
    counts: dict[str, tuple[int, int]] = {}
    folder = ""
    for line in listing.splitlines():
        if line.endswith(".c:"):
            folder = Path(line).parent.name
            continue
        number, _, rest = line.partition("|")
        times, found, _ = rest.partition("|")
        if not number.strip().isdigit() or not found or not times.strip():
            continue
        run, every = counts.get(folder, (0, 0))
        counts[folder] = run + (times.strip() != "0"), every + 1
    return counts


def test_the_kept_inputs_reach_nine_tenths_of_the_lines():
    listing = make("coverage") / "covered" / "lines.txt"
    counts = lines_run(listing.read_text())
    assert set(counts) == {"wire", "stack", "services"}
    shares = {folder: run / every for folder, (run, every) in counts.items()}
    assert min(shares.values()) >= LINES, shares


def test_the_audit_names_every_damage(build):
    done = subprocess.run([build / "damage"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(done.stdout.splitlines()) == 28
