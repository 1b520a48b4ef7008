"""An Ethernet wire to an emulated NIC: one datagram is one frame, over an inherited socket pair."""

from __future__ import annotations

import select
import socket

_FRAME_MAX = 1 << 16


class DatagramLink:
    """This process's end of the wire. Frames carry no checksum.

    Args:
        end: a connected datagram socket; the link closes it.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire; lost, as on a real one, if the other side doesn't keep up."""
        try:
            self._end.send(frame)
        except (BlockingIOError, ConnectionError):
            pass

    def receive(self, timeout: float) -> bytes | None:
        """The next frame from the target, or None after `timeout` seconds."""
        poller = select.poll()
        poller.register(self._end, select.POLLIN)
        if not poller.poll(timeout * 1000):
            return None
        try:
            return self._end.recv(_FRAME_MAX)
        except (BlockingIOError, ConnectionError):
            return None

    def close(self) -> None:
        """Safe to repeat."""
        self._end.close()
