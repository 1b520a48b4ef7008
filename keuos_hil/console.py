"""The host's side of a target's console: one reader thread, bytes only, an append-only buffer with a cursor.

Everything that waits for a target waits here, on one condition: for text (:meth:`Console.expect`), for a frame (the
protocol client) or for the end (:meth:`Console.wait_end`). So whatever ends the target, a panic, a reset, its
process's exit, interrupts every wait at once. Frames are taken out of the stream; buffer and log hold the text alone.
"""

from __future__ import annotations

import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from .errors import Ended, Flood, HilError, InfraError, Panic, Reset, WaitTimeout
from .protocol.frames import Message, Splitter

if TYPE_CHECKING:
    from .parts import ByteStream, Pattern

T = TypeVar("T")

#: KeuOS's own lines; other kernels' come from the hook keuos_hil_panic_patterns.
PANIC_BANNER = rb"KEUOS PANIC: (?P<message>[^\r\n]*)"
PANIC_END = b"KEUOS PANIC END"
BOOT_BANNER = rb"^KeuOS [0-9][^\r\n]*"

#: Text kept of one session. A kernel that dies in a loop can print gigabytes.
CAP_BYTES = 4 << 20
#: A frame that stays unfinished for so long is text (docs/hil-protocol.md).
FRAME_SILENCE_S = 0.5
#: A panic's report is taken to be complete at its last line, after this silence, or after this long.
PANIC_SILENCE_S = 0.5
PANIC_REPORT_S = 3.0
#: Most time that is given to reading what an ended target left on the line; a flood would go on for ever.
DRAIN_S = 0.5
_SLICE_S = 0.1
_TAIL_LINES = 15
_LINES_BEFORE_PANIC = 5
_PANIC_BYTES = 16 << 10


def printable(data: bytes) -> str:
    """Console bytes for a person: text as it is, everything unprintable as an escape."""
    text = data.decode("utf-8", "backslashreplace").replace("\r\n", "\n").replace("\r", "\n")
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


class _Scanner:
    """Finds panic and boot banners in text that arrives in pieces, each line looked at when it is complete."""

    def __init__(self, panic_patterns: Iterable[bytes]) -> None:
        self._panic = [re.compile(pattern, re.MULTILINE) for pattern in (PANIC_BANNER, *panic_patterns)]
        self._boot = re.compile(BOOT_BANNER, re.MULTILINE)
        #: What a machine says that starts over; none while it is being started.
        self.firmware: list[re.Pattern[bytes]] = []
        self._from = 0
        self.boots = 0

    def scan(self, buffer: bytearray) -> Iterable[tuple[str, int, str]]:
        """(kind, offset, text) of the banners in the complete lines that have not been looked at yet."""
        end = buffer.rfind(b"\n") + 1
        if end <= self._from:
            return
        lines = bytes(buffer[self._from : end])
        base, self._from = self._from, end
        for pattern in self._panic:
            found = pattern.search(lines)
            if found is not None:
                message = found.groupdict().get("message") or found.group(0)
                yield "panic", base + found.start(), printable(message).strip()
                break
        for found in self._boot.finditer(lines):
            self.boots += 1
            yield "boot", base + found.start(), printable(found.group(0)).strip()
        for pattern in self.firmware:
            for found in pattern.finditer(lines):
                yield "firmware", base + found.start(), printable(found.group(0)).strip()


class Console:
    """The console of one session.

    Args:
        stream: the line. The console's thread is its only reader.
        log: a file that receives the text as it comes, capped like the buffer; None for no file.
        clock: seconds, monotonic, of the *target's* pace: a target that was starved of processor time by its host is
            given the difference. All time-outs here are in this clock.
        panic_patterns: what else than KeuOS's banner is a panic.
        cap: bytes of text that are kept; more is a :class:`keuos_hil.errors.Flood`.
        byte_seconds: what one byte takes on the line; 0 for a line without a bit rate.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        log: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
        panic_patterns: Iterable[bytes] = (),
        cap: int = CAP_BYTES,
        byte_seconds: float = 0.0,
    ) -> None:
        self.clock = clock
        self.byte_seconds = byte_seconds
        self.condition = threading.Condition(threading.RLock())
        self.last_byte = time.monotonic()
        self.first_byte: float | None = None
        self.discarded = 0
        #: How often the bench has reset the target.
        self.resets = 0
        #: Whether some wait has raised what ended the target.
        self.told = False
        self._scanner = _Scanner(panic_patterns)
        self._stream = stream
        self._log = log.open("wb", buffering=0) if log is not None else None
        self._cap = cap
        self._buffer = bytearray()
        self._cursor = 0
        self._splitter = Splitter()
        self._frames = True
        self._boots_expected = 1
        self._panic_at: tuple[int, str, float] | None = None
        self._interrupt: HilError | None = None
        self._interrupt_at = 0
        self._pending: HilError | None = None
        self._frame_sink: Callable[[Message], None] | None = None
        self._unclaimed: deque[Message] = deque(maxlen=64)
        self._closing = False
        self._line_ended = False
        self._thread = threading.Thread(target=self._read_loop, name="keuos-hil console", daemon=True)
        self._thread.start()

    # What the target sends -------------------------------------------------------------------------------------

    def _read_loop(self) -> None:
        drain_until: float | None = None
        while not self._closing:
            if self._pending is not None and drain_until is None:
                drain_until = time.monotonic() + DRAIN_S
            try:
                data = self._stream.read(0 if drain_until else _SLICE_S if self._busy() else FRAME_SILENCE_S)
            except InfraError as error:
                self._pending = self._pending or error
                break
            if data is None:
                break
            with self.condition:
                try:
                    self._take(data)
                except OSError as error:
                    self._pending = self._pending or InfraError(f"the console's log can't be written: {error}")
                    break
                if drain_until is not None and (not data or time.monotonic() >= drain_until):
                    drain_until = None
                    self._settle()
        with self.condition:
            self._line_ended = True
            self._settle()

    def _settle(self) -> None:
        """All that the target sent before its end is in the buffer: now the end itself may be told."""
        with suppress(OSError):  # of the log: the reader has told it
            self._append(self._splitter.flush())
        self._finish_panic(force=True)
        if self._pending is not None:
            self._interrupt_locked(self._pending)
            self._pending = None
        self.condition.notify_all()

    def _busy(self) -> bool:
        return self._splitter.holding or self._panic_at is not None

    def _take(self, data: bytes) -> None:
        now = time.monotonic()
        if data:
            self.last_byte = now
            if self.first_byte is None:
                self.first_byte = now
            text, messages = self._splitter.feed(data) if self._frames else (data.replace(b"\0", b""), [])
            self._append(text)
            for message in messages:
                (self._frame_sink or self._unclaimed.append)(message)
        elif self._splitter.holding and now - self.last_byte >= FRAME_SILENCE_S:
            self._append(self._splitter.flush())
        self._finish_panic()
        self.condition.notify_all()

    def _append(self, text: bytes) -> None:
        if not text:
            return
        room = self._cap - len(self._buffer)
        kept = text[: max(room, 0)]
        self._buffer += kept
        if self._log is not None and kept:
            self._log.write(kept)
        if len(kept) < len(text):
            if not self.discarded:
                notice = f"console output passed {self._cap} bytes; what came later was thrown away"
                if self._log is not None:
                    self._log.write(f"\n[keuos-hil: {notice}]\n".encode())
                self._interrupt_locked(Flood(notice))
            self.discarded += len(text) - len(kept)
        for kind, offset, message in self._scanner.scan(self._buffer):
            if kind == "panic":
                if self._panic_at is None and self._interrupt is None:
                    self._panic_at = (offset, message, time.monotonic())
            elif kind == "firmware":
                self._interrupt_locked(Reset(f"the machine started over: {message}"), at=offset)
            elif self._scanner.boots > self._boots_expected:
                self._interrupt_locked(Reset(f"the boot banner came again: {message}"), at=offset)

    def _finish_panic(self, *, force: bool = False) -> None:
        if self._panic_at is None:
            return
        offset, message, since = self._panic_at
        now = time.monotonic()
        end = self._buffer.find(PANIC_END, offset)
        if end < 0 and not force and now - self.last_byte < PANIC_SILENCE_S and now - since < PANIC_REPORT_S:
            return
        stop = offset + _PANIC_BYTES if end < 0 else end + len(PANIC_END)
        report = bytes(self._buffer[offset:stop])
        self._panic_at = None
        before = bytes(self._buffer[max(0, offset - 1024) : offset]).splitlines()[-_LINES_BEFORE_PANIC:]
        tail = printable(b"\n".join(before) + b"\n" + report)
        self._interrupt_locked(Panic(message, report=printable(report), tail=tail.strip("\n")), at=offset)

    # What ends waits -------------------------------------------------------------------------------------------

    def interrupt(self, failure: HilError) -> None:
        """End every wait, now and later, with `failure`, as soon as what is still on the line has been read.

        The first one counts; a panic or a reset that the console shows goes first, because it is the cause.
        """
        with self.condition:
            if self._interrupt is None and self._pending is None:
                self._pending = failure
            if self._line_ended:
                self._settle()
        self._stream.wake()

    def _interrupt_locked(self, failure: HilError, at: int | None = None) -> None:
        if self._interrupt is None:
            if isinstance(failure, Ended) and not failure.tail:
                failure.tail = self._tail_locked()
            self._interrupt = failure
            self._interrupt_at = len(self._buffer) if at is None else at
        self.condition.notify_all()

    @property
    def interrupted(self) -> HilError | None:
        """What ends all waits, or None."""
        with self.condition:
            return self._interrupt or self._pending

    def ended(self) -> Ended | None:
        """How the target stopped running; None while it runs. Raises InfraError if it was the bench that ended it."""
        failure = self.interrupted
        if isinstance(failure, InfraError):
            raise failure
        return failure if isinstance(failure, Ended) else None

    @property
    def damaged_frames(self) -> int:
        """What stood between two zeros so far and was no frame: damaged ones, or noise."""
        return self._splitter.damaged

    def line_ended(self, timeout: float) -> bool:
        """Wait until the line's other end is closed and all its text is in the buffer; False after `timeout` s."""
        with self.condition:
            return self.condition.wait_for(lambda: self._line_ended, timeout)

    def expect_boot(self) -> None:
        """Say that the bench resets the target now: the next boot banner is wanted, the cursor goes to the end."""
        with self.condition:
            self.resets += 1
            self._scanner.firmware = []
            self._boots_expected = self._scanner.boots + 1
            self._cursor = len(self._buffer)
            self._interrupt = self._pending = None
            self._panic_at = None
            self._frames = True
            self.told = False

    def expect_frames(self, coming: bool) -> None:
        """Say whether frames can come: from a boot loader none do, and a zero that noise made holds back no text."""
        with self.condition:
            if not coming:
                self._append(self._splitter.flush())
            self._frames = coming

    @property
    def boots(self) -> bool:
        """Whether a boot banner is to come, or has come: False where the machine was found running."""
        return self._boots_expected > 0

    def expect_no_boot(self) -> None:
        """Say that the machine runs already: a boot banner means that it started over."""
        with self.condition:
            self._boots_expected = self._scanner.boots

    def expect_no(self, banners: Iterable[bytes]) -> None:
        """From now on a line that one of these matches means that the machine started over: its power failed, say."""
        with self.condition:
            self._scanner.firmware = [re.compile(banner, re.MULTILINE) for banner in banners]

    # Waiting ---------------------------------------------------------------------------------------------------

    def wait_for(self, ready: Callable[[], T | None], timeout: float) -> T | None:
        """Wait until `ready`, called with the condition held, returns something; None after `timeout` seconds.

        Raises:
            Ended, InfraError: what ended the target, unless `ready` has something all the same.
        """
        __tracebackhide__ = True
        deadline = self.clock() + timeout
        with self.condition:
            while True:
                result = ready()
                if result is not None:
                    return result
                if self._interrupt is not None:
                    self.told = True
                    raise self._interrupt
                left = deadline - self.clock()
                if left <= 0 and self._panic_at is None:
                    return None
                self.condition.wait(min(max(left, 0.01), _SLICE_S))

    def expect(self, pattern: Pattern, timeout: float = 10.0) -> re.Match[bytes]:
        """Wait for `pattern` (text is taken literally, bytes as a regular expression) behind the cursor.

        The cursor then stands behind the match: nothing that follows is lost.

        Raises:
            WaitTimeout: it did not come within `timeout` seconds.
            Ended: the target ended before it came.
        """
        __tracebackhide__ = True
        compiled = _compile(pattern)
        failure: HilError | None = None
        with self.condition:
            start = self._cursor

        def search() -> re.Match[bytes] | None:
            # In a copy, because a match object would pin the buffer, which then could not grow; with the byte before
            # the cursor, because a pattern may look at it.
            before = min(self._cursor, 1)
            base = self._cursor - before
            match = compiled.search(bytes(self._buffer[base:]), before)
            if match is None or (self._interrupt is not None and base + match.start() >= self._interrupt_at):
                return None
            self._cursor = base + match.end()
            return match

        try:
            found = self.wait_for(search, timeout)
        except HilError as error:
            failure = error
            found = None
        if found is not None:
            return found
        if failure is not None:
            failure.add_note(f"while waiting for {_wanted(pattern)} on the console")
            raise failure
        raise WaitTimeout(
            f"expected {_wanted(pattern)} on the console within {timeout:g} s; it did not come.\n"
            + self.describe(since=start)
        )

    def wait_end(self, timeout: float = 30.0) -> Ended:
        """Wait until the target ends by itself, and say how; for tests that make it panic or reset.

        Raises:
            WaitTimeout: it still runs after `timeout` seconds.
        """
        with self.condition:
            start = self._cursor
        try:
            self.wait_for(lambda: None, timeout)
        except Ended as end:
            return end
        raise WaitTimeout(
            f"expected the target to end within {timeout:g} s; it still runs.\n{self.describe(since=start)}"
        )

    # Looking back ----------------------------------------------------------------------------------------------

    def mark(self) -> int:
        """The buffer's end now, for :meth:`since`."""
        with self.condition:
            return len(self._buffer)

    def since(self, mark: int) -> bytes:
        """The text that came after `mark`."""
        with self.condition:
            return bytes(self._buffer[mark:])

    def tail(self, lines: int = _TAIL_LINES) -> str:
        """The last lines, for a person."""
        with self.condition:
            return self._tail_locked(lines)

    def _tail_locked(self, lines: int = _TAIL_LINES) -> str:
        return "\n".join(printable(bytes(self._buffer[-4096:])).splitlines()[-lines:])

    def describe(self, *, since: int = 0) -> str:
        """What a person wants to see behind a failed wait."""
        text = self.tail()
        with self.condition:
            came = len(self._buffer) - since
        if not text:
            return "the console printed nothing at all"
        quiet = time.monotonic() - self.last_byte
        lines = "\n".join(f"  | {line}" for line in text.splitlines())
        return f"{came} bytes came meanwhile, the last {quiet:.1f} s ago; last lines of the console:\n{lines}"

    # What the host sends ---------------------------------------------------------------------------------------

    def write(self, data: bytes | str, timeout: float = 10.0) -> None:
        """Send raw bytes; text is sent as UTF-8. Raises InfraError if the line takes no more for `timeout` seconds."""
        self._stream.write(data.encode() if isinstance(data, str) else data, timeout)

    def on_frame(self, sink: Callable[[Message], None] | None) -> None:
        """Hand every message to `sink`, on the reader thread with :attr:`condition` held. One sink at a time.

        The first sink gets the messages that came before it, too.
        """
        with self.condition:
            self._frame_sink = sink
            while sink is not None and self._unclaimed:
                sink(self._unclaimed.popleft())

    def close(self) -> None:
        """Stop reading, close line and log. Safe to repeat."""
        self._closing = True
        self._stream.wake()
        self._thread.join(5.0)
        self._stream.close()
        if self._log is not None:
            self._log.close()


def _compile(pattern: Pattern) -> re.Pattern[bytes]:
    if isinstance(pattern, str):
        return re.compile(re.escape(pattern.encode()))
    return re.compile(pattern, re.MULTILINE) if isinstance(pattern, bytes) else pattern


def _wanted(pattern: Pattern) -> str:
    return repr(pattern.pattern if isinstance(pattern, re.Pattern) else pattern)
