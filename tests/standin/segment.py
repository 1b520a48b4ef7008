"""The wire of a board that has several NICs: each is plugged into a datagram socket of its own, the host into one more.

In place of QEMU's hub, which turns frames round when a reader is slow. Here every frame waits for the ones before it,
each way: a thread for each socket reads, passes on, and reads the next. What lives here: which NIC gets which frame.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

_FRAME_MAX = 1 << 16
#: A reader that takes nothing for so long is gone or stopped; then frames are lost, as on a real wire.
ROOM_S = 1.0
_AGAIN_S = 0.0005


class Segment:
    """Carries frames between `link`, the host's side, and the NICs; from its constructor to :meth:`close`.

    A frame for a NIC's own address goes there and waits until there is room, as it would without a segment. One for
    everybody goes to all, and waits only for the NIC that was last heard or spoken to: a board drives one at a time,
    and the other's queue is full for ever.

    Args:
        host: path of the host's socket; nobody need be there.
        link: path that the host sends to; made here.
        nics: the address of each NIC and the path of its socket, which QEMU makes.
        ports: the path that QEMU's end of each NIC sends to; made here.
    """

    def __init__(self, host: Path, link: Path, nics: Sequence[tuple[str, Path]], ports: Sequence[Path]) -> None:
        self._host = host
        self._nics = [path for _, path in nics]
        self._by_address = {bytes.fromhex(address.replace(":", "")): number for number, (address, _) in enumerate(nics)}
        self._awake = 0
        self._closed = False
        self._sockets: list[socket.socket] = []
        self._threads = []
        for number, path in enumerate([link, *ports]):
            end = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            path.unlink(missing_ok=True)
            end.bind(str(path))
            self._sockets.append(end)
            read = self._from_host if number == 0 else self._from_nic
            thread = threading.Thread(target=read, args=(end, number - 1), name=f"segment {path.name}", daemon=True)
            self._threads.append(thread)
        for thread in self._threads:
            thread.start()

    def _from_nic(self, end: socket.socket, number: int) -> None:
        while frame := self._next(end):
            self._awake = number
            self._pass_on(end, frame, self._host, patient=True)

    def _from_host(self, end: socket.socket, _: int) -> None:
        while frame := self._next(end):
            number = self._by_address.get(frame[:6])
            if number is not None:
                self._awake = number
                self._pass_on(end, frame, self._nics[number], patient=True)
                continue
            for other, nic in enumerate(self._nics):
                self._pass_on(end, frame, nic, patient=other == self._awake)

    def _next(self, end: socket.socket) -> bytes:
        """Waits for a frame; b"" when this is closed."""
        try:
            return end.recv(_FRAME_MAX)
        except OSError:
            return b""

    def _pass_on(self, end: socket.socket, frame: bytes, to: Path, *, patient: bool) -> None:
        deadline = time.monotonic() + ROOM_S
        while not self._closed:
            try:
                end.sendto(frame, socket.MSG_DONTWAIT, str(to))
                return
            except BlockingIOError:
                if not patient or time.monotonic() >= deadline:
                    return
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ECONNREFUSED, errno.EBADF):
                    raise
                return  # nobody is there: the board is off, or the host does not listen
            time.sleep(_AGAIN_S)

    def close(self) -> None:
        """Nothing is carried any more. Safe to repeat."""
        self._closed = True
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for end in self._sockets:
            end.close()
