"""A network around the stack that behaves as networks do: a DHCP server, a name server, hosts that open connections,
talk, vanish and change their network cards. What happens next is drawn from a seed; time is the stack's manual clock.
"""

from __future__ import annotations

import struct
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.netd import wire
from tests.netd.stack import DNS as DNS_SERVER
from tests.netd.stack import MAC, NetdError, Stack
from tests.netd.wire import Segment, address

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from scapy.layers.dhcp import BOOTP, DHCP
    from scapy.layers.dns import DNS, DNSRR
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

LEASED = address("10.0.0.77")
SERVER = address("10.0.0.9")
HOSTS = [address(f"10.0.0.{i}") for i in range(10, 50)]  # more than the stack remembers
LEASE_SECONDS = 600
SERVICES = (7, 9, 19)
PORT = 4000
CONNECTIONS = 40  # of the hosts at a time
ENOUGH = 30_000  # bytes after which a host leaves: chargen never ends
REPORT_SECONDS = 60  # an audit at least as often
SILENCE_SECONDS = 3 * 3600.0  # longer than any timer of a connection: keepalive's two hours and its probes


def dhcp_frame(request: Any, kind: str, reply: Any, server: str, mac: bytes) -> bytes:
    """A DHCP server's reply, to the client's address alone if it has one, but for a refusal (RFC 2131, 4.1)."""
    alone = request[BOOTP].ciaddr != "0.0.0.0" and kind != "nak"
    to, destination = (MAC.hex(":"), request[BOOTP].ciaddr) if alone else ("ff:ff:ff:ff:ff:ff", "255.255.255.255")
    ip = IP(src=server, dst=destination) / UDP(sport=67, dport=68) / reply
    return bytes(Ether(dst=to, src=mac.hex(":")) / ip)


@dataclass
class Remote:
    """A host's end of a connection. It acknowledges what comes in order, and answers an end by its own."""

    ip: int
    port: int
    dport: int
    seq: int
    ack: int = 0
    established: bool = False
    silent: bool = False  # it has vanished, and never says anything again
    over: bool = False
    window: int = 0  # that the stack offers
    heard: int = 0

    def say(self, flags: str, data: bytes = b"", options: bytes = b"") -> Segment:
        """The next segment."""
        ack = self.ack if "A" in flags else 0
        segment = Segment(self.ip, LEASED, self.port, self.dport, self.seq, ack, flags, options=options, data=data)
        self.seq = (self.seq + segment.length) & 0xFFFFFFFF
        return segment

    def hear(self, segment: Segment) -> list[Segment]:
        """What it answers."""
        if "R" in segment.flags:
            self.over = True
        if self.silent or self.over:
            return []
        self.window = segment.window
        if "S" in segment.flags:
            self.ack = (segment.seq + 1) & 0xFFFFFFFF
            active = not self.established and "A" in segment.flags
            self.established = True
            return [self.say("A" if active else "SA", b"", b"" if active else wire.options(mss=1460))]
        if not segment.length:
            return []
        if segment.seq != self.ack:
            return [self.say("A")]
        self.ack = (self.ack + segment.length) & 0xFFFFFFFF
        self.heard += len(segment.data)
        if "F" in segment.flags:
            self.over = True
            return [self.say("A"), self.say("FA")]
        if self.heard > ENOUGH:
            self.over = True
            return [self.say("RA")]
        return [self.say("A")]


class Neighbourhood:
    """Plays with a stack that has just been reset, without an address."""

    def __init__(self, stack: Stack, seed: int) -> None:
        self.stack = stack
        self.random = Random(seed)
        self.macs = {host: self._card() for host in [*HOSTS, SERVER, DNS_SERVER, address("10.0.0.254")]}
        self.remotes: dict[tuple[int, int], Remote] = {}
        self.sockets: list[int] = []
        self.udp: list[int] = []
        self.did: Counter[str] = Counter()
        self.listener = -1
        self._fragments = 0

    def _card(self) -> bytes:
        return b"\x02" + self.random.randbytes(5)

    # Frames

    def _ip(self, datagram: bytes, source: int) -> None:
        self.stack.ip(datagram, source=self.macs.get(source, b"\2\0\0\0\0\1"))

    def _send(self, segments: list[Segment]) -> None:
        for segment in segments:
            if self.random.random() < 0.02:
                self.did["lost"] += 1
                continue
            self._ip(wire.ipv4(segment.src, segment.dst, 6, wire.tcp(segment)), segment.src)

    def _dhcp(self, frame: bytes) -> None:
        request = Ether(frame)
        kind = dict(o for o in request[DHCP].options if len(o) == 2)["message-type"]
        answer = {1: "offer", 3: "ack"}.get(kind)
        draw = self.random.random()
        if answer is None or draw < 0.1:
            return
        if kind == 3 and request[BOOTP].ciaddr != "0.0.0.0":
            self.did["renewed"] += 1
            if draw > 0.98:
                answer = "nak"
        self.did[answer] += 1
        options: list[Any] = [("message-type", answer), ("server_id", "10.0.0.9")]
        if answer != "nak":
            options += [("subnet_mask", "255.255.255.0"), ("lease_time", LEASE_SECONDS)]
            options += [("router", "10.0.0.254"), ("name_server", "10.0.0.53")]
        reply = BOOTP(op=2, xid=request[BOOTP].xid, yiaddr="10.0.0.77", chaddr=MAC) / DHCP(options=[*options, "end"])
        self.stack.send(dhcp_frame(request, answer, reply, "10.0.0.9", self.macs[SERVER]))

    def _dns(self, datagram: bytes) -> None:
        query = IP(datagram)
        if self.random.random() < 0.3:
            return
        self.did["named"] += 1
        name = query[DNS].qd[0].qname
        record = DNSRR(rrname=name, rdata="192.0.2.9")
        answer = DNS(id=query[DNS].id, qr=1, qd=query[DNS].qd[0], an=record)
        self._ip(bytes(IP(src=query.dst, dst=query.src) / UDP(sport=53, dport=query.sport) / answer), DNS_SERVER)

    def _frame(self, frame: bytes) -> None:
        kind = struct.unpack("!H", frame[12:14])[0]
        if kind == 0x0806:
            op, sha, spa, _, tpa = struct.unpack("!H6sI6sI", frame[20:42])
            if op == 1 and tpa in self.macs and self.random.random() < 0.9:
                self.stack.send(self.stack.arp(2, self.macs[tpa], tpa, sha, spa))
            return
        datagram = frame[14:]
        if datagram[9] == 17 and frame[36:38] == b"\0C":
            self._dhcp(frame)
        elif datagram[9] == 17 and frame[36:38] == b"\0\x35":
            self._dns(datagram)
        elif datagram[9] == 6:
            segment = wire.parse_tcp(datagram)
            remote = self.remotes.get((segment.dst, segment.dport))
            if remote is None:
                if segment.flags != "S":
                    return
                remote = Remote(segment.dst, segment.dport, segment.sport, self.random.getrandbits(32))
                self.remotes[segment.dst, segment.dport] = remote
            self._send(remote.hear(segment))

    def settle(self) -> None:
        """Until nobody has anything to say now."""
        for _ in range(50):
            frames = self.stack.frames()
            if not frames:
                return
            for frame in frames:
                self._frame(frame)

    # Deeds

    def _open(self) -> None:
        if len(self.remotes) >= CONNECTIONS:
            return
        dport = self.random.choice([*SERVICES, PORT, PORT])
        key = (self.random.choice(HOSTS), self.random.randrange(1024, 65536))
        remote = self.remotes.setdefault(key, Remote(*key, dport, self.random.getrandbits(32)))
        self.did["opened"] += 1
        self._send([remote.say("S", options=wire.options(mss=1460))])

    def _connect(self) -> None:
        try:
            self.sockets.append(self.stack.connect(80, self.random.choice([*HOSTS, address("192.0.2.7")])))
            self.did["connected"] += 1
        except NetdError:
            self.did["no room"] += 1

    def _talk(self) -> None:
        alive = [r for r in self.remotes.values() if r.established and not r.over and not r.silent]
        if alive:
            remote = self.random.choice(alive)
            data = bytes(self.random.randrange(1, 1400))
            if len(data) <= remote.window:
                self._send([remote.say("PA", data)])

    def _end(self) -> None:
        if self.remotes:
            key = self.random.choice(list(self.remotes))
            remote = self.remotes[key]
            how = self.random.random()
            if how < 0.5 and remote.established and not remote.over:
                self._send([remote.say("FA")])
            elif how < 0.7:
                self._send([remote.say("RA")])
            elif how < 0.9:
                remote.silent = True
                self.did["vanished"] += 1
            del self.remotes[key]

    def _accept(self) -> None:
        try:
            while True:
                self.sockets.append(int(self.stack.command("accept", self.listener)))
                self.did["accepted"] += 1
        except NetdError:
            pass

    def _application(self) -> None:
        if not self.sockets:
            return
        at = self.random.randrange(len(self.sockets))
        socket = self.sockets[at]
        verb = self.random.choice(["send", "recv", "recv", "shutdown", "close", "close", "abort", "keepalive"])
        try:
            if verb == "send":
                self.stack.write(socket, bytes(self.random.randrange(1, 5000)))
            elif verb == "recv":
                self.stack.recv(socket)
            elif verb == "keepalive":
                self.stack.option(socket, "keepalive", 1)
            else:
                if verb != "shutdown":
                    del self.sockets[at]
                self.stack.command(verb, socket)
        except NetdError as error:
            self.did[str(error)] += 1

    def _flood(self) -> None:
        for port in range(2000, 2000 + self.random.randrange(40)):
            segment = Segment(self.random.choice(HOSTS), LEASED, port, PORT, self.random.getrandbits(32), 0, "S")
            self._send([segment])
        self.did["flooded"] += 1

    def _datagram(self) -> None:
        host = self.random.choice(HOSTS)
        source = ".".join(str(b) for b in host.to_bytes(4, "big"))
        whole = bytes(UDP(sport=5000, dport=self.random.choice([7, 6]), chksum=0) / bytes(self.random.randrange(1400)))
        self._fragments += 1
        if self.random.random() < 0.3:  # its other fragments never come
            whole, flags = whole[:8], 1
        else:
            flags = 0
        head = IP(src=source, dst="10.0.0.77", proto=17, id=self._fragments & 0xFFFF, flags=flags)
        self._ip(bytes(head / whole), host)

    def _resolve(self) -> None:
        try:
            self.stack.command("resolve", f"{self.random.randrange(100)}.example")
        except NetdError:
            self.did["no name server, or no room"] += 1

    def _bind(self) -> None:
        if len(self.udp) < 8:
            self.udp.append(int(self.stack.command("udp", 0, 0)))
        elif self.random.random() < 0.5:
            self.stack.command("close", self.udp.pop(0))
        else:
            try:
                self.stack.command("sendto", self.udp[0], self.random.choice(HOSTS), 9, "00" * 100)
            except NetdError:
                self.did["unreachable"] += 1

    def _link(self) -> None:
        self.stack.command("link", 0)
        self.stack.advance(self.random.random() * 3)
        self.stack.command("link", 1)
        self.did["flapped"] += 1

    def _new_card(self) -> None:
        self.macs[self.random.choice(HOSTS)] = self._card()

    def play(self, seconds: float) -> None:
        """Lets so much time pass, under load."""
        self.listener = self.stack.listen(PORT, 8)
        self.stack.command("dhcp")
        end, audited = self.stack.now + round(seconds * 1e6), self.stack.now
        deeds: list[tuple[Callable[[], None], float]] = [
            (self._open, 6),
            (self._connect, 2),
            (self._talk, 10),
            (self._end, 4),
            (self._accept, 4),
        ]
        deeds += [(self._application, 8), (self._datagram, 2), (self._resolve, 1), (self._bind, 2), (self._new_card, 1)]
        deeds += [(self._flood, 0.1), (self._link, 0.02)]
        while self.stack.now < end:
            self.stack.advance(self.random.expovariate(1 / 1.5))
            self.settle()
            for deed in self.random.choices([d for d, _ in deeds], [w for _, w in deeds], k=4):
                deed()
                self.settle()
            if self.stack.now - audited > REPORT_SECONDS * 1_000_000:
                audited = self.stack.now
                assert self.stack.command("audit") == "whole"

    def leave(self) -> None:
        """Applications give up what they have, the hosts fall silent, and time passes."""
        for socket in [*self.sockets, *self.udp, self.listener]:
            self.stack.command("close", socket)
        self.stack.command("address", 0, 0, 0, 0)
        self.stack.frames()
        self.stack.advance(SILENCE_SECONDS)
        self.stack.frames()
