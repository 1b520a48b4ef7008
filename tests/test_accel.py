"""--accel=auto trusts no /dev/kvm that it has not timed. KVM itself is never touched here: figures take its place."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from keuos_hil.plugins import accel
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options

from keuos_hil.errors import UsageError
from keuos_hil.hookspecs import RunOptions


@pytest.fixture
def device(tmp_path):
    path = tmp_path / "kvm"
    path.write_text("")
    return str(path)


@pytest.mark.parametrize(
    ("kvm", "tcg", "chosen", "why"),
    [
        (0.05, 0.12, "kvm", ""),
        (0.30, 0.12, "tcg", "0.30 s under KVM and 0.12 s under TCG"),
        (None, 0.12, "tcg", "failed, or took more than 10 s"),
        (0.05, None, "kvm", ""),
    ],
)
def test_the_faster_of_the_two_is_taken_and_a_fall_back_says_why(device, capsys, kvm, tcg, chosen, why):
    asked = []

    def measured(binary, which):
        asked.append((binary, which))
        return {"kvm": kvm, "tcg": tcg}[which]

    assert accel.choose_accel("some-qemu", measured, device) == chosen
    assert why in capsys.readouterr().err
    assert all(binary == "some-qemu" for binary, _ in asked)


def test_without_a_device_nothing_is_timed(tmp_path, capsys):
    def never(binary, which):
        raise AssertionError("timed")

    assert accel.choose_accel("qemu", never, str(tmp_path / "none")) == "tcg"
    assert "can't be opened" in capsys.readouterr().err


def test_the_loop_really_runs_in_long_mode_under_tcg():
    seconds = accel.measure("qemu-system-x86_64", "tcg")
    assert seconds is not None
    assert seconds < accel._LIMIT_S


def test_a_guest_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(accel, "_LIMIT_S", 0.5)
    monkeypatch.setattr(accel, "_LOOPS", 0)  # counts through 2^32
    assert accel.measure("qemu-system-x86_64", "tcg") is None


def test_a_killed_python_leaves_no_probe(tmp_path):
    script = (
        "from keuos_hil.plugins import accel\n"
        "accel._LIMIT_S, accel._LOOPS = 600, 0\n"
        "accel.measure('qemu-system-x86_64', 'tcg')\n"
    )

    def probes():
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                line = entry.read_bytes()
            except OSError:
                continue
            if str(tmp_path).encode() in line and b"qemu-system" in line:
                found.append(entry.parent.name)
        return found

    def until(wanted):
        deadline = time.monotonic() + 30
        while bool(probes()) != wanted and time.monotonic() < deadline:
            time.sleep(0.01)
        return bool(probes()) == wanted

    with subprocess.Popen([sys.executable, "-c", script], env=os.environ | {"TMPDIR": str(tmp_path)}) as child:
        try:
            assert until(True), "the probe never started"
        finally:
            child.kill()
    assert until(False), "the probe outlived the process that started it"


def test_an_emulator_that_fails_or_is_missing_is_no_measurement(monkeypatch):
    assert accel.measure("qemu-of-another-planet", "tcg") is None
    assert accel.measure("qemu-system-x86_64", "no-such-accelerator") is None


@pytest.mark.parametrize(("accel", "has"), [("tcg", True), ("kvm", False)])
def test_reads_can_be_watched_only_where_qemu_carries_them_out(accel, has):
    assert ("watch" in QemuX86("q", QemuX86Options(), RunOptions(accel=accel)).capabilities) is has


def test_choices_that_contradict_each_other_are_refused():
    with pytest.raises(UsageError, match="can't be combined"):
        QemuX86("q", QemuX86Options(), RunOptions(timebase="instructions", accel="kvm"))
    with pytest.raises(UsageError, match="needs a real counter"):
        QemuX86("q", QemuX86Options(), RunOptions(timebase="silicon"))
    with pytest.raises(UsageError, match="expected a number with K, M or G"):
        QemuX86("q", QemuX86Options(memory="lots"), RunOptions())
