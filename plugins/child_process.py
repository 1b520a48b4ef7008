"""A child process that never outlives this one, is always reaped, and whose end is noticed at once."""

from __future__ import annotations

import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from keuos_hil.errors import InfraError

from .program_clock import Clock

#: A child gets its parent-death signal when the *thread* that forked it ends. This one ends with the interpreter.
_forker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="keuos-hil forker")
_TERMINATE_S = 2.0


class ChildProcess:
    """A running program.

    Args:
        argv: the program and its arguments.
        inherit: descriptors that it gets, under the same numbers; the caller closes its own copies afterwards.
        output: the file that receives its standard output and error.
        on_exit: called once, on a thread of its own, with the exit status (negative: minus the signal) when it ended.

    Raises:
        InfraError: the program can't be started.
    """

    def __init__(
        self, argv: Sequence[str], *, inherit: Sequence[int], output: Path, on_exit: Callable[[int], None]
    ) -> None:
        program = shutil.which(argv[0])
        if program is None:
            raise InfraError(f"{argv[0]} is not installed, or not in PATH")
        guard = shutil.which("setpriv")
        if guard is None:
            raise InfraError(
                "setpriv is not installed (Debian: util-linux); without it an emulator could be left behind"
            )
        self.argv = [program, *argv[1:]]
        self.output = output
        self._on_exit = on_exit
        with output.open("wb") as sink:
            start = _forker.submit(
                subprocess.Popen,
                [guard, "--pdeathsig", "KILL", *self.argv],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                pass_fds=tuple(inherit),
                start_new_session=True,  # a Ctrl-C is for pytest, which then closes this in good order
            )
            try:
                self._process: subprocess.Popen[bytes] = start.result()
            except OSError as error:
                raise InfraError(f"{program} could not be started: {error}") from error
            except BaseException:  # a Ctrl-C while the other thread starts it: nobody would have it then
                start.add_done_callback(_abandon)
                raise
        self.pid = self._process.pid
        #: Seconds of the program's own time.
        self.clock = Clock(self.pid)
        self._reaper = threading.Thread(target=self._reap, name=f"keuos-hil reaper of {self.pid}", daemon=True)
        self._reaper.start()

    def _reap(self) -> None:
        status = self._process.wait()
        self._on_exit(status)

    @property
    def status(self) -> int | None:
        """The exit status, or None while it runs."""
        return self._process.returncode

    def wait(self, timeout: float) -> int | None:
        """The exit status, or None if it still runs after `timeout` seconds."""
        self._reaper.join(timeout)
        return self._process.returncode

    def said(self) -> str:
        """The last of what it wrote to its standard output and error."""
        try:
            return self.output.read_bytes()[-2000:].decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def close(self) -> None:
        """End it and reap it. Safe to repeat."""
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            self._reaper.join(_TERMINATE_S)
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
        if threading.current_thread() is not self._reaper:
            self._reaper.join()

    def _signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)  # Popen checks, under its lock, that the pid is still this child's


def _abandon(start: Future[subprocess.Popen[bytes]]) -> None:
    if not start.cancelled() and start.exception() is None:
        process = start.result()
        process.kill()
        process.wait()
