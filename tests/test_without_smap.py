"""Protections of the CPU are a second line: without SMAP and SMEP nothing of a process becomes the kernel's either."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from keuos_hil import bundled
from keuos_hil.image import Elf

ROOT = Path(__file__).resolve().parents[1]
LONG = 240.0


def test_no_hostile_instruction_leads_into_the_kernel_without_smap_and_smep(tmp_path: Path) -> None:
    """A descriptor table at a process's address is read by the CPU itself: only SMAP would keep far calls from that."""
    command = [sys.executable, "-m", "pytest", "suites/boot/test_cpu_state.py", "-q", "-p", "no:cacheprovider"]
    command += [
        "-k",
        "hostile_instructions and illegal",
        "--qemu-cpu=max,-smap,-smep",
        "--require=agent",
        f"--results={tmp_path}",
    ]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert run.returncode == 0, run.stdout[-4000:]
    assert re.search(r"1 passed", run.stdout), run.stdout[-400:]
    probe = Elf.load(bundled.paths("x86_64", "release").kernel.parents[1] / "user" / "probe.elf")
    assert len([name for name in probe.symbols if name.startswith("attempt_illegal_far_call_through_")]) > 10
    [console] = tmp_path.rglob("console.log")
    line = next(line for line in console.read_bytes().splitlines() if line.startswith(b"protection:"))
    assert b"no-SMAP" in line, f"the CPU has SMAP after all, so nothing was shown: {line!r}"
    assert b"no-SMEP" in line, f"the CPU has SMEP after all, so nothing was shown: {line!r}"
