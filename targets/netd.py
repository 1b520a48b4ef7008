"""netd: NetD's stack built for this host, under sanitizers, on a wire that is a socketpair and a clock that is wound.

The stack is the very one of the daemon; what is not here are the kernel, the driver and the rings. A case that takes
minutes of the stack's time takes none of the test's. Socket calls (docs/socket-calls.md) are translated into the
commands of netd/host/control.c.
"""

from __future__ import annotations

import math
import shutil
import socket
import subprocess
import sys
import zlib
from contextlib import AbstractContextManager, ExitStack, nullcontext, suppress
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

from keuos_hil.plugins.child_process import ChildProcess

from keuos_hil.console import Console
from keuos_hil.errors import Ended, InfraError, SocketError, TargetFailure, UsageError
from keuos_hil.hookspecs import RunOptions, TargetType, hookimpl
from keuos_hil.net.wire import pattern
from keuos_hil.parts import AnyTarget, Link, Network, Session, Timebase
from keuos_hil.streams import SocketStream

_SOURCES = Path(__file__).parent.parent / "netd"
_BUILD_S = 600
_ANSWER_S = 60.0
_FRAME_MAX = 1 << 16
_SOCKET_BYTES = 4 << 20
_CHUNK = 1 << 16
_FIRST = 16384  # bytes of a datagram that are told
_ERRORS = {
    "again": "EAGAIN",
    "invalid": "EINVAL",
    "in-use": "EADDRINUSE",
    "no-room": "ENOBUFS",
    "refused": "ECONNREFUSED",
    "reset": "ECONNRESET",
    "timed-out": "ETIMEDOUT",
    "unreachable": "EHOSTUNREACH",
    "no-name": "ENOENT",
    "not-connected": "ENOTCONN",
    "shut": "EPIPE",
    "too-long": "EMSGSIZE",
}
#: Numbers of enum netd_tcp_option.
_OPTIONS = {
    "nodelay": 0,
    "keepalive": 1,
    "keepidle": 2,
    "keepintvl": 3,
    "keepcnt": 4,
    "user_timeout": 5,
    "linger": 6,
    "sndbuf": 7,
    "rcvbuf": 8,
    "ttl": 9,
    "tos": 10,
}
#: By number of enum netd_dhcp_state.
_DHCP_STATES = ("off", "selecting", "requesting", "checking", "bound", "renewing", "rebinding")
_READABLE, _WRITABLE, _URGENT, _CLOSED = 1, 2, 4, 8
_BUFFER = 1 << 19  # more than a case sends at once
_CONNECTIONS = 128  # as many as NetD has on KeuOS (keuos_hil.net.netd.TEST_LIMITS)


@dataclass(frozen=True)
class NetdOptions:
    """Keys of a `[targets.NAME]` table with `type = "netd"`; `--netd-KEY` on the command line."""

    mtu: int = field(default=1500, metadata={"help": "MTU of the interface"})
    program: str = field(
        default="", metadata={"help": "a netd-host to run; without it the one of the checkout is built, and run"}
    )


class Control:
    """The line to netd-host: a command, an answer."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end

    def __call__(self, *words: object) -> str:
        """What follows "ok". Raises SocketError with the POSIX name of a refusal."""
        text = " ".join(map(str, words))
        try:
            self._end.send(text.encode())
            answer = self._end.recv(1 << 20).decode()
        except OSError as error:
            raise TargetFailure(f"netd: no answer to {text[:80]!r}: {error}") from None
        verdict, _, rest = answer.partition(" ")
        if verdict == "error":
            raise SocketError(text[:80], _ERRORS.get(rest, rest))
        if verdict != "ok":
            raise TargetFailure(f"netd: the stack is gone; it was asked {text[:80]!r}")
        return rest


class SocketPairLink:
    """This process's end of the wire. A frame is seen by the stack at once; see :class:`keuos_hil.parts.Link`."""

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        #: How many frames have been received.
        self.seen = 0

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire."""
        try:
            self._end.send(frame)
        except OSError:
            pass

    def receive(self, timeout: float) -> bytes | None:
        """The next frame; the clock has seen to it that what is to come is there."""
        del timeout
        try:
            frame = self._end.recv(_FRAME_MAX, socket.MSG_DONTWAIT)
        except OSError:
            return None
        self.seen += 1
        return frame

    def waits(self) -> bool:
        """Whether a frame is there."""
        try:
            return bool(self._end.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK))
        except OSError:
            return False


class WoundClock:
    """The stack's time. It moves when the test has nothing left to do but wait: by that wait, or to the next frame."""

    winds = True

    def __init__(self, control: Control, link: SocketPairLink, start: int) -> None:
        self._control = control
        self._link = link
        self._now = start

    def now(self) -> float:
        """See Clock.now."""
        return self._now / 1e6

    def receive(self, link: Link, most: float) -> bytes | None:
        """See Clock.receive."""
        self._control("lent")  # behind it, all that was sent has been seen
        end = self._now + math.ceil(most * 1e6)  # never less: a wait of less than a tick ends, too
        while not self._link.waits() and self._now < end:
            self._now = int(self._control("step", min(end - self._now, 1 << 31)))
            if self._now >= end:
                break
        return link.receive(0.0)


@dataclass
class _Socket:
    """What the program of docs/socket-calls.md knows of a socket."""

    kind: str
    id: int | None = None  # netd-host's
    local: tuple[int, int] = (0, 0)
    remote: tuple[int, int] = (0, 0)  # of a UDP socket
    options: dict[str, int] = field(default_factory=dict)
    listening: bool = False
    sent: int = 0
    received: int = 0
    bad: int = -1
    crc: int = 0
    told: bool = False  # the error
    mark: bool = False
    queue: list[str] = field(default_factory=list)  # datagrams taken while an error was looked for


class NetdSockets:
    """See :class:`keuos_hil.parts.Sockets`: POSIX names on one side, netd/socket.h's calls on the other."""

    system = "NetD host"
    ordered = False
    longest_datagram = 65_507

    def __init__(self, control: Control, given: str) -> None:
        self._control = control
        self._given = given
        self._sockets: dict[int, _Socket] = {}
        self._noticed = 0

    def connections(self) -> int:
        """How many the stack holds, in whatever state, listeners among them."""
        return self._control("connections").count(";")

    def audit(self) -> str:
        """What does not hold of the stack's own accounts (netd/host/audit.h); "" if all does."""
        said = self._control("audit")
        return "" if said == "whole" else said

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """See Sockets.call."""
        if name == "open":
            return [str(self._add(_Socket(str(arguments[0]))))]
        if name == "network":
            return self._network(str(arguments[0]))
        if name == "resolve":
            self._control("resolve", arguments[0])
            return ["0"]  # the host build keeps one
        if name == "resolved":
            return [str(IPv4Address(int(self._control("resolved"))))]
        if name == "reset":
            for number in list(self._sockets):
                self._abort(number)
            return []
        number = int(arguments[0])
        if number not in self._sockets:
            raise SocketError(name, "EBADF")
        method = getattr(self, f"_{name}", None)
        if method is None:
            raise UsageError(f"netd: no socket call {name!r}")
        values: list[str] = [str(v) for v in method(number, *arguments[1:])]
        return values

    def _network(self, what: str) -> list[str]:
        if what in ("dhcp", "renew", "release"):
            self._control(what)
        elif what == "as_given":
            self._control("address", self._given)
        address, *_, state = self._control("net").split()
        return [str(IPv4Address(int(address))), _DHCP_STATES[int(state)]]

    def _add(self, one: _Socket) -> int:
        number = next(n for n in range(1 << 16) if n not in self._sockets)
        self._sockets[number] = one
        return number

    def _tcp(self, number: int) -> _Socket:
        """A TCP socket that netd-host knows; made now if it has only been opened here."""
        one = self._sockets[number]
        if one.id is None:
            one.id = int(self._control("open"))
            self._configure(one)
        return one

    def _configure(self, one: _Socket) -> None:
        for option, value in one.options.items():
            if one.kind == "tcp":
                self._control("set", one.id, _OPTIONS[option], value)
            elif option in ("ttl", "tos"):
                self._control("udpset", one.id, _OPTIONS[option], value)

    def _udp(self, number: int) -> _Socket:
        one = self._sockets[number]
        if one.id is None:
            one.id = int(self._control("udp", *one.local))
            self._configure(one)
        return one

    def _bind(self, number: int, address: str, port: int | str) -> list[object]:
        one = self._sockets[number]
        one.local = (int(IPv4Address(address)), int(port))
        # What POSIX tells by bind, netd/socket.h tells by listen and connect.
        own = int(self._control("net").split()[0])
        if one.local[0] not in (0, own) and one.local[0] >> 24 != 127:
            raise SocketError("bind", "EADDRNOTAVAIL")
        others = [o.local for o in self._sockets.values() if o.listening and o.local[1] == one.local[1]]
        if one.kind == "tcp" and any(0 in (at, one.local[0]) or at == one.local[0] for at, _ in others):
            raise SocketError("bind", "EADDRINUSE")
        if one.kind == "udp":
            self._udp(number)
        return []

    def _listen(self, number: int, backlog: int | str) -> list[object]:
        one = self._sockets[number]
        one.id = int(self._control("listen", *one.local, backlog))
        one.listening = True
        self._configure(one)
        return []

    def _accept(self, number: int) -> list[object]:
        listener = self._sockets[number]
        new = _Socket("tcp", int(self._control("accept", listener.id)), options=dict(listener.options))
        remote, port = self._info_words(new)["remote"].split(":")
        return [self._add(new), IPv4Address(int(remote)), port]

    def _connect(self, number: int, address: str, port: int | str) -> list[object]:
        one = self._sockets[number]
        if one.kind == "udp":
            one.remote = (int(IPv4Address(address)), int(port))
            self._udp(number)
            return []
        self._tcp(number)
        self._control("connect", one.id, *one.local, int(IPv4Address(address)), port)
        raise SocketError("connect", "EINPROGRESS")

    def _take_error(self, one: _Socket, error: SocketError) -> SocketError | None:
        """POSIX reports a connection's error once; then it is at its end."""
        if error.name in ("ECONNRESET", "ECONNREFUSED", "ETIMEDOUT", "EHOSTUNREACH"):
            if one.told:
                return None
            one.told = True
        return error

    def _write(self, one: _Socket, data: bytes, flags: str) -> int:
        bits = ("m" in flags) + 2 * ("u" in flags)
        taken = 0
        for at in range(0, len(data), _CHUNK):
            piece = data[at : at + _CHUNK]
            last = at + len(piece) == len(data)
            try:
                count = int(self._control("send", one.id, bits if last else 1, piece.hex()))
            except SocketError as error:
                if taken and error.name == "EAGAIN":
                    break
                raise (self._take_error(one, error) or SocketError("send", "EPIPE")) from None
            taken += count
            if count < len(piece):
                break
        return taken

    def _send(self, number: int, count: int | str, flags: str) -> list[object]:
        one = self._sockets[number]
        if one.kind == "udp":
            self._control("sendto", self._udp(number).id, *one.remote, pattern(0, int(count)).hex())
            return [count, count]
        one = self._tcp(number)
        taken = self._write(one, pattern(one.sent, int(count)), flags)
        one.sent += taken
        return [taken, one.sent]

    def _send_bytes(self, number: int, text: str, flags: str) -> list[object]:
        if self._sockets[number].kind == "udp":
            one = self._udp(number)
            self._control("sendto", one.id, *one.remote, "" if text == "-" else text)
            return []
        self._write(self._tcp(number), b"" if text == "-" else bytes.fromhex(text), flags)
        return []

    def _read(self, one: _Socket, most: int, verb: str = "recv") -> bytes:
        before = int(self._control("urgent", one.id))
        try:
            data = bytes.fromhex(self._control(verb, one.id, most))
        except SocketError as error:
            failed = self._take_error(one, error)
            if failed is not None:
                raise failed from None
            return b""
        if verb == "recv" and data:
            after = int(self._control("urgent", one.id))
            one.mark = before > 0 and after == 0
        return data

    def _recv(self, number: int, most: int | str) -> list[object]:
        one = self._tcp(number)
        got = 0
        end = False
        while got < int(most):
            try:
                data = self._read(one, min(int(most) - got, _CHUNK))
            except SocketError:
                if got:
                    break
                raise
            if not data:
                end = True
                break
            wanted = pattern(one.received, len(data))
            if one.bad < 0 and data != wanted:
                one.bad = one.received + next(i for i, (a, b) in enumerate(zip(data, wanted, strict=True)) if a != b)
            one.crc = zlib.crc32(data, one.crc)
            one.received += len(data)
            got += len(data)
        return [got, int(end), one.received, one.bad, one.crc]

    def _recv_bytes(self, number: int, most: int | str, flags: str) -> list[object]:
        if "u" in flags:
            raise SocketError("recv_bytes", "EINVAL")  # urgent data stays in the stream (RFC 6093)
        data = self._read(self._tcp(number), int(most), "peek" if "p" in flags else "recv")
        return [data.hex() or "-"]

    def _send_to(self, number: int, address: str, port: int | str, text: str) -> list[object]:
        one = self._udp(number)
        self._control("sendto", one.id, int(IPv4Address(address)), port, "" if text == "-" else text)
        return []

    def _recv_from(self, number: int) -> list[object]:
        one = self._udp(number)
        address, port, *data = (one.queue.pop(0) if one.queue else self._control("recvfrom", one.id)).split(" ")
        text = data[0] if data else ""
        return [IPv4Address(int(address)), port, len(text) // 2, text[: 2 * _FIRST] or "-"]

    def _shutdown(self, number: int, how: str) -> list[object]:
        if how != "read":
            self._control("shutdown", self._tcp(number).id)
        return []

    def _close(self, number: int) -> list[object]:
        one = self._sockets.pop(number)
        if one.id is not None:
            self._control("close", one.id)
        return []

    def _abort(self, number: int) -> list[object]:
        one = self._sockets.pop(number)
        if one.id is not None:
            self._control("close" if one.kind == "udp" else "abort", one.id)
        return []

    def _set(self, number: int, option: str, value: int | str) -> list[object]:
        one = self._sockets[number]
        amount = int(value)
        if option in ("reuseaddr", "recverr", "broadcast") or (option == "oobinline" and amount):
            return []  # as it is anyway
        if option not in _OPTIONS:
            raise SocketError("set", "ENOPROTOOPT")
        if option == "tos":
            amount >>= 2
        elif option == "user_timeout" and not amount:
            amount = 300_000  # the default again
        elif option == "linger" and amount < 0:
            amount = 0xFFFFFFFF
        elif option == "rcvbuf":
            amount = max(1024, min(amount, _BUFFER))
        elif option == "sndbuf":
            amount = min(amount, _BUFFER)
        if one.id is not None:
            self._control("set" if one.kind == "tcp" else "udpset", one.id, _OPTIONS[option], amount)
        one.options[option] = amount
        return []

    def _get(self, number: int, option: str) -> list[object]:
        if option not in _OPTIONS:
            raise SocketError("get", "ENOPROTOOPT")
        value = int(self._control("get", self._tcp(number).id, _OPTIONS[option]))
        return [value << 2 if option == "tos" else -1 if value == 0xFFFFFFFF else value]

    def _ready(self, number: int) -> list[object]:
        one = self._sockets[number]
        value = int(self._control("ready", self._tcp(number).id))
        letters = "".join(
            c for bit, c in ((_READABLE, "r"), (_WRITABLE, "w"), (_URGENT, "u"), (_CLOSED, "h")) if value & bit
        )
        if value & _CLOSED and not one.told and self._failure(one):
            letters += "e"
        return [letters or "-"]

    def _failure(self, one: _Socket, verb: str = "error") -> str:
        try:
            self._control(verb, one.id)
        except SocketError as error:
            return error.name
        return ""

    def _error(self, number: int) -> list[object]:
        if self._sockets[number].kind == "udp":
            one = self._udp(number)
            try:
                one.queue.append(self._control("recvfrom", one.id))
            except SocketError as error:
                return ["-" if error.name == "EAGAIN" else error.name]
            return ["-"]
        one = self._tcp(number)
        name = self._failure(one)
        if name and not one.told:
            one.told = True
            return [name]
        return [self._failure(one, "soft") or "-"]

    def _info_words(self, one: _Socket) -> dict[str, str]:
        return dict(word.split("=", 1) for word in self._control("info", one.id).split())

    def _info(self, number: int) -> list[object]:
        words = self._info_words(self._tcp(number))
        return [words["state"], words["rto"], words["srtt"], int(words["cwnd"]) // int(words["mss"]), words["unsent"]]

    def _name(self, number: int) -> list[object]:
        one = self._udp(number) if self._sockets[number].kind == "udp" else self._tcp(number)
        address, port = self._info_words(one)["local"].split(":")
        return [IPv4Address(int(address)), port]

    def _notices(self, number: int) -> list[object]:
        del number
        for one in self._sockets.values():
            if one.kind == "tcp" and one.id is not None and int(self._control("events", one.id)) & _URGENT:
                self._noticed += 1
        return [self._noticed]

    def _at_mark(self, number: int) -> list[object]:
        return [int(self._sockets[number].mark)]


class NetdSession:
    """See :class:`keuos_hil.parts.Session`, and Networked."""

    debug = power = None
    timebase = Timebase("emulated")
    command = ""

    def __init__(self, program: Path, network: Network, directory: Path) -> None:
        self.network = network
        self.started = 0.0
        self._program = program
        self._journal = directory / "journal"
        self._stack = ExitStack()
        try:
            self._start(program, network, directory)
        except BaseException:
            self.close()
            raise

    def _start(self, program: Path, network: Network, directory: Path) -> None:
        wire_near, wire_far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        console_near, console_far = socket.socketpair()
        for end in (wire_near, wire_far, near, far):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, _SOCKET_BYTES)
        self._stack.callback(near.close)
        self._stack.callback(wire_near.close)
        near.settimeout(_ANSWER_S)
        try:
            self.console = Console(SocketStream(console_near), log=directory / "console.log")
            self._stack.callback(self.console.close)
            self._process = ChildProcess(
                [
                    *(str(program), "--fd", str(wire_far.fileno()), "--control", str(far.fileno()), "--manual"),
                    *("--record", str(self._journal)),
                ],
                inherit=[wire_far.fileno(), far.fileno(), console_far.fileno()],
                output=directory / "program.log",
                on_exit=lambda status: self.console.interrupt(
                    TargetFailure(f"netd-host ended with status {status}: see program.log")
                ),
            )
        finally:
            wire_far.close()
            far.close()
            console_far.close()
        self._stack.callback(self._process.close)
        control = Control(near)
        control(
            "reset",
            f"mtu={network.mtu}",
            f"send_bytes={_BUFFER}",
            f"receive_bytes={_BUFFER}",
            "blocks=1024",
            f"connections={_CONNECTIONS}",
        )
        own = IPv4Interface(f"{network.address}/{network.prefix}")
        gateway = int(IPv4Address(network.gateway))  # and name server
        given = f"{int(own)} {int(own.netmask)} {gateway} {gateway}"
        control("address", given)
        self.link = SocketPairLink(wire_near)
        self.sockets = NetdSockets(control, given)
        self.clock = WoundClock(control, self.link, int(control("step", 0)))

    def ended(self) -> Ended | None:
        """netd-host ends only by a finding of a sanitizer, which the console tells."""
        return None

    def reset(self) -> None:
        """See Session.reset."""
        raise UsageError("target netd has no reset button; open it again")

    def post_mortem(self, directory: Path) -> list[str]:
        """See Session.post_mortem."""
        said = self._process.said()
        command = f"{self._program} --replay {self._journal}"
        with suppress(OSError):
            command += f" --until {self._journal.stat().st_size}"
        return [*([said] if said else []), f"to replay: {command}", f"under a debugger: gdb --args {command}"]

    def attach_command(self) -> str:
        """See Session.attach_command."""
        return f"gdb --pid {self._process.pid}"

    def close(self) -> None:
        """See Session.close."""
        self._stack.close()


class Netd:
    """See :class:`keuos_hil.parts.Resident`."""

    timebase = Timebase("emulated")
    capabilities = frozenset({"link", "sockets", "test-clock", "days-clock", "mtu", "boots-stack"})

    def __init__(self, name: str, options: NetdOptions, run: RunOptions) -> None:
        if run.timebase not in ("default", "emulated"):
            raise UsageError(f"target {name}: no timebase {run.timebase!r}; its clock is wound by the test")
        if not 68 <= options.mtu <= 9000:
            raise UsageError(f"target {name}: mtu = {options.mtu}; expected 68 to 9000")
        if options.program and shutil.which(options.program) is None:
            raise UsageError(f"target {name}: {options.program} is no program; expected a netd-host")
        self.name = name
        self.options = options
        self._run = run

    def with_mtu(self, mtu: int) -> Netd:
        """See ChoosesMtu.with_mtu."""
        return Netd(self.name, replace(self.options, mtu=mtu), self._run)

    def check(self) -> None:
        """See Target.check."""
        if sys.platform != "linux":
            raise InfraError(f"target {self.name} needs a Linux host, and this is {sys.platform}")
        if not self.options.program and not (_SOURCES / "Makefile").is_file():
            raise InfraError(f"target {self.name} is built from NetD's sources, which only a checkout of keuos-hil has")

    def lease(self) -> AbstractContextManager[object]:
        """Any number can run side by side."""
        return nullcontext()

    def attach(self, directory: Path) -> Session:
        """See Resident.attach."""
        program = Path(self.options.program) if self.options.program else _built()
        network = Network("192.0.2.2", bytes.fromhex("5254006e6401"), 24, "192.0.2.1", self.options.mtu)
        return NetdSession(program, network, directory)


def _built() -> Path:
    """The checkout's own netd-host, built if its sources are newer.

    Raises:
        InfraError: it doesn't build.
    """
    command = ["make", "-C", str(_SOURCES), "all"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InfraError(f"`{' '.join(command)}`: {error}") from None
    if done.returncode:
        raise InfraError(f"`{' '.join(command)}` failed:\n{(done.stdout + done.stderr)[-2000:]}")
    return _SOURCES.parent / "build" / "netd" / "host" / "netd-host"


def _make(name: str, options: NetdOptions, run: RunOptions) -> AnyTarget:
    return Netd(name, options, run)


@hookimpl
def keuos_hil_target_types() -> list[TargetType]:
    """This module's one kind of target."""
    return [
        TargetType(
            name="netd",
            summary="NetD's stack built for this host, under sanitizers, on a clock that is wound",
            architecture="",
            options=NetdOptions,
            option_prefix="netd",
            make=_make,
        )
    ]
