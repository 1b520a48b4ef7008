"""docs/writing-a-target.md is right: its target is taken out of the page and run."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

PAGE = Path(__file__).parent.parent / "docs" / "writing-a-target.md"

SIMULATOR = """#!{python}
import sys
out = sys.stdout.buffer
out.write(b"KeuOS 1.0 simulated\\r\\n> "); out.flush()
for line in sys.stdin.buffer:
    if line == b"panic\\n":
        out.write(b"KEUOS PANIC: as asked\\r\\nKEUOS PANIC END\\r\\n")
    elif line == b"leave\\n":
        sys.exit(0)
    out.write(line + b"> "); out.flush()
"""

TESTS = """
import pytest
from keuos_hil.errors import Exited, Panic

def test_echo(console):
    console.expect("simulated")
    console.write("hello\\n")
    console.expect("hello\\n> ")

def test_panic(console, target):
    console.write("panic\\n")
    assert isinstance(target.wait_end(), Panic)

def test_leaving(console, target):
    console.write("leave\\n")
    end = target.wait_end()
    assert isinstance(end, Exited)
    assert end.status == 0

def test_a_panic_that_nobody_expects(console):
    console.write("panic\\n")
    console.expect("something that never comes", 60)

@pytest.mark.needs("debug")
def test_debug(target):
    raise AssertionError("not reached")
"""


@pytest.fixture
def page():
    return PAGE.read_text()


def test_the_target_on_the_page_works(pytester, tiny_elf, page):
    pytester.makeconftest(re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0])
    pytester.path.joinpath("keuos-hil.toml").write_text(re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0])
    simulator = pytester.path / "simulate"
    simulator.write_text(SIMULATOR.format(python=sys.executable))
    simulator.chmod(0o755)
    pytester.makepyfile(TESTS)
    result = pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-rA", "--target=mine", f"--kernel={tiny_elf('spin')}", timeout=120
    )
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    result.stdout.fnmatch_lines_random(["*kernel panic: as asked*", "*needs 'debug': target mine lacks it*"])


def test_every_name_on_the_page_exists(page):
    import importlib

    for dotted in sorted(set(re.findall(r"`(keuos_hil(?:\.[a-z_]+)+)`", page))):
        try:
            importlib.import_module(dotted)
        except ModuleNotFoundError:
            module, _, name = dotted.rpartition(".")
            assert hasattr(importlib.import_module(module), name), dotted
