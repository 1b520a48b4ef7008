"""Reads of memory that stop the machine, by a gdb server's watchpoints (GDB manual, E.2: packets Z3 and z3)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress

from keuos_hil.errors import InfraError

from .gdb_connection import GdbConnection

_HIT = re.compile(r"rwatch:([0-9a-f]+);")
_THREAD = re.compile(r"thread:([^;]+);")
#: One instruction takes no time; so long means that its core never carried it out.
_STEP_S = 10.0


class GdbWatch:
    """See :class:`keuos_hil.parts.Watch`. A context manager; the machine runs on until the first read.

    Args:
        server: as GdbConnection takes it.
        addresses: where the watched pieces begin, as the code that reads them sees them.
        size: bytes of each.
        before: the server stops in front of the reading instruction, as for CPUs whose own watchpoints do (Arm): it is
            carried out with its watchpoint taken away, while every other core stands.

    Raises:
        InfraError: the server can't be reached, or can't watch; from any method: it is gone.
    """

    def __init__(self, server: str, addresses: Sequence[int], size: int, *, before: bool = False) -> None:
        self._addresses, self._size, self._before = tuple(addresses), size, before
        self._connection = GdbConnection(server)
        self._runs = False
        self._hits: list[int] = []  # of an instruction that is behind us, and not told yet
        try:
            for address in self._addresses:
                self._set("Z", address)
            self._go()
        except InfraError:
            self.close()
            raise

    def __enter__(self) -> GdbWatch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _set(self, packet: str, address: int) -> None:
        packet += f"3,{address:x},{self._size:x}"
        if (answer := self._connection.ask(packet)) != "OK":
            raise InfraError(f"the gdb server watches no reads: it answered {answer[:20]!r} to {packet}")

    def _go(self) -> None:
        self._connection.send("c")
        self._runs = True

    def next_read(self, timeout: float) -> int | None:
        """See Watch.next_read."""
        if self._hits:
            return self._hits.pop(0)
        if not self._runs:
            self._go()
        stop = self._connection.stop_reply(timeout)
        if stop is None:
            return None
        self._runs = False
        if (hit := _HIT.search(stop)) is None:
            raise InfraError(f"the machine stopped for something else than a read that is watched: {stop!r}")
        self._hits = [int(hit.group(1), 16)]
        if self._before:
            self._step_over(stop)
        return self._hits.pop(0)

    def _step_over(self, stop: str | None) -> None:
        """Have the core that `stop` tells of carry out its instruction, which may read several pieces."""
        while stop is not None and (thread := _THREAD.search(stop)) is not None:
            self._set("z", self._hits[-1])
            self._connection.send(f"vCont;s:{thread.group(1)}")
            stop = self._connection.stop_reply(_STEP_S)
            if stop is not None and (hit := _HIT.search(stop)) is not None:
                self._hits.append(int(hit.group(1), 16))
                continue
            if stop is None:
                break
            for address in self._hits:
                self._set("Z", address)
            return
        raise InfraError(f"a core could not be made to go past an instruction that reads what is watched: {stop!r}")

    def close(self) -> None:
        """Watch nothing any more, and let the machine run on. Safe to repeat; never raises."""
        with suppress(InfraError):
            if self._connection.alive:
                if self._runs:
                    self._connection.interrupt()
                for address in self._addresses:
                    self._connection.ask(f"z3,{address:x},{self._size:x}")
                self._connection.ask("D")  # answered: it runs before we hang up
        self._connection.close()
