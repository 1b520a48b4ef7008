"""The serial line of an emulated machine that is recorded: a pair of FIFOs, and input at the pace of the machine.

QEMU 7.2 can't play back that its end of the line was full for a moment: a FIFO holds 64 KiB of single bytes, a socket
a few hundred. And it queues input without regard to what is queued already: what the UART has no room for gets lost.
"""

from __future__ import annotations

import os
import threading
import time
from contextlib import suppress
from pathlib import Path

from keuos_hil.errors import InfraError
from keuos_hil.streams import readable

#: Bytes that go at once: half of what a 16550's buffer holds, at which QEMU stops offering more.
_PIECE = 8
#: Seconds between two such. A guest that is slower loses bytes, and the protocol's host repeats itself.
_PAUSE_S = 0.015


class RecordedLine:
    """See :class:`keuos_hil.parts.ByteStream`.

    Args:
        directory: receives the FIFOs.
    """

    def __init__(self, directory: Path) -> None:
        #: What `-chardev pipe,path=` is given.
        self.path = directory / "line"
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = threading.Event()
        for end in ("in", "out"):
            os.mkfifo(f"{self.path}.{end}")
        # Each has a reader and a writer from the start: nobody waits for the other's coming, and nothing gets lost.
        self._to, self._from = (os.open(f"{self.path}.{end}", os.O_RDWR | os.O_NONBLOCK) for end in ("in", "out"))

    def read(self, timeout: float) -> bytes | None:
        """See ByteStream.read. That the emulator has ended is for its process to tell."""
        return os.read(self._from, 1 << 16) if readable(self._from, self._wake, timeout) else b""

    def write(self, data: bytes, timeout: float) -> None:
        """See ByteStream.write."""
        deadline = time.monotonic() + timeout
        for at in range(0, len(data), _PIECE):
            if self._closed.wait(_PAUSE_S if at else 0):
                return
            try:
                os.write(self._to, data[at : at + _PIECE])
            except BlockingIOError:
                raise InfraError("the recorded machine takes no input: its FIFO is full") from None
            if time.monotonic() > deadline:
                raise InfraError(f"the recorded line took {at} of {len(data)} bytes in {timeout:g} s")
        self._closed.wait(_PAUSE_S)

    def wake(self) -> None:
        """See ByteStream.wake."""
        if not self._closed.is_set():
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """See ByteStream.close."""
        if self._closed.is_set():
            return
        self._closed.set()
        for fd in (self._to, self._from, self._wake):
            os.close(fd)
        for end in ("in", "out"):
            with suppress(OSError):
                os.unlink(f"{self.path}.{end}")
