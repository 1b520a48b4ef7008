"""Programs with a bounded life, which end with this one: on Ctrl-C in the middle of several, or when it is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from contextlib import suppress
from pathlib import Path

#: If the thread that started it is gone, with this process say, it is as after a Ctrl-C.
_GUARD = ("setpriv", "--pdeathsig", "INT")
#: A pytest that is interrupted takes its targets down first.
_LEAVE_S = 20.0


class Bounded:
    """Runs programs, from any thread, until :meth:`stop`."""

    def __init__(self) -> None:
        self._stopped = threading.Event()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()

    def run(self, argv: list[str], log: Path, timeout: float, cwd: Path | None = None) -> int | None:
        """The exit status; None if it had to be ended after `timeout` seconds, or by :meth:`stop`."""
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("wb") as sink:
            with self._guard:
                if self._stopped.is_set():
                    return None
                process = subprocess.Popen(
                    [*_GUARD, *argv], stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, cwd=cwd,
                    start_new_session=True, env=_environment(),
                )  # fmt: skip
                self._running.add(process)
            try:
                status = process.wait(timeout)
            except subprocess.TimeoutExpired:
                _end(process)
                return None
            finally:
                with self._guard:
                    self._running.discard(process)
        return None if self._stopped.is_set() else status

    def stop(self) -> None:
        """End what runs, and start nothing any more."""
        with self._guard:
            self._stopped.set()
            running = list(self._running)
        for process in running:
            _end(process)


def _environment() -> dict[str, str]:
    """What a pytest around this one has put there is not for the one that is started."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}


def _end(process: subprocess.Popen[bytes]) -> None:
    """As a Ctrl-C would, and if that is not enough, at once. The group is its own: see start_new_session."""
    for number in (signal.SIGINT, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LEAVE_S)
            return
