"""What a packet's instructions were spent on: executed instructions by phase of its way. Pure.

A phase is a group of source files, for a file of NetD has one job; what was inlined goes with the file that it was
inlined into. Instructions of the kernel are told without those of its idle loop.
"""

from __future__ import annotations

from collections import Counter
from fnmatch import fnmatch

from ..executed import KERNEL, Executed
from ..image import NETD_PROGRAM

TOTAL = "NetD and kernel"
_REST, _OF_KERNEL, _OF_APPLICATION = "NetD: loop and clock", "kernel", "application"
#: By phase of NetD, in the order of a packet's way in and out: patterns of the files.
_OF_NETD = {
    "NetD: NIC": (
        "netd/drivers/*", "netd/keuos/nic_device.c", "netd/keuos/wire.c", "kernel/user/lib/virtio*",
        "kernel/user/lib/pci_device.c",
    ),
    "NetD: headers and checksums": ("netd/wire/*",),
    "NetD: ARP, IP, ICMP, UDP": ("netd/stack/[!t]*",),
    "NetD: TCP, in": ("netd/stack/tcp_input.c", "netd/stack/tcp_receive.c", "netd/stack/tcp_congestion.c"),
    "NetD: TCP, out": ("netd/stack/tcp_output.c",),
    "NetD: TCP, blocks and timers": ("netd/stack/tcp_*",),
    "NetD: sockets and rings": (
        "netd/keuos/sockets.c", "netd/keuos/applications.c", "netd/keuos/direct.c", "netd/services/*",
    ),
    "NetD: copies": ("kernel/user/lib/string.c",),
}  # fmt: skip
#: A core that waits: not on any packet's way.
_IDLE = ("arch_idle", "idle")


def by_phase(executed: Executed, packets: int, applications: tuple[str, ...] = ()) -> dict[str, float]:
    """Instructions for each packet, by phase; phases of which nothing was executed are left out.

    :data:`TOTAL` is what NetD and the kernel take together, without the application, which does what it likes.

    Args:
        executed: of a window.
        packets: in and out, in that window.
        applications: programs that got or gave the data.
    """
    found: Counter[str] = Counter()
    for program, functions in executed.items():
        for function, count in functions.items():
            if program == NETD_PROGRAM:
                found[_phase(function.unit)] += count
            elif program in applications:
                found[_OF_APPLICATION] += count
            elif program == KERNEL and function.name not in _IDLE:
                found[_OF_KERNEL] += count
    order = [*_OF_NETD, _REST, _OF_KERNEL, _OF_APPLICATION]
    made = {phase: found[phase] / packets for phase in order if found[phase]}
    return {TOTAL: sum(made.values()) - made.get(_OF_APPLICATION, 0.0)} | made


def _phase(unit: str) -> str:
    for phase, patterns in _OF_NETD.items():
        if any(fnmatch(unit, pattern) for pattern in patterns):
            return phase
    return _REST
