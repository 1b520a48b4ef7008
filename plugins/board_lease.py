"""Lease parts of a board: a file lock on its console, or a place of a labgrid coordinator."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keuos_hil.errors import InfraError
from keuos_hil.hookspecs import PartContext, PartType, hookimpl
from keuos_hil.locks import file_lock
from keuos_hil.telling import tell

from .labgrid_client import LabgridClient

ROLE = "lease"
#: One for the whole machine: two users of one board have two homes.
_LOCKS = Path("/var/lock")


@dataclass(frozen=True)
class LockOptions:
    """`part = "lock"`: a file lock on the console; two runs on this host take turns."""

    wait: float = field(default=600.0, metadata={"help": "seconds to wait for another run"})


class LockLease:
    """See :class:`keuos_hil.board_parts.BoardLease`."""

    def __init__(self, options: LockOptions, context: PartContext) -> None:
        self._wait = options.wait
        self._board = context.board

    def _waits(self, holder: str) -> None:
        tell(f"{self._board} is in use by {holder}: waiting, at most {self._wait:g} s")

    @contextmanager
    def hold(self, console: str) -> Iterator[Mapping[str, str]]:
        """See BoardLease.hold."""
        real = str(Path(console).resolve()) if "://" not in console else console
        path = _LOCKS / f"keuos-hil-{re.sub(r'[^A-Za-z0-9._-]+', '-', real).strip('-')}.lock"
        try:
            lock = file_lock(path, self._wait, self._waits)
            with lock:
                yield {}
        except InfraError as error:
            if "was locked by" in str(error):
                raise InfraError(f"{self._board} is in use: {error}") from None
            raise


@dataclass(frozen=True)
class LabgridOptions:
    """`part = "labgrid"`: a place of a labgrid coordinator, any that has the tags."""

    tags: list[str] = field(metadata={"help": "NAME=VALUE; a place must have all of them", "filled": True})
    coordinator: str = field(default="", metadata={"help": "HOST:PORT; by default labgrid's own LG_COORDINATOR"})
    client: str = field(
        default="labgrid-client",
        metadata={"help": "its program; install labgrid in an environment of its own, its pyserial is not ours"},
    )
    wait: float = field(default=600.0, metadata={"help": "seconds to wait for a free place"})


class LabgridLease:
    """See :class:`keuos_hil.board_parts.BoardLease`."""

    def __init__(self, options: LabgridOptions, context: PartContext) -> None:
        self._options = options
        self._client = LabgridClient(options.client, options.coordinator, context.where)

    def hold(self, console: str) -> AbstractContextManager[Mapping[str, str]]:
        """See BoardLease.hold: the place's name, the URL of its serial port, and its tags."""
        return self._client.place(self._options.tags, self._options.wait)


@hookimpl
def keuos_hil_part_types() -> list[PartType]:
    """This module's parts."""
    return [
        PartType(ROLE, "lock", "a file lock on the console", LockOptions, LockLease),
        PartType(ROLE, "labgrid", "a place of a labgrid coordinator", LabgridOptions, LabgridLease),
    ]
