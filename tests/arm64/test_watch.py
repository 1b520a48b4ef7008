"""Reads that are watched on arm64, where the machine stands in front of the instruction until it is made to go on."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from keuos_hil.plugins.gdb_watch import GdbWatch

from keuos_hil.image import Elf

LONG = 60.0
PROGRAM = """
	.globl _start
_start:
	adr x0, words
1:	ldp x1, x2, [x0]
	ldr x3, [x0, #8]
	ldr x4, [x0, #16]
	b 1b
	.balign 8
	.globl words
words:	.quad 1, 2, 3
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, int]]:
    """A machine that runs it, with a gdb server: (its socket, where the words lie)."""
    source, elf, socket = tmp_path / "program.S", tmp_path / "program.elf", tmp_path / "gdb"
    source.write_text(PROGRAM)
    command = ["clang", "--target=aarch64-unknown-none-elf", "-nostdlib", "-fuse-ld=lld", "-static"]
    subprocess.run([*command, "-Wl,-Ttext=0x40080000", str(source), "-o", str(elf)], check=True, timeout=LONG)
    words = Elf.load(elf).symbol("words").address
    machine = [
        "qemu-system-aarch64",
        "-M",
        "virt",
        "-cpu",
        "max",
        "-nodefaults",
        "-display",
        "none",
        "-kernel",
        str(elf),
    ]
    with subprocess.Popen([*machine, "-gdb", f"unix:{socket},server=on,wait=off"]) as process:
        try:
            deadline = time.monotonic() + LONG
            while not socket.exists():
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.02)
            yield str(socket), words
        finally:
            process.kill()


def test_each_read_is_told_once_and_each_piece_of_an_instruction_that_reads_two(server: tuple[str, int]) -> None:
    at, words = server
    with GdbWatch(at, [words, words + 8], 8, before=True) as watch:
        told = [watch.next_read(LONG) for _ in range(9)]
    start = told.index(words)  # it was running
    assert start in (0, 1)
    turn = [words, words + 8, words + 8]
    assert told[start:] == (turn * 3)[: 9 - start]


def test_no_read_is_no_read(server: tuple[str, int]) -> None:
    at, words = server
    with GdbWatch(at, [words + 24], 8, before=True) as watch:
        assert watch.next_read(0.2) is None
        assert watch.next_read(0.2) is None
