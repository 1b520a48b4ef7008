"""One run of a QEMU system emulator, whatever the architecture: descriptors, start, end, reset, post-mortem.

The machine starts stopped; console and control socket are attached; then it runs, so nothing early is lost. A guest
that resets or powers off leaves the emulator paused, its memory and registers to be read. Which arguments make which
machine is the target's business.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.console import Console
from keuos_hil.errors import Ended, Exited, HilError, InfraError, PoweredOff, Reset, TripleFault, UsageError
from keuos_hil.parts import ByteStream, Timebase
from keuos_hil.streams import SocketStream

from .child_process import ChildProcess
from .dgram_link import DatagramLink
from .gdb_registers import GdbRegisters
from .gdb_watch import GdbWatch
from .guest_memory import GuestMemory
from .packet_link import RawLink, open_packet_socket
from .qemu_counter import QemuCounter
from .qemu_monitor import Monitor
from .recorded_line import RecordedLine

#: QEMU answers its control socket within milliseconds; so long means that it never will.
_START_S = 30.0
#: Its control socket is closed a moment before it has left.
_LEAVE_S = 2.0
#: QEMU's id of what is at the NIC's other end.
_NETWORK = "wire"
#: The record's name in a session's folder.
_RECORD = "machine.rr"
_TRIPLE_FAULT = b"Triple fault"
_REGISTER = re.compile(r"\b([A-Z][A-Z0-9]*) ?=([0-9a-f]{4,})\b")
_CPU_HEADING = re.compile(r"^CPU#(\d+)", re.MULTILINE)


def _recording(mode: str, file: Path, nic: str) -> list[str]:
    """QEMU's arguments that record, or replay, what the guest is given: on the line, on the wire, of clocks and chance.

    With sleep=off nothing that comes would ever be handed over (QEMU 7.2, softmmu/icount.c, icount_account_warp_timer).
    """
    arguments = ["-icount", f"shift=0,rr={mode},rrfile={file}"]
    return arguments + (["-object", f"filter-replay,id=recorder,netdev={_NETWORK}"] if nic else [])


def say(status: int) -> str:
    """An exit status in words."""
    if status < 0:
        return f"was ended by {signal.Signals(-status).name}"
    return f"exited with status {status}"


def shared_memory(machine: str, size: int) -> Callable[[str], list[str]]:
    """Makes QEMU's arguments for a machine, its options included, with `size` bytes of RAM in the file at a path."""

    def arguments(path: str) -> list[str]:
        backend = f"memory-backend-file,id=ram0,mem-path={path},size={size},share=on"
        return ["-M", f"{machine},memory-backend=ram0", "-object", backend]

    return arguments


class QemuSession:
    """See :class:`keuos_hil.parts.Session`. It is its own Debug, RunControl and Watching part.

    Args:
        argv: the emulator and its arguments, without those that this class adds.
        directory: receives console.log, qemu.log and reset.log.
        memory: the guest's RAM; the session closes it.
        ram_arguments: makes, of the path by which the emulator can open the memory, the arguments that use it.
        nic: a device model to plug in at the other end of :attr:`link`; "" for none.
        more_registers: those that the monitor does not show.
        watch_stops_before: see GdbWatch's `before`.
        tap: the TAP device of this host that the NIC is plugged into instead.
        tests_by_tap: whether :attr:`link` is then a packet socket on it, or there is none.
        stand_alone: the command a person can type instead.
        counts_executed: whether it is a CountsExecuted part, too; QEMU then has to emulate all cores in one thread.
        record: whether all that the machine is given is kept, so that :meth:`post_mortem` can tell how to see the same
            again, instruction by instruction. It has one core, and -icount is not among `argv`.
        how_to_record: told of a failure that was not recorded.
    """

    min_off_s = 0.0

    def __init__(
        self,
        argv: Sequence[str],
        *,
        directory: Path,
        memory: GuestMemory,
        ram_arguments: Callable[[str], list[str]],
        timebase: Timebase,
        nic: str = "",
        more_registers: GdbRegisters | None = None,
        watch_stops_before: bool = False,
        tap: str = "",
        tests_by_tap: bool = False,
        stand_alone: Sequence[str] = (),
        counts_executed: bool = False,
        panic_patterns: Iterable[bytes] = (),
        describe: Callable[[int], str] = hex,
        exit_status_of_guest: Callable[[int], bool] = lambda status: False,
        record: bool = False,
        how_to_record: str = "",
    ) -> None:
        self._how_to_record = how_to_record
        self.directory = directory
        self._replay = shlex.join([*stand_alone, *self._replay_arguments(nic)]) if record else ""
        self.timebase = timebase
        self.command = shlex.join(stand_alone)
        self.started = time.monotonic()
        self.debug = self
        self.power = None
        self.link: DatagramLink | RawLink | None = None
        self._memory = memory
        self._more_registers = more_registers
        self._watch_stops_before = watch_stops_before
        self._describe = describe
        self._exit_status_of_guest = exit_status_of_guest
        self._running = False
        self._gdb_socket = ""
        self._closed = threading.Event()
        self._stack = ExitStack()
        self._stack.callback(memory.close)
        self._counter: QemuCounter | None = None
        self._reset_log = directory / "reset.log"
        self._reset_log_from = 0
        try:
            if counts_executed:
                self._counter = self._stack.enter_context(closing(QemuCounter(memory, directory)))
            self._start(argv, ram_arguments, nic, tap, panic_patterns)
            if nic and tap and tests_by_tap:
                self.link = self._stack.enter_context(closing(RawLink(open_packet_socket(), tap)))
        except BaseException:
            self.close()
            raise

    def _start(
        self,
        argv: Sequence[str],
        ram_arguments: Callable[[str], list[str]],
        nic: str,
        tap: str,
        panic_patterns: Iterable[bytes],
    ) -> None:
        line, far_ends, chardev = self._console_line()
        monitor_end, monitor_far = socket.socketpair()
        self._stack.callback(monitor_end.close)
        far_ends.append(monitor_far)
        inherit = [*(end.fileno() for end in far_ends), self._memory.fd]
        arguments = [
            *argv,
            *ram_arguments(f"/dev/fd/{self._memory.fd}"),
            *("-S", "-action", "reboot=shutdown,shutdown=pause"),
            *("-d", "cpu_reset", "-D", str(self._reset_log)),
            *("-chardev", f"{chardev},id=console", "-serial", "chardev:console"),
            *("-chardev", f"socket,id=control,fd={monitor_far.fileno()}", "-mon", "chardev=control,mode=control"),
        ]
        if self._counter is not None:
            arguments += self._counter.arguments
            inherit.append(self._counter.fd)
        if nic and tap:
            arguments += ["-netdev", f"tap,id={_NETWORK},ifname={tap},script=no,downscript=no"]
            arguments += ["-device", f"{nic},netdev={_NETWORK},romfile="]
        elif nic:
            link_end, link_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
            inherit.append(link_far.fileno())
            far_ends.append(link_far)
            self.link = DatagramLink(link_end)
            self._stack.callback(self.link.close)
            arguments += ["-netdev", f"dgram,id={_NETWORK},local.type=fd,local.str={link_far.fileno()}"]
            arguments += ["-device", f"{nic},netdev={_NETWORK},romfile="]
        if self._replay:
            arguments += _recording("record", self.directory / _RECORD, nic)
        try:
            self._process = ChildProcess(
                arguments, inherit=inherit, output=self.directory / "qemu.log", on_exit=self._on_exit
            )
        finally:
            for end in far_ends:
                end.close()
        self._stack.callback(self._process.close)  # in case that one of the parts below can't be made
        self.pid = self._process.pid
        self.console = Console(
            line,
            log=self.directory / "console.log",
            clock=self._process.clock,
            panic_patterns=panic_patterns,
        )
        self._stack.callback(self.console.close)
        self._monitor = Monitor(monitor_end, self._on_event)
        self._stack.callback(self._monitor.close)
        self._stack.callback(self._process.close)  # the first to go
        self._stack.callback(self._closed.set)
        try:
            self._monitor.connect(_START_S)
            self._running = True
            self._monitor.execute("cont")
        except InfraError as error:
            status = self._process.wait(_LEAVE_S)
            if status is None:
                raise
            said = "; ".join(line.strip() for line in self._process.said().splitlines())
            raise InfraError(
                f"QEMU {say(status)} before the guest's first instruction. It said: {said or '(nothing)'}\n"
                f"command: {self.command}"
            ) from error

    def _console_line(self) -> tuple[ByteStream, list[socket.socket], str]:
        """Our end of the serial line, the sockets that the emulator gets, and its -chardev but for the id."""
        if self._replay:
            recorded = RecordedLine(self.directory)
            self._stack.callback(recorded.close)
            return recorded, [], f"pipe,path={recorded.path}"
        near, far = socket.socketpair()
        self._stack.callback(near.close)
        return SocketStream(near), [far], f"socket,fd={far.fileno()}"

    def _replay_arguments(self, nic: str) -> list[str]:
        """What a person's command needs beside: the NIC, and behind it a network that nothing gets out of.

        One with nothing at its end (a hub's port) has QEMU wait for ever.
        """
        wire = ["-netdev", f"user,id={_NETWORK},restrict=on", "-device", f"{nic},netdev={_NETWORK},romfile="]
        return [*(wire if nic else []), *_recording("replay", self.directory / _RECORD, nic)]

    # How it ends -----------------------------------------------------------------------------------------------

    def _on_event(self, name: str, data: dict[str, Any]) -> None:
        if name == "SHUTDOWN" and data.get("guest"):
            reason = str(data.get("reason"))
            if reason == "guest-reset" and self._triple_faulted():
                self._end(TripleFault("a core shut down after a fault while delivering a double fault"))
            elif reason == "guest-reset":
                self._end(Reset("the guest reset the machine"))
            else:
                self._end(PoweredOff(f"the guest switched the machine off ({reason})"))

    def _triple_faulted(self) -> bool:
        """Whether it says so since the bench last reset the machine."""
        try:
            return _TRIPLE_FAULT in self._reset_log.read_bytes()[self._reset_log_from :]
        except OSError:
            return False

    def _on_exit(self, status: int) -> None:
        if self._closed.is_set() or not self._running:
            return
        if self._exit_status_of_guest(status):
            self._end(Exited(f"the guest ended it: QEMU {say(status)}", status=status))
        else:
            said = self._process.said() or "(nothing)"
            self._end(InfraError(f"QEMU {say(status)}, unasked. It said:\n  {said}\ncommand: {self.command}"))

    def _end(self, failure: HilError) -> None:
        self.console.interrupt(failure)

    def ended(self) -> Ended | None:
        """See Session.ended. Raises InfraError if it was the bench that ended it."""
        return self.console.ended()

    # What can be done to it ------------------------------------------------------------------------------------

    def reset(self) -> None:
        """See Session.reset: RAM keeps its contents, as behind a real button."""
        self.console.expect_boot()
        with suppress(FileNotFoundError):
            self._reset_log_from = self._reset_log.stat().st_size
        # -no-reboot makes a shutdown of every reset, the button's too.
        self._monitor.execute("set-action", reboot="reset")
        self._monitor.execute("system_reset")
        self._monitor.execute("cont")
        self._monitor.execute("set-action", reboot="shutdown")

    def plug(self, *, into: bool) -> None:
        """See Unpluggable.plug. For an emulator the network behind the NIC is what goes away, and the NIC sees that."""
        self._monitor.execute("set_link", name=_NETWORK, up=into)

    def pause(self) -> None:
        """See RunControl.pause."""
        self._monitor.execute("stop")

    def resume(self) -> None:
        """See RunControl.resume."""
        self._monitor.execute("cont")

    def read_physical(self, address: int, size: int) -> bytes:
        """See Debug.read_physical."""
        return self._memory.read(address, size)

    def write_physical(self, address: int, data: bytes) -> None:
        """See Debug.write_physical."""
        self._memory.write(address, data)

    def executed(self, address: int, size: int) -> NDArray[np.uint64]:
        """See CountsExecuted.executed."""
        if self._counter is None:
            raise UsageError("executed instructions are counted with --executed only")
        return self._counter.read(address, size)

    def registers(self, core: int) -> dict[str, int]:
        """See Debug.registers. Names are QEMU's own in lower case: rip, cr3, efer; pc, x0."""
        with self._standing():
            parts = _CPU_HEADING.split(self._monitor.human("info registers -a"))
            cores = {int(parts[i]): parts[i + 1] for i in range(1, len(parts), 2)}
            if core not in cores:
                raise UsageError(f"this machine has cores {sorted(cores)}; there is no core {core}")
            found = {name.lower(): int(value, 16) for name, value in _REGISTER.findall(cores[core])}
            return found | (self._more_registers.read(self._gdb_server(), core) if self._more_registers else {})

    def watch_reads(self, addresses: Sequence[int], size: int) -> GdbWatch:
        """See Watching.watch_reads."""
        return GdbWatch(self._gdb_server(), addresses, size, before=self._watch_stops_before)

    @contextmanager
    def _standing(self) -> Iterator[None]:
        was_running = self._monitor.execute("query-status")["status"] == "running"
        if was_running:
            self.pause()
        try:
            yield
        finally:
            if was_running:
                self.resume()

    def post_mortem(self, directory: Path) -> list[str]:
        """See Session.post_mortem: registers of all cores, with the functions that they were in; how to replay."""
        lines = self._registers(directory)
        if not self._replay:
            return lines + ([f"to be able to replay it: {self._how_to_record}"] if self._how_to_record else [])
        debugged = f"{self._replay} -S -gdb tcp:127.0.0.1:1234"
        lines.append(f"to replay, once this run has ended: {self._replay}")
        lines.append(f"under a debugger: {debugged}, and gdb -ex 'target remote 127.0.0.1:1234'")
        return lines

    def _registers(self, directory: Path) -> list[str]:
        if self._process.status is not None:
            return [f"QEMU {say(self._process.status)}; nothing but its logs is left, in {self.directory}"]
        try:
            with self._standing():
                text = self._monitor.human("info registers -a")
        except InfraError as error:
            return [f"no registers: {error}"]
        path = directory / "registers.txt"
        path.write_text(text)
        lines = [f"registers of all cores: {path}"]
        for match in re.finditer(r"\b(?:[RE]IP|PC)=([0-9a-f]+)", text):
            lines.append(f"a core is at {self._describe(int(match.group(1), 16))}")
        return lines

    def attach_command(self) -> str:
        """See Session.attach_command."""
        return f"gdb -ex 'target remote {self._gdb_server()}'"

    def _gdb_server(self) -> str:
        """The path of its socket. One at a time can be connected."""
        if not self._gdb_socket:
            # Not in `directory`: the address of a socket holds at most 107 bytes.
            place = tempfile.mkdtemp(prefix="keuos-hil-gdb-")
            self._stack.callback(shutil.rmtree, place, True)
            self._gdb_socket = os.path.join(place, "socket")
            self._monitor.human(f"gdbserver unix:{self._gdb_socket},server=on,wait=off")
        return self._gdb_socket

    def close(self) -> None:
        """See Session.close."""
        self._closed.set()
        self._stack.close()
