"""qemu-arm64: QEMU's board `virt` with 64-bit Arm cores. Needs nothing but qemu-system-arm.

The kernel is handed over as a Linux `Image`, without firmware: QEMU gives such a one the device tree and the initrd. An
ELF that begins with an Image's header is made flat for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from keuos_hil.plugins.arm64_image import flat_image
from keuos_hil.plugins.gdb_registers import GdbRegisters
from keuos_hil.plugins.guest_memory import Window
from keuos_hil.plugins.qemu_machine import LINKS, MachineKind, QemuMachine, plug_nic

from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.image import Image
from keuos_hil.parts import Asked, Session, Target, Timebase

ARCHITECTURE = "arm64"
#: Where RAM begins on `virt`.
_RAM = 0x4000_0000
#: QEMU's own frequency for most cores is 62.5 MHz: a tick for 16 instructions.
_COUNTER = ",cntfrq=1000000000"
#: QEMU's PL011 takes a byte of the host's each time round its main loop. A clock that jumped while the kernel sleeps
#: between two bytes would leave no frame whole: so an idle machine's time goes with the host's.
_IDLE = ",sleep=on"
#: A round trip on the data plane takes less than on other machines. What seL4 16.0.0-dev (1326364bc) takes in the same
#: emulator, counted by the same method (docs/measuring.md).
_ASKED = {
    "round_trip": Asked(80),
    "null_system_call": Asked(beside={"seL4, null system call": 91}),
    "verified_round_trip": Asked(
        beside={"seL4, 64 bytes each way, no MAC": 1_374, "seL4, empty message by the fastpath, no MAC": 410}
    ),
}
#: What TCG 7.2 does not raise.
TCG_DEVIATIONS = {"alignment_of_the_stack_pointer": "survives"}
#: System registers by Debug's names and QEMU's; its monitor shows none of an Arm core's.
_REGISTERS = {
    name: name.upper()
    for name in (
        "tcr_el1", "mair_el1", "ttbr0_el1", "ttbr1_el1", "id_aa64mmfr1_el1", "mdscr_el1", "dbgbcr0_el1", "dbgbcr1_el1",
        "dbgwcr0_el1", "dbgwcr1_el1",
    )
} | {"sctlr_el1": "SCTLR"}  # fmt: skip


@dataclass(frozen=True)
class QemuArm64Options:
    """Keys of a `[targets.NAME]` table with `type = "qemu-arm64"`; `--qemu-KEY` on the command line."""

    binary: str = field(default="qemu-system-aarch64", metadata={"help": "the emulator's program"})
    cpu: str = field(default="max", metadata={"help": "arm64 CPU model (cortex-a57, for one, lacks PAN and RNDR)"})
    memory: str = field(default="128M", metadata={"help": "RAM, such as 128M or 1G"})
    cores: int = field(default=2, metadata={"help": "number of cores"})
    machine: str = field(default="virt,gic-version=3", metadata={"help": "QEMU's machine; with options behind commas"})
    nic: str = field(
        default="virtio-net-pci", metadata={"help": "device model of the NIC on the test's wire; none for no NIC"}
    )
    iommu: bool = field(default=True, metadata={"help": "whether `virt` gets an IOMMU (SMMUv3)"})
    record: bool = field(default=False, metadata={"help": "not on qemu-arm64"})
    append: str = field(default="", metadata={"help": "kernel command line"})
    extra: list[str] = field(default_factory=list, metadata={"help": "one more argument for QEMU; may be repeated"})


def _windows(size: int) -> tuple[Window, ...]:
    return (Window(_RAM, size, 0),)


def _no_kvm(binary: str) -> str:
    """--accel=auto: whether KVM is any good is measured with x86 code only; --accel=kvm takes it unasked."""
    return "tcg"


class QemuArm64:
    """See :class:`keuos_hil.parts.Target`."""

    architecture = ARCHITECTURE
    asked = _ASKED

    def __init__(self, name: str, options: QemuArm64Options, run: RunOptions) -> None:
        kind = MachineKind(
            ARCHITECTURE,
            "qemu-system-arm",
            idle=_IDLE,
            counter=_COUNTER,
            windows=_windows,
            choose_accel=_no_kvm,
            more_registers=GdbRegisters("system-registers.xml", _REGISTERS),
            watch_stops_before=True,
            records=False,
        )
        self.name = name
        self.options = options
        self._run = run
        is_virt = options.machine.split(",")[0].startswith("virt")
        iommu = options.iommu and is_virt
        nic, port = plug_nic(options.nic, iommu=iommu, port=is_virt)
        devices = (["-machine", "iommu=smmuv3"] if iommu else []) + port
        self._machine = QemuMachine(name, kind, options, run, nic=nic, devices=devices)
        watch = {"watch"} if self._machine.emulates else set()
        self.capabilities = self._machine.capabilities("registers", "reset-reason", *watch)

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

    def with_mtu(self, mtu: int) -> QemuArm64:
        """See ChoosesMtu.with_mtu."""
        return QemuArm64(self.name, replace(self.options, nic=f"{self.options.nic},host_mtu={mtu}"), self._run)

    def check(self) -> None:
        """See Target.check."""
        self._machine.check()

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side."""
        return nullcontext()

    def _boot_arguments(self, image: Image, directory: Path) -> list[str]:
        argv = ["-kernel", str(flat_image(image.kernel_path, directory))]
        if image.initrd_path is not None:
            argv += ["-initrd", str(image.initrd_path)]
        command_line = self._machine.command_line(image)
        return argv + (["-append", command_line] if command_line else [])

    def open(self, image: Image, directory: Path) -> Session:
        """See Target.open."""
        return self._machine.open(image, directory, self._boot_arguments)


def _make(name: str, options: QemuArm64Options, run: RunOptions) -> Target:
    return QemuArm64(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="qemu-arm64",
            summary="an Arm board (virt) emulated by QEMU",
            architecture=ARCHITECTURE,
            options=QemuArm64Options,
            option_prefix="qemu",
            make=_make,
            links=LINKS,
        )
    ]
