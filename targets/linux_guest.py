"""linux-guest: Debian's Linux in a machine that QEMU emulates, whose clock jumps ahead whenever the test waits.

The reference of the network suites for what takes time: a stack that is told to wait two hours does so in seconds. The
machine boots Debian's kernel for virtual machines with an initrd of a few drivers and one program (linux_guest.c),
which sets the interface up and makes socket calls; requests and answers travel on the test's own wire
(:class:`CallLine`). The stack's settings are those of the target linux.
"""

from __future__ import annotations

import math
import re
import shutil
import struct
import subprocess
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface
from pathlib import Path

from keuos_hil.plugins.guest_memory import GuestMemory, Window
from keuos_hil.plugins.host_compiler import compiler
from keuos_hil.plugins.qemu_session import QemuSession, shared_memory

from keuos_hil.console import Console
from keuos_hil.errors import Ended, InfraError, SocketError, TargetFailure, UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.net.host import OWN_MAC
from keuos_hil.net.side_line import SideLine
from keuos_hil.parts import AnyTarget, Link, Network, Session, Timebase
from keuos_hil.units import parse_size

from .linux_program import SHARED, all_settings, compile_program, require_mtu

#: In the order of their loading: each needs those before it. The kernel has them as modules.
_MODULES = (
    "virtio",
    "virtio_ring",
    "virtio_pci_legacy_dev",
    "virtio_pci_modern_dev",
    "virtio_pci",
    "failover",
    "net_failover",
    "virtio_net",
)
_SOURCES = ("linux_guest.c", "linux_guest_start.c", *SHARED)
#: Where an unpacked package is looked for if the user names none: what `make linux-guest` made, and an installed one.
_ROOTS = (Path(__file__).parent.parent / "build" / "linux-guest", Path("/"))
_KERNEL = re.compile(r"vmlinuz-(.*-cloud-amd64)")
#: The machine tells the time by its counter, and can't be slowed down by printing.
_COMMAND_LINE = "console=ttyS0 quiet loglevel=4 panic=-1 tsc=reliable random.trust_cpu=on mitigations=off"
#: Each instruction takes a nanosecond; an idle machine waits for nothing.
_ICOUNT = "shift=0,sleep=off"
#: Seconds of this machine's time: so long means never.
_BOOT_S = 180.0
_ANSWER_S = 60.0
_ARCHIVE_S = 60.0

#: IEEE Std 802: local experimental ethertype 2, which no stack takes up.
_ETHERTYPE = 0x88B6
_CALLS = "CALLS"
#: number, part, parts, bytes, the guest's monotonic clock in ns: struct head of linux_guest.c.
_HEAD = struct.Struct("!IHHHQ")
#: The number of what the guest says unasked.
_UNASKED = 0


@dataclass(frozen=True)
class LinuxGuestOptions:
    """Keys of a `[targets.NAME]` table with `type = "linux-guest"`; `--linux-guest-KEY` on the command line."""

    root: str = field(
        default="",
        metadata={"help": "folder of an unpacked linux-image-*-cloud-amd64 package; default: `make linux-guest`'s"},
    )
    binary: str = field(default="qemu-system-x86_64", metadata={"help": "the emulator's program"})
    cpu: str = field(default="max", metadata={"help": "CPU model"})
    memory: str = field(default="256M", metadata={"help": "RAM, such as 256M or 1G"})
    mtu: int = field(default=1500, metadata={"help": "MTU of the interface"})
    set: list[str] = field(
        default_factory=list,
        metadata={"help": "PATH=VALUE below /proc/sys/net, such as ipv4/tcp_sack=0; may be repeated"},
    )


class CallLine(SideLine):
    """The wire to the guest, without the calls: texts, cut into frames."""

    def __init__(self, link: Link, network: Network) -> None:
        super().__init__(link, network, {_CALLS: _ETHERTYPE}, "linux-guest", _ANSWER_S)
        self._carried = network.mtu - _HEAD.size
        self._number = _UNASKED
        #: The guest's monotonic clock at its latest answer, in ns.
        self.now = 0

    def ask(self, request: str) -> str:
        """Make a request and return its answer. Raises TargetFailure if none comes."""
        self._number += 1
        data = request.encode()
        pieces = [data[at : at + self._carried] for at in range(0, len(data), self._carried)]
        for part, piece in enumerate(pieces):
            self.tell(_CALLS, _HEAD.pack(self._number, part, len(pieces), len(piece), 0) + piece)
        return self.hear_text(self._number)

    def hear_text(self, number: int, within: float | None = None) -> str:
        """The message with this number. Raises TargetFailure if it does not come."""
        text = b""
        while True:
            payload = self.hear(_CALLS, within)
            found, part, parts, size, now = _HEAD.unpack_from(payload)
            if found != number:
                continue  # of a call that was given up
            self.now = now
            text += payload[_HEAD.size :][:size]
            if part + 1 == parts:
                return text.decode()


class GuestClock:
    """See :class:`keuos_hil.net.clock.Clock`: the guest's monotonic clock, which moves by what the test waits."""

    winds = True

    def __init__(self, line: CallLine) -> None:
        self._line = line

    def now(self) -> float:
        """See Clock.now."""
        return self._line.now / 1e9

    def receive(self, link: Link, most: float) -> bytes | None:
        """See Clock.receive."""
        frame = link.receive(0.0)
        if frame is None:
            self._line.ask(f"step {self._line.seen} {math.ceil(most * 1e9)}")
            frame = link.receive(0.0)
        return frame


class GuestSockets:
    """See :class:`keuos_hil.parts.Sockets`."""

    ordered = True
    longest_datagram = 65_507

    def __init__(self, line: CallLine, system: str) -> None:
        self._line = line
        self._system = system

    @property
    def system(self) -> str:
        """As the guest's uname says it."""
        return self._system

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """See Sockets.call."""
        text = " ".join([name, *map(str, arguments)])
        verdict, *values = self._line.ask(text).split(" ")
        if verdict == "no":
            raise SocketError(text[:80], values[0])
        return values


class LinuxGuestSession:
    """See :class:`keuos_hil.parts.Session`, and Networked."""

    power = None

    def __init__(self, machine: QemuSession, network: Network) -> None:
        self._machine = machine
        self.network = network
        self.debug = machine.debug
        self.timebase = machine.timebase
        self.command = machine.command
        self.started = machine.started
        assert machine.link is not None, "the machine has a NIC"
        self.link = CallLine(machine.link, network)
        try:
            self.sockets = GuestSockets(self.link, self._ready())
        except BaseException:
            self.close()
            raise
        self.clock = GuestClock(self.link)

    def _ready(self) -> str:
        """Wait until the guest says what it is. Raises InfraError with what it says instead."""
        deadline = time.monotonic() + _BOOT_S
        said = ""
        while not said:
            try:
                said = self.link.hear_text(_UNASKED, 1.0)
            except TargetFailure:
                if (ended := self._machine.ended()) is not None or time.monotonic() > deadline:
                    why = ended or f"it has not booted within {_BOOT_S:g} s"
                    raise InfraError(f"linux-guest: {why}\n{self.console.describe()}") from None
        word, _, rest = said.partition(" ")
        if word != "ready":
            raise InfraError(f"linux-guest: {rest}")
        return rest

    @property
    def console(self) -> Console:
        """See Session.console."""
        return self._machine.console

    def ended(self) -> Ended | None:
        """See Session.ended."""
        return self._machine.ended()

    def reset(self) -> None:
        """See Session.reset."""
        raise UsageError("target linux-guest has no reset button; open it again")

    def post_mortem(self, directory: Path) -> list[str]:
        """See Session.post_mortem."""
        return self._machine.post_mortem(directory)

    def attach_command(self) -> str:
        """See Session.attach_command."""
        return self._machine.attach_command()

    def close(self) -> None:
        """See Session.close."""
        self._machine.close()


@dataclass(frozen=True)
class GuestKernel:
    """An unpacked kernel package: the image, and the modules by name."""

    image: Path
    modules: dict[str, Path]


def find_kernel(name: str, root: str = "") -> GuestKernel:
    """The newest kernel below `root`, or in the usual places. Raises InfraError, saying how to get one."""
    for folder in (Path(root),) if root else _ROOTS:
        images = sorted((folder / "boot").glob("vmlinuz-*-cloud-amd64"), key=lambda path: path.stat().st_mtime)
        for image in reversed(images):
            found = _KERNEL.fullmatch(image.name)
            assert found is not None, "the pattern is narrower than the glob"
            modules = {path.name[:-3]: path for path in (folder / "lib" / "modules" / found[1]).rglob("*.ko")}
            if all(module in modules for module in _MODULES):
                return GuestKernel(image, modules)
    where = f"in {root}" if root else "for the guest"
    raise InfraError(
        f"target {name}: no Debian kernel {where}. In a checkout: make linux-guest. Elsewhere: apt-get install"
        " linux-image-cloud-amd64, or apt-get download it, unpack it by dpkg-deb -x and give --linux-guest-root=FOLDER"
    )


def make_initrd(kernel: GuestKernel, sources: Sequence[str], arguments: Sequence[object], directory: Path) -> Path:
    """An archive of a program, compiled as the first process, of the drivers and of what it has to know.

    Args:
        sources: files of this folder; linux_guest_start.c among them, which reads the rest.
        arguments: the lines of the file `arguments`.

    Raises:
        InfraError: something can't be compiled or packed.
    """
    folder = directory / "initrd"
    folder.mkdir()
    compile_program(sources, folder / "init", "-static")
    for module in _MODULES:
        shutil.copyfile(kernel.modules[module], folder / f"{module}.ko")
    (folder / "arguments").write_text("".join(f"{argument}\n" for argument in arguments))
    (folder / "modules").write_text("".join(f"/{module}.ko\n" for module in _MODULES))
    for empty in ("dev", "proc"):
        (folder / empty).mkdir()
    names = "".join(f"{path.relative_to(folder)}\n" for path in sorted(folder.rglob("*")))
    archive = directory / "initrd.cpio"
    command = ["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet", f"--file={archive}"]
    try:
        done = subprocess.run(
            command, input=names, cwd=folder, capture_output=True, text=True, timeout=_ARCHIVE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfraError(f"the guest's initrd can't be made: {error}") from None
    if done.returncode:
        raise InfraError(f"the guest's initrd can't be made: {done.stderr.strip()}")
    return archive


class LinuxGuest:
    """See :class:`keuos_hil.parts.Resident`."""

    timebase = Timebase("emulated")
    capabilities = frozenset({"link", "sockets", "test-clock", "mtu", "boots-stack"})

    def __init__(self, name: str, options: LinuxGuestOptions, run: RunOptions) -> None:
        if run.timebase not in ("default", "emulated"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; its clock can't be measured by")
        require_mtu(name, options.mtu)
        self._settings = all_settings(name, options.set)
        self._memory_bytes = parse_size(options.memory, f"target {name}: memory")
        self.name = name
        self.options = options
        self._run = run
        self._initrd: Path | None = None

    def with_mtu(self, mtu: int) -> LinuxGuest:
        """See ChoosesMtu.with_mtu."""
        return LinuxGuest(self.name, replace(self.options, mtu=mtu), self._run)

    def check(self) -> None:
        """See Target.check."""
        for tool, package in ((self.options.binary, "qemu-system-x86"), ("cpio", "cpio")):
            if shutil.which(tool) is None:
                raise InfraError(f"{tool} is not installed; Debian: apt-get install {package}")
        compiler()
        find_kernel(self.name, self.options.root)

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side."""
        return nullcontext()

    def attach(self, directory: Path) -> Session:
        """See Resident.attach: boot it."""
        network = Network("192.0.2.2", bytes.fromhex("02000000ad03"), 24, "192.0.2.1", self.options.mtu)
        kernel = find_kernel(self.name, self.options.root)
        if self._initrd is None or not self._initrd.exists():
            mask = IPv4Interface(f"{network.address}/{network.prefix}").netmask
            own = [network.address, mask, network.gateway, network.mtu, OWN_MAC.hex(":")]
            self._initrd = make_initrd(kernel, _SOURCES, [*own, *self._settings], directory)
        size = self._memory_bytes
        argv = [self.options.binary, "-accel", "tcg", "-cpu", self.options.cpu, "-m", f"{size >> 20}M", "-smp", "1"]
        argv += ["-nodefaults", "-display", "none", "-no-reboot", "-icount", _ICOUNT, "-bios", "qboot.rom"]
        argv += ["-kernel", str(kernel.image), "-initrd", str(self._initrd), "-append", _COMMAND_LINE]
        machine = QemuSession(
            argv,
            directory=directory,
            memory=GuestMemory(size, (Window(0, size, 0),)),
            ram_arguments=shared_memory("q35", size),
            timebase=self.timebase,
            nic=f"virtio-net-pci,mac={network.mac.hex(':')},host_mtu={network.mtu}",
            stand_alone=[*argv, "-M", "q35", "-serial", "stdio"],
        )
        return LinuxGuestSession(machine, network)


def _make(name: str, options: LinuxGuestOptions, run: RunOptions) -> AnyTarget:
    return LinuxGuest(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="linux-guest",
            summary="Debian's Linux in an emulated machine, its clock wound: the network suites' reference for timers",
            architecture="",
            options=LinuxGuestOptions,
            option_prefix="linux-guest",
            make=_make,
        )
    ]
