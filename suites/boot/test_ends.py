"""How a run can end against its will, each recognised at once as what it is; and how the end tells where it was."""

from __future__ import annotations

import re
import time

import pytest

from keuos_hil.agent import Agent
from keuos_hil.errors import Panic, PoweredOff, Reset, Silent, TripleFault
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget


def _end(target: LiveTarget, agent: Agent, record: Recorder, how: str) -> object:
    start = time.perf_counter()
    agent.hil(how)
    end = target.wait_end()
    record.add("boot.end_noticed", {"end": how}, "ms", value=(time.perf_counter() - start) * 1e3, timebase="host")
    return end


@pytest.mark.needs("clean-line", "hil")
def test_a_panic_is_told_with_registers_and_a_backtrace_in_names(
    target: LiveTarget, agent: Agent, record: Recorder
) -> None:
    end = _end(target, agent, record, "panic")
    assert isinstance(end, Panic), end
    assert end.message == "asked for by the host"
    report = end.report
    assert "hil_syscall+0x" in report, "the backtrace names its functions"
    assert "syscall_entry+0x" in report, "the backtrace goes back to the kernel's entry"
    assert len(re.findall(r"\b[a-z]\w*\s+[0-9a-f]{16}\b", report)) >= 16, "the registers are printed"
    assert "process 1 console" in report, "the process is named"


@pytest.mark.needs("clean-line", "hil")
def test_a_fault_of_the_kernel_itself_is_a_panic_that_names_the_address(
    target: LiveTarget, agent: Agent, record: Recorder
) -> None:
    end = _end(target, agent, record, "fault")
    assert isinstance(end, Panic), end
    assert "page fault in the kernel" in end.message


@pytest.mark.needs("clean-line", "hil")
def test_a_kernel_stack_overflow_hits_the_guard_page(target: LiveTarget, agent: Agent, record: Recorder) -> None:
    end = _end(target, agent, record, "stack")
    assert isinstance(end, Panic), end
    assert "kernel stack overflow" in end.message
    assert "deeper+0x" in end.report


@pytest.mark.needs("hil", "triple-fault")
def test_a_triple_fault_is_told_from_a_reset(target: LiveTarget, agent: Agent, record: Recorder) -> None:
    assert isinstance(_end(target, agent, record, "triple_fault"), TripleFault)


@pytest.mark.needs("hil")
def test_a_hang_is_noticed_by_silence_to_pings(target: LiveTarget, agent: Agent, record: Recorder) -> None:
    assert isinstance(_end(target, agent, record, "hang"), Silent)


@pytest.mark.needs("agent", "reset-reason")
def test_a_reboot_is_a_reset(target: LiveTarget, agent: Agent) -> None:
    agent.reboot(0)
    assert isinstance(target.wait_end(), Reset)


@pytest.mark.needs("agent", "reset-reason")
def test_powering_off_is_no_reset(target: LiveTarget, agent: Agent) -> None:
    agent.reboot(1)
    assert isinstance(target.wait_end(), PoweredOff)


@pytest.mark.needs("agent", "clean-line", "reset")
def test_the_reset_button_brings_the_kernel_up_again(target: LiveTarget, agent: Agent) -> None:
    mark = target.console.mark()
    target.session.reset()
    target.console.expect(b"keuos> ", 60)
    assert b"KeuOS " in target.console.since(mark)
