"""Talking to a boot loader's prompt over a line that damages bytes: a command is seen to have arrived before it is run.

A boot loader echoes what it reads. A command is typed without its end; when the echo is the command, its end follows;
when it is not, the line is thrown away and typed again. So a damaged command is never run, and a damaged answer is
asked for again: commands here may be run twice. What must not live here: which commands boot a board.
"""

from __future__ import annotations

import itertools
import re
import time
from dataclasses import dataclass

from keuos_hil.console import Console, printable
from keuos_hil.errors import InfraError, WaitTimeout

#: A key is pressed this often until the prompt is there: a loader looks for one only for a moment.
_PRESS_S = 0.1
#: An echo, or a prompt behind a command that does nothing, comes at once; so long means that a byte was damaged.
_ECHO_S = 0.7
_TRIES = 12
#: Of each line that is quoted so many characters, out of the last so many bytes.
_QUOTED, _QUOTED_FROM = 80, 1024
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Dialect:
    """How a boot loader is spoken to.

    Attributes:
        name: for error messages.
        prompt: a regular expression.
        key: what stops it from booting by itself.
        clear: what throws away a half-typed line, and ends a command that runs.
        said_by: how error messages tell where the prompt was configured; "" if it can't be.
    """

    name: str
    prompt: bytes
    key: bytes
    clear: bytes
    said_by: str = ""


class LoaderPrompt:
    """A boot loader's prompt on `console`.

    Args:
        timeout: seconds of the console's clock for everything that is done with it.
    """

    def __init__(self, console: Console, dialect: Dialect, timeout: float) -> None:
        self._console = console
        self._dialect = dialect
        self._deadline = console.clock() + timeout
        #: Lines typed again, and answers asked for again.
        self.repeats = 0

    @property
    def left(self) -> float:
        """Seconds that are left. Raises InfraError if none are."""
        left = self._deadline - self._console.clock()
        if left <= 0:
            raise InfraError(f"{self._dialect.name} took too long.\n{self._console.describe()}")
        return left

    def seen(self, pattern: bytes, timeout: float) -> re.Match[bytes] | None:
        """Whether `pattern` comes within `timeout` seconds, or what is left."""
        try:
            return self._console.expect(pattern, min(timeout, self.left))
        except WaitTimeout:
            return None

    def interrupt(self) -> None:
        """From power-on to the prompt. Raises InfraError if it does not come."""
        self._console.expect_frames(False)
        mark = self._console.mark()
        while True:
            self._console.write(self._dialect.key)
            try:
                if self.seen(self._dialect.prompt, _PRESS_S):
                    break
            except InfraError:
                raise InfraError(
                    f"no prompt of {self._dialect.name} came{self._instead(mark)}\n{self._console.describe()}"
                ) from None
        self.settle()

    def _instead(self, mark: int) -> str:
        """What came since `mark` in place of the prompt, and what to look at."""
        lines = [line.strip() for line in printable(self._console.since(mark)[-_QUOTED_FROM:]).splitlines()]
        last = [line[-_QUOTED:] for line in lines if line][-2:]
        if not last:
            return ", nor anything else; was the board switched on at all, are the line and its baud rate right?"
        asked = f"is {self._dialect.said_by} right, " if self._dialect.said_by else ""
        return (
            f"; the last that came was {' and '.join(map(repr, last))}; {asked}was the board switched at all, is the "
            "line's baud rate right, does the board start from the right medium?"
        )

    def settle(self) -> None:
        """Have a prompt behind which nothing stands that belongs to an earlier command."""
        for _ in range(_TRIES):
            token = b"ready-%d" % next(_numbers)
            self._console.write(self._dialect.clear + b"echo " + token)
            if self.seen(b"echo " + re.escape(token), self._patience(len(token))):
                self._console.write(b"\r")
                if self.seen(
                    rb"[\r\n]" + re.escape(token) + rb"[\r\n]+" + self._dialect.prompt, self._patience(len(token))
                ):
                    return
            self.repeats += 1
        raise InfraError(f"the prompt of {self._dialect.name} does not answer.\n{self._console.describe()}")

    def _patience(self, count: int) -> float:
        return _ECHO_S + 4 * (count + 20) * self._console.byte_seconds

    def type(self, command: str) -> None:
        """Have `command` stand at the prompt, not run yet."""
        line = command.encode()
        for _ in range(_TRIES):
            self._console.write(line)
            if self.seen(re.escape(line), self._patience(len(line))):
                return
            self.repeats += 1
            self.settle()
        raise InfraError(f"{self._dialect.name} does not take the command {command!r}.\n{self._console.describe()}")

    def run(self, command: str, timeout: float | None = None) -> bytes:
        """Run a command that may be run twice; what it said. Raises InfraError if its prompt does not come back."""
        for _ in range(_TRIES):
            self.type(command)
            mark = self._console.mark()
            self._console.write(b"\r")
            if self.seen(rb"[\r\n]" + self._dialect.prompt, timeout or self._patience(200)):
                return self._console.since(mark)
            self.repeats += 1
            self.settle()
        raise InfraError(f"{self._dialect.name}: {command!r} does not come to an end.\n{self._console.describe()}")

    def ask(self, command: str, pattern: bytes, timeout: float | None = None) -> re.Match[bytes]:
        """Run a command until its answer holds `pattern`. Raises InfraError if it never does."""
        said = b""
        for _ in range(_TRIES):
            said = self.run(command, timeout)
            found = re.search(pattern, said)
            if found is not None:
                return found
            self.repeats += 1
        raise InfraError(f"{self._dialect.name} answered {command!r} with {said!r}; expected {pattern!r}")

    def leave(self, command: str, entered: bytes, timeout: float) -> None:
        """Run the command that hands the machine over; returns when `entered` was seen, or the prompt is gone.

        A damaged line may hide what it said. Then the prompt is asked whether it is still there, and if it is, the
        command is given again.
        """
        for _ in range(_TRIES):
            self.type(command)
            self._console.expect_frames(True)
            self._console.write(b"\r")
            if self.seen(entered, timeout):
                return
            self.repeats += 1
            self._console.expect_frames(False)
            if not self._still_there():
                self._console.expect_frames(True)
                return
        raise InfraError(f"{self._dialect.name}: {command!r} comes back to its prompt.\n{self._console.describe()}")

    def _still_there(self) -> bool:
        started = time.monotonic()
        while time.monotonic() - started < 3 * _ECHO_S:
            token = b"ready-%d" % next(_numbers)
            self._console.write(self._dialect.clear + b"echo " + token + b"\r")
            if self.seen(rb"[\r\n]" + re.escape(token) + rb"[\r\n]+" + self._dialect.prompt, self._patience(10)):
                self.settle()
                return True
        return False
