"""Which functions a round trip's instructions are of, where the target counts what is executed (--executed)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keuos_hil.agent import Process
from keuos_hil.executed import KERNEL, difference, least, shares
from keuos_hil.rig import LiveTarget

from .programs import finish

#: Operations by which a longer window exceeds a shorter one.
OPERATIONS = 2_000
#: Of several windows the least counts: now and then the console has something to do meanwhile.
WINDOWS = 3


def executed_per_operation(target: LiveTarget, prepare: Callable[[int], Sequence[Process]]) -> dict[str, Any]:
    """For a row of results.json: `executed`, by program and function; nothing where the target does not count.

    Args:
        prepare: makes processes, not yet started, that warm up by so many operations; they are ended here.
    """
    if "executed" not in target.definition.capabilities:
        return {}
    found = []
    for warm_up in (2 * OPERATIONS, OPERATIONS):
        windows = []
        for _ in range(WINDOWS):
            processes = prepare(warm_up)
            before = target.executed()
            for process in processes:
                process.start()
            finish(*processes)
            windows.append(difference(target.executed(), before))
            for process in processes:
                process.close()
        found.append(least(windows))
    programs = {KERNEL, *(process.name for process in processes)}
    more, fewer = found
    of = shares(more, fewer, OPERATIONS)
    return {"executed": {name: functions for name, functions in of.items() if name in programs}}


def total(row: dict[str, Any]) -> float:
    """Instructions of an operation, all functions together."""
    return sum(sum(functions.values()) for functions in row["executed"].values())
