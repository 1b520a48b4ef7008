"""Debug parts of a board: a gdb server, such as OpenOCD's, J-Link's or an emulator's; or none.

A gdb server shows memory as the core that it stopped sees it. Only servers that can be told to go by physical addresses
(the packet `Qqemu.PhyMemMode`) give what Debug promises; with others gdb itself can attach, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from keuos_hil.errors import UsageError
from keuos_hil.hookspecs import PartContext, PartType, hookimpl
from keuos_hil.parts import Debug

from .gdb_connection import address_of
from .gdb_remote import GdbRemote
from .lease_values import fill, require_values

ROLE = "debug"


@dataclass(frozen=True)
class GdbOptions:
    """`part = "gdb"`: a server that speaks gdb's remote protocol."""

    server: str = field(metadata={"help": "HOST:PORT, or the path of a socket"})
    physical: bool = field(
        default=True,
        metadata={
            "help": "whether it can go by physical addresses, as QEMU's does and OpenOCD's and J-Link's don't; "
            "false: tests that look from outside are skipped, and gdb can attach"
        },
    )


class GdbDebug:
    """See :class:`keuos_hil.board_parts.BoardDebug`."""

    def __init__(self, options: GdbOptions, context: PartContext) -> None:
        self.capabilities = frozenset({"debug", "pause"} if options.physical else ())
        self._physical = options.physical
        self._server = options.server
        self._where = context.where
        require_values(options.server, context, "server")
        try:
            if "{" not in options.server:
                address_of(options.server)
        except ValueError as error:
            raise UsageError(f"{self._where}: server = {options.server!r}: {error}") from None

    def _filled(self, values: Mapping[str, str]) -> str:
        return fill(self._server, values, f"{self._where}: server")

    def open(self, values: Mapping[str, str]) -> tuple[Debug | None, AbstractContextManager[object]]:
        """See BoardDebug.open: connects when it is first used, so that a board is not stopped for nothing."""
        if not self._physical:
            return None, nullcontext()
        remote = GdbRemote(self._filled(values))
        return remote, remote

    def attach_command(self, values: Mapping[str, str]) -> str:
        """See BoardDebug.attach_command."""
        return f"gdb -ex 'target remote {self._filled(values)}'"


@dataclass(frozen=True)
class NoneOptions:
    """`part = "none"`: no probe; tests that look from outside are skipped, gates inside the kernel still run."""


class NoDebug:
    """Stands where no probe is."""

    capabilities: frozenset[str] = frozenset()

    def __init__(self, options: NoneOptions, context: PartContext) -> None:
        self._board = context.board

    def open(self, values: Mapping[str, str]) -> tuple[Debug | None, AbstractContextManager[object]]:
        """No Debug part."""
        return None, nullcontext()

    def attach_command(self, values: Mapping[str, str]) -> str:
        """None."""
        return ""


@hookimpl
def keuos_hil_part_types() -> list[PartType]:
    """This module's parts."""
    return [
        PartType(ROLE, "gdb", "a gdb server: OpenOCD, J-Link, an emulator", GdbOptions, GdbDebug),
        PartType(ROLE, "none", "no probe", NoneOptions, NoDebug),
    ]
