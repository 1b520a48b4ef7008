"""What a plugin can implement, and how its modules are found.

A distribution names its modules in the entry-point group ``keuos_hil``; each is registered with pluggy when pytest
starts. Mark implementations with :data:`hookimpl`. docs/writing-a-target.md shows a whole target.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from .link_choice import LinkChoice
    from .parts import AnyTarget, Session

PROJECT = "keuos_hil"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True)
class TargetType:
    """A kind of target.

    Attributes:
        name: what ``--target NAME`` and ``type = "NAME"`` in the configuration say.
        summary: one line for a person.
        architecture: of the kernels it runs: "x86_64", "arm64"; "" if it boots none (keuos_hil.parts.Resident).
        options: a dataclass; its fields are the keys of the configuration, with type, default and help text.
        option_prefix: ``--PREFIX-FIELD`` on the command line sets a field for this run; "" for none.
        make: builds the target from its name, its options and the choices of this run. It must start nothing.
        named_only: the type alone says too little to make a target: ``--target=NAME`` then means the one target of the
            configuration that is of it.
        links: the kinds of :mod:`keuos_hil.link_choice` that ``--link`` can say; others are refused.
    """

    name: str
    summary: str
    architecture: str
    options: type[Any]
    option_prefix: str
    make: Callable[[str, Any, RunOptions], AnyTarget]
    named_only: bool = False
    links: tuple[str, ...] = ()


@dataclass(frozen=True)
class PartContext:
    """What a board's part is told when it is made.

    Attributes:
        board: the target's name.
        architecture: of the kernels that it runs.
        where: what error messages call the part's table.
        lease_values: names of the values that the lease will give; None if only the lease knows, when it is held.
    """

    board: str
    architecture: str
    where: str
    lease_values: tuple[str, ...] | None = None


@dataclass(frozen=True)
class PartType:
    """A kind of part that a board can be put together from (docs/board.md).

    Attributes:
        role: what it is for, and the name of its table: "power", "load", "link", "debug" or "lease".
        name: what ``part = "NAME"`` in that table says.
        summary: one line for a person.
        options: a dataclass; its fields are the table's other keys.
        make: builds the part (the protocol of its role in keuos_hil.board_parts). It must start nothing.
    """

    role: str
    name: str
    summary: str
    options: type[Any]
    make: Callable[[Any, PartContext], Any]


@dataclass(frozen=True)
class RunOptions:
    """Choices of a run that every target type gets, and refuses with a UsageError if it can't follow them."""

    timebase: str = "default"
    accel: str = "tcg"
    #: What the hook keuos_hil_panic_patterns gave: for the target's Console.
    panic_patterns: tuple[bytes, ...] = ()
    #: What the hook keuos_hil_part_types gave: for targets that are put together from parts.
    part_types: tuple[PartType, ...] = ()
    #: What ``--executed`` said: whether the session is to be a CountsExecuted part.
    executed: bool = False
    #: The file that the target's table is in; None if it has no table.
    configuration: Path | None = None
    #: What ``--link`` said; None for the wire that the target has without it.
    link: LinkChoice | None = None


@hookspec
def keuos_hil_target_types() -> list[TargetType]:  # type: ignore[empty-body]
    """The kinds of target that this plugin brings."""


@hookspec
def keuos_hil_part_types() -> list[PartType]:  # type: ignore[empty-body]
    """The kinds of part for boards that this plugin brings."""


@hookspec
def keuos_hil_panic_patterns() -> list[bytes]:  # type: ignore[empty-body]
    """Regular expressions (bytes) of lines that mean a panic of a kernel which prints another banner than KeuOS's."""


@hookspec
def keuos_hil_post_mortem(session: Session, directory: Path) -> list[str]:  # type: ignore[empty-body]
    """Called after a failure while the session still stands; save files to `directory`, return lines for the report."""
