"""linux: the TCP/IP stack of the Linux that this runs on, in a network namespace of its own. The suites' reference.

A small program (linux_sockets.c, compiled when the target is first opened) makes namespace and TAP device, hands the
device over as the link, and makes socket calls as it is told. Namespace, device and program are gone when either
process ends, however it ends: nothing has a name that could be left behind.

The stack runs with its defaults, but for what would make a run depend on chance or on other runs: see
:data:`SETTINGS`.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import sys
import time
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from ipaddress import IPv4Interface
from pathlib import Path

from keuos_hil.plugins.child_process import ChildProcess
from keuos_hil.plugins.tap_link import TapLink

from keuos_hil.console import Console
from keuos_hil.errors import Ended, InfraError, SocketError, UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.parts import AnyTarget, Network, Session, Timebase
from keuos_hil.streams import SocketStream

_SOURCE = Path(__file__).with_name("linux_sockets.c")
_COMPILERS = ("cc", "clang", "gcc")
_MESSAGE_MAX = 1 << 16
#: The program starts within milliseconds, and answers a call at once; so long means that it never will.
_START_S = 30.0
_ANSWER_S = 30.0

#: What differs from Linux's defaults, below /proc/sys/net, and why. Paths that a kernel lacks are passed over.
SETTINGS = {
    "ipv6/conf/all/disable_ipv6": "1",  # IPv6 is not what is tested; its neighbour discovery would be noise
    "ipv4/tcp_congestion_control": "reno",  # what RFC 5681 describes; the host's choice would differ by machine
    "ipv4/tcp_no_metrics_save": "1",  # a case must not inherit RTT and ssthresh from an earlier one
    "ipv4/tcp_invalid_ratelimit": "0",  # one answer to each unacceptable segment, so that a fence proves silence
    "ipv4/icmp_ratelimit": "0",  # the same for ICMP errors; rate limits have cases of their own
    "ipv4/icmp_msgs_per_sec": "100000",
    "ipv4/icmp_msgs_burst": "100000",
    "ipv4/tcp_early_retrans": "0",  # no tail loss probe within milliseconds: the wire's round trip is microseconds
    "ipv4/neigh/wire0/locktime": "0",  # a neighbour's second word within a second counts, as the first does
    "ipv4/tcp_fastopen": "0",
    "ipv4/tcp_max_tw_buckets": "65536",
    "core/somaxconn": "4096",
}


@dataclass(frozen=True)
class LinuxOptions:
    """Keys of a `[targets.NAME]` table with `type = "linux"`; `--linux-KEY` on the command line."""

    mtu: int = field(default=1500, metadata={"help": "MTU of the interface"})
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
    timebase = Timebase("emulated")
    command = ""

    def __init__(self, program: Path, options: LinuxOptions, network: Network, directory: Path) -> None:
        self.network = network
        self.started = time.monotonic()
        self._stack = ExitStack()
        try:
            self._start(program, options, network, directory)
        except BaseException:
            self.close()
            raise

    def _start(self, program: Path, options: LinuxOptions, network: Network, directory: Path) -> None:
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console_near, console_far = socket.socketpair()
        self._stack.callback(near.close)
        near.settimeout(_START_S)
        mask = IPv4Interface(f"{network.address}/{network.prefix}").netmask
        arguments = [far.fileno(), console_far.fileno(), network.mac.hex(":"), network.address, mask, network.gateway]
        settings = [f"{path}={value}" for path, value in SETTINGS.items()] + options.set
        try:
            self.console = Console(SocketStream(console_near), log=directory / "console.log")
            self._stack.callback(self.console.close)
            self._process = ChildProcess(
                [str(program), *map(str, arguments), str(network.mtu), *settings],
                inherit=[far.fileno(), console_far.fileno()],
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
        self.link = TapLink(descriptors[0])
        self._stack.callback(self.link.close)
        near.settimeout(_ANSWER_S)
        self.sockets = LinuxSockets(near, rest)

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

    timebase = Timebase("emulated")
    capabilities = frozenset({"link", "sockets"})

    def __init__(self, name: str, options: LinuxOptions, run: RunOptions) -> None:
        if run.timebase not in ("default", "emulated"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; its clock is the host's")
        if not 576 <= options.mtu <= 65535:
            raise UsageError(f"target {name}: mtu = {options.mtu}; expected 576 to 65535")
        for setting in options.set:
            if "=" not in setting:
                raise UsageError(f"target {name}: set = {setting!r}; expected PATH=VALUE")
        self.name = name
        self.options = options
        self._program: Path | None = None

    def check(self) -> None:
        """See Target.check."""
        if sys.platform != "linux":
            raise InfraError(f"target {self.name} is this machine's own Linux, and this is {platform.system()}")
        self._compiler()

    @staticmethod
    def _compiler() -> str:
        for name in _COMPILERS:
            if (found := shutil.which(name)) is not None:
                return found
        raise InfraError("target linux needs a C compiler, and there is neither cc, clang nor gcc; Debian: clang")

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side, each in a namespace of its own."""
        return nullcontext()

    def _build(self, directory: Path) -> Path:
        program = directory / "linux_sockets"
        command = [self._compiler(), "-std=gnu17", "-O1", str(_SOURCE), "-o", str(program)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InfraError(f"{_SOURCE.name} could not be compiled: {error}") from None
        if done.returncode:
            raise InfraError(f"{_SOURCE.name} could not be compiled: {done.stderr.strip()}")
        return program

    def attach(self, directory: Path) -> Session:
        """See Resident.attach."""
        if self._program is None or not os.access(self._program, os.X_OK):
            self._program = self._build(directory)
        network = Network("192.0.2.2", bytes.fromhex("02000000ad02"), 24, "192.0.2.1", self.options.mtu)
        return LinuxSession(self._program, self.options, network, directory)


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
        )
    ]
