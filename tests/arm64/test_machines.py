"""The arm64 kernel on machines of other kinds: older cores, either interrupt controller, entered at EL2 or EL1."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LONG = 240.0
#: It comes up, each core runs processes and is interrupted, sealed messages pass from one to the other.
CASES = "every_core or take_turns_on_one or same_core_verified_sleeping or verified_in_batches"


@dataclass(frozen=True)
class Machine:
    """One kind.

    Attributes:
        options: for pytest, that make it.
        missing: what the kernel's line of protections must say that it lacks.
    """

    options: tuple[str, ...]
    missing: frozenset[str] = field(default=frozenset())


MACHINES = {
    "cortex_a57_gicv2": Machine(("--qemu-cpu=cortex-a57", "--qemu-machine=virt,gic-version=2"), frozenset({"no-PAN"})),
    "el2": Machine(("--qemu-machine=virt,gic-version=3,virtualization=on",)),
    "el2_gicv2_cortex_a72_four_cores": Machine(
        ("--qemu-cpu=cortex-a72", "--qemu-machine=virt,gic-version=2,virtualization=on", "--qemu-cores=4"),
        frozenset({"no-PAN"}),
    ),
    "one_core": Machine(("--qemu-cores=1",)),
}


@pytest.mark.parametrize("kind", MACHINES)
def test_the_kernel_runs_on_it_and_says_what_it_lacks(tmp_path: Path, kind: str) -> None:
    machine = MACHINES[kind]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "suites/boot/test_boot.py",
        "suites/ring/test_stream.py",
        "-q",
        "-p",
        "no:cacheprovider",
        "--target=qemu-arm64",
    ]
    command += ["-k", CASES, "--require=agent", *machine.options, f"--results={tmp_path}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert re.search(r"\d+ passed", run.stdout), run.stdout[-400:]
    console = next(iter(sorted(tmp_path.rglob("console.log")))).read_bytes()
    [line] = {line for line in console.splitlines() if line.startswith(b"protection:")}
    said = {word.decode() for word in line.split() if word.startswith(b"no-")} - {"no-IOMMU"}
    assert said == machine.missing, line
    assert line.split()[-2] == b"entropy", line
