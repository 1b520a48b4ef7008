"""The fixture that fuzzing tests share."""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent
from keuos_hil.fuzz import Fuzzing
from keuos_hil.image import Image
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .fuzz_run import FuzzRun


@pytest.fixture
def fuzz_run(
    fresh_target: LiveTarget, agent: Agent, image: Image, fuzzing: Fuzzing, record: Recorder, progress: Progress
) -> FuzzRun:
    """A target of the test's own, and what to try on it."""
    return FuzzRun(fresh_target, agent, image, fuzzing, record, progress)
