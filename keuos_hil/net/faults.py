"""Faults done to a sound stack's traffic, to see whether a suite notices: a filter between the target and the peer.

Each fault breaks one rule, as a stack that has it wrong would. A fault is a class with two methods, one for each
direction; what it returns goes on. :class:`FaultyLink` is a link that has one; ``fault_plugin`` gives pytest the
option.
"""

from __future__ import annotations

import heapq
import itertools
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from keuos_hil.parts import Link

from . import wire
from .seq import add, diff
from .wire import ACK, CWR, FIN, PSH, RST, SYN, Segment

Ends = tuple[bytes, int, bytes, int]


def segment_of(frame: bytes) -> Segment | None:
    """The TCP segment in a frame, or None."""
    try:
        packet = wire.parse(frame)
    except wire.Malformed:
        return None
    return packet if isinstance(packet, Segment) else None


def raw_options(segment: Segment) -> bytes:
    """The options as they stand in the header."""
    return segment.ip.payload[20 : (segment.ip.payload[12] >> 4) * 4]


def rebuilt(segment: Segment, *, ip: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """The frame of a segment with some fields changed and its checksums right (or as `given_checksum` says)."""
    below = segment.ip
    fields = {
        name: changes.pop(name, getattr(segment, name))
        for name in ("source_port", "destination_port", "seq", "ack", "flags", "window")
    }
    changes.setdefault("urgent", segment.urgent)
    changes.setdefault("options", raw_options(segment))
    changes.setdefault("payload", segment.payload)
    data = wire.tcp(below.source, below.destination, *fields.values(), **changes)
    header: dict[str, Any] = {
        "tos": below.tos,
        "identification": below.identification,
        "fragment": wire.DF if below.dont_fragment else 0,
        "ttl": below.ttl,
        "options": below.options,
    }
    datagram = wire.ipv4(below.source, below.destination, wire.PROTOCOL_TCP, data, **{**header, **(ip or {})})
    return wire.ethernet(below.destination_mac, below.source_mac, wire.ETHERTYPE_IPV4, datagram)


def without(options: bytes, kind: int) -> bytes:
    """A list of options with one kind turned into NOPs."""
    made, at = bytearray(options), 0
    while at < len(made) and made[at] != wire.OPTION_EOL:
        if made[at] == wire.OPTION_NOP:
            at += 1
            continue
        size = made[at + 1] if at + 1 < len(made) else 0
        if size < 2:
            break
        if made[at] == kind:
            made[at : at + size] = bytes((wire.OPTION_NOP,)) * size
        at += size
    return bytes(made)


def with_sack_moved(options: bytes, distance: int) -> bytes:
    """A well-formed list of options, the edges of its SACK blocks moved by `distance`."""
    made, at = bytearray(options), 0
    while made[at] != wire.OPTION_SACK:
        at += 1 if made[at] == wire.OPTION_NOP else made[at + 1]
    for edge in range(at + 2, at + made[at + 1], 4):
        moved = add(int.from_bytes(made[edge : edge + 4], "big"), distance)
        made[edge : edge + 4] = moved.to_bytes(4, "big")
    return bytes(made)


class Fault:
    """Does nothing. A fault changes what the target says (`out`) or hears (`into`)."""

    def __init__(self, link: FaultyLink) -> None:
        self.link = link
        #: By (target's address, port, peer's address, port): the highest number sent and the last one acknowledged.
        self.sent: dict[Ends, int] = {}
        self.acked: dict[Ends, int] = {}

    def _note(self, segment: Segment) -> Ends:
        ends = (segment.ip.source, segment.source_port, segment.ip.destination, segment.destination_port)
        end = add(segment.seq, segment.length)
        if segment.flags & SYN or ends not in self.sent or diff(end, self.sent[ends]) > 0:
            self.sent[ends] = end
        if segment.flags & ACK and not segment.flags & RST:
            self.acked[ends] = segment.ack
        return ends

    @staticmethod
    def ends_of_peers(segment: Segment) -> Ends:
        """The key of a segment that goes to the target."""
        return (segment.ip.destination, segment.destination_port, segment.ip.source, segment.source_port)

    def out(self, frame: bytes) -> list[bytes]:
        """What becomes of a frame of the target."""
        segment = segment_of(frame)
        if segment is None:
            return self.other_out(frame)
        ends = self._note(segment)
        return self.says(segment, frame, ends)

    def into(self, frame: bytes) -> list[bytes]:
        """What becomes of a frame to the target."""
        segment = segment_of(frame)
        return [frame] if segment is None else self.hears(segment, frame, self.ends_of_peers(segment))

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        """What becomes of a segment of the target."""
        return [frame]

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        """What becomes of a segment to the target."""
        return [frame]

    def other_out(self, frame: bytes) -> list[bytes]:
        """What becomes of anything else that the target sends."""
        return [frame]


FAULTS: dict[str, type[Fault]] = {}


def fault(name: str) -> Callable[[type[Fault]], type[Fault]]:
    """Give a fault its name."""

    def register(kind: type[Fault]) -> type[Fault]:
        FAULTS[name] = kind
        return kind

    return register


def _says(name: str, what: str, change: Callable[[Segment], dict[str, Any] | None]) -> None:
    """A fault that changes fields of what the target says; None leaves a segment alone."""

    def says(self: Fault, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        fields = change(segment)
        return [frame] if fields is None else [rebuilt(segment, **fields)]

    FAULTS[name] = type(name, (Fault,), {"says": says, "__doc__": what})


def _hears(name: str, what: str, change: Callable[[Segment], dict[str, Any] | None], *, repairs: bool = False) -> None:
    """A fault that changes fields of what the target hears; only one that `repairs` touches a wrong checksum."""

    def hears(self: Fault, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if not segment.checksum_ok and not repairs:
            return [frame]
        fields = change(segment)
        return [frame] if fields is None else [rebuilt(segment, **fields)]

    FAULTS[name] = type(name, (Fault,), {"hears": hears, "__doc__": what})


def _settled(segment: Segment) -> bool:
    return not segment.flags & (SYN | RST)


_says("window-always-zero", "It never offers a window.", lambda s: {"window": 0} if _settled(s) else None)
_says("window-never-zero", "It always offers a window.",
      lambda s: {"window": 500} if _settled(s) and not s.window else None)  # fmt: skip
_says("no-mss-option", "Its SYN bears no MSS.",
      lambda s: {"options": without(raw_options(s), wire.OPTION_MSS)} if s.flags & SYN else None)  # fmt: skip
_says("mss-in-every-segment", "It sends the MSS with data, too.",
      lambda s: {"options": wire.mss(1460)} if _settled(s) and not raw_options(s) else None)  # fmt: skip
_says("checksum-wrong-for-odd-lengths", "Its checksum forgets the last byte of an odd segment.",
      lambda s: {"given_checksum": 0x5555} if len(s.payload) % 2 else None)  # fmt: skip
_says("psh-never", "It never sets PSH.", lambda s: {"flags": s.flags & ~PSH} if s.flags & PSH else None)
_says("urgent-pointer-at-the-octet", "Its urgent pointer is the urgent octet, and not the one behind it.",
      lambda s: {"urgent": s.urgent - 1} if s.urgent else None)  # fmt: skip
_says("no-sack-blocks", "It permits SACK and never sends any.",
      lambda s: {"options": without(raw_options(s), wire.OPTION_SACK)} if s.options.sack else None)  # fmt: skip
_says("sack-blocks-in-reverse", "Its latest SACK block is the last one.",
      lambda s: {"options": wire.sack(*reversed(s.options.sack))}
      if s.options.sack and len(s.options.sack) > 1 and s.options.ts is None else None)  # fmt: skip
_says("timestamp-echo-wrong", "It echoes another timestamp than the one it got.",
      lambda s: {"options": wire.timestamps(s.options.ts[0], s.options.ts[1] - 1)}
      if _settled(s) and s.options.ts and not s.options.sack else None)  # fmt: skip
_says(
    "no-timestamps-after-the-syn",
    "It negotiates timestamps and leaves them out.",
    lambda s: {"options": without(raw_options(s), wire.OPTION_TS)} if _settled(s) and s.options.ts else None,
)
_says("time-to-live-1", "Its datagrams reach the next router only.", lambda s: {"ip": {"ttl": 1}})
_says("dscp-lost", "It forgets the DSCP that the application set.", lambda s: {"ip": {"tos": s.ip.tos & 3}})
_says("cwr-in-the-syn-ack", "Its answer to an ECN-setup SYN is an echo of it.",
      lambda s: {"flags": s.flags | CWR} if s.flags & SYN and s.flags & wire.ECE else None)  # fmt: skip
_says("reset-acknowledges-too-little", "Its RST for a SYN acknowledges the SYN's own number.",
      lambda s: {"ack": add(s.ack, -1)} if s.flags & RST and s.flags & ACK else None)  # fmt: skip
_says(
    "data-damaged",
    "Now and then a byte of what it sends is another.",
    lambda s: {"payload": bytes((s.payload[0] ^ 1,)) + s.payload[1:]} if len(s.payload) > 400 else None,
)
_says(
    "window-scaled-in-the-syn",
    "It scales the window of its SYN-ACK.",
    lambda s: {"window": s.window >> s.options.wscale} if s.flags & SYN and s.options.wscale else None,
)
_hears(
    "bad-checksum-accepted",
    "It does not look at the TCP checksum.",
    lambda s: None if s.checksum_ok else {},
    repairs=True,
)
_hears("ack-flag-not-needed", "It takes data without the ACK flag.",
       lambda s: None if s.flags & (ACK | SYN | RST) else {"flags": s.flags | ACK})  # fmt: skip
_hears("window-doubled", "It sends twice what the peer's window allows.",
       lambda s: {"window": min(2 * s.window, 0xFFFF)} if _settled(s) else None)  # fmt: skip
_hears("mss-of-the-peer-ignored", "It sends segments of its own size.",
       lambda s: {"options": without(raw_options(s), wire.OPTION_MSS) + wire.mss(1460)}
       if s.flags & SYN and len(raw_options(s)) <= 36 and not s.options.problem else None)  # fmt: skip
_hears(
    "timestamps-of-the-peer-ignored",
    "It does without timestamps though the peer has them.",
    lambda s: {"options": without(raw_options(s), wire.OPTION_TS)} if s.flags & SYN and s.options.ts else None,
)
_hears("urgent-flag-ignored", "It takes urgent data for any other.",
       lambda s: {"flags": s.flags & ~wire.URG} if s.flags & wire.URG else None)  # fmt: skip


@fault("ack-of-unsent-data-accepted")
class _UnsentAccepted(Fault):
    """An acknowledgment of what it has not sent gets no answer."""

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags & ACK and _settled(segment) and ends in self.sent and diff(segment.ack, self.sent[ends]) > 0:
            return []
        return [frame]


@fault("reset-anywhere-accepted")
class _ResetAnywhere(Fault):
    """A RST counts wherever its number lies."""

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags & RST and ends in self.acked:
            return [rebuilt(segment, seq=self.acked[ends])]
        return [frame]


@fault("reset-in-the-window-accepted")
class _ResetInWindow(Fault):
    """A RST counts anywhere in the window, as before RFC 5961."""

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags & RST and ends in self.acked and 0 < diff(segment.seq, self.acked[ends]) < 30_000:
            return [rebuilt(segment, seq=self.acked[ends])]
        return [frame]


@fault("syn-in-a-connection-ignored")
class _NoChallenge(Fault):
    """A SYN for an open connection gets no challenge ACK."""

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        return [] if segment.flags & SYN and ends in self.acked and not segment.flags & RST else [frame]


@fault("time-wait-skipped")
class _NoTimeWait(Fault):
    """A connection that it has closed first is forgotten as soon as both FINs are acknowledged."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._fins: dict[Ends, int] = {}
        self._done: set[Ends] = set()

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags & FIN:
            self._fins.setdefault(ends, add(segment.seq, segment.length))
        return [frame]

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if ends in self._done and not segment.flags & (RST | SYN):
            data = wire.tcp(ends[0], ends[2], ends[1], ends[3], segment.ack, 0, RST, 0)
            datagram = wire.ipv4(ends[0], ends[2], wire.PROTOCOL_TCP, data)
            below = segment.ip
            self.link.inject(wire.ethernet(below.source_mac, below.destination_mac, wire.ETHERTYPE_IPV4, datagram))
            return []
        if segment.flags & FIN and ends in self._fins and diff(segment.ack, self._fins[ends]) >= 0:
            self._done.add(ends)
        return [frame]


@fault("old-fin-ignored")
class _OldFin(Fault):
    """A FIN that came before is not acknowledged again."""

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        old = ends in self.acked and diff(add(segment.seq, segment.length), self.acked[ends]) <= 0
        return [] if segment.flags & FIN and old else [frame]


@fault("every-ack-twice")
class _AckTwice(Fault):
    """Two acknowledgments for each segment."""

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        return [frame, frame] if segment.flags == ACK and not segment.payload else [frame]


@fault("no-duplicate-acks")
class _NoDuplicates(Fault):
    """An acknowledgment that says what the last one said is not sent."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._last: dict[Ends, tuple[int, int]] = {}

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags != ACK or segment.payload:
            return [frame]
        same = self._last.get(ends) == (segment.ack, segment.window)
        self._last[ends] = (segment.ack, segment.window)
        return [] if same else [frame]


@fault("nothing-sent-again")
class _NoRetransmission(Fault):
    """What is lost stays lost."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._seen: dict[Ends, set[int]] = {}

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if not segment.payload:
            return [frame]
        seen = self._seen.setdefault(ends, set())
        if segment.seq in seen:
            return []
        seen.add(segment.seq)
        return [frame]


@fault("timeout-constant")
class _ConstantTimeout(Fault):
    """The retransmission timer never backs off."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._seen: dict[tuple[Ends, int], float] = {}
        self._repeating: set[tuple[Ends, int]] = set()

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if not segment.payload:
            return [frame]
        key, now = (ends, segment.seq), time.monotonic()
        if key in self._repeating:
            return []
        gap = now - self._seen.setdefault(key, now)
        if gap > 0.1:
            self._repeating.add(key)
            for count in range(1, 8):
                self.link.inject(frame, now + gap * count)
        return [frame]


@fault("no-window-probe")
class _NoProbe(Fault):
    """A window that closed is waited for in silence."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._closed: set[Ends] = set()

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags & ACK:
            (self._closed.add if not segment.window else self._closed.discard)(ends)
        return [frame]

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        probe = _settled(segment) and len(segment.payload) <= 1 and diff(segment.seq, self.sent[ends]) < 0
        return [] if ends in self._closed and probe else [frame]


class _Renumbered(Fault):
    """The initial number is another than the target chose; both directions are translated."""

    def __init__(self, link: FaultyLink) -> None:
        super().__init__(link)
        self._shift: dict[Ends, int] = {}
        self._chosen: dict[Ends, int] = {}

    def choose(self, segment: Segment) -> int:
        """The initial number instead."""
        raise NotImplementedError

    def says(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if segment.flags & SYN and self._chosen.get(ends) != segment.seq:
            self._chosen[ends] = segment.seq
            self._shift[ends] = diff(self.choose(segment), segment.seq)
        return [rebuilt(segment, seq=add(segment.seq, self._shift[ends]))] if ends in self._shift else [frame]

    def hears(self, segment: Segment, frame: bytes, ends: Ends) -> list[bytes]:
        if ends not in self._shift or not segment.flags & ACK or not segment.checksum_ok:
            return [frame]
        distance = -self._shift[ends]
        options = with_sack_moved(raw_options(segment), distance) if segment.options.sack else raw_options(segment)
        return [rebuilt(segment, ack=add(segment.ack, distance), options=options)]


@fault("initial-number-constant")
class _ConstantIss(_Renumbered):
    """Every connection begins with the same number."""

    def choose(self, segment: Segment) -> int:
        return 0x1000_0000


@fault("initial-number-counted")
class _CountedIss(_Renumbered):
    """Each connection begins 64,000 behind the one before, whoever it is with."""

    _next = itertools.count(0, 64_000)

    def choose(self, segment: Segment) -> int:
        return next(self._next)


@fault("no-icmp-unreachable")
class _NoUnreachable(Fault):
    """Nobody is told that a port or a protocol is not served."""

    def other_out(self, frame: bytes) -> list[bytes]:
        return [] if frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 3 else [frame]


@fault("arp-for-everybody")
class _ProxyArp(Fault):
    """It answers ARP for addresses that are not its own."""

    def into(self, frame: bytes) -> list[bytes]:
        packet = None
        try:
            packet = wire.parse(frame)
        except wire.Malformed:
            pass
        own = self.link.address
        if isinstance(packet, wire.Arp) and packet.operation == 1 and own is not None and packet.target != own[1]:
            reply = wire.arp(2, own[0], packet.target, packet.sender_mac, packet.sender)
            self.link.inject(wire.ethernet(packet.sender_mac, own[0], wire.ETHERTYPE_ARP, reply))
        return super().into(frame)


class FaultyLink:
    """A link between a sound target and the test, with a fault in it.

    Args:
        link: the sound one.
        name: of :data:`FAULTS`.
        address: the target's hardware and IPv4 address.
    """

    def __init__(self, link: Link, name: str, address: tuple[bytes, bytes] | None = None) -> None:
        self._link = link
        self.address = address
        self._ready: deque[bytes] = deque()
        self._later: list[tuple[float, int, bytes]] = []
        self._numbers = itertools.count()
        self._fault = FAULTS[name](self)

    def inject(self, frame: bytes, when: float = 0.0) -> None:
        """Have the test receive a frame, at once or at a time of time.monotonic()."""
        if when:
            heapq.heappush(self._later, (when, next(self._numbers), frame))
        else:
            self._ready.append(frame)

    def send(self, frame: bytes) -> None:
        """See Link.send."""
        for passed in self._fault.into(frame):
            self._link.send(passed)

    def receive(self, timeout: float) -> bytes | None:
        """See Link.receive."""
        deadline = time.monotonic() + timeout
        while True:
            now = time.monotonic()
            while self._later and self._later[0][0] <= now:
                self._ready.append(heapq.heappop(self._later)[2])
            if self._ready:
                return self._ready.popleft()
            until = min(deadline, self._later[0][0]) if self._later else deadline
            frame = self._link.receive(max(until - now, 0.0))
            if frame is not None:
                self._ready.extend(self._fault.out(frame))
            elif now >= deadline:
                return None
