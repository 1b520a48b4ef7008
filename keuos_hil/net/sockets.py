"""The target's application side, as a case drives it: socket calls that never block, made by a program on the target.

The calls and their answers are those of docs/socket-calls.md, whatever target serves them. The wire and the line that
carries the calls are not ordered, unless a target's calls are: before a call that depends on what was sent,
:class:`App` has the wire fenced; a call that answers "not now" is repeated behind further fences.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from keuos_hil.errors import SocketError
from keuos_hil.parts import Sockets

from . import wire
from .host import Host

T = TypeVar("T")
_PATIENCE_S = 5.0
_RETRY_S = 0.002


@dataclass(frozen=True)
class Received:
    """What a program got of a stream that carries the pattern.

    Attributes:
        count: bytes of this call.
        end: whether the peer's FIN was reached.
        total: bytes since the stream began.
        bad: offset of the first byte that is not the pattern's, or None.
        crc: CRC-32 of everything received.
    """

    count: int
    end: bool
    total: int
    bad: int | None
    crc: int


@dataclass(frozen=True)
class Info:
    """What the stack tells of a connection. Times in microseconds."""

    state: str
    rto: int
    rtt: int
    cwnd: int
    unsent: int


class Socket:
    """One socket of the program on the target."""

    def __init__(self, app: App, number: int, peer: tuple[str, int] | None = None) -> None:
        self._app = app
        self.number = number
        self.peer = peer

    def _call(self, name: str, *arguments: int | str) -> list[str]:
        return self._app.call(name, self.number, *arguments)

    def bind(self, address: str = "0.0.0.0", port: int = 0) -> None:
        """Name the local end."""
        self._call("bind", address, port)

    def listen(self, backlog: int = 64) -> None:
        """Passive open."""
        self._call("listen", backlog)

    def connect(self, address: str, port: int) -> None:
        """Active open; returns at once, the handshake under way."""
        try:
            self._call("connect", address, port)
        except SocketError as error:
            if error.name != "EINPROGRESS":
                raise

    def accept(self, within: float = _PATIENCE_S) -> Socket:
        """The next connection; waits for it at most `within` seconds. Raises SocketError (EAGAIN)."""
        number, address, port = self._app.patiently(lambda: self._call("accept"), within)
        return Socket(self._app, int(number), (address, int(port)))

    def has_connection(self) -> bool:
        """Whether one can be accepted; it is accepted and aborted."""
        try:
            self.accept(0).abort()
        except SocketError as error:
            if error.name == "EAGAIN":
                return False
            raise
        return True

    def send(self, count: int, flags: str = "-") -> int:
        """Send so many bytes of the pattern; how many the stack took. `flags`: u urgent, m more to come."""
        return int(self._call("send", count, flags)[0])

    def recv(self, most: int = 1 << 20, within: float = _PATIENCE_S) -> Received:
        """Receive at most so many bytes. Raises SocketError: EAGAIN if nothing came, or the connection's end."""
        count, end, total, bad, crc = self._app.patiently(lambda: self._call("recv", most), within)
        return Received(int(count), end == "1", int(total), None if int(bad) < 0 else int(bad), int(crc))

    def recv_exactly(self, count: int, within: float = _PATIENCE_S) -> Received:
        """Receive until `count` bytes of the pattern are there."""
        got = self.recv(count, within)
        have = got.count
        while have < count and not got.end:
            got = self.recv(count - have, within)
            have += got.count
        return Received(have, got.end, got.total, got.bad, got.crc)

    def send_bytes(self, data: bytes, flags: str = "-") -> None:
        """Send these very bytes."""
        self._call("send_bytes", data.hex() or "-", flags)

    def recv_bytes(self, most: int = 4096, within: float = _PATIENCE_S, flags: str = "-") -> bytes:
        """Receive what is there; b"" at the peer's FIN. `flags`: u urgent, p peek."""
        (text,) = self._app.patiently(lambda: self._call("recv_bytes", most, flags), within)
        return b"" if text == "-" else bytes.fromhex(text)

    def nothing(self) -> bool:
        """Whether there is nothing to receive, now that all sent so far was dealt with."""
        try:
            self.recv_bytes(1, 0, "p")
        except SocketError as error:
            return error.name == "EAGAIN"
        return False

    def failure(self) -> str:
        """What receiving fails with, "EOF" at the peer's FIN, or "" if it doesn't: data is there, or not now."""
        try:
            return "" if self.recv_bytes(1, 0, "p") else "EOF"
        except SocketError as error:
            return "" if error.name == "EAGAIN" else error.name

    def send_to(self, address: str, port: int, data: bytes) -> None:
        """Send a UDP datagram."""
        self._call("send_to", address, port, data.hex() or "-")

    def recv_from(self, within: float = _PATIENCE_S) -> tuple[str, int, int, bytes]:
        """The next datagram: source address and port, its size, its first bytes."""
        address, port, size, text = self._app.patiently(lambda: self._call("recv_from"), within)
        return address, int(port), int(size), b"" if text == "-" else bytes.fromhex(text)

    def shutdown(self, how: str = "write") -> None:
        """Close one direction: "read", "write" or "both"."""
        self._call("shutdown", how)

    def close(self) -> None:
        """Close in good order."""
        self._call("close")

    def abort(self) -> None:
        """Close by RST."""
        self._call("abort")

    def set(self, option: str, value: int) -> None:
        """Set an option of docs/socket-calls.md."""
        self._call("set", option, value)

    def get(self, option: str) -> int:
        """Read an option."""
        return int(self._call("get", option)[0])

    def ready(self) -> str:
        """Of "r" readable, "w" writable, "u" urgent data, "h" hung up, "e" error, those that hold."""
        return self._call("ready")[0].strip("-")

    def error(self) -> str:
        """The pending error's name, which is taken by this; "" if there is none."""
        return self._call("error")[0].strip("-")

    def info(self) -> Info:
        """What the stack tells of the connection."""
        state, *numbers = self._call("info")
        return Info(state, *map(int, numbers))

    def name(self) -> tuple[str, int]:
        """The local end."""
        address, port = self._call("name")
        return address, int(port)

    def notices(self) -> int:
        """How often the program was told of urgent data, on any socket, without having asked."""
        return int(self._call("notices")[0])

    def at_mark(self) -> bool:
        """Whether the next byte is the one behind the urgent data."""
        return self._call("at_mark") == ["1"]


class App:
    """The program on the target."""

    def __init__(self, sockets: Sockets, host: Host) -> None:
        self.sockets = sockets
        #: Of the sockets that are open.
        self.numbers: set[int] = set()
        self._host = host
        self._behind = True

    @property
    def system(self) -> str:
        """Whose stack it is."""
        return self.sockets.system

    def call(self, name: str, *arguments: int | str) -> list[str]:
        """One call, behind everything that was sent on the wire."""
        if not self.sockets.ordered:
            self._host.fence()
        shown = " ".join(map(str, arguments))[:60]
        if name in ("close", "abort"):
            self.numbers.discard(int(arguments[0]))
        try:
            values = self.sockets.call(name, *arguments)
        except SocketError as error:
            self._host.note(f"{name} {shown} = {error.name}")
            raise
        if name in ("open", "accept"):
            self.numbers.add(int(values[0]))
        self._host.note(f"{name} {shown} = {' '.join(values)[:60]}")
        return values

    def patiently(self, call: Callable[[], T], within: float) -> T:
        """Repeat `call` while it answers EAGAIN, for at most `within` seconds."""
        deadline = self._host.clock.now() + within
        while True:
            try:
                return call()
            except SocketError as error:
                if error.name != "EAGAIN" or self._host.clock.now() >= deadline:
                    raise
            self._host.pump(_RETRY_S)

    def open(self, kind: str = "tcp") -> Socket:
        """A new socket: "tcp" or "udp"."""
        return Socket(self, int(self.call("open", kind)[0]))

    def reset(self) -> None:
        """Close every socket, connections by RST."""
        self.sockets.call("reset")
        self.numbers.clear()


def pattern_crc(count: int) -> int:
    """CRC-32 of the pattern's first `count` bytes."""
    return zlib.crc32(wire.pattern(0, count))
