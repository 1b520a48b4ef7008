"""An Ethernet wire by a TAP device: what is written arrives at the kernel's interface, what is read left by it."""

from __future__ import annotations

import os
import select

_FRAME_MAX = 1 << 16


class TapLink:
    """This process's end of the wire. Frames carry no checksum; a write returns when the kernel has dealt with it.

    Args:
        fd: a TAP device without packet information; the link closes it.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self._fd = fd
        self._poller = select.poll()
        self._poller.register(fd, select.POLLIN)

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire; lost if the interface is gone or its queue is full."""
        try:
            os.write(self._fd, frame)
        except OSError:
            pass

    def receive(self, timeout: float) -> bytes | None:
        """The next frame from the target, or None after `timeout` seconds."""
        if not self._poller.poll(timeout * 1000):
            return None
        try:
            return os.read(self._fd, _FRAME_MAX)
        except OSError:
            return None

    def fileno(self) -> int:
        """To wait for a frame along with other things."""
        return self._fd

    def close(self) -> None:
        """Safe to repeat."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
