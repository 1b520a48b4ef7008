"""Time as the target has it: what a case asks for instead of sleeping.

:class:`RealTime` is the last resort: the target's clock cannot be had, so the test waits as long as it says. A target
with a clock that can be wound brings a :class:`Clock` of its own.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """The target's time, in seconds."""

    @property
    def winds(self) -> bool:
        """Whether :meth:`wait` takes no real time."""
        ...

    def now(self) -> float:
        """The time now; only differences mean something."""
        ...

    def slice(self, most: float) -> float:
        """How long a test may block on the link now, in real seconds, if `most` seconds of the target's are left."""
        ...


class RealTime:
    """The host's own clock, which the target's follows."""

    winds = False

    def now(self) -> float:
        """See Clock.now."""
        return time.monotonic()

    def slice(self, most: float) -> float:
        """See Clock.slice."""
        return max(0.0, most)
