"""Hostile CPU state: instructions, selectors, flags, stacks. The process dies, or goes on as it was; the kernel lives.

The attempts are in the probe (kernel/user/probe/ARCH/attempts.S); each one's name says how it must end.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from keuos_hil.agent import Agent, Exit, Process
from keuos_hil.image import Image
from keuos_hil.page_tables import format_for
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels")

#: Vectors that the machine or the kernel uses, and some that nobody does. 3 is the only one that is user mode's.
VECTORS = (*range(36), 62, 63, 64, 0x80, 0xFE, 0xFF)
BREAKPOINT = 3
#: Selectors by index: what a load into DS, ES, FS or GS, and into SS, takes in user mode (kernel/arch/x86_64).
USER_DATA, USER_CODE = 0x18, 0x20
SELECTORS = (0, 3, 4, 7, 8, 0xB, 0xF, 0x10, 0x13, 0x18, 0x1B, 0x1F, 0x20, 0x23, 0x28, 0x2B, 0x33, 0x3B)
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


def table(image: Image, name: str) -> int:
    """The address of a table of attempts that some architectures have."""
    symbols = image.program("probe").symbols
    if name not in symbols:
        pytest.skip(f"a process of {image.kernel.machine} has nothing of that kind to try: no {name} in the probe")
    return symbols[name].address


def attempts(image: Image) -> dict[str, tuple[int, str]]:
    """By name: (address, how it must end)."""
    found = {}
    endings = ("illegal", "fault_execute", "fault_write", "fault_read", "arithmetic", "alignment", "debug", "survives")
    for name, symbol in image.program("probe").symbols.items():
        if name.startswith("attempt_"):
            ending = next(e for e in endings if name.startswith(f"attempt_{e}_"))
            found[name.removeprefix(f"attempt_{ending}_")] = (symbol.address, ending)
    return found


#: What QEMU's TCG (7.2, and by its sources later ones) does not raise: there such an attempt goes on as it was.
NOT_RAISED_BY_TCG = {"simd_divide_unmasked", "mxcsr_reserved_bits", "of_the_stack_pointer"}


def _refused_by_the_emulator(name: str, end: Exit) -> bool:
    """QEMU's TCG before 9.1 reads the stack of IRET and of a far return as the kernel would, and SMAP stops that.

    Its commit "target/i386/tcg: Allow IRET from user mode to user mode with SMAP" (July 2024) changed it.
    """
    far = "iret" in name or "far_return" in name
    return far and end.name == "fault_read" and end.detail in STACK


def _wrong(agent: Agent, image: Image, names: Iterable[str], *, tcg: bool) -> dict[str, str]:
    """Attempts that ended otherwise than they must; on `tcg` but for what it does not raise."""
    wrong = {}
    known = attempts(image)
    for name in names:
        address, ending = known[name]
        end = run(agent, address)
        as_it_must = end.ok if ending == "survives" else end.name == ending
        if tcg and (_refused_by_the_emulator(name, end) or (name in NOT_RAISED_BY_TCG and end.ok)):
            continue
        if not as_it_must:
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
    assert _wrong(agent, image, names, tcg="-accel tcg" in target.session.command) == {}


def test_every_software_interrupt_but_the_breakpoint_is_refused(agent: Agent, image: Image) -> None:
    first = table(image, "probe_interrupts")
    ends = {vector: run(agent, first + 8 * vector).name for vector in VECTORS}
    assert {v: name for v, name in ends.items() if name != ("debug" if v == BREAKPOINT else "illegal")} == {}


@pytest.mark.parametrize("register", ["ds", "gs", "ss"])
def test_no_selector_of_the_kernels_can_be_loaded(agent: Agent, image: Image, register: str) -> None:
    """Every descriptor of the global table and of a local one, at every privilege asked for."""
    first = table(image, f"probe_loads_{register}")
    wrong = {}
    for selector in (
        0,
        3,
        0x04,
        0x07,
        0x08,
        0x0B,
        0x0F,
        0x10,
        0x13,
        0x18,
        0x1B,
        0x1F,
        0x20,
        0x23,
        0x28,
        0x2B,
        0x33,
        0x3B,
    ):
        kind = selector & ~3
        allowed = selector == USER_DATA | 3 if register == "ss" else kind in (0, USER_DATA, USER_CODE)
        end = run(agent, first + 16 * selector)
        if not (end.ok if allowed else end.name == "illegal"):
            wrong[hex(selector)] = str(end)
    assert wrong == {}


@pytest.mark.needs("smp")
def test_control_words_and_flags_stay_with_their_process(agent: Agent, image: Image) -> None:
    """Three with rounding modes, masks and x87 registers of their own give way to each other; two keep odd flags."""
    known = attempts(image)
    names = ["holding_round_up", "holding_round_down", "holding_single"] + ["flags_over_preemption"] * 2
    holders = [execute(agent, known[name][0], core=1, start=False) for name in names]
    for process in holders:
        process.start()
    fresh = execute(agent, known["fresh_control_words"][0], core=1)
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
