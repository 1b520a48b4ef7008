"""A few faults with each push, others every day; `make mutants` tries them all."""

from __future__ import annotations

import os
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from keuos_hil.locks import file_lock

from .bounded import Bounded
from .catalogue import by_product, handful, load, together
from .trial import confirmed, require_sound, try_fault
from .workshop import ROOT, Workshop

#: Which ones: every day others; KEUOS_HIL_MUTANTS_TURN repeats a day's.
TURN = int(os.environ.get("KEUOS_HIL_MUTANTS_TURN") or time.time() // 86400)


@pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="needs qemu-system-x86_64")
def test_the_faults_of_the_day_in_the_kernel_are_killed(tmp_path: Path) -> None:
    _try("kernel", 2, tmp_path)


def test_the_faults_of_the_day_in_netd_are_killed(tmp_path: Path) -> None:
    _try("netd", 4, tmp_path)


def _try(product: str, count: int, directory: Path) -> None:
    faults = handful(by_product(load())[product], count, TURN)
    bounded = Bounded()
    place = ROOT / "build" / "mutants"
    survivors = []
    try:
        with file_lock(place / "lock", 1800):
            workshop = Workshop(place / "workshop-0", bounded)
            require_sound(workshop.sound(product), together(faults), directory / "sound", bounded)
            for fault in faults:
                with workshop.fault(fault) as built:
                    verdict = try_fault(fault.name, built, fault.selections(), directory / fault.name, bounded)
                sound = partial(workshop.sound, product)
                verdict = confirmed(verdict, sound, fault.selections(), directory / fault.name, bounded)
                if not verdict.killed:
                    survivors.append(f"{fault.name}: {verdict.word} {verdict.trouble or verdict.elsewhere.noticed}")
    finally:
        bounded.stop()
    assert not survivors, f"at KEUOS_HIL_MUTANTS_TURN={TURN}: " + "; ".join(survivors)
