"""The same kernel file boots through GRUB: the boot suite, on the same target, from a CD image."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from keuos_hil.errors import InfraError

ROOT = Path(__file__).resolve().parents[1]
LONG = 240.0


def _boot_suite(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "suites/boot/test_boot.py", "-q", "-p", "no:cacheprovider"]
    command += ["--qemu-boot=grub", f"--results={tmp_path}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=False)


@pytest.mark.skipif(shutil.which("grub-mkrescue") is None, reason="needs grub-mkrescue and xorriso")
def test_boot_suite_passes_behind_grub(tmp_path: Path) -> None:
    # Without the measurement, which boots a dozen times through a BIOS.
    run = _boot_suite(tmp_path, "-k", "not recorded")
    assert run.returncode == 0, run.stdout[-4000:]
    assert re.search(r"\d\d passed", run.stdout), run.stdout[-400:]
    logs = list(tmp_path.rglob("console.log"))
    assert any(b"by multiboot2" in log.read_bytes() for log in logs), logs


def test_missing_tools_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    from keuos_hil.plugins import grub_iso

    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(InfraError, match=r"grub-mkrescue.*apt-get install"):
        grub_iso.require()


def test_a_boot_method_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    run = _boot_suite(tmp_path, "--qemu-boot=floppy")
    assert run.returncode == 4
    assert "expected direct or grub" in run.stdout + run.stderr
