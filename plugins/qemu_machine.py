"""What every machine that QEMU emulates has in common, whatever its architecture: options, accelerator, start.

A target of an architecture holds a :class:`QemuMachine` and tells it what differs. How one run goes is
:mod:`.qemu_session`'s.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from keuos_hil.errors import InfraError, UsageError
from keuos_hil.hookspecs import RunOptions
from keuos_hil.image import Image
from keuos_hil.parts import Session, Timebase
from keuos_hil.units import parse_size

from .gdb_registers import GdbRegisters
from .guest_memory import GuestMemory, Window
from .packet_link import is_tap
from .qemu_session import QemuSession, shared_memory

#: Each instruction takes a nanosecond of QEMU's clock.
_ICOUNT, _COUNTED_HZ = "shift=0", 1e9
#: The root port that a NIC is plugged into.
_PORT = "port0"


def plug_nic(model: str, *, iommu: bool, port: bool) -> tuple[str, list[str]]:
    """QEMU's -device argument for a NIC ("" for none), and the arguments of what it is plugged into.

    Without iommu_platform a virtio device goes past the IOMMU (VIRTIO_F_ACCESS_PLATFORM is not offered). On a root bus
    itself QEMU makes it a conventional function, which can't be reset.

    Args:
        model: a device model, with its options behind commas; "" or "none" for no NIC.
        iommu: whether the machine has one.
        port: whether the machine can have a PCI Express root port, which the NIC then gets.
    """
    if model in ("", "none"):
        return "", []
    if iommu and model.startswith("virtio") and "iommu_platform" not in model:
        model += ",iommu_platform=on,disable-legacy=on"
    if not port or "bus=" in model:
        return model, []
    return f"{model},bus={_PORT}", ["-device", f"pcie-root-port,id={_PORT}"]


class QemuOptions(Protocol):
    """The options that every such target has."""

    @property
    def binary(self) -> str:
        """The emulator's program."""
        ...

    @property
    def cpu(self) -> str:
        """QEMU's name of the CPU model."""
        ...

    @property
    def memory(self) -> str:
        """Bytes of RAM, as a person writes them."""
        ...

    @property
    def cores(self) -> int:
        """How many."""
        ...

    @property
    def machine(self) -> str:
        """QEMU's name of the machine, with its options."""
        ...

    @property
    def append(self) -> str:
        """More words for the kernel."""
        ...

    @property
    def record(self) -> bool:
        """Whether a run can be replayed."""
        ...

    @property
    def extra(self) -> list[str]:
        """More arguments for QEMU."""
        ...


#: What `--link` can say of a machine that QEMU emulates: the interface is a TAP device, made beforehand.
LINKS = ("tap", "raw")


@dataclass(frozen=True)
class MachineKind:
    """What is an architecture's own.

    Attributes:
        architecture: of the kernels.
        package: the Debian package that brings the emulator.
        idle: more for -icount: what QEMU's clock does while every core is idle.
        counter: added to -cpu: makes the counter that programs read advance once a nanosecond of QEMU's clock.
        windows: where `size` bytes of RAM lie among the guest's addresses.
        choose_accel: what --accel=auto takes, by the emulator's program: "kvm" or "tcg".
        more_registers: those that the monitor does not show.
        watch_stops_before: see GdbWatch's `before`.
        records: whether a recorded run of it works.
    """

    architecture: str
    package: str
    idle: str
    counter: str
    windows: Callable[[int], tuple[Window, ...]]
    choose_accel: Callable[[str], str]
    more_registers: GdbRegisters | None = None
    watch_stops_before: bool = False
    records: bool = True


class QemuMachine:
    """One emulated machine, before it is started.

    Args:
        nic: a device model, with its options, for the test's wire; "" for none.
        devices: more arguments of the emulator's, before the user's.

    Raises:
        UsageError: an option that no machine has, or a choice of the run that it can't follow.
    """

    def __init__(
        self,
        name: str,
        kind: MachineKind,
        options: QemuOptions,
        run: RunOptions,
        *,
        nic: str = "",
        devices: Sequence[str] = (),
    ) -> None:
        if run.timebase not in ("default", "emulated", "instructions", "silicon"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; there are emulated and instructions")
        if options.cores < 1:
            raise UsageError(f"target {name}: cores = {options.cores}; expected at least 1")
        if options.record and not kind.records:
            raise UsageError(
                f"target {name}: a recorded machine of this kind does not answer on its serial line; leave record "
                "(--qemu-record) out, or take qemu-x86"
            )
        if options.record and (
            options.cores > 1
            or run.accel == "kvm"
            or run.executed
            or run.timebase not in ("default", "emulated")
            or run.link
        ):
            raise UsageError(
                f"target {name}: QEMU records a machine with one core, by TCG, without another timebase and an "
                "interface of this host's: add --qemu-cores=1; leave --accel, --timebase and --link out"
            )
        if run.link is not None and nic and not is_tap(run.link.interface):
            tap = run.link.interface
            address = f" && ip address add 192.0.2.1/24 dev {tap}" if run.link.kind == "tap" else ""
            raise UsageError(
                f"target {name}: --link={run.link}: there is no TAP device {tap}; make one: "
                f"`ip tuntap add {tap} mode tap{address} && ip link set {tap} up`"
            )
        self.name = name
        self.memory_bytes = parse_size(options.memory, f"target {name}: memory")
        self._kind = kind
        self._options = options
        # By default virtio-net sends from a bottom half, at a moment that QEMU 7.2 does not record.
        self._nic = f"{nic},tx=timer" if options.record and nic.startswith("virtio-net") else nic
        self._devices = devices
        self._counting = run.timebase == "instructions"
        if self._counting and run.accel == "kvm":
            raise UsageError("--timebase=instructions counts with TCG; it can't be combined with --accel=kvm")
        if run.timebase == "silicon" and run.accel == "tcg":
            raise UsageError("--timebase=silicon needs a real counter: --accel=kvm, or a board")
        if run.executed and run.accel == "kvm":
            raise UsageError("--executed counts with TCG; it can't be combined with --accel=kvm")
        self._counts_executed = run.executed
        self._link = run.link
        self._panic_patterns = run.panic_patterns
        self._accel = "tcg" if self._counting or run.executed or options.record else run.accel

    @property
    def timebase(self) -> Timebase:
        """`instructions`, or what the accelerator gives."""
        if self._counting:
            return Timebase("instructions", _COUNTED_HZ)
        return Timebase("emulated" if self.emulates else "silicon")

    @property
    def emulates(self) -> bool:
        """Whether QEMU carries out the instructions itself, rather than the CPU by KVM."""
        return self._chosen_accel() != "kvm"

    def capabilities(self, *more: str) -> frozenset[str]:
        """What every such target can do, `more`, and a link if there is a NIC that the test is wired to."""
        always = {"another", "clean-line", "command-line", "debug", "live-debug", "pause", "reset", *more}
        wire = {"link", "unplug"} if self._nic and not self._hosts else set()
        if wire and self._link is None:
            wire |= self._with_own_wire
        counts = {"executed"} if self._counts_executed else set()
        return frozenset(always | wire | counts)

    @property
    def _with_own_wire(self) -> set[str]:
        """What else a NIC brings; two machines on one interface of this host's would be in each other's way."""
        return {"boots-stack"} | ({"mtu"} if self._nic.startswith("virtio-net") else set())

    @property
    def lacks(self) -> dict[str, str]:
        """What the run's --link takes away; see :class:`keuos_hil.parts.Lacking`."""
        if self._link is None or not self._nic:
            return {}
        names = self._with_own_wire | ({"link", "unplug"} if self._hosts else set())
        return dict.fromkeys(names, f"the wire is the TAP device {self._link.interface}: leave out --link={self._link}")

    @property
    def _hosts(self) -> bool:
        """Whether the host's own stack is at the other end of the wire, and not the test."""
        return self._link is not None and self._link.kind == "tap"

    def _chosen_accel(self) -> str:
        if self._accel == "auto":
            self._accel = self._kind.choose_accel(self._options.binary)
        return self._accel

    def check(self) -> None:
        """Raise InfraError if the emulator is not installed."""
        if shutil.which(self._options.binary) is None:
            raise InfraError(f"{self._options.binary} is not installed; Debian: apt-get install {self._kind.package}")

    def command_line(self, image: Image) -> str:
        """What the kernel is to be told: the run's words, and those of the options."""
        return " ".join(part for part in (image.command_line, self._options.append) if part)

    def open(
        self,
        image: Image,
        directory: Path,
        boot_arguments: Callable[[Image, Path], list[str]],
        exit_status_of_guest: Callable[[int], bool] = lambda status: False,
    ) -> Session:
        """Start it; `boot_arguments` makes those that load an image, of it and a folder for files. See Target.open."""
        image.kernel.require_machine(self._kind.architecture, self.name)
        return self.start(boot_arguments(image, directory), directory, image.kernel.describe, exit_status_of_guest)

    def start(
        self,
        boot: Sequence[str],
        directory: Path,
        describe: Callable[[int], str] = hex,
        exit_status_of_guest: Callable[[int], bool] = lambda status: False,
    ) -> QemuSession:
        """Start it with the arguments `boot`, which load whatever system. `describe` tells addresses in its code."""
        options, size = self._options, self.memory_bytes
        accel = self._chosen_accel()
        cpu = options.cpu + (self._kind.counter if accel == "tcg" else "")
        how = f"{accel},thread=single" if self._counts_executed and not self._counting else accel
        machine = [options.binary, "-accel", how, "-cpu", cpu, "-m", f"{size >> 20}M", "-smp", str(options.cores)]
        machine += ["-nodefaults", "-display", "none", "-no-reboot", *boot]
        machine += self._devices
        if self._counting:
            machine += ["-icount", _ICOUNT + self._kind.idle]
        machine += options.extra

        return QemuSession(
            machine,
            directory=directory,
            memory=GuestMemory(size, self._kind.windows(size)),
            ram_arguments=shared_memory(options.machine, size),
            timebase=self.timebase,
            nic=self._nic,
            more_registers=self._kind.more_registers,
            watch_stops_before=self._kind.watch_stops_before,
            tap="" if self._link is None else self._link.interface,
            tests_by_tap=not self._hosts,
            stand_alone=[*machine, "-M", options.machine, "-serial", "stdio"],
            counts_executed=self._counts_executed,
            panic_patterns=self._panic_patterns,
            describe=describe,
            exit_status_of_guest=exit_status_of_guest,
            record=options.record,
            how_to_record="repeat it with --qemu-cores=1 --qemu-record=yes" if self._kind.records else "",
        )
