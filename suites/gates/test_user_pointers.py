"""What a call is told to read or write lies in its caller's memory, or the call is refused: pointers prove nothing."""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent
from keuos_hil.image import Image
from keuos_hil.rig import LiveTarget

from .puppet import Puppet

pytestmark = pytest.mark.needs("agent", "channels", "debug")

#: Bytes of the kernel's that are looked at from outside.
SPOT = 256


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
    before = [target.debug.read_physical(at, SPOT) for at in kernel]
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
    assert [target.debug.read_physical(at, SPOT) for at in kernel] == before
