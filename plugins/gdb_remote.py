"""gdb's remote serial protocol, as much as it takes to access a stopped board's memory (GDB manual, appendix E).

The board is stopped for each access and goes on behind it, unless somebody paused it. One connection, one user.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from keuos_hil.errors import InfraError

#: Bytes of one `m` or `M` packet; servers take twice as many digits and some more.
_CHUNK = 0x400
_TIMEOUT_S = 10.0


class GdbRemote:
    """A :class:`keuos_hil.parts.Debug` and :class:`keuos_hil.parts.RunControl` part.

    Args:
        server: HOST:PORT, or the path of a socket. It is connected to by the first access.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._socket: socket.socket | None = None
        self._buffer = bytearray()
        self._lock = threading.RLock()
        self._stopped = False
        self._paused = False

    def __enter__(self) -> GdbRemote:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Packets ---------------------------------------------------------------------------------------------------

    def _connect(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        try:
            if "/" in self._server:
                end = socket.socket(socket.AF_UNIX)
                end.settimeout(_TIMEOUT_S)
                end.connect(self._server)
            else:
                host, _, port = self._server.rpartition(":")
                end = socket.create_connection((host or "localhost", int(port)), _TIMEOUT_S)
        except (OSError, ValueError) as error:
            raise InfraError(f"the gdb server {self._server} can't be reached: {error}") from None
        self._socket = end
        self._stopped = True  # attaching stops it
        if self._ask("Qqemu.PhyMemMode:1") != "OK":
            self._drop()
            raise InfraError(
                f"the gdb server {self._server} does not go by physical addresses; gdb itself can attach, but tests "
                'that need `debug` can\'t run on it: leave out the table debug, or say part = "none"'
            )
        return end

    def _ask(self, packet: str) -> str:
        self._send(packet)
        return self._receive()

    def _send(self, packet: str) -> None:
        body = packet.encode()
        try:
            end = self._socket
            assert end is not None
            end.sendall(b"$%s#%02x" % (body, sum(body) & 0xFF))
        except OSError as error:
            self._drop()
            raise InfraError(f"the gdb server {self._server} is gone: {error}") from None

    def _receive(self) -> str:
        """The next packet that is no stop reply; acknowledges it."""
        end = self._socket
        assert end is not None
        while True:
            start = self._buffer.find(b"$")
            stop = self._buffer.find(b"#", start) if start >= 0 else -1
            if stop >= 0 and len(self._buffer) >= stop + 3:
                body = bytes(self._buffer[start + 1 : stop])
                del self._buffer[: stop + 3]
                with suppress(OSError):
                    end.sendall(b"+")
                if body[:1] in b"TSWX" and body:
                    continue
                return body.decode("latin-1")
            try:
                data = end.recv(1 << 16)
            except OSError as error:
                self._drop()
                raise InfraError(f"the gdb server {self._server} does not answer: {error}") from None
            if not data:
                self._drop()
                raise InfraError(f"the gdb server {self._server} closed the connection")
            self._buffer += data

    def _drop(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._buffer.clear()
        self._stopped = False

    # RunControl ------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        end = self._connect()
        if not self._stopped:
            try:
                end.sendall(b"\x03")
            except OSError as error:
                self._drop()
                raise InfraError(f"the gdb server {self._server} is gone: {error}") from None
            self._stopped = True
            self._ask("qC")  # answered when it has stopped; the stop reply itself is passed over

    def _go(self) -> None:
        if self._stopped and self._socket is not None:
            self._send("c")
            self._stopped = False

    @contextmanager
    def _standing(self) -> Iterator[None]:
        with self._lock:
            self._stop()
            try:
                yield
            finally:
                if not self._paused:
                    self._go()

    def pause(self) -> None:
        """See RunControl.pause."""
        with self._lock:
            self._stop()
            self._paused = True

    def resume(self) -> None:
        """See RunControl.resume."""
        with self._lock:
            self._paused = False
            self._go()

    # Debug -----------------------------------------------------------------------------------------------------

    def read_physical(self, address: int, size: int) -> bytes:
        """See Debug.read_physical."""
        out = bytearray()
        with self._standing():
            while len(out) < size:
                part = min(_CHUNK, size - len(out))
                answer = self._ask(f"m{address + len(out):x},{part:x}")
                if answer.startswith("E") or len(answer) != 2 * part:
                    raise InfraError(f"no RAM at {address + len(out):#x}: the gdb server answered {answer[:20]!r}")
                out += bytes.fromhex(answer)
        return bytes(out)

    def write_physical(self, address: int, data: bytes) -> None:
        """See Debug.write_physical."""
        with self._standing():
            for at in range(0, len(data), _CHUNK):
                part = data[at : at + _CHUNK]
                if (answer := self._ask(f"M{address + at:x},{len(part):x}:{part.hex()}")) != "OK":
                    raise InfraError(f"no RAM at {address + at:#x}: the gdb server answered {answer[:20]!r}")

    def registers(self, core: int) -> dict[str, int]:
        """None: what a server calls its registers differs; the target has no capability `registers`."""
        raise InfraError("registers are not read through a gdb server; attach gdb for them")

    def close(self) -> None:
        """Let the board run on and leave. Safe to repeat; never raises."""
        with self._lock, suppress(InfraError, AssertionError):
            if self._socket is not None:
                self._stop()
                self._send("D")
        self._drop()
