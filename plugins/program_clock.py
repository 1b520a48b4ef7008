"""The time that a program of this host has had: seconds, less those in which it was ready and got no processor.

What lives here: how long its threads have waited, and how much of that counts. What must not: starting programs, and
what is judged by the clock (an emulator's silence, see keuos_hil.console).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

#: How often it is looked at what a program waits for, and the share of the time between that can be standing still.
_LOOK_S = 0.05
_STANDS_MOST = 0.9


@dataclass(frozen=True)
class Pace:
    """How long a program has stood still for want of a processor.

    While any of its threads waits, all of it does: an emulator's cores wait for each other, by turns. But a little of a
    second counts as its own, so that one that hangs on a loaded host is found out in the end.

    Attributes:
        read_at: when that was looked at last.
        waited: by all threads together, since they began, in seconds.
        stood: seconds that are taken off the host's clock.
    """

    read_at: float
    waited: float = 0.0
    stood: float = 0.0

    def at(self, now: float, waited: float) -> Pace:
        """The pace when `waited` was read at `now`."""
        stood = min(max(waited - self.waited, 0.0), _STANDS_MOST * (now - self.read_at))
        return Pace(now, waited, self.stood + stood)


@dataclass(frozen=True)
class _Thread:
    """A thread at a look: nanoseconds that it has run, seconds that it has waited, and since when it is ready."""

    ran: int
    waited: float
    ready_since: float | None

    def behind(self, before: _Thread | None) -> _Thread:
        """This, if the thread was seen as `before` last."""
        if before is None:
            return self
        waited, since = self.waited, self.ready_since
        if self.ran and since is not None and before.ready_since is not None and before.ran == self.ran:
            waited = before.waited + since - before.ready_since
        return _Thread(self.ran, max(waited, before.waited), since)


class RunQueue:
    """What the threads of a program have waited for a processor, those that wait now included.

    The kernel counts a wait when it is over. But a thread that was ready to run at two looks and has run for no time
    between them has waited all along: it would have had to run in order to sleep.

    Args:
        pid: the program, which is this user's.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._threads: dict[str, _Thread] = {}

    def waited(self, now: float) -> float:
        """Seconds, by all threads that are there at `now` together; 0 where the host doesn't count them."""
        threads: dict[str, _Thread] = {}
        try:
            names = os.listdir(f"/proc/{self.pid}/task")
        except OSError:
            return 0.0
        for name in names:
            try:
                place = Path(f"/proc/{self.pid}/task/{name}")
                ran, counted = (int(word) for word in (place / "schedstat").read_bytes().split()[:2])
                ready = (place / "stat").read_bytes().rpartition(b") ")[2][:1] == b"R"
            except (OSError, ValueError):
                continue
            threads[name] = _Thread(ran, counted / 1e9, now if ready else None).behind(self._threads.get(name))
        self._threads = threads
        return sum(thread.waited for thread in threads.values())


class Clock:
    """Seconds, less those in which a program was ready to run and its host gave it no processor.

    Args:
        pid: the program. What it waited before does not count.
        stood: seconds that are taken off already.
    """

    def __init__(self, pid: int, stood: float = 0.0) -> None:
        self._queue = RunQueue(pid)
        now = time.monotonic()
        self._pace = Pace(now, self._queue.waited(now), stood)

    @property
    def pid(self) -> int:
        """The program."""
        return self._queue.pid

    def stood(self) -> float:
        """Seconds for which it stood still."""
        now = time.monotonic()
        if now - self._pace.read_at > _LOOK_S:
            self._pace = self._pace.at(now, self._queue.waited(now))
        return self._pace.stood

    def __call__(self) -> float:
        """The time."""
        return time.monotonic() - self.stood()
