"""The hostile program (kernel/user/hostile) as Python functions."""

from __future__ import annotations

from keuos_hil.agent import Agent, Process
from keuos_hil.rig import LiveTarget

from ..waiting import until


def hostile(agent: Agent, op: str, *, core: int = 1, start: bool = False, **parameters: object) -> Process:
    """A hostile process, told what to do; it begins when it has its ends."""
    process = agent.spawn("hostile", core=min(core, agent.info().cores - 1), suspended=True)
    constant = process.elf.layouts.constant
    process.write_struct("params", op=constant("HOSTILE_" + op.upper()), **parameters)
    if start:
        process.start()
    return process


def wait_stage(target: LiveTarget, process: Process, stage: str) -> None:
    """Wait until it has come so far: an enum hostile_stage without prefix."""
    wanted = process.elf.layouts.constant("HOSTILE_" + stage.upper())
    until(target, f"{process} to come to {stage}", lambda: process.read_struct("results").stage >= wanted)


def wait_turns(target: LiveTarget, process: Process, turns: int = 1) -> None:
    """Wait until it has done `turns` of what it does, or has ended."""
    until(
        target,
        f"{process} to do {turns} turns",
        lambda: process.read_struct("results").turns >= turns or process.info().exit_reason,
    )
