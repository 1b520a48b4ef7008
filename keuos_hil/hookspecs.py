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
    """

    name: str
    summary: str
    architecture: str
    options: type[Any]
    option_prefix: str
    make: Callable[[str, Any, RunOptions], AnyTarget]


@dataclass(frozen=True)
class RunOptions:
    """Choices of a run that every target type gets, and refuses with a UsageError if it can't follow them."""

    timebase: str = "default"
    accel: str = "tcg"
    #: What the hook keuos_hil_panic_patterns gave: for the target's Console.
    panic_patterns: tuple[bytes, ...] = ()


@hookspec
def keuos_hil_target_types() -> list[TargetType]:  # type: ignore[empty-body]
    """The kinds of target that this plugin brings."""


@hookspec
def keuos_hil_panic_patterns() -> list[bytes]:  # type: ignore[empty-body]
    """Regular expressions (bytes) of lines that mean a panic of a kernel which prints another banner than KeuOS's."""


@hookspec
def keuos_hil_post_mortem(session: Session, directory: Path) -> list[str]:  # type: ignore[empty-body]
    """Called after a failure while the session still stands; save files to `directory`, return lines for the report."""
