"""A few faults with each push, others every day; `make mutants` tries them all."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from keuos_hil.locks import file_lock

from .bounded import Bounded
from .catalogue import handful, load, together
from .trial import require_sound, try_fault
from .workshop import ROOT, Workshop

COUNT = 2
#: Which ones: every day others; KEUOS_HIL_MUTANTS_TURN repeats a day's.
TURN = int(os.environ.get("KEUOS_HIL_MUTANTS_TURN") or time.time() // 86400)


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs qemu-system-x86_64")
def test_the_faults_of_the_day_are_killed(tmp_path: Path) -> None:
    faults = handful(load(), COUNT, TURN)
    bounded = Bounded()
    place = ROOT / "build" / "mutants"
    survivors = []
    try:
        with file_lock(place / "lock", 1800):
            workshop = Workshop(place / "workshop-0", bounded)
            with workshop.fault(None) as images:
                require_sound(images, together(faults), tmp_path / "sound", bounded)
            for fault in faults:
                with workshop.fault(fault) as images:
                    verdict = try_fault(fault.name, images, fault.selections(), tmp_path / fault.name, bounded)
                if not verdict.killed:
                    survivors.append(f"{fault.name}: {verdict.word} {verdict.trouble or verdict.elsewhere.noticed}")
    finally:
        bounded.stop()
    assert not survivors, f"at KEUOS_HIL_MUTANTS_TURN={TURN}: " + "; ".join(survivors)
