"""System calls by the hundred thousand, with any arguments: each answers what is documented, and nothing is lost by it.

kernel/user/syscall_fuzz makes them. An honest channel runs beside; what a run leaves behind is counted by the agent and
in the kernel's variables. If the kernel fails, the newest calls of each fuzzer are read from outside and shown.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from keuos_hil.agent import QUIET_S, Agent, Exit, Process
from keuos_hil.dwarf import Record
from keuos_hil.errors import HilError, Refused
from keuos_hil.fuzz.budget import Fuzzing
from keuos_hil.oracle.syscalls import DOCUMENTED, DRIVERS, ELSEWHERE, ENDS
from keuos_hil.progress import Progress
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from ..waiting import until
from .honest import honest_beside

pytestmark = pytest.mark.needs("agent", "channels")

#: Calls of a run under soak.
SOAK_CALLS = 2_000_000
#: Seconds, in the target's pace, that a run may take.
LONG_S, SOAK_S = 240.0, 3600.0
#: Rounds that may be added until every documented answer has been seen. Most runs need none or one; an answer behind a
#: chain of rare calls (a copy of a process without its right, then that call on it) was once missed by six.
ROUNDS_MAX = 30
#: Fuzzers of which each ends itself, at least and at most.
ENDS_MIN, ENDS_MAX = 4, 120
#: How many of the newest calls a failure shows of each fuzzer.
SHOWN = 6


@dataclass(frozen=True)
class Profile:
    """What a fuzzer has: its quotas, whether it holds a system capability or a device's; and how many calls a run is.

    Few rights make quick calls, so there are more of them: most go to children, channels and memory.
    """

    pages: int
    channels: int
    processes: int | None
    calls: int
    system: bool = False
    device: bool = False


PROFILES = {
    "few_rights": Profile(pages=120, channels=2, processes=None, calls=240_000),
    "many_rights": Profile(pages=2000, channels=12, processes=8, calls=20_000),
    "the_machines_rights": Profile(pages=600, channels=4, processes=2, calls=20_000, system=True),
    "a_drivers_rights": Profile(pages=400, channels=4, processes=2, calls=60_000, device=True),
}


@dataclass
class Coverage:
    """How often each call gave each answer, and how callers ended."""

    answers: Counter[tuple[str, str]] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)

    def add(self, agent: Agent, results: Any) -> None:
        """From struct fuzz_results."""
        counts = results.counts
        calls = agent.image.enumerators("keuos_syscall", "KEUOS_SYS_")
        errors = {0: "ok", **agent.image.enumerators("keuos_error", "KEUOS_")}
        for number, error in zip(*np.nonzero(counts), strict=True):
            self.answers[calls[int(number)], errors.get(int(error), "no error of enum keuos_error")] += int(
                counts[number][error]
            )

        for reason in np.flatnonzero(results.ends):
            name = agent.name_of("keuos_exit_reason", "KEUOS_EXIT_", int(reason))
            self.ends[name] += int(results.ends[reason])

    def undocumented(self) -> list[tuple[str, str]]:
        """Answers that no table promises."""
        return sorted(pair for pair in self.answers if pair[1] not in DOCUMENTED[pair[0]])

    def missing(self, capabilities: frozenset[str]) -> list[tuple[str, str]]:
        """Documented answers that have not come yet, but for those of another test or another build."""
        wanted = {(call, answer) for call, answers in DOCUMENTED.items() for answer in answers}
        if "hil" in capabilities:
            wanted.remove(("hil", "enosys"))
        return sorted(wanted - set(self.answers) - set(ELSEWHERE))

    def table(self) -> str:
        """For a person."""
        rows = []
        for call, answers in DOCUMENTED.items():
            shown = ", ".join(f"{a} {self.answers[call, a]}" for a in sorted(answers, key=lambda a: (a != "ok", a)))
            rows.append(f"{call:16} {shown}")
        return "\n".join([*rows, "ended by: " + ", ".join(f"{end} {n}" for end, n in sorted(self.ends.items()))])


#: Of this process's runs, by target: what the last test looks at.
_seen: dict[str, Coverage] = {}


# From outside ---------------------------------------------------------------------------------------------------------


def traces(target: LiveTarget) -> list[str]:
    """The newest calls of every fuzzer, newest last: read in physical memory, whether the kernel lives or not."""
    layouts = target.image.program("syscall_fuzz").layouts
    dtype, magic = layouts.struct("fuzz_trace"), layouts.constant("FUZZ_TRACE_MAGIC")
    calls = target.image.enumerators("keuos_syscall", "KEUOS_SYS_")
    lines = []
    for frame in {int(f) for f in target.kernel.read_array("memory_objects")["frames"][:, 0] if f}:
        found = Record.of(dtype, target.debug.read_physical(frame, dtype.itemsize))
        if found.magic != magic:
            continue
        lines.append(f"process {found.pid}: {found.made} calls, the newest {'not come back' if found.open else 'done'}")
        for at in range(max(0, found.made - SHOWN), found.made):
            call = found.calls[at % len(found.calls)]
            arguments = ", ".join(f"{int(a):#x}" for a in call.arguments)
            number = int(call.number)
            lines.append(f"  {calls.get(number, hex(number))}({arguments}) -> {call.result}")
    return lines


@contextmanager
def _shown_on_failure(target: LiveTarget, seed: int) -> Iterator[None]:
    try:
        yield
    except (HilError, AssertionError) as error:
        newest = traces(target) if target.session.debug is not None else ["(seen from outside alone)"]
        error.add_note(f"--fuzz-seed={seed} draws the same calls. The newest of each fuzzer:\n" + "\n".join(newest))
        raise


def _lend_system_capability(target: LiveTarget, process: Process) -> None:
    """Put one into the table of a process that has not started, as only the first process has it."""
    constant, dtype = target.image.constant, target.image.struct("process")
    assert dtype.fields is not None
    table, offset = dtype.fields["capabilities"][:2]
    for index in range(constant("KEUOS_PROCESSES")):
        record = target.kernel.read_element("processes", index)
        if (record.pid, record.state) != (process.pid, constant("KEUOS_PROCESS_SUSPENDED")):
            continue
        at = target.kernel.address("processes") + index * dtype.itemsize + offset
        entry = Record.of(table.base, bytes(table.base.itemsize))
        entry.type = constant("KEUOS_CAP_SYSTEM")
        target.kernel.write_bytes(at + constant("KEUOS_CAP_SYSTEM_INDEX") * table.base.itemsize, bytes(entry))
        count = int(target.kernel.read("capability_count"))
        target.kernel.write("capability_count", count + 1)  # it is taken off again with the process
        return
    raise AssertionError(f"{process} is not among the kernel's suspended processes")


def _network_device(agent: Agent) -> Record:
    """What the kernel says of the target's NIC."""
    return next(device for device in agent.devices() if device.class_code >> 16 == 2)


def _lend_device(agent: Agent, process: Process) -> int:
    """The NIC's capability, with all rights; its index in the process."""
    rights = ("READ", "CONTROL", "GRANT")
    return agent.grant_device(
        process,
        int(_network_device(agent).device),
        sum(agent.image.constant(f"KEUOS_RIGHT_{right}") for right in rights),
    )


# Runs -----------------------------------------------------------------------------------------------------------------


def _run(
    target: LiveTarget, agent: Agent, profile: Profile, seed: int, calls: int, *, core: int, timeout: float = LONG_S
) -> Any:
    """One fuzzer to its end: struct fuzz_results. What it did is added to the coverage of this target."""
    seen = _seen.setdefault(target.name, Coverage())
    fuzzer = agent.spawn(
        "syscall_fuzz",
        core=core,
        suspended=True,
        pages=profile.pages,
        channels=profile.channels,
        processes=profile.processes,
    )
    constant = fuzzer.elf.layouts.constant
    fuzzer.write_struct(
        "params",
        seed=seed,
        calls=calls,
        role=constant("FUZZ_FAMILY"),
        system=int(profile.system),
        flood=int(profile.system),
        device=_lend_device(agent, fuzzer) if profile.device else 0,
    )
    if profile.system:
        _lend_system_capability(target, fuzzer)
    fuzzer.start()
    end = fuzzer.wait_exit(timeout, quiet=10 * QUIET_S)
    agent.ping()
    results = fuzzer.read_struct("results")
    seen.add(agent, results)
    _judge(agent, end, results)
    fuzzer.drop()
    return results


def _judge(agent: Agent, end: Exit, results: Any) -> None:
    """A fuzzer may end by its own doing; what it saw until then must be right."""
    assert results.lost == 0, f"what had to work failed with error {results.lost} in line {results.line}: {end}"
    assert end.name in ("code", "killed", "gate"), f"a call ended its caller otherwise than documented: {end}"
    assert end.ok or end.name != "code", end
    registers = [hex(value) for value in results.registers]
    assert results.leaks == 0, (
        f"{results.leaks} calls came back with registers that are not the caller's own or zero; the first was "
        f"{results.leak}, and left {registers}"
    )


def _fuzz(
    target: LiveTarget, agent: Agent, name: str, seed: int, calls: int, *, timeout: float = LONG_S
) -> tuple[int, float]:
    """A run of a profile beside an honest channel, with everything counted: (calls, seconds)."""
    before = agent.info()
    core = before.cores - 1  # children go everywhere
    with _shown_on_failure(target, seed):
        with honest_beside(agent, seed=seed, cores=(core, core)):
            began = time.monotonic()
            results = _run(target, agent, PROFILES[name], seed, calls, core=core, timeout=timeout)
            took = time.monotonic() - began
        undocumented = _seen[target.name].undocumented()
        assert not undocumented, f"answers that docs/syscall-abi.md does not give: {undocumented}"
    after = agent.info()
    left = {
        what: getattr(after, what) - getattr(before, what)
        for what in ("capabilities", "processes", "channels", "pages_free")
        if getattr(after, what) != getattr(before, what)
    }
    assert not left, f"left behind by {results.made} calls of seed {seed}: {left}"
    if PROFILES[name].device:
        device = _network_device(agent)
        assert (device.holder, device.dma_ranges, device.dma_pages) == (0, 0, 0), f"a window is left open: {device}"
    return int(results.made), took


#: Answers that a run of a driver's calls must have come to, or it was shallow; others are rare, or this machine's not.
_DRIVERS_WANTED = ("ok", "einval", "estate", "enoent", "efault")


CASES = [
    pytest.param(
        name,
        marks=[pytest.mark.needs("link", "iommu")] * profile.device + [pytest.mark.needs("debug")] * profile.system,
    )
    for name, profile in PROFILES.items()
]
#: Millions of calls of whoever may write to the console: where no UART holds it up, that is more than a host keeps.
SOAK_CASES = [
    pytest.param(*case.values, marks=[*case.marks, *[pytest.mark.needs("paced-line")] * profile.system])
    for case, profile in zip(CASES, PROFILES.values(), strict=True)
]
#: What is answered while the line is behind, and so where it takes bytes no faster than a UART.
BEHIND = {("log", "eagain"), ("console_write", "eagain")}


@pytest.mark.parametrize("profile", CASES)
def test_random_system_calls_answer_as_documented_and_leave_nothing(
    target: LiveTarget, agent: Agent, fuzzing: Fuzzing, profile: str, record: Recorder
) -> None:
    made, took = _fuzz(target, agent, profile, fuzzing.seed, PROFILES[profile].calls)
    record.add("fuzz.syscall_rate", {"rights": profile}, "1/s", value=made / took, timebase="host")


@pytest.mark.needs("debug")
def test_every_documented_answer_was_reached(
    target: LiveTarget, agent: Agent, fuzzing: Fuzzing, record: Recorder
) -> None:
    """What the runs before did not come to is tried for again, with other seeds. But for what needs a slow line."""
    for turn in range(ROUNDS_MAX):
        if set(_seen.setdefault(target.name, Coverage()).missing(target.image.capabilities)) <= BEHIND:
            break
        name = list(PROFILES)[(turn + 1) % len(PROFILES)]
        _fuzz(target, agent, name, fuzzing.seed + 1000 + turn, PROFILES[name].calls // 2)
    seen = _seen[target.name]
    missing = set(seen.missing(target.image.capabilities)) - BEHIND
    assert not missing, f"never answered: {missing}\n{seen.table()}"
    pairs = sum(len(answers) for answers in DOCUMENTED.values())
    record.add("fuzz.syscall_answers", {"of": pairs}, "count", value=len(seen.answers), timebase="host")


@pytest.mark.needs("debug", "paced-line")
def test_a_line_that_is_behind_is_told_to_who_prints(target: LiveTarget, agent: Agent, fuzzing: Fuzzing) -> None:
    """Of the runs with the machine's rights each begins by filling the console's buffers."""
    name = "the_machines_rights"
    if not set(_seen.setdefault(target.name, Coverage()).answers) >= BEHIND:
        _fuzz(target, agent, name, fuzzing.seed + 3000, PROFILES[name].calls // 4)
    assert set(_seen[target.name].answers) >= BEHIND, _seen[target.name].table()


@pytest.mark.needs("link", "iommu")
def test_a_drivers_calls_came_far_enough(target: LiveTarget, agent: Agent, fuzzing: Fuzzing) -> None:
    """A fuzzer may end itself soon: then another goes on with another seed."""
    wanted = {(call, answer) for call in DRIVERS for answer in DOCUMENTED[call] if answer in _DRIVERS_WANTED}
    for turn in range(ROUNDS_MAX):
        if wanted <= set(_seen.setdefault(target.name, Coverage()).answers):
            break
        _fuzz(target, agent, "a_drivers_rights", fuzzing.seed + 2000 + turn, PROFILES["a_drivers_rights"].calls)
    seen = _seen[target.name]
    assert wanted <= set(seen.answers), f"never answered: {sorted(wanted - set(seen.answers))}\n{seen.table()}"


def test_a_caller_ends_as_documented_and_no_other_way(target: LiveTarget, agent: Agent, fuzzing: Fuzzing) -> None:
    """Fuzzers that don't spare themselves: each ends by a call of its own, and they come to every such end."""
    ends: Counter[str] = Counter()
    core = agent.info().cores - 1
    with _shown_on_failure(target, fuzzing.seed), honest_beside(agent, cores=(core, core)):
        for number in range(ENDS_MAX):
            if set(ENDS.values()) <= set(ends) and number >= ENDS_MIN:
                break
            fuzzer = agent.spawn("syscall_fuzz", core=core, suspended=True, pages=120, channels=2)
            fuzzer.write_struct("params", seed=fuzzing.seed + number, calls=20_000)
            fuzzer.start()
            end = fuzzer.wait_exit(LONG_S)
            results = fuzzer.read_struct("results")
            assert (results.lost, results.leaks) == (0, 0), f"{end}\n{results}"
            ends[end.name] += 1
            fuzzer.drop()
    assert set(ends) == set(ENDS.values()), f"{dict(ends)}"


@pytest.mark.soak
@pytest.mark.parametrize("round_", range(8))
@pytest.mark.parametrize("profile", SOAK_CASES)
def test_millions_of_system_calls_leave_nothing(
    target: LiveTarget, agent: Agent, fuzzing: Fuzzing, profile: str, round_: int, progress: Progress
) -> None:
    with progress("calls", SOAK_CALLS) as advance:
        made, _ = _fuzz(target, agent, profile, fuzzing.seed + 7919 * round_, SOAK_CALLS, timeout=SOAK_S)
        advance(made)


# What random calls can not reach --------------------------------------------------------------------------------------


def test_memory_that_runs_out_is_an_error_and_comes_back(target: LiveTarget, agent: Agent) -> None:
    """Hogs with quotas beyond what there is: one of them is refused by the machine itself, and the kernel lives."""
    before = agent.info()
    hogs: list[Process] = []
    errors: list[str] = []
    while "enomem" not in errors:
        assert errors.count("equota") * 4096 < before.pages_free, f"hogs got more than there is: {errors}"
        hog = agent.spawn("hog", suspended=True, pages=5000)
        hog.write_struct("hog_params", pages=256, hold=1)
        hog.start()
        hogs.append(hog)
        errors.append(agent.name_of("keuos_error", "KEUOS_", _refusal(target, hog)))
    with pytest.raises(Refused, match=r"(?i)enomem"):
        _spawn_till_refused(agent)
    agent.clean_up()
    until(target, "the memory to come back", lambda: agent.info().pages_free == before.pages_free)


def _refusal(target: LiveTarget, hog: Process) -> int:
    return int(until(target, f"{hog} to be refused", lambda: hog.read_struct("hog_results").error))


def _spawn_till_refused(agent: Agent) -> None:
    for _ in range(agent.image.constant("KEUOS_PROCESSES")):
        agent.spawn("sleeper", suspended=True)


@pytest.mark.needs("hil")
def test_an_unknown_operation_of_a_hil_build_is_refused(target: LiveTarget, agent: Agent) -> None:
    with pytest.raises(Refused, match=r"(?i)einval"):
        agent.request("hil", code=4000)
