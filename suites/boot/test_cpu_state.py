"""Hostile CPU state: instructions, selectors, flags, stacks. The process dies, or goes on as it was; the kernel lives.

The attempts are in the probe (kernel/user/probe/ARCH/attempts.S); each one's name says how it must end.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatch

import pytest

from keuos_hil.agent import Agent, Exit, Process
from keuos_hil.image import Image
from keuos_hil.page_tables import format_for
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels")

#: Where a process's stack lies (kernel/core/process.c).
STACK = range(0x7FFF_EFFF_0000, 0x7FFF_F000_0000)


@pytest.fixture(autouse=True)
def _has_attempts(image: Image) -> None:
    if "probe_attempts_begin" not in image.program("probe").symbols:
        pytest.skip("the probe has no such attempts for this architecture (kernel/user/probe/ARCH/attempts.S)")


def execute(agent: Agent, address: int, *, core: int = 0, start: bool = True) -> Process:
    """A probe that calls an address of its own."""
    process = agent.spawn("probe", core=core, suspended=True)
    process.write_struct("params", op=process.elf.layouts.constant("PROBE_EXECUTE"), address=address)
    if start:
        process.start()
    return process


def run(agent: Agent, address: int) -> Exit:
    """Call it; the kernel must answer afterwards."""
    with execute(agent, address) as process:
        end = process.wait_exit()
    return end


def attempts(image: Image) -> dict[str, tuple[int, str]]:
    """By name, which begins with how it must end: (address, that end)."""
    found = {}
    endings = ("illegal", "fault_execute", "fault_write", "fault_read", "arithmetic", "alignment", "debug", "survives")
    for name, symbol in image.program("probe").symbols.items():
        if name.startswith("attempt_"):
            ending = next(e for e in endings if name.startswith(f"attempt_{e}_"))
            found[name.removeprefix("attempt_")] = (symbol.address, ending)
    return found


def _as_the_machine_does(end: Exit, ending: str) -> bool:
    """Whether it ended so; a fault of reading counts if it was its own stack that was read."""
    if ending == "survives":
        return end.ok
    return end.name == ending and (ending != "fault_read" or end.detail in STACK)


def _wrong(target: LiveTarget, agent: Agent, image: Image, names: Iterable[str]) -> dict[str, str]:
    """Attempts that ended otherwise than they must, or on this machine do."""
    wrong = {}
    known = attempts(image)
    for name in names:
        address, ending = known[name]
        end = run(agent, address)
        if end.ok if ending == "survives" else end.name == ending:
            continue
        instead = [how for pattern, how in target.deviations.items() if fnmatch(name, pattern)]
        if not any(_as_the_machine_does(end, how) for how in instead):
            wrong[name] = f"expected {ending}: {end}"
    agent.ping()
    return wrong


@pytest.mark.parametrize("ending", ["illegal", "fault", "arithmetic", "alignment", "debug", "survives"])
def test_hostile_instructions_end_their_process_and_nothing_else(
    target: LiveTarget, agent: Agent, image: Image, ending: str
) -> None:
    names = [name for name, (_, how) in attempts(image).items() if how.startswith(ending)]
    if not names:
        pytest.skip(f"nothing that a process of {image.kernel.machine} can do ends so")
    assert len(names) >= 2, f"the probe has only {names}"
    assert _wrong(target, agent, image, names) == {}


@pytest.mark.needs("smp")
def test_control_words_and_flags_stay_with_their_process(agent: Agent, image: Image) -> None:
    """Those that hold rounding modes, masks and errors of their own, two of each, give way; two keep odd flags."""
    known = attempts(image)
    holding = sorted(name for name in known if name.startswith("survives_holding_"))
    assert len(holding) >= 3, holding
    names = [*holding, *holding] + ["survives_flags_over_preemption"] * 2
    holders = [execute(agent, known[name][0], core=1, start=False) for name in names]
    for process in holders:
        process.start()
    fresh = execute(agent, known["survives_fresh_control_words"][0], core=1)
    assert fresh.wait_exit().ok, "a new process found control words or x87 registers of another"
    for name, process in zip(names, holders, strict=True):
        end = process.wait_exit(120.0)
        assert end.ok, f"{name}: {end}"


@pytest.mark.needs("smp")
def test_interrupts_need_nothing_of_a_processes_stack(agent: Agent) -> None:
    """Two on one core, so that each is preempted, with stacks that are nobody's."""
    processes = []
    for stack in (0x0000_8000_0000_0000, 8):
        process = agent.spawn("probe", core=1, suspended=True)
        op = process.elf.layouts.constant("PROBE_HOSTILE_STACK")
        process.write_struct("params", op=op, address=stack, repeat=1_000_000)
        processes.append(process)
    for process in processes:
        process.start()
    for process in processes:
        end = process.wait_exit(120.0)
        assert end.ok, end


@pytest.mark.needs("registers", "smp")
def test_debug_registers_are_off_on_every_core(target: LiveTarget, agent: Agent, image: Image) -> None:
    """User mode can't set them (above); the kernel does not, and nothing of the firmware's is left."""
    for core in range(agent.info().cores):
        assert format_for(image.kernel.machine).armed_breakpoints(target.debug.registers(core)) == [], f"core {core}"
