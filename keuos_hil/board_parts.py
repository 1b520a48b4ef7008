"""The parts of a board on a bench: what each role of docs/board.md has to do. Protocols only; the parts are plugins.

A board is a serial line and whatever else the bench has: a switch for its power, a way to load an image, a wire to its
NIC, a debug probe, and somebody who says whose turn it is. `keuos_hil.targets.board` puts them together.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from .console import Console
from .image import Image
from .parts import Debug, Link

#: The roles, in the order in which docs/board.md shows them, and the part that is taken where the table is missing.
ROLES = {"power": "none", "load": "preloaded", "link": "none", "debug": "none", "lease": "lock"}


class BoardPower(Protocol):
    """The switch of a board's supply, and its reset button.

    Attributes:
        switches: whether the supply can be switched; if not, there need be no `cycle`.
        resets: whether there is a button; if not, there need be no `reset`.
    """

    switches: bool
    resets: bool

    def cycle(self, values: Mapping[str, str]) -> None:
        """Off, long enough for the supply to drain, and on again. `values` are the lease's. Raises InfraError."""
        ...

    def reset(self, values: Mapping[str, str]) -> None:
        """Press the button. Raises InfraError."""
        ...


class BoardLoader(Protocol):
    """Gets from a board that was just switched on, or reset, to a kernel that runs.

    Attributes:
        capabilities: what it adds to the target's: "command-line".
        needs_link: whether it sends the image through the link.
        banners: regular expressions of lines by which firmware or boot loader say that the machine started over.
        loads: whether it brings the image; the others start what lies on the board.
        kernel_start: physical address at which the last `boot` put the kernel; None: where its ELF says.
        moves: whether the loader chooses where the kernel lies, so that only a `boot` can tell.
        command_line: what the kernel that was prepared will be given; None if that is not known here.
        repeats: how often the last `boot` said something again, because its echo or its answer was damaged.
    """

    capabilities: frozenset[str]
    needs_link: bool
    banners: tuple[bytes, ...]
    loads: bool
    moves: bool
    command_line: str | None
    repeats: int
    kernel_start: int | None

    def check(self) -> None:
        """Raise InfraError if a tool or a file is missing that every run needs."""
        ...

    def prepare(self, image: Image, directory: Path, values: Mapping[str, str]) -> None:
        """Make of `image` what will be sent; before the board is switched on.

        Args:
            directory: the session's own.
            values: the lease's.

        Raises:
            InfraError: that can't be done.
        """
        ...

    def boot(self, console: Console, link: Link | None, timeout: float, *, whole: bool) -> None:
        """Have the board start the image; returns when the kernel has been entered.

        Args:
            link: the board's wire, if it has one.
            timeout: seconds, in the console's clock, for all of it.
            whole: send everything again, also what seems to lie in the board's memory.

        Raises:
            InfraError: it did not come so far; the text says how far it came.
        """
        ...


class BoardLink(Protocol):
    """A wire that can be opened, for one session."""

    def open(self, values: Mapping[str, str]) -> tuple[Link, AbstractContextManager[object]]:
        """The link, and what to leave when it is not needed any more. Raises InfraError."""
        ...


class BoardDebug(Protocol):
    """A debug probe that can be opened, for one session.

    Attributes:
        capabilities: what it adds to the target's: "debug", "pause".
    """

    capabilities: frozenset[str]

    def open(self, values: Mapping[str, str]) -> tuple[Debug, AbstractContextManager[object]]:
        """The Debug part, and what to leave when it is not needed any more. Raises InfraError."""
        ...

    def attach_command(self, values: Mapping[str, str]) -> str:
        """What a person types to get in with gdb."""
        ...


class BoardLease(Protocol):
    """Who may use the board now."""

    def hold(self, console: str) -> AbstractContextManager[Mapping[str, str]]:
        """Wait for one's turn, and give it up in the end, always. `console` is the configuration's, "" if the lease
        says where the console is.

        What it gives are values by name that stand in braces in other parts' options: "place", "console" and whatever
        else it knows.

        Raises:
            InfraError: somebody else has it, the text says who.
        """
        ...
