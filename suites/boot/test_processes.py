"""A process can end itself and nothing else: every exception kills it and never the kernel, and its state is its own.

The probe (kernel/user/probe) attempts; the exit reason says what stopped it.
"""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent, Exit, Process
from keuos_hil.errors import Refused
from keuos_hil.page_tables import format_for
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels")

#: Where a program's code begins, and addresses that no program has mapped.
CODE = 0x400000
NULL, KERNEL, NON_CANONICAL = 0x0, 0xFFFF_8000_0010_0000, 0x1000_0000_0000_0000


def probe(agent: Agent, op: str, *, core: int = 0, **parameters: int) -> Process:
    """A probe that is ready to start."""
    process = agent.spawn("probe", core=core, suspended=True)
    process.write_struct("params", op=process.elf.layouts.constant("PROBE_" + op.upper()), **parameters)
    return process


def attempt(agent: Agent, op: str, **parameters: int) -> Exit:
    """Run a probe to its end; the kernel must answer afterwards, and have recorded the fault."""
    first = agent.next_event()
    process = probe(agent, op, **parameters)
    process.start()
    end = process.wait_exit()
    agent.ping()
    recorded = [event for event in agent.events(first) if event.pid == process.pid]
    assert [event.verdict for event in recorded] == [end.reason], "the end stands in the event record, once"
    process.drop()
    return end


@pytest.mark.parametrize(
    ("op", "parameters", "ends"),
    [
        ("read", {"address": NULL, "width": 8}, "fault_read"),
        ("write", {"address": NULL, "width": 1}, "fault_write"),
        ("execute", {"address": NULL}, "fault_execute"),
        ("read", {"address": KERNEL, "width": 4}, "fault_read"),
        ("write", {"address": KERNEL, "width": 4}, "fault_write"),
        ("execute", {"address": KERNEL}, "fault_execute"),
        ("write", {"address": CODE, "width": 1}, "fault_write"),
        ("read", {"address": NON_CANONICAL, "width": 8}, "fault_read"),
        ("execute", {"address": NON_CANONICAL}, "fault_execute"),
        ("breakpoint", {}, "debug"),
        ("stack_overflow", {}, "fault_write"),
        ("syscall", {"number": 1 << 40}, "bad_syscall"),
        ("syscall", {"number": 2**64 - 1}, "bad_syscall"),
    ],
    ids=lambda value: (
        str(value)
        if isinstance(value, str)
        else "-".join(v if isinstance(v, str) else f"{v:x}" for v in value.values())
    ),
)
def test_an_exception_kills_its_process_alone(agent: Agent, op: str, parameters: dict[str, int], ends: str) -> None:
    beyond = parameters.get("address") == NON_CANONICAL
    if beyond and not format_for(agent.image.kernel.machine).accesses.beyond_is_fault:
        ends = "illegal"
    end = attempt(agent, op, **parameters)
    assert end.name == ends, end
    if ends.startswith("fault_") and "address" in parameters:
        assert end.detail == parameters["address"]


@pytest.mark.needs("nx")
def test_a_stack_can_not_be_executed(agent: Agent) -> None:
    stack = 0x7FFF_F000_0000 - 0x1000
    end = attempt(agent, "execute", address=stack)
    assert (end.name, end.detail) == ("fault_execute", stack)


@pytest.mark.needs("umip")
def test_no_privileged_instruction_is_user_modes(agent: Agent) -> None:
    """Those that load, store or tell anything of the machine, and software interrupts that belong to it."""
    count = agent.image.program("probe").layouts.constant("PROBE_I_COUNT")
    ends = {number: attempt(agent, "instruction", number=number) for number in range(count)}
    assert {number: str(end) for number, end in ends.items() if end.name != "illegal"} == {}


def test_a_hostile_stack_pointer_stops_only_its_owner(agent: Agent) -> None:
    """The kernel never uses a process's stack: with a bad one a system call still works, and no interrupt harms."""
    for stack in (NULL, 8, KERNEL, 0x7FFF_FFFF_FFF8, 0x8000_0000_0000, 2**64 - 8):
        end = attempt(agent, "hostile_stack", address=stack, repeat=1000)
        assert end.name in ("code", "fault_read", "fault_write", "illegal"), f"stack at {stack:#x}: {end}"


@pytest.mark.needs("smp")
def test_registers_of_simd_stay_with_their_process(agent: Agent) -> None:
    """Three processes on one core with patterns of their own, giving way at each look and preempted in between."""
    holders = [probe(agent, "simd_hold", core=1, value=seed, repeat=20_000, yields=1) for seed in (1, 2)]
    holders.append(probe(agent, "simd_hold", core=1, value=3, repeat=3_000_000))
    for process in holders:
        process.start()
    for process in holders:
        end = process.wait_exit(120.0)
        assert end.ok, end
        assert process.read_struct("results").mismatches == 0


@pytest.mark.needs("smp")
def test_a_new_process_finds_no_simd_registers_of_another(agent: Agent) -> None:
    other = probe(agent, "simd_hold", core=1, value=0xA5A5_A5A5, repeat=500_000)
    other.start()
    fresh = probe(agent, "simd_read", core=1)
    fresh.start()
    assert fresh.wait_exit().ok
    assert not any(fresh.read_struct("results").simd), "SIMD registers are zero at the start"
    assert other.wait_exit(120.0).ok


def test_a_system_call_returns_no_kernel_data_in_registers(agent: Agent) -> None:
    """Registers that a call destroys come back zero, but rcx and r11, which hold the caller's own address and flags."""
    process = probe(agent, "syscall", number=agent.image.constant("KEUOS_SYS_NULL"), repeat=3)
    params = process.read_struct("params")
    params.args[:] = [0xA5A5_0000_0000_0000 + i for i in range(6)]  # as large as anything the kernel could leave
    process.write_struct("params", params)
    process.start()
    assert process.wait_exit().ok, "a register that a call keeps was changed"
    registers = process.read_struct("results").registers
    assert all(int(value) < 1 << 32 for value in registers), [hex(value) for value in registers]


def test_a_process_can_not_spend_more_than_its_quota(agent: Agent) -> None:
    with agent.spawn("hog", pages=200) as hog:
        assert hog.wait_exit().ok, "hog leaves with 0 when it was refused by its quota"
        assert hog.info().pages <= 200


#: Texts that the code of the HIL build refers to: what is loaded holds them only if that code is in it, names or not.
HIL_TEXTS = (b"asked for by the host", b"seed=")


def _loaded(target: LiveTarget) -> bytes:
    return b"".join(segment.data for segment in target.image.kernel.segments)


def test_release_image_has_no_hil_entry_point(target: LiveTarget, agent: Agent) -> None:
    if "hil" in target.image.capabilities:
        pytest.skip("this is a HIL build; the release build is tested without --kernel")
    names = [name for name, symbol in target.image.kernel.symbols.items() if name.startswith("hil_") and symbol.size]
    assert names == []
    assert [text for text in HIL_TEXTS if text in _loaded(target)] == []
    assert b"kernel/hil/" not in target.image.kernel.data, "a file of the HIL build was compiled into this image"
    for code in target.image.enum("keuos_hil_op"):
        with pytest.raises(Refused, match=r"(?i)enosys"):
            agent.request("hil", code=int(code))
    agent.ping()


@pytest.mark.needs("channels")
def test_release_image_checks_no_gates_in_bulk(target: LiveTarget, agent: Agent) -> None:
    if "hil" in target.image.capabilities:
        pytest.skip("this is a HIL build; the release build is tested without --kernel")
    lender = agent.spawn("gate_bulk", suspended=True)
    agent.bind(lender, agent.spawn("gate_receiver", suspended=True), "verified", order=0)
    lender.start()
    lender.wait_exit()
    assert lender.read_struct("results").error == -target.image.constant("KEUOS_ENOSYS")


@pytest.mark.needs("hil", "channels")
def test_hil_build_has_the_files_that_a_release_must_not_have(target: LiveTarget) -> None:
    """Or the check above would look for a name that nothing bears."""
    assert b"kernel/hil/" in target.image.kernel.data
    assert [text for text in HIL_TEXTS if text not in _loaded(target)] == []
    assert target.image.kernel.symbol("hil_gate").size
