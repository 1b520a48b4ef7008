"""Packets of gdb's remote serial protocol (GDB manual, appendix E): one connection to a server, one user."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress

from keuos_hil.errors import InfraError

_TIMEOUT_S = 10.0
#: Packets that wait for their answers: together less than a socket takes while neither end reads.
_UNDER_WAY = 24
#: What stop replies begin with.
_STOPS = ("T", "S", "W", "X")


def address_of(server: str) -> tuple[str, int] | None:
    """Host and port of a server; None if it is the path of a socket. Raises ValueError if it is neither."""
    if "/" in server:
        return None
    host, colon, port = server.rpartition(":")
    if not colon or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ValueError("expected HOST:PORT, or the path of a socket")
    return host or "localhost", int(port)


class GdbConnection:
    """Connected from the start.

    Args:
        server: HOST:PORT, or the path of a socket.

    Attributes:
        alive: nothing has gone wrong yet; after that no packet goes through any more.

    Raises:
        InfraError: the server can't be reached; from any method: it is gone, or does not answer.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._buffer = bytearray()
        self.alive = True
        try:
            address = address_of(server)
            if address is None:
                self._socket = socket.socket(socket.AF_UNIX)
                self._socket.settimeout(_TIMEOUT_S)
                self._socket.connect(server)
            else:
                self._socket = socket.create_connection(address, _TIMEOUT_S)
        except (OSError, ValueError) as error:
            if "/" in server:
                self._socket.close()
            raise InfraError(f"the gdb server {server} can't be reached: {error}") from None

    def ask(self, packet: str) -> str:
        """The answer to a packet; stop replies are passed over."""
        self.send(packet)
        return self._receive()

    def ask_all(self, packets: Sequence[str]) -> list[str]:
        """The answers to packets, of which several are on their way at a time: a server answers them in turn."""
        answers: list[str] = []
        for number, packet in enumerate(packets):
            if number >= _UNDER_WAY:
                answers.append(self._receive())
            self.send(packet)
        while len(answers) < len(packets):
            answers.append(self._receive())
        return answers

    def send(self, packet: str) -> None:
        """Send a packet without an answer."""
        body = packet.encode()
        self._send_raw(b"$%s#%02x" % (body, sum(body) & 0xFF))

    def interrupt(self) -> None:
        """Stop what runs; it sends a stop reply."""
        self._send_raw(b"\x03")

    def _send_raw(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            self.close()
            raise InfraError(f"the gdb server {self._server} is gone: {error}") from None

    def stop_reply(self, timeout: float) -> str | None:
        """Wait until what runs has stopped, at most so many seconds; None if it still runs."""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                if (body := self._packet())[:1] in _STOPS:
                    return body
            except TimeoutError:
                break
            finally:
                self._socket.settimeout(_TIMEOUT_S)
        return None

    def _receive(self) -> str:
        """The next packet that is no stop reply."""
        while True:
            try:
                if (body := self._packet())[:1] not in _STOPS:
                    return body
            except TimeoutError as error:
                self.close()
                raise InfraError(f"the gdb server {self._server} does not answer: {error}") from None

    def _packet(self) -> str:
        """The next packet; acknowledges it. Raises TimeoutError if none comes in the socket's time."""
        while True:
            start = self._buffer.find(b"$")
            stop = self._buffer.find(b"#", start) if start >= 0 else -1
            if stop >= 0 and len(self._buffer) >= stop + 3:
                body = bytes(self._buffer[start + 1 : stop])
                del self._buffer[: stop + 3]
                with suppress(OSError):
                    self._socket.sendall(b"+")
                return body.decode("latin-1")
            try:
                data = self._socket.recv(1 << 16)
            except TimeoutError:
                raise
            except OSError as error:
                self.close()
                raise InfraError(f"the gdb server {self._server} is gone: {error}") from None
            if not data:
                self.close()
                raise InfraError(f"the gdb server {self._server} closed the connection")
            self._buffer += data

    def close(self) -> None:
        """Hang up; the server is told nothing. Safe to repeat; never raises."""
        self.alive = False
        self._socket.close()
