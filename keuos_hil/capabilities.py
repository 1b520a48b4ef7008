"""The things a test can need, of three kinds, and what to do where one is missing. Pure: no target is touched here."""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass

from .errors import UsageError
from .options import nearest


class Kind(enum.Enum):
    """When a capability is known."""

    TARGET = "target"  #: without booting, from the target's parts
    IMAGE = "image"  #: without booting, from the ELF
    LIVE = "live"  #: said by the agent


@dataclass(frozen=True)
class Capability:
    """One thing that a test can need. `hint` tells a person how to get it."""

    name: str
    kind: Kind
    hint: str


_ALL = (
    Capability("debug", Kind.TARGET, "a target with a Debug part: qemu-x86, qemu-arm64, a board with a probe"),
    Capability("registers", Kind.TARGET, "a target whose Debug part reads control registers, too: an emulator"),
    Capability(
        "pause",
        Kind.TARGET,
        "a target whose Debug part can stop the machine: qemu-x86, qemu-arm64, a board with a probe",
    ),
    Capability(
        "live-debug", Kind.TARGET, "a target whose Debug part works beside the running machine: qemu-x86, qemu-arm64"
    ),
    Capability(
        "watch", Kind.TARGET, "a target whose Debug part can stop the machine behind reads: an emulator without KVM"
    ),
    Capability(
        "clean-line", Kind.TARGET, "a serial line that damages no byte: any target but a board with noisy = true"
    ),
    Capability("another", Kind.TARGET, "a target that can be started a second time beside the first: an emulator"),
    Capability("paced-line", Kind.TARGET, "a serial line that takes output no faster than a UART: qemu-x86"),
    Capability("reset", Kind.TARGET, "a target with a reset button"),
    Capability("reset-reason", Kind.TARGET, "a target that tells a reset from switching off: qemu-x86, qemu-arm64"),
    Capability("triple-fault", Kind.TARGET, "a machine that shuts down after such faults, and says so: qemu-x86"),
    Capability("power", Kind.TARGET, "a target with a power switch"),
    Capability(
        "native-rows", Kind.TARGET, "target linux, in a checkout, on x86-64 or arm64: it measures this machine itself"
    ),
    Capability(
        "link",
        Kind.TARGET,
        "a NIC: --qemu-nic=virtio-net-pci (the default there); or a board with a wire",
    ),
    Capability(
        "sockets", Kind.TARGET, "a target whose applications can be told to make socket calls: linux, or a NIC and NetD"
    ),
    Capability(
        "test-clock",
        Kind.TARGET,
        "a target whose network stack's time can be wound: netd, lwip, linux-guest, or an initrd with netd_hil",
    ),
    Capability(
        "days-clock", Kind.TARGET, "such a clock that is wound by days at once: netd, or an initrd with netd_hil"
    ),
    Capability("mtu", Kind.TARGET, "a target whose MTU can be chosen: netd, lwip, linux, or QEMU's virtio-net"),
    Capability(
        "boots-stack", Kind.TARGET, "a target whose stack starts anew in each session: any but linux or a board"
    ),
    Capability("unplug", Kind.TARGET, "a target whose cable the bench can pull: an emulated NIC on the test's wire"),
    Capability("command-line", Kind.TARGET, "a target that hands a command line to the kernel"),
    Capability("instructions", Kind.TARGET, "--timebase=instructions"),
    Capability("executed", Kind.TARGET, "--executed, on an emulator"),
    Capability("emulated", Kind.TARGET, "an emulator without --timebase=instructions"),
    Capability("silicon", Kind.TARGET, "a board, this machine's own Linux, or a working --accel=kvm"),
    Capability(
        "hil", Kind.IMAGE, "a HIL build of the kernel (the bundled one has both builds; with --kernel pass a HIL build)"
    ),
    Capability("dwarf", Kind.IMAGE, "a kernel with debug information (-g, not stripped), or --symbols ELF"),
    Capability("symbols", Kind.IMAGE, "a kernel with a symbol table, or --symbols ELF"),
    Capability("channels", Kind.IMAGE, "a kernel with KeuOS's channel layouts in its DWARF"),
    Capability("initrd", Kind.IMAGE, "--initrd FILE"),
    Capability("netd", Kind.IMAGE, "an initrd with the programs netd and sockets (the bundled one has them)"),
    Capability("netd-clock", Kind.IMAGE, "an initrd with the program netd_hil (the bundled one has it)"),
    Capability("agent", Kind.LIVE, "a kernel whose agent speaks docs/hil-protocol.md"),
    Capability("smp", Kind.LIVE, "two cores or more: --qemu-cores=2"),
    Capability("entropy", Kind.LIVE, "a CPU with a source of randomness: --qemu-cpu=max"),
    Capability(
        "iommu",
        Kind.LIVE,
        "a machine with an IOMMU: --qemu-iommu=yes (the default there), on arm64 with gic-version=3 in --qemu-machine",
    ),
    Capability("nx", Kind.LIVE, "a CPU with NX (arm64: UXN): --qemu-cpu=max"),
    Capability("smep", Kind.LIVE, "a CPU with SMEP (arm64: PXN): --qemu-cpu=max"),
    Capability("smap", Kind.LIVE, "a CPU with SMAP (arm64: PAN): --qemu-cpu=max"),
    Capability("umip", Kind.LIVE, "a CPU with UMIP, or arm64: --qemu-cpu=max"),
    Capability("wp", Kind.LIVE, "a kernel that runs with CR0.WP, or arm64"),
)
KNOWN = {capability.name: capability for capability in _ALL}


def lookup(names: Iterable[str], where: str) -> list[Capability]:
    """The capabilities of these names. Raises UsageError for an unknown one, with the nearest."""
    found = []
    for name in names:
        if name not in KNOWN:
            raise UsageError(f"{where}: no capability is called {name!r}{nearest(name, KNOWN)}")
        found.append(KNOWN[name])
    return found


def reason(capability: Capability, *, target: str, image: str, known: str = "") -> str:
    """Why a test is skipped, and how to have it run.

    Args:
        image: "" on a target that boots none.
        known: what the target itself says about it; see :class:`keuos_hil.parts.Lacking`.
    """
    if known:
        return f"needs {capability.name!r}: target {target}: {known}"
    if not image and capability.kind is not Kind.TARGET:
        return f"needs {capability.name!r}: target {target} boots no image; to get it: {capability.hint}"
    lacks = {
        Kind.TARGET: f"target {target} lacks it",
        Kind.IMAGE: f"the image {image} lacks it",
        Kind.LIVE: f"the agent on {target} says it is not there",
    }
    return f"needs {capability.name!r}: {lacks[capability.kind]}; to get it: {capability.hint}"
