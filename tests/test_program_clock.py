"""The clock of a program that its host gives no processor."""

from __future__ import annotations

import os
import time

import pytest
from keuos_hil.plugins.program_clock import Clock, Pace

from tests.starving import starved_process


@pytest.mark.parametrize(
    ("waited", "own"),
    [
        ([0.0, 0.0, 0.0], 3.0),
        ([0.5, 1.0, 1.5], 1.5),  # two threads that wait for each other and for a processor by turns
        ([2.0, 4.0, 6.0], 0.3),  # both at once: a hang is found out all the same
        ([0.5, 0.2, 0.2], 2.5),  # a thread ended, and what it had waited is no longer told
    ],
)
def test_a_program_s_clock_stands_while_a_thread_of_it_wants_a_processor(waited: list[float], own: float) -> None:
    pace = Pace(10.0)
    for second, seconds in enumerate(waited, 1):
        pace = pace.at(10.0 + second, seconds)
    assert 3.0 - pace.stood == pytest.approx(own)


def test_a_wait_counts_while_it_lasts_and_not_only_when_it_is_over() -> None:
    with starved_process() as pid:
        began = time.monotonic()
        clock = Clock(pid)
        assert clock.stood() <= time.monotonic() - began, "what it waited before does not count"
        while (passed := time.monotonic() - began) < 1:
            clock()
            time.sleep(0.06)
        assert clock.stood() > passed / 2
    stood = clock.stood()
    time.sleep(0.1)
    assert clock.stood() == stood, "it is gone"


def test_a_program_that_sleeps_has_its_time() -> None:
    clock = Clock(os.getpid())
    began = clock()
    time.sleep(0.5)
    assert clock() - began > 0.4
