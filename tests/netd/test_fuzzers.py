"""The fuzzers' kept inputs are run again, and a while is spent on new ones; `make -C netd fuzzers` for more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.netd.conftest import make

CORPUS = Path(__file__).with_name("corpus")
RUNS = 20_000


@pytest.mark.parametrize("name", ["wire", "stack"])
def test_no_input_makes_a_sanitizer_complain(name, tmp_path):
    program = make("fuzzers") / "fuzzers" / name
    fresh = tmp_path / "corpus"
    fresh.mkdir()
    command = [program, f"-runs={RUNS}", "-seed=1", "-max_len=700", "-timeout=30", fresh, CORPUS / name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
