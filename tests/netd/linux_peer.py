"""Linux's own TCP against NetD's services, over a wire that a seed spoils. Run in a network namespace of its own:

    unshare --net python linux_peer.py PROGRAM SEED PERCENT BYTES

PERCENT of the frames are lost, as many doubled, delayed behind others, and damaged, in each direction. Prints a line
for each service with its figures; any byte lost or altered ends it with an assertion.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import select
import socket
import struct
import subprocess
import sys
import threading
import time

TUNSETIFF = 0x400454CA
TAP_NO_PI = 0x1002
NETD = "10.0.0.1"
SECONDS = 100


def tap() -> int:
    """A TAP of this namespace, up, with 10.0.0.2/24."""
    fd = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(fd, TUNSETIFF, struct.pack("16sH22x", b"wire", TAP_NO_PI))
    for words in ("addr add 10.0.0.2/24 dev wire", "link set wire up", "link set lo up"):
        subprocess.run(["ip", *words.split()], check=True)
    return fd


class Shim(threading.Thread):
    """The wire: frames from one descriptor to the other, and back."""

    def __init__(self, ends: tuple[int, int], seed: int, percent: float) -> None:
        super().__init__(daemon=True)
        self.ends = ends
        self.random = random.Random(seed)
        self.rate = percent / 100
        self.spoiled = 0
        self.frames = 0
        self.held: list[tuple[int, bytes]] = []

    def run(self) -> None:
        """Until the process ends."""
        while True:
            readable, _, _ = select.select(self.ends, [], [], 0.02)
            for end in readable:
                self.pass_on(self.ends[1 - self.ends.index(end)], os.read(end, 65536))
            if not readable:
                self.flush()

    def flush(self) -> None:
        """What was delayed goes out behind what came meanwhile."""
        held, self.held = self.held, []
        for to, frame in held:
            os.write(to, frame)

    def pass_on(self, to: int, frame: bytes) -> None:
        """One frame, or none, or two, or another."""
        self.frames += 1
        fate = self.random.random() / self.rate if self.rate else 9.0
        if fate >= 4:
            os.write(to, frame)
            if self.held and self.random.random() < 0.3:
                self.flush()
            return
        self.spoiled += 1
        if fate < 1:
            return
        if fate < 2:
            os.write(to, frame)
            os.write(to, frame)
        elif fate < 3:
            self.held.append((to, frame))
        else:
            damaged = bytearray(frame)
            at = self.random.randrange(14, len(frame))
            damaged[at] ^= 1 << self.random.randrange(8)
            os.write(to, bytes(damaged))


def connect(port: int) -> socket.socket:
    """A connection to one of NetD's services."""
    return socket.create_connection((NETD, port), timeout=SECONDS)


def echo(count: int) -> None:
    """Sends `count` bytes and reads them back."""
    data = random.Random(count).randbytes(count)
    with connect(7) as end:

        def send() -> None:
            end.sendall(data)
            end.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        got = hashlib.sha256()
        length = 0
        while piece := end.recv(1 << 16):
            got.update(piece)
            length += len(piece)
        sender.join()
    assert length == count
    assert got.digest() == hashlib.sha256(data).digest()


def discard(count: int) -> None:
    """Sends `count` bytes; the end of the stream tells that all were taken."""
    with connect(9) as end:
        end.sendall(bytes(count))
        end.shutdown(socket.SHUT_WR)
        assert end.recv(1) == b""


def chargen(count: int) -> None:
    """Reads `count` bytes of the service's text."""
    with connect(19) as end:
        text = b""
        while len(text) < count:
            text += end.recv(1 << 16)
    lines = text.split(b"\r\n")
    for number, line in enumerate(lines[:-1]):
        assert line == bytes(32 + (number + column) % 95 for column in range(72)), number


def many(count: int) -> None:
    """Opens and closes connections one after the other."""
    for number in range(count):
        with connect(7) as end:
            end.sendall(b"%d" % number)
            assert end.recv(100) == b"%d" % number


def datagrams(count: int) -> None:
    """UDP echo of several sizes; lost ones are asked for again."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
        end.settimeout(0.3)
        for number in range(count):
            data = random.Random(number).randbytes((number * 977) % 9000)
            for _ in range(20):
                end.sendto(data, (NETD, 7))
                try:
                    if end.recv(65536) == data:
                        break
                except TimeoutError:
                    continue
            else:
                raise AssertionError(f"datagram {number} of {len(data)} bytes was never echoed")


def main(program: str, seed: int, percent: float, count: int) -> None:
    """All services, one after the other."""
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    for end in (near, far):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 22)
    wire = tap()
    netd = subprocess.Popen([program, "--fd", str(far.fileno()), "--address", f"{NETD}/24"], pass_fds=[far.fileno()])
    far.close()
    try:
        shim = Shim((wire, near.fileno()), seed, percent)
        shim.start()
        for name, work, amount in (
            ("echo", echo, count),
            ("discard", discard, count),
            ("chargen", chargen, count),
            ("many", many, 200),
            ("datagrams", datagrams, 30),
        ):
            begun = time.monotonic()
            work(amount)
            print(f"{name} {amount} in {time.monotonic() - begun:.2f} s", flush=True)
        print(f"{shim.spoiled} of {shim.frames} frames spoiled")
        assert netd.poll() is None
    finally:
        netd.kill()
        netd.wait()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]))
