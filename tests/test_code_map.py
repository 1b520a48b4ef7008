"""Whose each byte of code is: functions, those inlined into them, and what has no debug information."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from keuos_hil.code_map import CodeMap, Function
from keuos_hil.image import Elf

SOURCE = """
static inline __attribute__((always_inline)) int inner(int x) { return x * x + 7; }
__attribute__((noinline)) int outer(int x) { for (int i = 0; i < x; i++) x ^= inner(i); return x; }
__asm__(".text\\n.type by_hand, @function\\nby_hand: nop\\nnop\\nret\\n.size by_hand, . - by_hand");
int by_hand(void);
void _start(void) { outer(by_hand()); for (;;); }
"""


@pytest.fixture(scope="module")
def elf(tmp_path_factory):
    compiler = shutil.which("clang") or shutil.which("gcc")
    assert compiler, "the kernel's own compiler is missing"
    folder = tmp_path_factory.mktemp("code") / "netd" / "stack"
    folder.mkdir(parents=True)
    (folder / "some.c").write_text(SOURCE)
    flags = ["-O2", "-g", "-gdwarf-4", "-ffreestanding", "-nostdlib", "-static", "-fno-pie", "-no-pie"]
    command = [compiler, *flags, str(folder / "some.c"), "-o", str(folder / "some.elf")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return Elf.load(folder / "some.elf")


def counted(elf, **by_symbol):
    """Counts as a machine has them that executed the first instruction of each symbol so often."""
    code = CodeMap(elf)
    counts = {segment.virtual: np.zeros(segment.memory_size, dtype=np.uint64) for segment in code.segments}
    for name, times in by_symbol.items():
        address = elf.symbol(name).address
        for start, array in counts.items():
            if start <= address < start + len(array):
                array[address - start] += times
    return code, counts


def test_an_instruction_belongs_to_the_function_that_it_lies_in(elf):
    code, counts = counted(elf, outer=5, by_hand=3)
    sums = code.sums(counts)
    assert sums == {Function("outer", "netd/stack/some.c"): 5, Function("by_hand", ""): 3}


def test_what_was_inlined_goes_by_its_own_name(elf):
    code, counts = counted(elf)
    outer = elf.symbol("outer")
    for start, array in counts.items():
        if start <= outer.address < start + len(array):
            array[outer.address - start : outer.address - start + outer.size] = 1
    sums = code.sums(counts)
    assert {function.name for function in sums} == {"outer", "inner"}
    assert sum(sums.values()) == outer.size


def test_a_file_without_debug_information_goes_by_its_symbols(elf, tmp_path):
    (tmp_path / "whole").write_bytes(elf.data)
    strip = shutil.which("strip") or shutil.which("llvm-strip")
    assert strip
    subprocess.run([strip, "-g", str(tmp_path / "whole")], check=True, timeout=60)
    code, counts = counted(Elf.load(tmp_path / "whole"), outer=2)
    assert code.sums(counts) == {Function("outer", ""): 2}
