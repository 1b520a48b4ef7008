"""A small agent in Python that speaks docs/hil-protocol.md over a socket, and a line to it that can be made faulty.
Written from the document, not from the host's code: it decodes frames by itself."""

from __future__ import annotations

import random
import socket
import threading
import zlib
from collections.abc import Callable
from typing import Any

import cbor2
from cobs import cobs


def frame(message: dict[str, Any]) -> bytes:
    body = cbor2.dumps(message)
    return b"\0" + bytes(cobs.encode(body + zlib.crc32(body).to_bytes(4, "little"))) + b"\0"


class Agent:
    """Answers `ping`, `add` (sums up, so that a request carried out twice shows), `shout` (console text), `big`."""

    def __init__(self, end: socket.socket) -> None:
        self.end = end
        self.total = 0
        self.carried_out = 0
        self.mute = False
        self.kept: tuple[int, bytes] | None = None
        self.say(frame({"event": "boot", "build": "model"}))
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def say(self, data: bytes) -> None:
        try:
            self.end.sendall(data)
        except OSError:
            pass

    def _run(self) -> None:
        pending = b""
        while True:
            try:
                data = self.end.recv(4096)
            except OSError:
                return
            if not data:
                return
            pending += data
            *chunks, pending = pending.split(b"\0")
            for chunk in chunks:
                try:
                    body = cobs.decode(chunk)
                    if zlib.crc32(body[:-4]) == int.from_bytes(body[-4:], "little") and len(body) > 4:
                        self._request(cbor2.loads(body[:-4]))
                except (cobs.DecodeError, ValueError):
                    continue

    def _request(self, message: dict[str, Any]) -> None:
        if self.mute:
            return
        if message["op"] == "hello":
            self.kept = None
            self.say(frame({"id": 0, "ok": True, "nonce": message["nonce"], "protocol": 1, "agent": "model"}))
            return
        if self.kept is None or self.kept[0] != message["id"]:
            self.carried_out += 1
            reply = {"id": message["id"], **self._carry_out(message)}
            self.kept = (message["id"], frame(reply))
        self.say(self.kept[1])

    def _carry_out(self, message: dict[str, Any]) -> dict[str, Any]:
        op = message["op"]
        if op == "add":
            self.total += message["n"]
            return {"ok": True, "total": self.total}
        if op == "shout":
            self.say(message["text"])
            return {"ok": True}
        if op == "big":
            return {"ok": True, "data": bytes(i % 256 for i in range(message["bytes"]))}
        if op == "exit":
            self.say(frame({"event": "exit", "pid": message["pid"], "reason": 1, "detail": 0, "address": 0}))
            return {"ok": True}
        if op == "ping":
            return {"ok": True}
        return {"ok": False, "code": 100, "text": f"no operation {op}"}


class Line(threading.Thread):
    """Carries bytes between two sockets, both ways, and lets `fault` change each piece that passes."""

    def __init__(self, one: socket.socket, two: socket.socket, fault: Callable[[bytes], bytes]) -> None:
        super().__init__(daemon=True)
        self.directions = ((one, two), (two, one))
        self.fault = fault
        for source, sink in self.directions:
            threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        while True:
            try:
                data = source.recv(4096)
                if not data:
                    sink.shutdown(socket.SHUT_WR)
                    return
                sink.sendall(self.fault(data))
            except OSError:
                return


def faulty(seed: int, rate: float) -> Callable[[bytes], bytes]:
    """Drops, doubles, flips and inserts bytes, loses and doubles whole pieces: each at `rate` of its occasions."""
    chance = random.Random(seed)
    lock = threading.Lock()

    def spoil(data: bytes) -> bytes:
        with lock:
            if chance.random() < rate * 10:
                return chance.choice([b"", data + data, b"\0" + data, data[: len(data) // 2]])
            out = bytearray()
            for byte in data:
                dice = chance.random()
                flipped = byte ^ 1 << chance.randrange(8) if rate / 4 <= dice < rate / 2 else byte
                if dice < rate / 4:
                    continue
                if rate / 2 <= dice < rate:
                    out.append(byte if dice < rate * 3 / 4 else chance.randrange(256))
                out.append(flipped)
            return bytes(out)

    return spoil
