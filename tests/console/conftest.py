"""Fixtures for the console process of the target, compiled for the host with ASan and UBSan.

Two programs are built from the target's own sources (host/Makefile): `functions` runs pure functions on bytes, and
`console-host` is the whole console process over a model of the kernel, with the serial line on its standard streams.
Any finding of a sanitizer ends the program, and its report becomes the test's failure.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import struct
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import cbor2
import pytest
from cobs import cobs

HERE = Path(__file__).parent
ANSWER_SECONDS = 60.0
"""Tells a hang from a slow machine; nothing waits it out while all is well."""


@pytest.fixture(scope="session")
def host_build() -> Path:
    """The folder with both programs, made up to date once for all workers."""
    for tool in ("clang", "make"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed; `make setup` installs it", pytrace=False)
    build = HERE.parents[1] / "build" / "tests" / "console"
    build.mkdir(parents=True, exist_ok=True)
    with open(build / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(
            ["make", "-C", HERE / "host", f"BUILD={build}"],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=600,
        )
    if made.returncode:
        pytest.fail(f"make -C tests/console/host failed:\n{made.stdout}", pytrace=False)
    return build


class Functions:
    """The pure functions of the console, one call at a time."""

    def __init__(self, program: Path, errors: IO[bytes]) -> None:
        self._errors = errors
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)

    def call(self, operation: str, data: bytes) -> bytes:
        """What functions.c answers to one operation."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(operation.encode() + struct.pack("<I", len(data)) + data)
            self._process.stdin.flush()
        except BrokenPipeError:
            pytest.fail("functions ended in a test before this one", pytrace=False)
        head = self._process.stdout.read(4)
        if len(head) < 4:
            self._process.wait(ANSWER_SECONDS)
            self._errors.seek(0)
            pytest.fail(
                f"functions ended with {self._process.returncode} on operation {operation!r}, input {data.hex()}:\n"
                f"{self._errors.read().decode(errors='replace')}",
                pytrace=False,
            )
        (length,) = struct.unpack("<I", head)
        return self._process.stdout.read(length)

    def close(self) -> None:
        """End the program; it leaves by itself when its input ends."""
        self._process.communicate(timeout=ANSWER_SECONDS)
        assert self._process.returncode == 0, "functions: a sanitizer objected at the end, such as to a leak"


@pytest.fixture(scope="session")
def functions(host_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Functions]:
    with open(tmp_path_factory.mktemp("functions") / "stderr", "w+b") as errors:
        program = Functions(host_build / "functions", errors)
        yield program
        program.close()


def make_frame(message: object) -> bytes:
    """A frame, made by other code than the console's."""
    body = message if isinstance(message, bytes) else cbor2.dumps(message)
    encoded: bytes = cobs.encode(body + zlib.crc32(body).to_bytes(4, "little"))
    return b"\0" + encoded + b"\0"


class HostConsole:
    """The console process. What it sends is taken apart strictly: between two zeros stands a valid frame, always."""

    def __init__(self, program: Path, errors: Path, environment: dict[str, str]) -> None:
        self._errors = errors
        with open(errors, "wb") as stderr:
            self._process = subprocess.Popen(
                [program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=os.environ | environment,
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._input = self._process.stdin.fileno()
        self._output = self._process.stdout.fileno()
        self._frame: bytearray | None = None
        self.text = ""
        """Console text so far, without what read_text() has taken."""
        self.messages: list[dict[str, Any]] = []
        """Messages so far, without what take_message() has taken."""
        self._next_id = 1

    def send(self, data: bytes) -> None:
        """Put bytes on the line, reading meanwhile, so that neither side blocks the other."""
        deadline = time.monotonic() + ANSWER_SECONDS
        os.set_blocking(self._input, False)
        view = memoryview(data)
        while view:
            readable, writable, _ = select.select([self._output], [self._input], [], deadline - time.monotonic())
            if readable:
                self._read()
            if writable:
                try:
                    view = view[os.write(self._input, view) :]
                except BrokenPipeError:
                    self._fail("ended")
            if not readable and not writable:
                self._fail("takes no input")

    def wait_for(self, condition: Callable[[], bool], what: str) -> None:
        """Read until the condition holds."""
        deadline = time.monotonic() + ANSWER_SECONDS
        while not condition():
            if not select.select([self._output], [], [], max(0.0, deadline - time.monotonic()))[0]:
                self._fail(f"sent nothing more; expected {what}, text so far {self.text!r}")
            self._read()

    def read_text(self, until: str) -> str:
        """Wait for a text, and take everything up to its end."""
        self.wait_for(lambda: until in self.text, f"text {until!r}")
        taken, _, self.text = self.text.partition(until)
        return taken + until

    def take_message(self) -> dict[str, Any]:
        """Wait for a message and take it."""
        self.wait_for(lambda: bool(self.messages), "a message")
        return self.messages.pop(0)

    def request(self, operation: str, **arguments: object) -> dict[str, Any]:
        """Send a request and take its reply; events that come before it stay in `messages`."""
        number = 0 if operation == "hello" else self._next_id
        self._next_id = 1 if operation == "hello" else self._next_id + 1
        self.send(make_frame({"id": number, "op": operation, **arguments}))
        return self.reply_to(number)

    def reply_to(self, number: int) -> dict[str, Any]:
        """Wait for the reply of that id and take it."""
        self.wait_for(lambda: any(m.get("id") == number for m in self.messages), f"a reply to request {number}")
        reply = next(m for m in self.messages if m.get("id") == number)
        self.messages.remove(reply)
        return reply

    def fall_silent(self) -> None:
        """Have the wait under way run into its deadline, as if the line had been silent for so long.

        What was sent before is read first; the signal is blocked until the console waits again. Returns once it was
        taken.
        """
        os.kill(self._process.pid, signal.SIGALRM)
        deadline = time.monotonic() + ANSWER_SECONDS
        status = Path(f"/proc/{self._process.pid}/status")
        while self._pending_signals(status) & 1 << (signal.SIGALRM - 1):
            if time.monotonic() > deadline:
                self._fail("does not wait, so its line cannot fall silent")
            os.sched_yield()

    @staticmethod
    def _pending_signals(status: Path) -> int:
        return int(next(line for line in status.read_text().splitlines() if line.startswith("ShdPnd:")).split()[1], 16)

    def close(self) -> int:
        """Hang up. Returns the exit status: 0, or 42 after a reboot."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        with contextlib.suppress(EOFError):
            while True:
                self._read()
        return self._process.wait(ANSWER_SECONDS)

    def _read(self) -> None:
        chunk = os.read(self._output, 65536)
        if not chunk:
            if self._process.wait(ANSWER_SECONDS) not in (0, 42):
                self._fail("ended")
            raise EOFError
        for byte in chunk:
            if byte == 0 and self._frame is None:
                self._frame = bytearray()
            elif byte == 0:
                assert self._frame is not None
                self.messages.append(self._decode(bytes(self._frame)))
                self._frame = None
            elif self._frame is not None:
                self._frame.append(byte)
            else:
                self.text += chr(byte)

    def _decode(self, encoded: bytes) -> dict[str, Any]:
        body = cobs.decode(encoded)
        assert len(body) <= 4096
        assert zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little")
        message = cbor2.loads(body[:-4])
        assert isinstance(message, dict)
        return message

    def _fail(self, what: str) -> None:
        status = self._process.poll()
        report = self._errors.read_text(errors="replace")
        pytest.fail(f"the console {what}; exit status {status}; its standard error:\n{report}", pytrace=False)

    def kill(self) -> None:
        """End the process whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(ANSWER_SECONDS)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()


@pytest.fixture
def start_console(host_build: Path, tmp_path: Path) -> Iterator[Callable[..., HostConsole]]:
    """A function that starts the console; keywords become its environment (see kernel_model.c)."""
    started: list[HostConsole] = []

    def start(**environment: str) -> HostConsole:
        console = HostConsole(host_build / "console-host", tmp_path / f"stderr{len(started)}", environment)
        started.append(console)
        return console

    yield start
    for console in started:
        console.kill()


@pytest.fixture
def host_console(start_console: Callable[..., HostConsole]) -> HostConsole:
    """The console, past its boot event and at its prompt."""
    console = start_console()
    console.read_text("keuos> ")
    assert console.take_message() == {"event": "boot", "build": "KeuOS model"}
    return console
