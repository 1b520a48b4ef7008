"""qemu-x86: a PC with the q35 chipset, emulated by QEMU. The default target; needs nothing but qemu-system-x86.

The kernel is booted directly by its PVH note; qboot is the firmware because it is done in milliseconds (it assigns no
PCI BARs: the kernel has to).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from keuos_hil.plugins import grub_iso
from keuos_hil.plugins.accel import choose_accel
from keuos_hil.plugins.guest_memory import Window
from keuos_hil.plugins.qemu_machine import LINKS, MachineKind, QemuMachine, plug_nic
from keuos_hil.plugins.qemu_session import QemuSession

from keuos_hil.errors import UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.image import Image
from keuos_hil.parts import Asked, Session, Target, Timebase

ARCHITECTURE = "x86_64"
#: q35 keeps RAM below this address and moves what is left to 4 GiB, if there is as much as _SPLIT_FROM.
_LOW_RAM = 0x8000_0000
_SPLIT_FROM = 0xB000_0000
_HIGH_RAM = 1 << 32
#: While it counts instructions, an idle machine waits for nothing: its clock jumps to the next timer.
_IDLE = ",sleep=off"
#: What seL4 16.0.0-dev (1326364bc) takes in the same emulator, counted by the same method (docs/measuring.md).
_ASKED = {
    "null_system_call": Asked(beside={"seL4, null system call": 96, "seL4, without SkimWindow": 85}),
    "verified_round_trip": Asked(
        beside={"seL4, 64 bytes each way, no MAC": 1_625, "seL4, empty message by the fastpath, no MAC": 426}
    ),
}
#: What TCG 7.2 (by its sources later ones, too) does not raise. Before 9.1 it reads the stack of IRET and far returns
#: as the kernel would, and SMAP stops that: "target/i386/tcg: Allow IRET from user mode to user mode with SMAP".
TCG_DEVIATIONS = {
    "arithmetic_simd_divide_unmasked": "survives",
    "illegal_mxcsr_reserved_bits": "survives",
    "*_iret*": "fault_read",
    "*_far_return*": "fault_read",
}


@dataclass(frozen=True)
class QemuX86Options:
    """Keys of a `[targets.NAME]` table with `type = "qemu-x86"`; `--qemu-KEY` on the command line."""

    binary: str = field(default="qemu-system-x86_64", metadata={"help": "the emulator's program"})
    cpu: str = field(default="max", metadata={"help": "x86-64 CPU model (qemu64 lacks SMEP, SMAP, UMIP, RDRAND)"})
    memory: str = field(default="128M", metadata={"help": "RAM, such as 128M or 1G"})
    cores: int = field(default=2, metadata={"help": "number of cores"})
    machine: str = field(default="q35", metadata={"help": "QEMU's machine; with options behind commas"})
    boot: str = field(
        default="direct", metadata={"help": "x86-64: `direct` by the PVH note, or `grub` from a CD (multiboot2)"}
    )
    firmware: str = field(default="qboot.rom", metadata={"help": "x86-64: firmware of a direct boot, as of -bios"})
    nic: str = field(
        default="virtio-net-pci", metadata={"help": "device model of the NIC on the test's wire; none for no NIC"}
    )
    iommu: bool = field(default=True, metadata={"help": "whether q35 gets an IOMMU (VT-d with interrupt remapping)"})
    record: bool = field(
        default=False, metadata={"help": "keep all that the machine is given, so that a run can be replayed (one core)"}
    )
    append: str = field(default="", metadata={"help": "kernel command line"})
    extra: list[str] = field(default_factory=list, metadata={"help": "one more argument for QEMU; may be repeated"})


def _windows(size: int) -> tuple[Window, ...]:
    if size < _SPLIT_FROM:
        return (Window(0, size, 0),)
    return (Window(0, _LOW_RAM, 0), Window(_HIGH_RAM, size - _LOW_RAM, _LOW_RAM))


class QemuX86:
    """See :class:`keuos_hil.parts.Target`."""

    architecture = ARCHITECTURE
    asked = _ASKED

    def __init__(self, name: str, options: QemuX86Options, run: RunOptions) -> None:
        if options.boot not in ("direct", "grub"):
            raise UsageError(f"target {name}: boot = {options.boot!r}; expected direct or grub")
        kind = MachineKind(
            ARCHITECTURE, "qemu-system-x86", idle=_IDLE, counter="", windows=_windows, choose_accel=choose_accel
        )
        self.name = name
        self.options = options
        self._run = run
        devices = ["-device", "intel-iommu,intremap=on"] if self._has_iommu else []
        nic, port = plug_nic(options.nic, iommu=self._has_iommu, port=self._is_q35)
        self._machine = QemuMachine(name, kind, options, run, nic=nic, devices=devices + port)

    @property
    def capabilities(self) -> frozenset[str]:
        """See Target.capabilities. KVM is left the CPU's own watchpoints: four, and none for reads alone."""
        can = {"registers", "reset-reason", "triple-fault", "paced-line"}
        return self._machine.capabilities(*can, *({"watch"} if self._machine.emulates else ()))

    @property
    def lacks(self) -> dict[str, str]:
        """See Lacking.lacks."""
        return self._machine.lacks

    @property
    def deviations(self) -> Mapping[str, str]:
        """See Deviating: TCG's."""
        return TCG_DEVIATIONS if self._machine.emulates else {}

    @property
    def timebase(self) -> Timebase:
        """`instructions`, or what the accelerator gives."""
        return self._machine.timebase

    def with_mtu(self, mtu: int) -> QemuX86:
        """See ChoosesMtu.with_mtu."""
        return QemuX86(self.name, replace(self.options, nic=f"{self.options.nic},host_mtu={mtu}"), self._run)

    def check(self) -> None:
        """See Target.check."""
        self._machine.check()
        if self.options.boot == "grub":
            grub_iso.require()

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side."""
        return nullcontext()

    @property
    def _is_q35(self) -> bool:
        return self.options.machine.split(",")[0] == "q35"

    @property
    def _has_iommu(self) -> bool:
        """QEMU's other PCs can't have one."""
        return self.options.iommu and self._is_q35

    def _boot_arguments(self, image: Image, directory: Path) -> list[str]:
        command_line = self._machine.command_line(image)
        if self.options.boot == "grub":
            iso = grub_iso.make_grub_iso(image.kernel_path, image.initrd_path, command_line, directory)
            return ["-cdrom", str(iso)]
        argv = ["-bios", self.options.firmware, "-kernel", str(image.kernel_path)]
        if image.initrd_path is not None:
            argv += ["-initrd", str(image.initrd_path)]
        return argv + (["-append", command_line] if command_line else [])

    def open(self, image: Image, directory: Path) -> Session:
        """See Target.open."""
        return self._machine.open(image, directory, self._boot_arguments, self._is_debug_exit)

    def start(self, boot: Sequence[str], directory: Path) -> QemuSession:
        """The same machine with another system: `boot` are QEMU's arguments that load it, by a direct boot."""
        return self._machine.start(["-bios", self.options.firmware, *boot], directory)

    def _is_debug_exit(self, status: int) -> bool:
        """isa-debug-exit, which a kernel may be given by `extra`, ends QEMU with an odd status."""
        return status > 0 and status % 2 == 1 and any("isa-debug-exit" in argument for argument in self.options.extra)


def _make(name: str, options: QemuX86Options, run: RunOptions) -> Target:
    return QemuX86(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="qemu-x86",
            summary="a PC (q35) emulated by QEMU",
            architecture=ARCHITECTURE,
            options=QemuX86Options,
            option_prefix="qemu",
            make=_make,
            links=LINKS,
        )
    ]
