"""The program of :mod:`.linux_peer`, in its namespace: makes the device, and is an ordinary socket client as told.

    python -m keuos_hil.net.linux_peer_program DESCRIPTOR ADDRESS/BITS MTU TARGET

Requests come on a SOCK_SEQPACKET descriptor, JSON each; a function below answers. It ends when the other end closes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

TUNSETIFF = 0x400454CA
TAP_WITHOUT_INFORMATION = 0x1002
DEVICE = "wire0"
#: Debian's name of OpenBSD's netcat, of which `nc` may be another's.
NETCAT = "nc.openbsd"
_MESSAGE_MAX = 1 << 16
_PIECE = 1 << 16
#: A connection without any progress for so long is broken, however slow the machine.
_PATIENCE_S = 120.0


def make_device(address: str, mtu: str) -> int:
    """A TAP device of this namespace, up, with an address."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", DEVICE.encode(), TAP_WITHOUT_INFORMATION))
    for words in (f"addr add {address} dev {DEVICE}", f"link set {DEVICE} mtu {mtu} up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    return descriptor


def pieces(count: int) -> Iterator[bytes]:
    """`count` bytes of the pattern of docs/socket-calls.md, from its first on."""
    at = np.arange(_PIECE, dtype=np.uint64)
    base = (7 * at + 3 * (at >> 8)).astype(np.uint8)
    for start in range(0, count, _PIECE):
        number = start // _PIECE
        piece: np.ndarray[Any, np.dtype[np.uint8]] = base + np.uint8((31 * number + 101 * (number >> 8)) & 255)
        yield piece[: min(_PIECE, count - start)].tobytes()


def digest_of(count: int) -> str:
    """SHA-256 of so much of the pattern."""
    digest = hashlib.sha256()
    for piece in pieces(count):
        digest.update(piece)
    return digest.hexdigest()


def _sink_report(report: bytes) -> dict[str, Any]:
    """What `transfer`'s sink says in the end."""
    received, bad = struct.unpack("<Qq", report)
    return {"received": received, "bad": bad}


class Peer:
    """What can be asked of it: its methods, by name. Bytes are sent and expected in the pattern."""

    def __init__(self, control: socket.socket, target: str) -> None:
        self._control = control
        self._target = target
        self._kept: socket.socket | None = None

    def _connect(self, port: int, own: int = 0, patience: float = _PATIENCE_S) -> socket.socket:
        end = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        end.settimeout(patience)
        try:
            if own:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                end.bind(("", own))
            end.connect((self._target, port))
        except BaseException:
            end.close()
            raise
        return end

    def send(self, port: int, count: int) -> dict[str, Any]:
        """To `transfer`'s sink: what it says to have received, and where it was wrong first (-1: nowhere)."""
        begun = time.monotonic()
        with self._connect(port) as end:
            for piece in pieces(count):
                end.sendall(piece)
            end.shutdown(socket.SHUT_WR)
            report = b"".join(iter(lambda: end.recv(4096), b""))
        return _sink_report(report) | {"seconds": time.monotonic() - begun}

    def receive(self, port: int, count: int) -> dict[str, Any]:
        """From `transfer`'s source: how much came, and its SHA-256 beside the one that it has to have."""
        begun = time.monotonic()
        digest, length = hashlib.sha256(), 0
        with self._connect(port) as end:
            end.sendall(struct.pack("<Q", count))
            while piece := end.recv(_PIECE):
                digest.update(piece)
                length += len(piece)
        seconds = time.monotonic() - begun
        return {"received": length, "digest": digest.hexdigest(), "right": digest_of(count), "seconds": seconds}

    def netcat_send(self, port: int, count: int) -> dict[str, Any]:
        """As `send`, by a program that nobody here wrote: nc ends its half where its input ends."""
        return _sink_report(self._netcat(["-N"], port, pieces(count)))

    def netcat_receive(self, port: int, count: int) -> dict[str, Any]:
        """As `receive`, by nc, which ends when the target does."""
        got = self._netcat([], port, iter([struct.pack("<Q", count)]))
        return {"received": len(got), "digest": hashlib.sha256(got).hexdigest(), "right": digest_of(count)}

    def _netcat(self, options: list[str], port: int, input_pieces: Iterator[bytes]) -> bytes:
        """What nc wrote to its standard output when it was given that input."""
        command = [NETCAT, *options, self._target, str(port)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as netcat:
            assert netcat.stdin is not None
            assert netcat.stdout is not None
            reader = ThreadPoolExecutor(max_workers=1)
            output = reader.submit(netcat.stdout.read)
            for piece in input_pieces:
                netcat.stdin.write(piece)
            netcat.stdin.close()
            got = output.result(_PATIENCE_S)
            reader.shutdown()
            assert netcat.wait(_PATIENCE_S) == 0, f"{NETCAT} ended with status {netcat.returncode}"
        return got

    def connections(self, port: int, count: int, size: int, first: int, ports: int) -> dict[str, Any]:
        """One after the other: `transfer`'s source is asked for `size` bytes, and closes. Own ports take turns."""
        begun, right = time.monotonic(), b"".join(pieces(size))
        for number in range(count):
            with self._connect(port, first + number % ports) as end:
                end.sendall(struct.pack("<Q", size))
                got = b"".join(iter(lambda: end.recv(_PIECE), b""))
            assert got == right, f"connection {number}: {len(got)} bytes, or wrong ones"
        return {"seconds": time.monotonic() - begun}

    def open(self, port: int) -> dict[str, Any]:
        """A connection to the echo service, kept for `talk`."""
        self._kept = self._connect(port)
        return {}

    def talk(self, rounds: int, size: int) -> dict[str, Any]:
        """On that connection: so many times `size` bytes there and back."""
        assert self._kept is not None, "open comes first"
        for number in range(rounds):
            data = os.urandom(size)
            self._kept.sendall(data)
            got = b""
            while len(got) < size and (piece := self._kept.recv(size - len(got))):
                got += piece
            assert got == data, f"round {number}: {len(got)} bytes, or wrong ones"
        return {}


def main(descriptor: int, address: str, mtu: str, target: str) -> None:
    """Serve until the other end closes."""
    control = socket.socket(fileno=descriptor)
    device = make_device(address, mtu)
    socket.send_fds(control, [b"ready"], [device])
    os.close(device)
    peer = Peer(control, target)
    while request := control.recv(_MESSAGE_MAX):
        arguments = json.loads(request)
        try:
            answer = getattr(peer, arguments.pop("do"))(**arguments)
        except (OSError, struct.error, AssertionError) as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        control.send(json.dumps(answer).encode())


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
