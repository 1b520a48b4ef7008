"""A serial line by any URL that pyserial opens: a tty, rfc2217://, socket://. It survives its adapter's absence.

What lives here: bytes, and how long the port was gone. What must not: what the bytes mean.
"""

from __future__ import annotations

import os
import select
import threading
import time
from contextlib import suppress
from typing import Any

import serial

from keuos_hil.errors import InfraError

#: How long a port may be gone before the bench counts as broken.
RETURN_S = 15.0
_REOPEN_S = 0.1
#: A port without a file descriptor (rfc2217) has to be asked again and again.
_POLL_S = 0.02
_READ_BYTES = 1 << 16


class SerialLine:
    """See :class:`keuos_hil.parts.ByteStream`.

    A port that vanishes is waited for: the reader reopens it, a writer waits meanwhile, and :meth:`clock` stands still.

    Args:
        url: what pyserial opens.
        baud: bit rate; 8 data bits, no parity, one stop bit, no flow control.

    Raises:
        InfraError: it can't be opened now.
    """

    def __init__(self, url: str, baud: int) -> None:
        self.url = url
        self.baud = baud
        #: How often the port vanished and returned, and for how many seconds altogether.
        self.vanished = 0
        self.gone_s = 0.0
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._changed = threading.Condition()
        self._gone_since: float | None = None
        self._closed = False
        self._descriptor: int | None = None
        try:
            self._port: Any = self._open()
        except (OSError, ValueError, ImportError) as error:  # pyserial's own error is an OSError
            os.close(self._wake)
            raise InfraError(f"the serial port {url} can't be opened: {error}{_hint(error)}") from None

    def _open(self) -> Any:
        local = "://" not in self.url
        more: dict[str, Any] = {"exclusive": True} if local else {}
        if not self.url.startswith("rfc2217:"):  # pyserial's knows no such time-out
            more["write_timeout"] = 1.0
        port = serial.serial_for_url(self.url, baudrate=self.baud, timeout=_POLL_S, **more)
        try:
            self._descriptor = port.fileno()
        except (OSError, AttributeError, ValueError):
            self._descriptor = None
        if self._descriptor is not None:
            os.set_blocking(self._descriptor, False)
        with suppress(OSError):
            port.reset_input_buffer()
        return port

    def clock(self) -> float:
        """Seconds, monotonic, less those for which the port was gone: nobody can be blamed for silence in them."""
        since = self._gone_since
        now = time.monotonic()
        return now - self.gone_s - (now - since if since is not None else 0.0)

    def read(self, timeout: float) -> bytes | None:
        """See ByteStream.read."""
        if self._gone_since is not None:
            return self._reopen(timeout)
        try:
            return self._read(timeout)
        except (OSError, TypeError, ValueError):  # pyserial raises the latter two for a port closed under it
            if self._closed:
                return None
            self._lose()
            return b""

    def _read(self, timeout: float) -> bytes:
        if self._descriptor is None:
            deadline = time.monotonic() + timeout
            while not (data := bytes(self._port.read(self._port.in_waiting or 1))) and time.monotonic() < deadline:
                if self._take_wake():
                    break
            return data
        poller = select.poll()
        poller.register(self._descriptor, select.POLLIN)
        poller.register(self._wake, select.POLLIN)
        ready = [fd for fd, _ in poller.poll(timeout * 1000)]
        if self._wake in ready:
            self._take_wake()
        if self._descriptor not in ready:
            return b""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError("the port is at its end")
        return data

    def _take_wake(self) -> bool:
        with suppress(BlockingIOError):
            return bool(os.eventfd_read(self._wake))
        return False

    def _lose(self) -> None:
        with self._changed:
            self._gone_since = time.monotonic()
            with suppress(OSError, TypeError, ValueError):
                self._port.close()

    def _reopen(self, timeout: float) -> bytes:
        since = self._gone_since
        assert since is not None
        with self._changed:
            try:
                self._port = self._open()
            except (OSError, ValueError) as error:
                if time.monotonic() - since > RETURN_S:
                    raise InfraError(
                        f"the serial port {self.url} vanished and was not back after {RETURN_S:g} s: {error}"
                    ) from None
            else:
                self.gone_s += time.monotonic() - since
                self.vanished += 1
                self._gone_since = None
                self._changed.notify_all()
                return b""
        select.select([self._wake], [], [], min(timeout, _REOPEN_S))
        return b""

    def write(self, data: bytes, timeout: float) -> None:
        """See ByteStream.write. While the port is gone this waits for it; `timeout` counts only while it is there."""
        deadline = self.clock() + timeout
        rest = memoryview(data)
        while rest and not self._closed:
            with self._changed:
                if not self._changed.wait_for(lambda: self._gone_since is None or self._closed, RETURN_S + 1):
                    raise InfraError(f"the serial port {self.url} is gone")
                port, descriptor = self._port, self._descriptor
            try:
                if descriptor is None:
                    port.write(bytes(rest))
                    return
                rest = rest[os.write(descriptor, rest) :]
                continue
            except BlockingIOError:
                pass
            except (OSError, TypeError, ValueError):  # the reader learns it, and reopens
                time.sleep(_POLL_S)
            if self.clock() >= deadline:
                raise InfraError(
                    f"the serial port {self.url} took no byte for {timeout:g} s; {len(rest)} of {len(data)} are unsent"
                )
            with suppress(OSError, ValueError):
                select.select([], [descriptor] if descriptor is not None else [], [], _POLL_S)

    def wake(self) -> None:
        """See ByteStream.wake."""
        if not self._closed:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """See ByteStream.close."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._changed.notify_all()
            with suppress(OSError, TypeError, ValueError):
                self._port.close()
            os.close(self._wake)


def _hint(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    if number == 13:
        return "; on Debian the group dialout may: `adduser YOU dialout`, then log in again"
    return (
        "; is the adapter plugged in, and the name right? `ls -l /dev/serial/by-id` shows stable ones"
        if number == 2
        else ""
    )
