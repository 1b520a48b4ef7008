"""Reads of memory that stop the machine, by a gdb server's watchpoints (GDB manual, E.2: packets Z3 and z3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from keuos_hil.errors import InfraError

from .gdb_connection import GdbConnection

_HIT = re.compile(r"rwatch:([0-9a-f]+);")


class GdbWatch:
    """See :class:`keuos_hil.parts.Watch`. A context manager; the machine runs on until the first read.

    Args:
        server: as GdbConnection takes it.
        addresses: where the watched pieces begin, as the code that reads them sees them.
        size: bytes of each.

    Raises:
        InfraError: the server can't be reached, or can't watch; from any method: it is gone.
    """

    def __init__(self, server: str, addresses: Sequence[int], size: int) -> None:
        self._packets = [f"3,{address:x},{size:x}" for address in addresses]
        self._connection = GdbConnection(server)
        self._runs = False
        try:
            for packet in self._packets:
                if (answer := self._connection.ask(f"Z{packet}")) != "OK":
                    raise InfraError(f"the gdb server watches no reads: it answered {answer[:20]!r} to Z{packet}")
            self._go()
        except InfraError:
            self.close()
            raise

    def __enter__(self) -> GdbWatch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _go(self) -> None:
        self._connection.send("c")
        self._runs = True

    def next_read(self, timeout: float) -> int | None:
        """See Watch.next_read."""
        if not self._runs:
            self._go()
        stop = self._connection.stop_reply(timeout)
        if stop is None:
            return None
        self._runs = False
        if (hit := _HIT.search(stop)) is None:
            raise InfraError(f"the machine stopped for something else than a read that is watched: {stop!r}")
        return int(hit.group(1), 16)

    def close(self) -> None:
        """Watch nothing any more, and let the machine run on. Safe to repeat; never raises."""
        with suppress(InfraError):
            if self._connection.alive:
                if self._runs:
                    self._connection.interrupt()
                for packet in self._packets:
                    self._connection.ask(f"z{packet}")
                self._connection.ask("D")  # answered: it runs before we hang up
        self._connection.close()
