"""A stand-in's tty over the network, as a bench's serial port server would offer it: raw TCP, or RFC 2217."""

from __future__ import annotations

import contextlib
import socket
import threading
from pathlib import Path

import serial
import serial.rfc2217

_POLL_S = 0.02


class PortServer:
    """Offers `tty` on a port of the loopback interface, to one client at a time. A context manager.

    Args:
        rfc2217: speak Telnet with its COM port option; else bytes as they are.
    """

    def __init__(self, tty: Path, *, rfc2217: bool) -> None:
        self._rfc2217 = rfc2217
        self._serial = _Pty(str(tty), timeout=_POLL_S)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._stop = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        #: How many clients came.
        self.clients = 0
        self._thread = threading.Thread(target=self._serve, name="stand-in port server", daemon=True)
        self._thread.start()

    @property
    def protocol(self) -> str:
        """Its name, as labgrid calls it."""
        return "rfc2217" if self._rfc2217 else "raw"

    @property
    def url(self) -> str:
        """What a board's table says as its console."""
        return f"{'rfc2217' if self._rfc2217 else 'socket'}://127.0.0.1:{self.port}"

    def _serve(self) -> None:
        self._listener.settimeout(_POLL_S)
        while not self._stop.is_set():
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                self._serial.read(4096)  # nobody listens: as lost as on a real line
                continue
            with client:
                self.clients += 1
                self._speak(client)

    def _speak(self, client: socket.socket) -> None:
        client.settimeout(_POLL_S)
        manager = serial.rfc2217.PortManager(self._serial, _Writer(client)) if self._rfc2217 else None
        gone = threading.Event()

        def to_client() -> None:
            while not (self._stop.is_set() or gone.is_set()):
                data = self._serial.read(max(1, self._serial.in_waiting))
                if data:
                    with contextlib.suppress(OSError):
                        client.sendall(b"".join(manager.escape(data)) if manager is not None else data)

        reader = threading.Thread(target=to_client, daemon=True)
        reader.start()
        while not self._stop.is_set():
            try:
                data = client.recv(4096)
            except TimeoutError:
                continue
            except OSError:
                break
            if not data:
                break
            self._serial.write(b"".join(manager.filter(data)) if manager is not None else data)
        gone.set()
        reader.join(5)

    def close(self) -> None:
        """Nobody is served any more. Safe to repeat."""
        self._stop.set()
        self._thread.join(5)
        self._listener.close()
        self._serial.close()

    def __enter__(self) -> PortServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


class _Pty(serial.Serial):  # type: ignore[misc]
    """A pty has no modem lines; what a client does to them is forgotten."""

    cts = dsr = cd = True
    ri = rts = dtr = False


class _Writer:
    """What pyserial's PortManager answers its client through."""

    def __init__(self, client: socket.socket) -> None:
        self._client = client

    def write(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._client.sendall(data)
