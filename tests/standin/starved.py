"""A plugin of pytest's for runs on a stand-in, `-p tests.standin.starved`: hardware is never short of a processor.

An emulated board stands still while its host gives the emulator none, and then its silence is the host's. So the clock
of the line, by which every time-out on the board is judged, stands still with it, as the clock of an emulator's own
target does. What lives here: that, and nothing else about boards.
"""

from __future__ import annotations

from pathlib import Path
from weakref import WeakKeyDictionary

import pytest
from keuos_hil.plugins.program_clock import Clock
from keuos_hil.plugins.serial_line import SerialLine


class Starvation:
    """How long the emulators behind one tty have stood still, one after another.

    Args:
        pid: the file that says which process is the board; there is none while the power is off.
    """

    def __init__(self, pid: Path) -> None:
        self._file = pid
        self._clock: Clock | None = None

    def stood(self) -> float:
        """Seconds so far."""
        already = self._clock.stood() if self._clock else 0.0
        try:
            pid = int(self._file.read_text())
        except (OSError, ValueError):  # off, or just being switched
            return already
        if self._clock is None or self._clock.pid != pid:
            self._clock = Clock(pid, already)
        return self._clock.stood()


_patch = pytest.MonkeyPatch()


def pytest_configure() -> None:
    """Have the clocks of all lines stand still."""
    line_clock = SerialLine.clock
    hosts: WeakKeyDictionary[SerialLine, Starvation] = WeakKeyDictionary()

    def clock(line: SerialLine) -> float:
        host = hosts.setdefault(line, Starvation(Path(line.url).with_name("pid")))
        return line_clock(line) - host.stood()

    _patch.setattr(SerialLine, "clock", clock)


def pytest_unconfigure() -> None:
    """Leave them as they were."""
    _patch.undo()
