"""Fixtures of the framework's own tests: tiny kernels, built with clang, and QEMU sessions that run them."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options

from keuos_hil.hookspecs import RunOptions
from keuos_hil.image import Image
from keuos_hil.oracle import GateAbi
from keuos_hil.parts import Session

_HERE = Path(__file__).parent


def _print(*lines: str) -> str:
    return "; ".join(f'say "{line}\\r\\n"' for line in lines)


_PULSE_RESET = "mov $0x64, %dx; mov $0xfe, %al; out %al, %dx; stop"
_LINES = (
    "TEST:spsc:BEGIN",
    "TEST:spsc:init:PASS",
    "TEST:spsc:wrap:FAIL expected 1, got 2",
    "TEST:spsc:numa:SKIP one node",
    "BENCH:ipc:avg=174 min=150",
    "BENCH:b[/ig]:worst=1e999 n=3",
    "TEST:spsc:PARTIAL 1 of 3",
)
#: What each tiny kernel does after its banner line, in assembly.
MODES = {
    "silent": "stop",
    "spin": "1: pause; jmp 1b",
    "lines": _print(*_LINES) + "; stop",
    "repeat": f"1: {_print('TEST:s:a:PASS', 'TEST:s:b:FAIL broken')}; jmp 1b",
    "passes_then_panics": _print(*(f"TEST:s:{name}:PASS" for name in "abc"), "KEUOS PANIC: tiny broke") + "; stop",
    "panic": _print("KEUOS PANIC: tiny broke", "rip=0x1234", "KEUOS PANIC END") + "; stop",
    "panic_reset": _print("KEUOS PANIC: then it reset") + "; " + _PULSE_RESET,
    "triple": "lidt empty_idt; int3; stop",
    "reset": _PULSE_RESET,
    "triple_then_reset": "incl 0x300000; cmpl $1, 0x300000; jne 1f; lidt empty_idt; int3; 1: " + _PULSE_RESET,
    "echo": "1: call get; call put; jmp 1b",
    "flood": f"1: {_print('all work and no play')}; jmp 1b",
    "exit": "mov $0xf4, %dx; mov $1, %al; out %al, %dx; stop",
    "count": "1: incl counter; jmp 1b",
}


_CHANNEL_LAYOUTS = (
    "#include <keuos/channel.h>\nstruct keuos_descriptor d; struct keuos_template t;\nvoid _start(void) {}\n"
)


@pytest.fixture(scope="session")
def abi(tmp_path_factory: pytest.TempPathFactory) -> GateAbi:
    """What the gates go by, from an object that includes the kernel's own header."""
    place = tmp_path_factory.mktemp("abi")
    (place / "x.c").write_text(_CHANNEL_LAYOUTS)
    include = _HERE.parent / "kernel" / "include"
    flags = ["--target=x86_64-elf", "-g", "-ffreestanding", "-fno-eliminate-unused-debug-types", f"-I{include}"]
    subprocess.run(["clang", *flags, "-c", "x.c", "-o", "x.o"], cwd=place, check=True)
    subprocess.run(["ld.lld", "x.o", "-o", "x.elf"], cwd=place, check=True)
    return GateAbi.of(Image.load(place / "x.elf"))


@pytest.fixture(scope="session")
def tiny_elf(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The ELF of a tiny kernel, built when first asked for."""
    place = tmp_path_factory.mktemp("tiny")

    def build(mode: str) -> Path:
        elf = place / f"{mode}.elf"
        if not elf.exists():
            for tool in ("clang", "ld.lld"):
                if shutil.which(tool) is None:
                    pytest.fail(f"{tool} is not installed; `make setup` installs it")
            source = place / f"{mode}.S"
            body = MODES[mode].replace("; ", "\n\t")
            source.write_text((_HERE / "kernels" / "tiny.S").read_text() + f"\t.text\nmode:\n\t{body}\n")
            objects = place / f"{mode}.o"
            subprocess.run(["clang", "--target=x86_64-elf", "-c", source, "-o", objects], check=True)
            subprocess.run(
                ["ld.lld", "--build-id", "-z", "max-page-size=4096", "--image-base=0x100000", objects, "-o", elf],
                check=True,
            )
        return elf

    return build


@pytest.fixture
def boot(tiny_elf: Callable[[str], Path], tmp_path: Path) -> Iterator[Callable[..., Session]]:
    """Boot a tiny kernel on qemu-x86; the sessions are closed behind the test."""
    sessions: list[Session] = []
    count = itertools.count()

    def start(mode: str, run: RunOptions | None = None, **options: Any) -> Session:
        target = QemuX86("qemu-x86", QemuX86Options(**{"memory": "64M", **options}), run or RunOptions())
        directory = tmp_path / f"session-{next(count)}"
        directory.mkdir()
        sessions.append(target.open(Image.load(tiny_elf(mode)), directory))
        return sessions[-1]

    yield start
    for session in sessions:
        session.close()
