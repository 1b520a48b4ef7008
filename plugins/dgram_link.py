"""An Ethernet wire to an emulated NIC: one datagram is one frame, over an inherited socket pair."""

from __future__ import annotations

import select
import socket
import time

_FRAME_MAX = 1 << 16
#: A reader that takes nothing for so long is gone or stopped; then frames are lost, as on a real wire.
_ROOM_S = 1.0


class DatagramLink:
    """This process's end of the wire. Frames carry no checksum.

    Linux queues few datagrams (net.unix.max_dgram_qlen, 10 by default), so a burst waits for the emulator to read: what
    is lost is lost by the target or on purpose, not by how busy this machine is.

    Args:
        end: a connected datagram socket; the link closes it.
    """

    def __init__(self, end: socket.socket) -> None:
        end.setblocking(False)
        self._end = end

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire; lost, as on a real one, if the other side takes nothing for a second."""
        try:
            self._end.send(frame)
        except BlockingIOError:
            self._send_when_there_is_room(frame)
        except ConnectionError:
            pass

    def _send_when_there_is_room(self, frame: bytes) -> None:
        deadline = time.monotonic() + _ROOM_S
        poller = select.poll()
        poller.register(self._end, select.POLLOUT)
        while (left := deadline - time.monotonic()) > 0:
            poller.poll(left * 1000)
            try:
                self._end.send(frame)
                return
            except BlockingIOError:
                time.sleep(0.0005)  # POLLOUT is also said for a socket whose peer's queue is full
            except ConnectionError:
                return

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

    def fileno(self) -> int:
        """To wait for a frame along with other things."""
        return self._end.fileno()

    def close(self) -> None:
        """Safe to repeat."""
        self._end.close()
