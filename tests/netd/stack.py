"""The host build as a process: its frames, its commands, its clock; and a TCP peer that a test plays by hand."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.netd import wire
from tests.netd.wire import Segment, address

MAC = bytes.fromhex("5254006e6401")
PEER_MAC = bytes.fromhex("020000000001")
OWN = address("10.0.0.1")
PEER = address("10.0.0.2")
MASK = address("255.255.255.0")
GATEWAY = address("10.0.0.254")
DNS = address("10.0.0.53")
ANSWER_SECONDS = 60.0  # tells a hang from a slow machine

# enum netd_tcp_option and enum netd_event, read from the header that defines them.
_HEADER = (Path(__file__).parents[2] / "netd/include/netd/socket.h").read_text()


def _names(enum: str) -> list[str]:
    body = re.search(rf"enum {enum} {{(.*?)\n}};", re.sub(r"/\*.*?\*/", "", _HEADER, flags=re.S), re.S)
    assert body
    return re.findall(r"(NETD_\w+)", body[1])


OPTIONS = {name.removeprefix("NETD_").lower(): i for i, name in enumerate(_names("netd_tcp_option"))}
EVENTS = {name.removeprefix("NETD_").lower(): 1 << i for i, name in enumerate(_names("netd_event"))}


class NetdError(Exception):
    """A call returned this netd_result."""


class Stack:
    """One netd-host process. `reset()` before each use."""

    def __init__(self, program: Path):
        self.link, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.control, far_control = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        for end in (self.link, far, self.control, far_control):
            for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
                end.setsockopt(socket.SOL_SOCKET, option, 4 << 20)
        self.control.settimeout(ANSWER_SECONDS)
        self.link.settimeout(ANSWER_SECONDS)
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed by close())
        self.process = subprocess.Popen(
            [program, "--fd", str(far.fileno()), "--control", str(far_control.fileno()), "--manual", "--fixed-entropy"],
            pass_fds=(far.fileno(), far_control.fileno()),
            stderr=self.errors,
        )
        far.close()
        far_control.close()
        self.now = 0
        self.log: list[str] = []

    def close(self) -> None:
        """Ends the process; a finding of a sanitizer, or a leak, fails here."""
        self.control.close()
        status = self.process.wait(ANSWER_SECONDS)
        self.link.close()
        report = self._report()
        self.errors.close()
        assert status == 0, report

    def _report(self) -> str:
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")[-6000:]

    def command(self, *words: object) -> str:
        """The rest of "ok ..."; NetdError for "error ..."."""
        line = " ".join(str(w) for w in words)
        try:
            self.control.send(line.encode())
            answer = self.control.recv(1 << 20).decode()
        except (BrokenPipeError, ConnectionResetError):
            answer = ""
        if not answer:
            self.process.wait(ANSWER_SECONDS)
            raise AssertionError(f"netd-host died at {line[:200]!r}:\n{self._report()}")
        verdict, _, rest = answer.partition(" ")
        if verdict == "error":
            raise NetdError(rest)
        assert verdict == "ok"
        return rest

    def reset(self, *, configured: bool = True, **limits: int) -> None:
        """A new stack, with 10.0.0.1 and a neighbour 10.0.0.2 that it knows."""
        self.now = int(self.command("reset", *(f"{k}={v}" for k, v in limits.items())))
        self.frames()
        if configured:
            self.command("address", OWN, MASK, GATEWAY, DNS)
            self.send(self.arp(2, PEER_MAC, PEER, MAC, OWN))
            self.frames()

    # The clock

    def step(self) -> int | None:
        """To the next deadline; None: there is none. Microseconds that passed."""
        answer = self.command("step")
        if answer == "never":
            return None
        before, self.now = self.now, int(answer)
        return self.now - before

    def advance(self, seconds: float) -> None:
        """Time passes, over all deadlines on its way."""
        self.now = int(self.command("advance", round(seconds * 1e6)))

    # Frames

    def send(self, frame: bytes) -> None:
        """Lays a frame before the stack. It is seen at the latest with the next command."""
        self.link.send(frame)

    def frames(self) -> list[bytes]:
        """All that the stack has sent in answer to what came so far: the command is the fence."""
        self.command("lent")
        got = []
        self.link.setblocking(False)
        try:
            while True:
                got.append(self.link.recv(65536))
        except BlockingIOError:
            pass
        finally:
            self.link.settimeout(ANSWER_SECONDS)
        return got

    @staticmethod
    def arp(op: int, sha: bytes, spa: int, tha: bytes, tpa: int, *, to: bytes = MAC) -> bytes:
        """An ARP frame."""
        return to + sha + struct.pack("!HHHBBH6sI6sI", 0x0806, 1, 0x0800, 6, 4, op, sha, spa, tha, tpa)

    def ip(self, datagram: bytes, *, to: bytes = MAC, source: bytes = PEER_MAC) -> None:
        """Sends a datagram to the stack."""
        self.send(to + source + b"\x08\x00" + datagram)

    def datagrams(self) -> list[bytes]:
        """The IPv4 datagrams it has sent; ARP requests for the neighbours of the test are answered."""
        out = []
        again = True
        while again:
            again = False
            for frame in self.frames():
                assert frame[6:12] == MAC
                kind = struct.unpack("!H", frame[12:14])[0]
                if kind == 0x0800:
                    out.append(frame[14:])
                    continue
                assert kind == 0x0806
                op, sha, spa, _, tpa = struct.unpack("!H6sI6sI", frame[20:42])
                if op == 1 and tpa not in (OWN, spa):
                    self.send(self.arp(2, PEER_MAC, tpa, sha, spa))
                    again = True
        return out

    def segments(self) -> list[Segment]:
        """The TCP segments among them (others are lost)."""
        return [wire.parse_tcp(d) for d in self.datagrams() if d[9] == 6]

    def lay(self, segment: Segment) -> None:
        """Sends one segment."""
        self.ip(wire.ipv4(segment.src, segment.dst, 6, wire.tcp(segment), tos=segment.tos))

    def exchange(self, segment: Segment) -> list[Segment]:
        """Sends one segment and returns what comes back at once."""
        self.lay(segment)
        return self.segments()

    # Sockets

    def listen(self, port: int, backlog: int = 16, at: int = 0) -> int:
        """A listener's number."""
        return int(self.command("listen", at, port, backlog))

    def connect(self, port: int = 80, at: int = PEER, *, local: int = 0, lport: int = 0, **options: int) -> int:
        """A socket that has begun to open a connection."""
        id_ = int(self.command("open"))
        for name, value in options.items():
            self.option(id_, name, value)
        self.command("connect", id_, local, lport, at, port)
        return id_

    def recv(self, id_: int, most: int = 65536) -> bytes:
        """What was received; b"" at the end."""
        return bytes.fromhex(self.command("recv", id_, most))

    def write(self, id_: int, data: bytes, flags: int = 0) -> int:
        """How many bytes were taken."""
        return int(self.command("send", id_, flags, data.hex()))

    def option(self, id_: int, option: str, value: int) -> None:
        """An option by its name in lower case."""
        self.command("set", id_, OPTIONS[option], value)

    def events(self, id_: int) -> set[str]:
        """What was told since the last call."""
        value = int(self.command("events", id_))
        return {name for name, bit in EVENTS.items() if value & bit}

    def ready(self, id_: int) -> set[str]:
        """What holds now."""
        value = int(self.command("ready", id_))
        return {name for name, bit in EVENTS.items() if value & bit}

    def info(self, id_: int) -> dict[str, Any]:
        """The connection as netd_tcp_get_info() tells it."""
        words = dict(w.split("=", 1) for w in self.command("info", id_).split())
        return {k: int(v) if v.isdigit() else v for k, v in words.items()}

    def state(self, id_: int) -> str:
        """RFC 9293's name."""
        return str(self.info(id_)["state"])

    def states(self) -> list[str]:
        """Of all control blocks."""
        return re.findall(r";state=(\S+)", self.command("connections"))

    def error(self, id_: int) -> str | None:
        """Why a socket is closed."""
        try:
            self.command("error", id_)
        except NetdError as error:
            return str(error)
        return None

    def counters(self) -> dict[str, int]:
        """All of them."""
        return {k: int(v) for k, v in (w.split("=") for w in self.command("counters").split())}


class Peer:
    """The far end of one TCP connection. It does nothing by itself but keep count of sequence numbers."""

    def __init__(self, stack: Stack, port: int, dport: int, *, seq: int = 1000, ip: int = PEER, ts: bool = False):
        self.stack, self.port, self.dport, self.ip = stack, port, dport, ip
        self.iss = seq
        self.seq = seq  # next to send
        self.ack = 0  # next expected
        self.window = 65535
        self.ts = ts
        self.ts_recent = 0
        self.ts_base = 5000
        self.shift = 0

    def segment(self, flags: str, data: bytes = b"", **fields: Any) -> Segment:
        """A segment with this connection's numbers, unless others are named."""
        opts = fields.pop("options", None)
        sack = fields.pop("sack", None)
        ts = fields.pop("ts", (self.ts_base + self.stack.now // 1000, self.ts_recent) if self.ts else None)
        if opts is None:
            opts = wire.options(ts=ts, sack=sack)
        values: dict[str, Any] = {"seq": self.seq, "ack": self.ack, "window": self.window} | fields
        if "A" not in flags.replace(".", "A"):
            values["ack"] = fields.get("ack", 0)
        flags = flags.replace(".", "A")
        return Segment(self.ip, OWN, self.port, self.dport, flags=flags, options=opts, data=data, **values)

    def tx(self, flags: str, data: bytes = b"", **fields: Any) -> list[Segment]:
        """Sends; returns this connection's answers. Numbers move on unless seq was named."""
        segment = self.segment(flags, data, **fields)
        if "seq" not in fields:
            self.seq = (self.seq + segment.length) & 0xFFFFFFFF
        return self.mine(self.stack.exchange(segment))

    def tx_blind(self, flags: str, data: bytes = b"", **fields: Any) -> None:
        """Sends, and leaves what the stack says to it for mine(). Numbers stay."""
        self.stack.lay(self.segment(flags, data, **fields))

    def mine(self, segments: list[Segment] | None = None) -> list[Segment]:
        """Those that are for this peer; timestamps are noted."""
        got = [
            s
            for s in (self.stack.segments() if segments is None else segments)
            if s.dport == self.port and s.dst == self.ip
        ]
        for s in got:
            if s.ts:
                self.ts_recent = s.ts[0]
            if self.ts and "R" not in s.flags:
                assert s.ts, "timestamps in every segment once they are in force"
        return got

    def take(self, segments: list[Segment] | None = None) -> bytes:
        """The data of segments in order, each of which must follow on the last; moves ack on, sends nothing."""
        out = b""
        for s in self.mine(segments):
            assert s.seq == self.ack, (s, self.ack)
            out += s.data
            self.ack = (self.ack + s.length) & 0xFFFFFFFF
        return out

    def open(self, *, shift: int | None = None, mss: int | None = 1460, sack: bool = False, **fields: Any) -> Peer:
        """The three-way handshake from this side."""
        opts = wire.options(
            mss=mss, sack_ok=sack, ts=(self.ts_base + self.stack.now // 1000, 0) if self.ts else None, shift=shift
        )
        got = self.tx("S", options=opts, **fields)
        assert [s.flags for s in got] == ["SA"], got
        assert got[0].ack == self.seq
        self.synack = got[0]
        self.ack = (got[0].seq + 1) & 0xFFFFFFFF
        self.shift = got[0].shift or 0
        self.tx(".")
        return self

    def answer(
        self, syn: Segment, *, shift: int | None = None, mss: int | None = 1460, sack: bool = False, flags: str = "SA"
    ) -> Peer:
        """The other half of a connection that the stack has opened."""
        self.port, self.dport, self.ip = syn.dport, syn.sport, syn.dst
        self.ack = (syn.seq + 1) & 0xFFFFFFFF
        if syn.ts and self.ts:
            self.ts_recent = syn.ts[0]
        ts = (self.ts_base + self.stack.now // 1000, self.ts_recent) if self.ts else None
        got = self.tx(flags, options=wire.options(mss=mss, sack_ok=sack, ts=ts, shift=shift))
        self.handshake = got
        return self
