"""docs/writing-a-target.md is right: its target is taken out of the page and run."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from keuos_hil.page_tables import ARCHITECTURES, format_for

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


CONFIGURATION = """[targets.mine]
type = "simulator"
program = "./simulate"
"""
RISCV = 243  # EM_RISCV: an architecture that nothing here knows


def _run(pytester, page, kernel):
    """The tests above, on the page's target."""
    pytester.makeconftest(page)
    pytester.path.joinpath("keuos-hil.toml").write_text(CONFIGURATION)
    simulator = pytester.path / "simulate"
    simulator.write_text(SIMULATOR.format(python=sys.executable))
    simulator.chmod(0o755)
    pytester.makepyfile(TESTS)
    return pytester.runpytest_subprocess(
        "-p", "no:cacheprovider", "-rA", "--target=mine", f"--kernel={kernel}", timeout=120
    )


def test_the_target_on_the_page_works(pytester, tiny_elf, page):
    assert re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0] == CONFIGURATION
    result = _run(pytester, re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0], tiny_elf("spin"))
    result.assert_outcomes(passed=3, failed=1, skipped=1)
    result.stdout.fnmatch_lines_random(["*kernel panic: as asked*", "*needs 'debug': target mine lacks it*"])


def test_a_third_architecture_needs_a_target_and_nothing_else(pytester, tiny_elf, page):
    kernel = bytearray(tiny_elf("spin").read_bytes())
    kernel[18:20] = RISCV.to_bytes(2, "little")  # e_machine
    pytester.path.joinpath("riscv.elf").write_bytes(kernel)
    code = re.findall(r"```python\n(.*?)```", page, re.DOTALL)[0]
    result = _run(pytester, code.replace('"x86_64"', '"riscv"'), "riscv.elf")
    result.assert_outcomes(passed=3, failed=1, skipped=1)


ROOT = PAGE.parents[1]
#: What knows architectures in keuos_hil: the auditor's formats of page tables.
FORMATS = ROOT / "keuos_hil" / "page_tables"


def test_no_suite_and_nothing_of_the_framework_goes_by_the_architecture():
    """No table and no comparison has its name: what differs is the target's, the image's or the format's to say."""
    names = {*ARCHITECTURES, *(format_for(name).machine for name in ARCHITECTURES), "aarch64", "x86-64"}
    sources = [
        p for top in ("suites", "keuos_hil") for p in sorted((ROOT / top).rglob("*.py")) if FORMATS not in p.parents
    ]
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} has {node.value!r}"
        for path in sources
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Constant) and node.value in names
    ]
    assert len(sources) > 100
    assert found == []


def test_every_name_on_the_page_exists(page):
    import importlib

    for dotted in sorted(set(re.findall(r"`(keuos_hil(?:\.[a-z_]+)+)`", page))):
        try:
            importlib.import_module(dotted)
        except ModuleNotFoundError:
            module, _, name = dotted.rpartition(".")
            assert hasattr(importlib.import_module(module), name), dotted
