"""Up to the prompt: cores, protections, the console for a person, programs started and ended."""

from __future__ import annotations

import time

import pytest

from keuos_hil.agent import Agent
from keuos_hil.console import Console
from keuos_hil.errors import Refused
from keuos_hil.page_tables import format_for
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

PROMPT = b"keuos> "
#: Boots of which `boot.to_prompt` is the median.
BOOTS = 11


def say(console: Console, line: str) -> bytes:
    """Types a line at the prompt; what was answered, up to the next prompt."""
    mark = console.mark()
    console.write(line + "\r")
    console.expect(line.encode())
    console.expect(PROMPT)
    return console.since(mark)


@pytest.mark.needs("agent", "clean-line")
def test_reaches_the_prompt(target: LiveTarget, console: Console) -> None:
    console.write("\r")
    console.expect(PROMPT)


@pytest.mark.needs("agent", "clean-line")
def test_banner_names_version_build_and_loader(fresh_target: LiveTarget, agent: Agent) -> None:
    log = fresh_target.console.since(0)
    build = b"hil" if fresh_target.image.capabilities & {"hil"} else b"release"
    info = agent.info()
    assert b"KeuOS " + info.version.encode() in log
    assert build + b", by " + info.boot.encode() in log


@pytest.mark.needs("agent", "smp")
def test_every_core_runs_processes(target: LiveTarget, agent: Agent) -> None:
    for core in range(agent.info().cores):
        with agent.spawn("hello", core=core) as process:
            assert process.wait_exit().ok, f"hello on core {core}"
            assert process.info().core == core


@pytest.mark.needs("agent")
def test_refuses_a_core_that_is_not_there(agent: Agent) -> None:
    with pytest.raises(Refused, match=r"(?i)einval"):
        agent.spawn("hello", core=agent.info().cores)


@pytest.mark.needs("clean-line", "nx", "wp", "smep", "smap", "umip", "entropy")
def test_switches_on_every_protection_of_the_cpu(fresh_target: LiveTarget) -> None:
    line = next(line for line in fresh_target.console.since(0).splitlines() if line.startswith(b"protection:"))
    assert line.endswith((b" entropy IOMMU", b" entropy no-IOMMU")), line
    assert b"no-" not in line.removesuffix(b"no-IOMMU"), line


@pytest.mark.needs("agent", "registers", "smp")
def test_every_core_has_the_same_control_registers(target: LiveTarget, agent: Agent) -> None:
    """Protections are per core: one that a later core forgot would not show on the first."""
    cores = agent.info().cores
    names = format_for(target.image.kernel.machine).alike
    first = target.debug.registers(0)
    for core in range(1, cores):
        other = target.debug.registers(core)
        assert {n: hex(other[n]) for n in names} == {n: hex(first[n]) for n in names}, f"core {core} against core 0"


@pytest.mark.needs("agent", "clean-line")
def test_a_person_is_helped(console: Console, agent: Agent) -> None:
    answer = say(console, "help")
    for command in (b"help", b"ps", b"spawn NAME", b"channels", b"events", b"reboot"):
        assert command in answer


@pytest.mark.needs("agent", "clean-line")
def test_a_person_sees_the_first_process(console: Console, agent: Agent) -> None:
    answer = say(console, "ps")
    assert b"console" in answer
    assert b"running" in answer


@pytest.mark.needs("agent", "clean-line")
def test_a_person_spawns_a_program_and_sees_it_leave(console: Console, agent: Agent) -> None:
    console.write("spawn hello\r")
    console.expect(rb"\[\d+\] hello on core \d")
    console.expect(rb"\[\d+\] hello: exit 0")


@pytest.mark.needs("agent", "clean-line")
def test_a_person_is_told_what_is_wrong_with_a_command(console: Console, agent: Agent) -> None:
    answer = say(console, "spawn no_such_program")
    assert b"no_such_program" in answer
    console.write("fly\r")
    console.expect(b"help")


@pytest.mark.needs("agent", "clean-line")
def test_typing_and_frames_share_the_line(console: Console, agent: Agent) -> None:
    """A frame in the middle of a half-typed line takes nothing from it."""
    console.write("he")
    agent.ping()
    console.write("lp\r")
    console.expect(b"spawn NAME")


@pytest.mark.needs("agent")
def test_a_program_that_never_yields_does_not_starve_the_console(agent: Agent) -> None:
    with agent.spawn("spin", core=0):
        for _ in range(20):
            agent.ping()


@pytest.mark.needs("agent")
def test_equals_take_turns_on_one_core(agent: Agent) -> None:
    """Two programs that never give way: both get on, by the timer alone."""
    with agent.spawn("spin", core=0) as one, agent.spawn("spin", core=0) as other:
        seen = []
        for process in (one, other):
            before = process.read_struct("turns")
            deadline = agent.console.clock() + 10
            while process.read_struct("turns") == before and agent.console.clock() < deadline:
                agent.ping()
            seen.append(process.read_struct("turns") > before)
        assert seen == [True, True]


@pytest.mark.needs("agent", "smp")
def test_equals_take_turns_on_a_core_that_nobody_else_disturbs(agent: Agent) -> None:
    """Nobody more urgent runs there and nobody wakes: only the timer can end a turn."""
    core = agent.info().cores - 1
    with agent.spawn("spin", core=core) as one, agent.spawn("spin", core=core) as other:
        for process in (one, other, one):
            before = process.read_struct("turns")
            deadline = agent.console.clock() + 10
            while process.read_struct("turns") == before:
                assert agent.console.clock() < deadline, f"{process} does not get the core"


@pytest.mark.needs("agent")
def test_a_killed_program_is_gone(agent: Agent) -> None:
    for core in range(agent.info().cores):
        with agent.spawn("spin", core=core) as process:
            process.kill()
            assert process.wait_exit().name == "killed"


@pytest.mark.needs("agent")
def test_two_hundred_programs_come_and_go_without_a_trace(agent: Agent, progress: Progress) -> None:
    before = agent.counts()
    with progress("programs", 200) as advance:
        for number in range(200):
            with agent.spawn("hello", core=number % agent.info().cores) as process:
                assert process.wait_exit().ok
            advance(1)
    assert before.difference(agent.counts()) == ""


@pytest.mark.needs("agent", "another")
def test_exec_to_prompt_is_recorded(
    target: LiveTarget, record: Recorder, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """From the moment the target is told to start until its prompt is read; making the emulator ready is in it."""
    times = []
    for number in range(BOOTS):
        directory = tmp_path_factory.mktemp(f"boot-{number}")
        start = time.perf_counter()
        session = target.start_another(directory)
        try:
            session.console.expect(PROMPT, 60)
            times.append((time.perf_counter() - start) * 1e3)
        finally:
            session.close()
    record.add("boot.to_prompt", {"boots": BOOTS}, "ms", samples=times, timebase="host", at_most=150)


@pytest.mark.needs("agent", "clean-line", "power")
@pytest.mark.parametrize("boot", range(3))
def test_power_on_to_prompt_is_recorded(fresh_target: LiveTarget, record: Recorder, boot: int) -> None:
    """From the moment the bench begins to switch: firmware, boot loader and the image's way to the board are in it."""
    fresh_target.console.expect(PROMPT, 60)
    value = (time.monotonic() - fresh_target.session.started) * 1e3
    record.add("boot.to_prompt", {"from": "power", "boot": boot}, "ms", value=value, timebase="host", at_most=10_000)
