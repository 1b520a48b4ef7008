"""One stand-in for a board: QEMU with the firmware of a real one, behind a tty that stays when its power goes.

tty (a pty, under a stable name) <- damage, pace -> QEMU's serial port
switch.py -> control socket: on, off, cycle, reset        power is killing and starting QEMU; reset is its button
link socket <-> QEMU's NIC, or a segment with several       gdb socket: QEMU's gdb server
"""

from __future__ import annotations

import errno
import os
import pty
import select
import socket
import sys
import termios
import threading
import time
import tty
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from keuos_hil.plugins.child_process import ChildProcess
from keuos_hil.targets import qemu_arm64, qemu_x86

from .damage import Line, Noise
from .segment import Segment

ROOT = Path(__file__).resolve().parents[2]
UBOOT = "/usr/lib/u-boot/qemu_arm64/u-boot.bin"
#: By this a test knows that it runs on QEMU, whose devices do not check all that silicon does.
PROCESSOR = "qemu -accel tcg -cpu max"
#: What TCG does not raise.
DEVIATIONS = {"arm64": qemu_arm64.TCG_DEVIATIONS, "x86_64": qemu_x86.TCG_DEVIATIONS}
_READ = 4096


@dataclass(frozen=True)
class Kind:
    """What a stand-in emulates.

    Attributes:
        argv: QEMU's command line; names of files in braces.
        nics: the models of its NICs.
        served: whether the last of them is on a network of its own, with a TFTP server that serves the folder `served`
            at 10.0.2.2.
    """

    name: str
    arch: str
    argv: tuple[str, ...]
    nics: tuple[str, ...]
    served: bool = False


ARM64 = Kind(
    "arm64",
    "arm64",
    (
        "qemu-system-aarch64",
        *("-accel", "tcg", "-M", "virt,gic-version=3,iommu=smmuv3", "-cpu", "max", "-smp", "2", "-m", "128"),
        *("-bios", UBOOT),
    ),
    # U-Boot's driver for virtio does not work behind an IOMMU: it loads through another NIC, which is on the same wire.
    ("virtio-net-pci,disable-legacy=on,iommu_platform=on", "e1000"),
)
#: SeaBIOS says its banner on the serial line only if told to; GRUB is told by its own configuration.
PC = Kind(
    "pc",
    "x86_64",
    (
        "qemu-system-x86_64",
        *("-accel", "tcg", "-M", "q35,kernel-irqchip=split", "-cpu", "max", "-smp", "2", "-m", "128", "-vga", "none"),
        *("-device", "intel-iommu,intremap=on"),
        *("-cdrom", "{stick}"),
    ),
    ("e1000e",),
)
#: A board with the kernel in its flash: nobody loads anything.
PRELOADED = Kind(
    "preloaded",
    "arm64",
    (
        "qemu-system-aarch64",
        *("-accel", "tcg", "-M", "virt,gic-version=3", "-cpu", "max", "-smp", "2", "-m", "128"),
        *("-kernel", "{kernel}", "-initrd", "{initrd}"),
    ),
    ("virtio-net-pci,disable-legacy=on",),
)
SERVED = replace(ARM64, name="served", served=True)
KINDS = {kind.name: kind for kind in (ARM64, PC, PRELOADED, SERVED)}


def _mac(number: int) -> str:
    """The address of a NIC; those that QEMU gives by itself."""
    return f"52:54:00:12:34:{0x56 + number:02x}"


class Bench:
    """A stand-in and the bench around it; its power is off until somebody switches it on.

    Args:
        place: a folder of its own; paths of sockets must fit in 108 bytes.
        kind: a key of KINDS.
        files: what the kind's command line has in braces: the stick that a PC boots from, kernel and initrd; or the
            folder `served`.
        noise: of the line, both ways.
        baud: of the line; 0 for as fast as it goes.
        garbage: bytes that are said in another baud rate when the power comes.
    """

    def __init__(
        self,
        place: Path,
        kind: str,
        *,
        files: Mapping[str, Path] | None = None,
        noise: Noise | None = None,
        baud: int = 0,
        garbage: int = 0,
    ) -> None:
        self.kind = KINDS[kind]
        self.place = place
        self.tty = place / "tty"
        self.control = place / "power"
        self.gdb = place / "gdb"
        #: The process that is the board, for `starved`; there is none while the power is off.
        self.pid = place / "pid"
        self.switch = (sys.executable, "-S", str(Path(__file__).with_name("switch.py")), str(self.control))
        self._files = dict(files or {})
        self._garbage = garbage
        self._stack = ExitStack()
        self._lock = threading.RLock()
        self._process: ChildProcess | None = None
        self._serial: socket.socket | None = None
        self._unsent = b""
        noise = noise or Noise()
        self.to_host = Line(noise, baud, time.monotonic)
        self.to_board = Line(Noise(noise.flip, noise.drop, noise.insert, noise.seed + 1), baud, time.monotonic)
        #: How often the power came.
        self.powered = 0
        self.log: list[str] = []
        #: Whether the switch does nothing any more.
        self.jammed = False
        self._master = self._slave = -1
        self._unplugged_until: float | None = None
        self._stop = threading.Event()
        self._poke_in, self._poke_out = os.pipe()
        self._stack.callback(os.close, self._poke_in)
        self._stack.callback(os.close, self._poke_out)
        self._plug()
        self._wires = self._lay_wires()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.control))
        listener.listen()
        self._listener = listener
        self._stack.callback(listener.close)
        self._threads = [
            threading.Thread(target=self._pump, name="stand-in line", daemon=True),
            threading.Thread(target=self._obey, name="stand-in power", daemon=True),
        ]
        for thread in self._threads:
            thread.start()

    def _lay_wires(self) -> list[tuple[Path, Path]]:
        """Of each NIC: the path of QEMU's socket, and the one it sends to; a segment joins several."""
        host, link = self.place / "host", self.place / "link"
        count = len(self.kind.nics) - self.kind.served
        if count == 1:
            return [(link, host)]
        wires = [(self.place / f"nic{number}", self.place / f"port{number}") for number in range(count)]
        nics = [(_mac(number), here) for number, (here, _) in enumerate(wires)]
        self._stack.callback(Segment(host, link, nics, [there for _, there in wires]).close)
        return wires

    # The tty ---------------------------------------------------------------------------------------------------

    def _plug(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        with suppress(FileNotFoundError):
            self.tty.unlink()
        self.tty.symlink_to(os.ttyname(self._slave))

    def _unplug(self) -> None:
        self.tty.unlink(missing_ok=True)
        os.close(self._master)
        os.close(self._slave)
        self._master = self._slave = -1

    def vanish(self, seconds: float) -> None:
        """Pull the adapter out for so long; what the board says meanwhile is lost."""
        with self._lock:
            self._unplug()
            self._unplugged_until = time.monotonic() + seconds
        self._poke()

    def _poke(self) -> None:
        with suppress(OSError):
            os.write(self._poke_out, b".")

    def _pump(self) -> None:
        while not self._stop.is_set():
            with self._lock:
                if self._unplugged_until is not None and time.monotonic() >= self._unplugged_until:
                    self._unplugged_until = None
                    self._plug()
                master, serial = self._master, self._serial
                wanted = [self._poke_in]
                waits = 0.05
                if serial is not None:
                    if self.to_host.room() > 0:
                        wanted.append(serial.fileno())
                    else:
                        waits = 0.005
                if master >= 0:
                    if (self.to_board.room() > 0 and not self._unsent) or serial is None:
                        wanted.append(master)
                    else:
                        waits = 0.005
            try:
                ready, _, _ = select.select(wanted, [], [], waits)
            except (OSError, ValueError):
                continue
            with self._lock:
                if self._poke_in in ready:
                    os.read(self._poke_in, 4096)
                if serial is not None and serial is self._serial:
                    if serial.fileno() in ready:
                        self._from_board(serial)
                    self._to_board(b"")
                if master >= 0 and master == self._master and master in ready:
                    self._from_host(master)

    def _from_board(self, serial: socket.socket) -> None:
        try:
            data = serial.recv(min(_READ, self.to_host.room()))
        except OSError:
            return
        if not data:
            self._serial = None
            serial.close()
            return
        self._to_host(self.to_host.carry(data))

    def _to_host(self, data: bytes) -> None:
        if self._master < 0:
            return
        try:
            os.write(self._master, data)
        except BlockingIOError:
            termios.tcflush(self._slave, termios.TCIFLUSH)  # nobody listens: as lost as on a real line
        except OSError as error:
            if error.errno != errno.EIO:
                raise

    def _from_host(self, master: int) -> None:
        try:
            data = os.read(master, max(1, min(_READ, self.to_board.room())))
        except OSError:
            return
        if self._serial is not None:
            self._to_board(self.to_board.carry(data))

    def _to_board(self, data: bytes) -> None:
        """What an emulator that a probe has stopped does not take stays here; nobody waits with the lock held."""
        self._unsent += data
        if self._unsent and self._serial is not None:
            with suppress(OSError):
                self._unsent = self._unsent[self._serial.send(self._unsent, socket.MSG_DONTWAIT) :]

    def type(self, data: bytes) -> None:
        """Say this to the board, as a person on another terminal would."""
        with self._lock:
            assert self._serial is not None, "the board is off"
            self._to_board(data)

    # Power -----------------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        while not self._stop.is_set():
            try:
                end, _ = self._listener.accept()
            except OSError:
                return
            with end:
                end.settimeout(10)
                try:
                    word = end.makefile().readline().strip()
                    answer = self.do(word)
                    end.sendall(answer.encode() + b"\n")
                except OSError:
                    continue

    def do(self, word: str) -> str:
        """Carry out a word of the switch; "ok", or what was wrong."""
        self.log.append(word)
        actions: dict[str, Callable[[], None]] = {
            "on": self.on,
            "off": self.off,
            "cycle": self.cycle,
            "reset": self.reset,
        }
        if self.jammed:
            return "the relay is stuck"
        if word not in actions:
            return f"no such word: {word}"
        try:
            actions[word]()
        except Exception as error:  # noqa: BLE001 - whoever switched is told; the bench goes on
            return f"{word} failed: {error!r}"
        return "ok"

    def cycle(self) -> None:
        """Off and on."""
        self.off()
        self.on()

    def off(self) -> None:
        """Cut the power."""
        with self._lock:
            process, self._process = self._process, None
            serial, self._serial = self._serial, None
            self._unsent = b""
            self.pid.unlink(missing_ok=True)
            if serial is not None:
                serial.close()
        if process is not None:
            process.close()
        self._poke()

    def on(self) -> None:
        """Switch it on; nothing happens if it is."""
        with self._lock:
            if self._process is not None:
                return
            near, far = socket.socketpair()
            for path in (self.gdb, self.place / "qmp", *(here for here, _ in self._wires)):
                path.unlink(missing_ok=True)
            argv = [argument.format_map(self._files) for argument in self.kind.argv]
            argv += ["-display", "none", "-nodefaults"]
            argv += ["-chardev", f"socket,id=line,fd={far.fileno()}", "-serial", "chardev:line"]
            wires = [f"dgram,local.type=unix,local.path={h},remote.type=unix,remote.path={t}" for h, t in self._wires]
            if self.kind.served:
                wires.append(f"user,restrict=on,tftp={self._files['served']}")
            for number, (nic, wire) in enumerate(zip(self.kind.nics, wires, strict=True)):
                argv += ["-netdev", f"{wire},id=wire{number}"]
                argv += ["-device", f"{nic},netdev=wire{number},mac={_mac(number)},romfile="]
            argv += ["-gdb", f"unix:{self.gdb},server=on,wait=off"]
            argv += [
                "-chardev",
                f"socket,id=qmp,path={self.place}/qmp,server=on,wait=off",
                "-mon",
                "chardev=qmp,mode=readline",
            ]
            self._serial = near
            self.powered += 1
            if self._garbage:
                self._to_host(self.to_host.garbage(self._garbage))
            self._process = ChildProcess(
                argv, inherit=[far.fileno()], output=self.place / "qemu.log", on_exit=lambda status: None
            )
            far.close()
            self.pid.write_text(f"{self._process.pid}\n")
        self._poke()

    def reset(self) -> None:
        """Press the button; memory keeps its contents."""
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(10)
            monitor.connect(str(self.place / "qmp"))
            heard = b""
            while b"(qemu)" not in heard:
                heard += monitor.recv(4096)
            monitor.sendall(b"system_reset\n")
            heard = b""
            while b"(qemu)" not in heard:
                heard += monitor.recv(4096)

    def close(self) -> None:
        """Everything off and gone. Safe to repeat."""
        if self._stop.is_set():
            return
        self._stop.set()
        self.off()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        with self._lock:
            if self._master >= 0:
                self._unplug()
        self._stack.close()

    def sweep(self) -> None:
        """Remove the files that it made, once it is closed; others in its folder stay."""
        wires = (path for pair in self._wires for path in pair)
        made = (
            self.control,
            self.gdb,
            self.pid,
            *(self.place / n for n in ("qmp", "qemu.log", "host", "link")),
            *wires,
        )
        for path in made:
            path.unlink(missing_ok=True)

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # What a person writes --------------------------------------------------------------------------------------

    def configuration(
        self,
        name: str,
        *,
        load: str = "",
        fetch: Mapping[str, str] | None = None,
        link: Mapping[str, str] | None = None,
        debug: bool = True,
        button: bool = True,
        **more: object,
    ) -> str:
        """The tables that describe this bench as the target `name`; `more` are keys of its first, `fetch` of `load`.

        `link`: the table of that name, for a wire that somebody has put between; by default the sockets here.
        """

        def argv(word: str) -> str:
            return "[" + ", ".join(f'"{argument}"' for argument in (*self.switch, word)) + "]"

        load = load or {"arm64": "uboot-tftp", "x86_64": "grub-serial"}[self.kind.arch]
        first = {"type": "board", "arch": self.kind.arch, "console": str(self.tty), "processor": PROCESSOR, **more}
        lines = [f"[targets.{name}]"]
        for key, value in first.items():
            shown = str(value).lower() if isinstance(value, bool) else f'"{value}"' if isinstance(value, str) else value
            lines.append(f"{key} = {shown}")
        lines += [f"[targets.{name}.deviations]"]
        lines += [f'"{attempt}" = "{ending}"' for attempt, ending in DEVIATIONS[self.kind.arch].items()]
        lines += [f"[targets.{name}.power]", 'part = "command"', f"cycle = {argv('cycle')}"]
        if button:
            lines.append(f"reset = {argv('reset')}")
        lines += [f"[targets.{name}.load]", f'part = "{load}"']
        lines += [f'{key} = "{value}"' for key, value in (fetch or {}).items()]
        link = link or {"part": "dgram", "local": f"{self.place}/host", "remote": f"{self.place}/link"}
        lines += [f"[targets.{name}.link]", *(f'{key} = "{value}"' for key, value in link.items())]
        if debug:
            lines += [f"[targets.{name}.debug]", 'part = "gdb"', f'server = "{self.gdb}"']
        return "\n".join(lines) + "\n"
