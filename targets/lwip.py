"""lwip: lwIP as Debian builds it, on a wire that is a socket pair and a clock that is wound: a second stack to compare.

A small program (lwip_stack.c, compiled when the target is first opened) is linked with the library, which is installed
as a package (liblwip-dev), and makes socket calls as it is told. How that library was built is not ours to choose:
among other things without timestamps and SACK, without a limit of what waits to be accepted, and with IP forwarding on.
"""

from __future__ import annotations

import math
import socket
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface
from pathlib import Path

from keuos_hil.plugins.child_process import ChildProcess
from keuos_hil.plugins.host_compiler import compiler

from keuos_hil.console import Console
from keuos_hil.errors import Ended, InfraError, SocketError, TargetFailure, UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.parts import AnyTarget, Link, Network, Session, Timebase
from keuos_hil.streams import SocketStream

from .linux_program import compile_program, require_mtu
from .netd import SocketPairLink

_SOURCES = ("lwip_stack.c", "lwip_sockets.c", "call_text.c")
_MESSAGE_MAX = 1 << 16
_SOCKET_BYTES = 4 << 20
#: Seconds of this machine's time: so long means never.
_ANSWER_S = 60.0


@dataclass(frozen=True)
class LwipOptions:
    """Keys of a `[targets.NAME]` table with `type = "lwip"`; `--lwip-KEY` on the command line."""

    mtu: int = field(default=1500, metadata={"help": "MTU of the interface"})
    headers: str = field(default="/usr/include/lwip", metadata={"help": "folder of lwIP's headers"})


class _Control:
    """The line to the program: a request, an answer."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def hear(self) -> list[str]:
        """The words of what the program says. Raises TargetFailure if that is nothing."""
        try:
            said = self._end.recv(_MESSAGE_MAX).decode()
        except OSError as error:
            raise TargetFailure(f"lwip: no answer: {error}") from None
        if not said:
            raise TargetFailure("lwip: the program has ended")
        return said.split(" ")

    def __call__(self, *words: int | str) -> list[str]:
        """The values that a request is answered by. Raises SocketError, and TargetFailure if there is no answer."""
        text = " ".join(map(str, words))
        try:
            self._end.send(text.encode())
        except OSError as error:
            raise TargetFailure(f"lwip: {text[:80]!r} can't be asked: {error}") from None
        verdict, *values = self.hear()
        if verdict == "no":
            raise SocketError(text[:80], values[0])
        return values


class LwipClock:
    """See :class:`keuos_hil.net.clock.Clock`. It moves when the test has nothing left to do but wait."""

    winds = True

    def __init__(self, control: _Control, link: SocketPairLink) -> None:
        self._control = control
        self._link = link
        self._now = 0

    def now(self) -> float:
        """See Clock.now."""
        return self._now / 1e9

    def receive(self, link: Link, most: float) -> bytes | None:
        """See Clock.receive."""
        frame = link.receive(0.0)
        if frame is None:
            self._now = int(self._control("step", self._link.seen, math.ceil(most * 1e9))[0])
            frame = link.receive(0.0)
        return frame


class LwipSockets:
    """See :class:`keuos_hil.parts.Sockets`."""

    ordered = True
    longest_datagram = 65_507

    def __init__(self, control: _Control, system: str) -> None:
        self._control = control
        self.system = system

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """See Sockets.call."""
        return self._control(name, *arguments)


class LwipSession:
    """See :class:`keuos_hil.parts.Session`, and Networked."""

    debug = power = None
    timebase = Timebase("emulated")
    command = ""

    def __init__(self, program: Path, network: Network, directory: Path) -> None:
        self.network = network
        self.started = time.monotonic()
        self._stack = ExitStack()
        try:
            self._start(program, network, directory)
        except BaseException:
            self.close()
            raise

    def _start(self, program: Path, network: Network, directory: Path) -> None:
        pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(2)]
        (wire_near, wire_far), (near, far) = pairs
        console_near, console_far = socket.socketpair()
        for pair in pairs:
            self._stack.callback(pair[0].close)
            for end in pair:
                for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                    end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        near.settimeout(_ANSWER_S)
        mask = IPv4Interface(f"{network.address}/{network.prefix}").netmask
        arguments = [network.mac.hex(":"), network.address, mask, network.gateway, network.mtu]
        try:
            self.console = Console(SocketStream(console_near), log=directory / "console.log")
            self._stack.callback(self.console.close)
            self._process = ChildProcess(
                [str(program), *map(str, (wire_far.fileno(), far.fileno(), *arguments))],
                inherit=[wire_far.fileno(), far.fileno(), console_far.fileno()],
                output=directory / "program.log",
                on_exit=lambda status: self.console.interrupt(
                    TargetFailure(f"lwip: the program ended with status {status}: see program.log")
                ),
            )
        finally:
            wire_far.close()
            far.close()
            console_far.close()
        self._stack.callback(self._process.close)
        control = _Control(near)
        word, *rest = control.hear()
        if word != "ready":
            raise InfraError(f"lwip: {' '.join(rest)}")
        self.link = SocketPairLink(wire_near)
        self.sockets = LwipSockets(control, " ".join(rest))
        self.clock = LwipClock(control, self.link)

    def ended(self) -> Ended | None:
        """The program ends only by a fault, which the console tells."""
        return None

    def reset(self) -> None:
        """See Session.reset."""
        raise UsageError("target lwip has no reset button; open it again")

    def post_mortem(self, directory: Path) -> list[str]:
        """See Session.post_mortem."""
        return [said] if (said := self._process.said()) else []

    def attach_command(self) -> str:
        """See Session.attach_command."""
        return f"gdb --pid {self._process.pid}"

    def close(self) -> None:
        """See Session.close."""
        self._stack.close()


class Lwip:
    """See :class:`keuos_hil.parts.Resident`."""

    timebase = Timebase("emulated")
    capabilities = frozenset({"link", "sockets", "test-clock", "mtu", "boots-stack"})

    def __init__(self, name: str, options: LwipOptions, run: RunOptions) -> None:
        if run.timebase not in ("default", "emulated"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; its clock is wound by the test")
        require_mtu(name, options.mtu)
        self.name = name
        self.options = options
        self._run = run

    def with_mtu(self, mtu: int) -> Lwip:
        """See ChoosesMtu.with_mtu."""
        return Lwip(self.name, replace(self.options, mtu=mtu), self._run)

    def check(self) -> None:
        """See Target.check."""
        if sys.platform != "linux":
            raise InfraError(f"target {self.name} needs a Linux host, and this is {sys.platform}")
        compiler()
        header = Path(self.options.headers, "lwip", "init.h")
        if not header.is_file():
            raise InfraError(f"target {self.name}: no {header}; Debian: apt-get install liblwip-dev")

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side."""
        return nullcontext()

    def attach(self, directory: Path) -> Session:
        """See Resident.attach."""
        program = compile_program(_SOURCES, directory / "lwip_stack", f"-I{self.options.headers}", libraries=["-llwip"])
        network = Network("192.0.2.2", bytes.fromhex("02000000ad04"), 24, "192.0.2.1", self.options.mtu)
        return LwipSession(program, network, directory)


def _make(name: str, options: LwipOptions, run: RunOptions) -> AnyTarget:
    return Lwip(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="lwip",
            summary="lwIP as Debian builds it, its clock wound: a second stack that the network suites are held to",
            architecture="",
            options=LwipOptions,
            option_prefix="lwip",
            make=_make,
        )
    ]
