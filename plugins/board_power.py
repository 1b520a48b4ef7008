"""Power parts of a board: a command of the bench's, a person, or none."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keuos_hil.errors import InfraError, UsageError
from keuos_hil.hookspecs import PartContext, PartType, hookimpl
from keuos_hil.reporting import open_terminal

from .bench_command import run_command
from .lease_values import fill, require_values

ROLE = "power"


def _argv(what: str) -> dict[str, Any]:
    return {"help": what, "filled": True}


@dataclass(frozen=True)
class CommandOptions:
    """`part = "command"`: programs of the bench switch the supply: a USB relay's, ipmitool, a PDU's."""

    on: list[str] = field(default_factory=list, metadata=_argv("program and arguments that switch on"))
    off: list[str] = field(default_factory=list, metadata=_argv("program and arguments that switch off"))
    cycle: list[str] = field(
        default_factory=list, metadata=_argv("program and arguments that switch off and on; in place of on and off")
    )
    reset: list[str] = field(
        default_factory=list, metadata=_argv("program and arguments that press the reset button, if there is one")
    )
    off_seconds: float = field(default=1.0, metadata={"help": "how long it stays off between off and on"})
    timeout: float = field(default=30.0, metadata={"help": "seconds that a program may take"})


class CommandPower:
    """See :class:`keuos_hil.board_parts.BoardPower`."""

    def __init__(self, options: CommandOptions, context: PartContext) -> None:
        if options.cycle and (options.on or options.off):
            raise UsageError(f"{context.where}: either cycle, or on and off")
        if bool(options.on) != bool(options.off):
            raise UsageError(f"{context.where}: on and off belong together; or say cycle")
        if not options.cycle and not options.on and not options.reset:
            raise UsageError(f"{context.where}: say what switches the board: cycle = [...], or on and off, or reset")
        for key in ("on", "off", "cycle", "reset"):
            for argument in getattr(options, key):
                require_values(argument, context, key)
        self._options = options
        self._where = context.where
        self.switches = bool(options.cycle or options.on)
        self.resets = bool(options.reset)

    def cycle(self, values: Mapping[str, str]) -> None:
        """See BoardPower.cycle."""
        if self._options.cycle:
            self._run("cycle", values)
            return
        self._run("off", values)
        time.sleep(self._options.off_seconds)
        self._run("on", values)

    def reset(self, values: Mapping[str, str]) -> None:
        """See BoardPower.reset."""
        self._run("reset", values)

    def _run(self, key: str, values: Mapping[str, str]) -> None:
        argv = [fill(argument, values, f"{self._where}: {key}") for argument in getattr(self._options, key)]
        run_command(argv, self._options.timeout)


@dataclass(frozen=True)
class ManualOptions:
    """`part = "manual"`: the person at the terminal switches."""


class ManualPower:
    """See :class:`keuos_hil.board_parts.BoardPower`."""

    switches = True
    resets = False

    def __init__(self, options: ManualOptions, context: PartContext) -> None:
        self._board = context.board

    def cycle(self, values: Mapping[str, str]) -> None:
        """See BoardPower.cycle."""
        try:
            with open_terminal() as terminal:
                with open("/dev/tty", "w") as screen:
                    screen.write(f"\n{self._board}: switch it off, wait a second, switch it on; then press Enter. ")
                    screen.flush()
                if not terminal.readline():
                    raise OSError("end of input")
        except OSError:
            raise InfraError(
                f"{self._board} has to be switched off and on by hand, and there is no terminal to ask at; "
                'for runs without a person use power = "command"'
            ) from None

    def reset(self, values: Mapping[str, str]) -> None:
        """See BoardPower.reset."""
        raise InfraError(f"{self._board} has no reset button that could be pressed from here")


@dataclass(frozen=True)
class NoneOptions:
    """`part = "none"`: nobody can switch it; a reset has to come from the kernel or the boot loader."""


class NoPower:
    """See :class:`keuos_hil.board_parts.BoardPower`."""

    switches = resets = False

    def __init__(self, options: NoneOptions, context: PartContext) -> None:
        self._board = context.board

    def cycle(self, values: Mapping[str, str]) -> None:
        """See BoardPower.cycle."""
        raise InfraError(f"{self._board} has no power switch")

    reset = cycle


@hookimpl
def keuos_hil_part_types() -> list[PartType]:
    """This module's parts."""
    return [
        PartType(ROLE, "command", "programs of the bench switch it", CommandOptions, CommandPower),
        PartType(ROLE, "manual", "asks the person at the terminal", ManualOptions, ManualPower),
        PartType(ROLE, "none", "no switch", NoneOptions, NoPower),
    ]
