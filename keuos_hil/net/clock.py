"""Time as the target has it: what a case asks for instead of sleeping.

:class:`RealTime` is the last resort: the target's clock cannot be had, so the test waits as long as it says. A target
with a clock that can be wound brings a :class:`Clock` of its own.
"""

from __future__ import annotations

import time
from typing import Protocol

from keuos_hil.parts import Link


class Clock(Protocol):
    """The target's time, in seconds."""

    @property
    def winds(self) -> bool:
        """Whether :meth:`wait` takes no real time."""
        ...

    def now(self) -> float:
        """The time now; only differences mean something."""
        ...

    def receive(self, link: Link, most: float) -> bytes | None:
        """The next frame from `link`; None once `most` seconds of the target's time have passed without one."""
        ...


class RealTime:
    """The host's own clock, which the target's follows."""

    winds = False

    def now(self) -> float:
        """See Clock.now."""
        return time.monotonic()

    def receive(self, link: Link, most: float) -> bytes | None:
        """See Clock.receive."""
        return link.receive(max(0.0, most))
