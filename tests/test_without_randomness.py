"""A machine without a source of randomness: no channels, no random bytes, and everything else as ever."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LONG = 240.0

SUITE = """
import pytest

from keuos_hil.errors import Refused

pytestmark = pytest.mark.needs("agent", "channels")


@pytest.mark.parametrize("mode", ["polled", "polled_proof", "verified"])
def test_no_channel_is_bound(target, agent, mode):
    one, other = (agent.spawn("sleeper", suspended=True) for _ in range(2))
    with pytest.raises(Refused, match=r"(?i)eentropy"):
        agent.bind(one, other, mode)


def test_no_random_bytes_are_given(target, agent):
    process = agent.spawn("probe", suspended=True)
    constant = process.elf.layouts.constant
    at = process.elf.symbol("results").address
    process.write_struct("params", op=constant("PROBE_SYSCALL"), number=constant("KEUOS_SYS_GETRANDOM"),
                         args=[at, 8, 0, 0, 0, 0])
    process.start()
    assert process.wait_exit().ok
    assert process.read_struct("results").value == 2**64 - constant("KEUOS_EENTROPY")
"""


@pytest.mark.parametrize(
    "machine",
    [
        ["--target=qemu-x86", "--qemu-cpu=max,-rdrand"],
        ["--target=qemu-arm64", "--qemu-cpu=cortex-a57", "--qemu-machine=virt,gic-version=3,dtb-randomness=off"],
    ],
    ids=["x86_64", "arm64"],
)
def test_without_randomness_there_are_no_keys_and_so_no_channels(tmp_path: Path, machine: list[str]) -> None:
    suite = tmp_path / "test_no_keys.py"
    suite.write_text(SUITE)
    command = [sys.executable, "-m", "pytest", str(suite), "-q", "-p", "no:cacheprovider", f"--rootdir={ROOT}"]
    command += [*machine, "--require=agent", f"--results={tmp_path}"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert re.search(r"4 passed", run.stdout), run.stdout[-400:]
