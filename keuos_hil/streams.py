"""Byte streams over things that the host's kernel already offers. Serial ports of boards live in plugins."""

from __future__ import annotations

import os
import select
import socket
import time

from .errors import InfraError


def readable(line: int, wake: int, timeout: float) -> bool:
    """Wait until file descriptor `line` can be read, eventfd `wake` is written, or `timeout` seconds have passed.

    Returns:
        Whether `line` can be read. `wake` is as it was before it was written.
    """
    poller = select.poll()
    poller.register(line, select.POLLIN)
    poller.register(wake, select.POLLIN)
    ready = [fd for fd, _ in poller.poll(timeout * 1000)]
    if wake in ready:
        os.eventfd_read(wake)
    return line in ready


class SocketStream:
    """One end of a connected stream socket as a :class:`keuos_hil.parts.ByteStream`."""

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._socket = end
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._closed = False

    def read(self, timeout: float) -> bytes | None:
        """See ByteStream.read. The other end's closing is the end of the line."""
        if not readable(self._socket.fileno(), self._wake, timeout):
            return b""
        try:
            data = self._socket.recv(1 << 16)
        except BlockingIOError:
            return b""
        except ConnectionError:
            return None
        return data or None

    def write(self, data: bytes, timeout: float) -> None:
        """See ByteStream.write. Writing to a line that is closed, at either end, does nothing: the reader learns it."""
        if self._closed:
            return
        deadline = time.monotonic() + timeout
        rest = memoryview(data)
        poller = select.poll()
        poller.register(self._socket, select.POLLOUT)
        while rest:
            try:
                rest = rest[self._socket.send(rest, socket.MSG_NOSIGNAL) :]
                continue
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionError, ValueError):
                return
            except OSError as error:
                if self._socket.fileno() < 0:
                    return
                raise InfraError(f"the console's line broke while writing: {error}") from error
            left = deadline - time.monotonic()
            if left <= 0:
                raise InfraError(
                    f"the console's line took no byte for {timeout:g} s; {len(rest)} of {len(data)} are unsent"
                )
            poller.poll(left * 1000)

    def wake(self) -> None:
        """See ByteStream.wake."""
        if not self._closed:
            os.eventfd_write(self._wake, 1)

    def close(self) -> None:
        """See ByteStream.close."""
        if not self._closed:
            self._closed = True
            self._socket.close()
            os.close(self._wake)
