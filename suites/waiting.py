"""Waiting for what only looking can tell. Every suite that must look again and again does it by this."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from keuos_hil.errors import WaitTimeout
from keuos_hil.rig import LiveTarget

T = TypeVar("T")

#: Seconds, in the target's pace, in which what has begun must be complete.
SETTLE_S = 30.0
#: Between two looks at a machine's memory from outside, at least; and so many times as long as a look took.
_LOOK_S, _REST = 0.0002, 4


def until(target: LiveTarget, what: str, found: Callable[[], T], timeout: float = SETTLE_S) -> T:
    """Ask `found` until it gives something that is true: that.

    Raises:
        WaitTimeout: `what` was expected within `timeout` seconds and did not come.
    """
    deadline = target.console.clock() + timeout
    while True:
        result = found()
        if result:
            return result
        if target.console.clock() >= deadline:
            raise WaitTimeout(f"expected {what} within {timeout:g} s.\n{target.console.describe()}")


def look(found: Callable[[], bool]) -> bool:
    """Whether `found`, a look into memory from outside, is true; if it is not, the target is left alone for a while.

    A probe stops the machine for each look, and what is looked for has to go on between them.
    """
    began = time.monotonic()
    if found():
        return True
    time.sleep(max(_LOOK_S, _REST * (time.monotonic() - began)))
    return False
