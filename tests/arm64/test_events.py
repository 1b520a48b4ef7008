"""The SMMU's event queue under a device that makes events as fast as the kernel takes them."""

from __future__ import annotations

import subprocess
from pathlib import Path

HERE = Path(__file__).parent
KERNEL = HERE.parents[1] / "kernel"
LONG = 60.0
#: Of the queue (EVENTS_BITS in smmu.c), and how many events the device makes (endless_events.c).
PLACES = 128
MADE = 10 * PLACES + 3
START = """
	.globl _start
_start:
	adrp x0, stack_end
	add sp, x0, :lo12:stack_end
	bl main
	.bss
	.balign 16
	.skip 8192
stack_end:
"""


def test_an_interrupt_takes_a_queue_of_events_and_what_is_left_interrupts_again(tmp_path: Path) -> None:
    """The unit itself is silent about what comes into a queue that is not empty."""
    (tmp_path / "start.S").write_text(START)
    flags = ["--target=aarch64-unknown-none-elf", "-std=c17", "-O2", "-ffreestanding", "-nostdlibinc", "-nostdlib"]
    flags += ["-Wall", "-Wextra", "-Werror", "-Wno-unused-function", "-Wno-main", "-mgeneral-regs-only"]
    flags += ["-mstrict-align"]  # there are no tables yet, so that all memory is a device's
    flags += ["-ffunction-sections", "-fdata-sections", "-static", "-fuse-ld=lld"]
    flags += ["-Wl,--gc-sections,-Ttext=0x40080000"]
    flags += [f"-I{KERNEL / folder}" for folder in ("arch/arm64", "arch/arm64/include", "include")]
    program = tmp_path / "program.elf"
    sources = [str(HERE / "endless_events.c"), str(tmp_path / "start.S")]
    subprocess.run(["clang", *flags, *sources, "-o", str(program)], check=True, timeout=LONG)
    machine = ["qemu-system-aarch64", "-M", "virt", "-cpu", "max", "-nodefaults", "-display", "none"]
    machine += ["-semihosting-config", "enable=on,target=native", "-serial", "stdio", "-kernel", str(program)]
    run = subprocess.run(machine, capture_output=True, text=True, timeout=LONG, check=True)
    *taken, left = map(int, run.stdout.split())
    assert taken == [PLACES] * (MADE // PLACES) + [MADE % PLACES]
    assert left == 0
