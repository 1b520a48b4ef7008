"""linux: the TCP/IP stack of the Linux that this runs on, in a network namespace of its own. The suites' reference.

It also measures messages between two of this machine's processes (linux_native.py).

A small program (linux_namespace.c, compiled when the target is first opened) makes namespace and TAP device, hands the
device over as the link, and makes socket calls as it is told. With `--link=veth` the wire is a pair of interfaces, and
the link a packet socket on the far one: just so is a board reached by a network card. Namespace, device and program are
gone when either process ends, however it ends: nothing has a name that could be left behind.

The stack runs with its defaults, but for what would make a run depend on chance or on other runs: see
:data:`.linux_program.SETTINGS`.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Interface
from pathlib import Path

from keuos_hil.plugins.child_process import ChildProcess
from keuos_hil.plugins.host_compiler import compiler
from keuos_hil.plugins.packet_link import RawLink
from keuos_hil.plugins.tap_link import TapLink

from keuos_hil.console import Console
from keuos_hil.errors import Ended, InfraError, SocketError, UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.parts import AnyTarget, Link, Network, Session, Timebase
from keuos_hil.rounds import ROUNDS_MIN
from keuos_hil.streams import SocketStream

from .linux_native import NativeRows, can_measure
from .linux_program import all_settings, build, require_mtu

_MESSAGE_MAX = 1 << 16
#: The program starts within milliseconds, and answers a call at once; so long means that it never will.
_START_S = 30.0
_ANSWER_S = 30.0
#: Of a veth pair, the test's (linux_namespace.c).
_FAR_END = "test0"


@dataclass(frozen=True)
class LinuxOptions:
    """Keys of a `[targets.NAME]` table with `type = "linux"`; `--linux-KEY` on the command line."""

    mtu: int = field(default=1500, metadata={"help": "MTU of the interface"})
    launches: int = field(default=5, metadata={"help": "how often the program that measures rows is started"})
    rounds: int = field(default=12, metadata={"help": "rounds of all rows in each launch"})
    set: list[str] = field(
        default_factory=list,
        metadata={"help": "PATH=VALUE below /proc/sys/net, such as ipv4/tcp_sack=0; may be repeated"},
    )


class LinuxSockets:
    """See :class:`keuos_hil.parts.Sockets`. The session closes the socket."""

    def __init__(self, end: socket.socket, system: str) -> None:
        self._end = end
        self._system = system

    ordered = False
    longest_datagram = 65_507

    @property
    def system(self) -> str:
        """As uname says it."""
        return self._system

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """See Sockets.call."""
        text = " ".join([name, *(str(argument) for argument in arguments)])
        try:
            self._end.send(text.encode())
            answer = self._end.recv(_MESSAGE_MAX)
        except OSError as error:
            raise InfraError(f"linux: the program that makes socket calls does not answer {text!r}: {error}") from None
        verdict, *values = answer.decode().split(" ")
        if verdict == "no":
            raise SocketError(text[:80], values[0])
        if verdict != "ok":
            raise InfraError(f"linux: the program that makes socket calls is gone; it was asked {text!r}")
        return values


class LinuxSession:
    """See :class:`keuos_hil.parts.Session`, and Networked."""

    debug = power = None
    timebase = Timebase("silicon")
    command = ""

    def __init__(
        self, program: Path, wire: str, settings: list[str], network: Network, directory: Path, rows: NativeRows
    ) -> None:
        self.network = network
        self.rows = rows
        self._wire = wire
        self.started = time.monotonic()
        self._stack = ExitStack()
        try:
            self._start(program, settings, network, directory)
        except BaseException:
            self.close()
            raise

    def _start(self, program: Path, settings: list[str], network: Network, directory: Path) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console_near, console_far = socket.socketpair()
        self._stack.callback(near.close)
        near.settimeout(_START_S)
        mask = IPv4Interface(f"{network.address}/{network.prefix}").netmask
        ends = [far.fileno(), console_far.fileno()]
        arguments = [*ends, self._wire, network.mac.hex(":"), network.address, mask, network.gateway]
        try:
            self.console = Console(SocketStream(console_near), log=directory / "console.log")
            self._stack.callback(self.console.close)
            self._process = ChildProcess(
                [str(program), *map(str, arguments), str(network.mtu), *settings],
                inherit=ends,
                output=directory / "program.log",
                on_exit=lambda status: self.console.interrupt(
                    InfraError(f"linux: the program that makes socket calls ended with status {status}")
                ),
            )
        finally:
            far.close()
            console_far.close()
        self._stack.callback(self._process.close)
        try:
            text, descriptors, _, _ = socket.recv_fds(near, _MESSAGE_MAX, 1)
        except OSError as error:
            raise InfraError(f"linux: the program that makes socket calls does not start: {error}") from None
        word, _, rest = text.decode().partition(" ")
        if word != "ready" or not descriptors:
            raise InfraError(f"linux: {rest or self._process.said() or 'its program ended without a word'}")
        self.link: Link = self._link_on(descriptors[0])
        near.settimeout(_ANSWER_S)
        self.sockets = LinuxSockets(near, rest)

    def _link_on(self, descriptor: int) -> Link:
        """The test's end of the wire, of what the program handed over."""
        if self._wire == "veth":
            link: RawLink | TapLink = RawLink(socket.socket(fileno=descriptor), _FAR_END)
        else:
            link = TapLink(descriptor)
        self._stack.callback(link.close)
        return link

    def ended(self) -> Ended | None:
        """Linux does not end; if the program does, waits raise an InfraError."""
        return None

    def reset(self) -> None:
        """See Session.reset."""
        raise UsageError("target linux has no reset button; open it again")

    def post_mortem(self, directory: Path) -> list[str]:
        """See Session.post_mortem."""
        return [said] if (said := self._process.said()) else []

    def attach_command(self) -> str:
        """See Session.attach_command."""
        return f"nsenter --net --target {self._process.pid} ss -tinoa"

    def close(self) -> None:
        """See Session.close."""
        self._stack.close()


class Linux:
    """See :class:`keuos_hil.parts.Resident`."""

    timebase = Timebase("silicon")
    capabilities = frozenset({"link", "sockets", "mtu"} | ({"native-rows"} if can_measure() else set()))

    def __init__(self, name: str, options: LinuxOptions, run: RunOptions) -> None:
        if run.timebase not in ("default", "silicon"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; this machine's counter is its own: silicon")
        require_mtu(name, options.mtu)
        self._settings = all_settings(name, options.set)
        if options.launches < 1 or options.rounds < ROUNDS_MIN:
            raise UsageError(f"target {name}: launches are at least 1, and rounds {ROUNDS_MIN}, or no row has a figure")
        self.name = name
        self.options = options
        self._run = run
        self._wire = "tap" if run.link is None else run.link.kind
        self._program: Path | None = None

    def with_mtu(self, mtu: int) -> Linux:
        """See ChoosesMtu.with_mtu."""
        return Linux(self.name, replace(self.options, mtu=mtu), self._run)

    def check(self) -> None:
        """See Target.check."""
        if sys.platform != "linux":
            raise InfraError(f"target {self.name} is this machine's own Linux, and this is {platform.system()}")
        compiler()

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side, each in a namespace of its own."""
        return nullcontext()

    def build(self, directory: Path) -> Path:
        """Compile its program into `directory`, once for all sessions. Raises InfraError."""
        self._program = build("linux_namespace.c", directory / "linux_namespace")
        return self._program

    def attach(self, directory: Path) -> Session:
        """See Resident.attach."""
        program = self._program
        if program is None or not os.access(program, os.X_OK):
            program = self.build(directory)
        network = Network("192.0.2.2", bytes.fromhex("02000000ad02"), 24, "192.0.2.1", self.options.mtu)
        rows = NativeRows(directory, shutil.which("clang") or compiler(), self.options.launches, self.options.rounds)
        return LinuxSession(program, self._wire, self._settings, network, directory, rows)


def _make(name: str, options: LinuxOptions, run: RunOptions) -> AnyTarget:
    return Linux(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="linux",
            summary="this machine's own Linux, in a network namespace: the reference of the network suites",
            architecture="",
            options=LinuxOptions,
            option_prefix="linux",
            make=_make,
            links=("veth",),
        )
    ]
