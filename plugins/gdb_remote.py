"""gdb's remote serial protocol, as much as it takes to access a stopped board's memory (GDB manual, appendix E).

The board is stopped for each access and goes on behind it, unless somebody paused it. One connection, one user.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from keuos_hil.errors import InfraError

from .gdb_connection import GdbConnection

#: Bytes of one `m` or `M` packet; servers take twice as many digits and some more.
_CHUNK = 0x400


class GdbRemote:
    """A :class:`keuos_hil.parts.Debug` and :class:`keuos_hil.parts.RunControl` part.

    Args:
        server: HOST:PORT, or the path of a socket. It is connected to by the first access.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._connection: GdbConnection | None = None
        self._lock = threading.RLock()
        self._stopped = False
        self._paused = False

    def __enter__(self) -> GdbRemote:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _connect(self) -> GdbConnection:
        if self._connection is not None and self._connection.alive:
            return self._connection
        self._connection = GdbConnection(self._server)
        self._stopped = True  # attaching stops it
        if self._connection.ask("Qqemu.PhyMemMode:1") != "OK":
            self._connection.close()
            raise InfraError(
                f"the gdb server {self._server} does not go by physical addresses; gdb itself can attach, but tests "
                "that need `debug` can't run on it: say physical = false in the table debug"
            )
        return self._connection

    # RunControl ------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        connection = self._connect()
        if not self._stopped:
            connection.interrupt()
            self._stopped = True
            connection.ask("qC")  # answered when it has stopped; the stop reply itself is passed over

    def _go(self) -> None:
        if self._stopped and self._connection is not None and self._connection.alive:
            self._connection.send("c")
            self._stopped = False

    @contextmanager
    def _standing(self) -> Iterator[GdbConnection]:
        with self._lock:
            self._stop()
            try:
                yield self._connect()
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
        spans = [(address + at, min(_CHUNK, size - at)) for at in range(0, size, _CHUNK)]
        with self._standing() as connection:
            answers = connection.ask_all([f"m{at:x},{part:x}" for at, part in spans])
        for (at, part), answer in zip(spans, answers, strict=True):
            if answer.startswith("E") or len(answer) != 2 * part:
                raise InfraError(f"no RAM at {at:#x}: the gdb server answered {answer[:20]!r}")
        return bytes.fromhex("".join(answers))

    def write_physical(self, address: int, data: bytes) -> None:
        """See Debug.write_physical."""
        parts = [(address + at, data[at : at + _CHUNK]) for at in range(0, len(data), _CHUNK)]
        with self._standing() as connection:
            answers = connection.ask_all([f"M{at:x},{len(part):x}:{part.hex()}" for at, part in parts])
        for (at, _), answer in zip(parts, answers, strict=True):
            if answer != "OK":
                raise InfraError(f"no RAM at {at:#x}: the gdb server answered {answer[:20]!r}")

    def registers(self, core: int) -> dict[str, int]:
        """None: what a server calls its registers differs; the target has no capability `registers`."""
        raise InfraError("registers are not read through a gdb server; attach gdb for them")

    def close(self) -> None:
        """Let the board run on and leave. Safe to repeat; never raises."""
        with self._lock, suppress(InfraError):
            if self._connection is not None and self._connection.alive:
                self._stop()
                self._connection.send("D")
        if self._connection is not None:
            self._connection.close()
