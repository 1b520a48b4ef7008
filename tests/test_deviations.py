"""The deviations beside suites/tcp name tests that exist, and say of each where, what instead, and by which text."""

from __future__ import annotations

import fnmatch
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = sorted((ROOT / "suites" / "tcp").glob("deviations*.toml"))
ENTRIES = [entry for path in FILES for entry in tomllib.loads(path.read_text())["deviation"]]


def test_every_entry_is_whole():
    for entry in ENTRIES:
        assert set(entry) - {"run"} == {"system", "tests", "reason", "text"}
        re.compile(entry["system"])
        assert entry["system"].startswith(("Linux ", "lwIP "))
        assert re.match(r"RFC \d+(, \d|:)", entry["text"]), entry["text"]


def test_every_pattern_fits_a_test(pytester: pytest.Pytester):
    arguments = ("-p", "no:cacheprovider", "--collect-only", "-q", "--target=linux", "-m", "slow or not slow")
    result = pytester.runpytest_subprocess(
        *arguments,
        "--rootdir",
        str(ROOT),
        "-c",
        str(ROOT / "pyproject.toml"),
        str(ROOT / "suites" / "tcp"),
        timeout=300,
    )
    found = [line.removeprefix("suites/") for line in result.outlines if "::" in line]
    names = [re.sub(r"\[linux-?", "[", line).removesuffix("[]") for line in found]
    assert len(names) > 400
    for entry in ENTRIES:
        for glob in entry["tests"]:
            assert any(fnmatch.fnmatchcase(name, glob.replace("[", "[[]")) for name in names), f"{glob} fits no test"
