"""What a fuzzing test is given, in one piece, and what the two speeds of fuzzing have in common."""

from __future__ import annotations

from dataclasses import dataclass

from keuos_hil.agent import Agent
from keuos_hil.fuzz import Fuzzing
from keuos_hil.image import Image
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget


@dataclass(frozen=True)
class FuzzRun:
    """The fixtures of those names; the target is one of the test's own."""

    target: LiveTarget
    agent: Agent
    image: Image
    fuzzing: Fuzzing
    record: Recorder
    progress: Progress

    @property
    def counts_instructions(self) -> bool:
        """Whether an emulator counts: there both cores take turns, and a run shows no more than that it works."""
        return self.target.timebase.name == "instructions"
