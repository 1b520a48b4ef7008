"""A serial line by any URL that pyserial opens: a tty, rfc2217://, socket://. It survives its adapter's absence.

What lives here: bytes, and how long the port was gone. What must not: what the bytes mean.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

import serial

from keuos_hil.errors import HilError, InfraError

#: How long a port may be gone before the bench counts as broken.
RETURN_S = 15.0
_REOPEN_S = 0.1
#: A port without a file descriptor (rfc2217) has to be asked again and again.
_POLL_S = 0.02
_READ_BYTES = 1 << 16
#: Ports that are somewhere on the network.
_REMOTE = ("socket", "rfc2217")


def fault_of(url: str) -> str:
    """What is wrong with a port's URL, as far as that can be known without opening it; "" if nothing is."""
    scheme, _, _ = url.partition("://")
    if "://" not in url or scheme not in _REMOTE:
        return ""
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and bool(parts.port)
    except ValueError:
        good = False
    return "" if good else f"expected {scheme}://HOST:PORT"


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
            if fault := fault_of(url):
                raise ValueError(fault)
            self._port: Any = self._open()
        except (OSError, ValueError, ImportError) as error:  # pyserial's own error is an OSError
            os.close(self._wake)
            raise InfraError(f"the serial port {url} can't be opened: {_why(error, url)}") from None

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
        ready = dict(poller.poll(timeout * 1000))
        if self._wake in ready:
            self._take_wake()
        if self._descriptor not in ready:
            return b""
        try:
            data = os.read(self._descriptor, _READ_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            if ready[self._descriptor] == select.POLLIN and os.isatty(self._descriptor):
                return b""  # another program was quicker
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


def _number(error: BaseException | None) -> int | None:
    """The operating system's number of what went wrong; pyserial's errors may have it in what they were raised from."""
    while error is not None and not isinstance(error, HilError):
        number = getattr(error, "errno", None) or next(iter(error.args), None)
        if isinstance(number, int):
            return number
        error = error.__cause__ or error.__context__
    return None


def _why(error: BaseException, url: str) -> str:
    number = _number(error)
    if number in (errno.ENOTTY, errno.EISDIR):
        return "it is no serial port"
    if number == errno.EACCES:
        return f"{error}; on Debian the group dialout may: `adduser YOU dialout`, then log in again"
    if number in (errno.EAGAIN, errno.EBUSY):
        return f"another program has it open; `fuser {url}` tells which"
    if number == errno.ENOENT:
        return f"{error}; is the adapter plugged in, and the name right? `ls -l /dev/serial/by-id` shows stable ones"
    return str(error)
