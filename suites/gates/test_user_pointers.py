"""What a call is told to read or write, its caller could read or write by itself, or it is refused.

Pointers prove nothing. Nor does the right to write another process's memory: code and constants are shared by the
processes of a program, and whoever could write its own would write all others'.
"""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent
from keuos_hil.errors import Refused
from keuos_hil.image import Image
from keuos_hil.rig import LiveTarget

from .moments import Auditor, protections_of
from .puppet import Puppet, fill_words

pytestmark = pytest.mark.needs("agent", "channels")

#: Bytes of the kernel's that are looked at from outside.
SPOT = 256
#: ELF's flags of a segment that holds constants.
READABLE = 4
#: Every enum keuos_right, or-ed.
ALL_RIGHTS = 31


def bad_addresses(image: Image) -> dict[str, int]:
    """Where no process may point: by what is there."""
    end = int(image.kernel.symbol("kernel_end").address)
    return {
        "null": 0,
        "the null page": 8,
        "kernel data": image.kernel.symbol("boot_info").address,
        "kernel code": image.kernel.symbol("frame_alloc").address,
        "behind the kernel": (end + 0xFFF) & -0x1000,
        "the kernel's half": 0xFFFF_8000_0000_0000,
        "the last byte of the user's half": 0x7FFF_FFFF_FFFF,
        "no address": 0x8000_0000_0000,
        "the last bytes of all": 2**64 - 8,
    }


def calls_that_write(good: int, bad: int) -> list[tuple[str, tuple[int, ...]]]:
    """(call, arguments): each would put something at `bad`."""
    return [
        ("system_info", (bad,)),
        ("process_info", (0, bad)),
        ("getrandom", (bad, 8)),
        ("process_read", (0, good, bad, 8)),
        ("channel_accept", (bad,)),
    ]


def read_only_addresses(puppet: Puppet) -> dict[str, int]:
    """Where the puppet's program may not write: by what is there."""
    elf = puppet.process.elf
    [constants] = [segment for segment in elf.segments if segment.flags == READABLE]
    end = constants.virtual + len(constants.data)
    return {
        "code": puppet.address("main"),
        "the entry": elf.entry,
        "constants": constants.virtual,
        "the last constants": end - 8,
        "the last bytes before the variables": (end | 0xFFF) - 3,
    }


def calls_that_read(good: int, bad: int) -> list[tuple[str, tuple[int, ...]]]:
    """(call, arguments): each would use what is at `bad`."""
    return [
        ("log", (bad, 8)),
        ("process_write", (0, good, bad, 8)),
        ("spawn", (bad,)),
        ("channel_bind", (0, 0, bad)),
    ]


@pytest.mark.parametrize("what", ["writes", "reads"])
def test_no_call_takes_a_pointer_outside_its_callers_memory(
    target: LiveTarget, agent: Agent, image: Image, what: str
) -> None:
    calls = calls_that_write if what == "writes" else calls_that_read
    kernel = [
        (target.image.kernel.physical(image.kernel.symbol(name).address)) for name in ("boot_info", "frame_alloc")
    ]
    looks = target.session.debug is not None  # without, an answer of EFAULT is all there is to hold the kernel to
    before = [target.debug.read_physical(at, SPOT) for at in kernel if looks]
    with Puppet(agent) as puppet:
        agent.bind(puppet.process, puppet.process, "polled")  # what CHANNEL_ACCEPT would tell of
        wrong = {}
        for where, bad in bad_addresses(image).items():
            for name, arguments in calls(puppet.address("scratch"), bad):
                answer = puppet.do("syscall", *arguments, number=puppet.constant(f"KEUOS_SYS_{name.upper()}"))
                if answer.value != -puppet.constant("KEUOS_EFAULT"):
                    wrong[f"{name} at {where}"] = int(answer.value)
        assert wrong == {}
        kept = puppet.process.read(puppet.address("scratch"), 8)
        assert kept == bytes(8), f"{kept!r} came from where the puppet may not read"
    assert [target.debug.read_physical(at, SPOT) for at in kernel if looks] == before


@pytest.mark.needs("debug", "registers", "pause", "entropy")
def test_no_call_writes_into_code_or_constants_even_of_ones_own(target: LiveTarget, agent: Agent) -> None:
    """By what a call answers, and by one process writing another's memory: itself, its sibling, a child."""
    auditor = Auditor(target, protections_of(agent))
    with Puppet(agent) as puppet, Puppet(agent, core=agent.info().cores - 1) as other:
        agent.bind(puppet.process, puppet.process, "polled")  # what CHANNEL_ACCEPT would tell of
        to_other = agent.grant(puppet.process, other.process, ALL_RIGHTS)
        good = puppet.address("scratch")
        puppet.do("fill", good, 8, 1)
        # The same bytes can be written where they may be.
        puppet.call("process_write", to_other, other.address("scratch"), good, 8)
        assert other.process.read(other.address("scratch"), 8) == fill_words(1, 1)
        places = read_only_addresses(puppet)
        before = {where: puppet.process.read(at, 8) for where, at in places.items()}
        assert fill_words(1, 1) not in before.values()
        wrong = {}
        for where, at in places.items():
            calls = calls_that_write(good, at)
            calls += [("process_write", (process, at, good, 8)) for process in (0, to_other)]
            for name, arguments in calls:
                answer = puppet.do("syscall", *arguments, number=puppet.constant(f"KEUOS_SYS_{name.upper()}"))
                if answer.value != -puppet.constant("KEUOS_EFAULT"):
                    wrong[f"{name}{arguments} at {where}"] = int(answer.value)
        assert wrong == {}
        for at in places.values():
            with pytest.raises(Refused, match=r"(?i)efault"):  # the agent is the puppets' parent
                other.process.write(at, fill_words(1, 1))
        for one in (puppet, other):
            assert {where: one.process.read(at, 8) for where, at in places.items()} == before
        auditor.check()
