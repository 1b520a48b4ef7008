"""Ethernet, IPv4 and TCP in a few lines of struct, for peers that exchange many segments; scapy serves elsewhere.

Parsing checks every checksum and length, and the rules that hold for all that a host sends: it asserts about NetD.
"""

from __future__ import annotations

import ipaddress
import struct
from dataclasses import dataclass, field

FLAGS = "FSRPAUEC"


def address(text: str) -> int:
    """An IPv4 address as a number."""
    return int(ipaddress.IPv4Address(text))


def checksum(data: bytes) -> int:
    """RFC 1071: what is to be stored; 0 over data that holds its right checksum."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total >> 16) + (total & 0xFFFF)
    return ~total & 0xFFFF


def bits(flags: str) -> int:
    """ "SA" as the header's bits; "." stands for ACK."""
    return sum(1 << FLAGS.index(f) for f in flags.replace(".", "A"))


@dataclass
class Segment:
    """A TCP segment between two addresses (numbers)."""

    src: int = 0
    dst: int = 0
    sport: int = 0
    dport: int = 0
    seq: int = 0
    ack: int = 0
    flags: str = ""
    window: int = 65535
    urgent: int = 0
    options: bytes = b""
    data: bytes = b""
    tos: int = 0
    ttl: int = 64
    df: bool = True
    # Parsed options
    mss: int | None = None
    shift: int | None = None
    sack_ok: bool = False
    ts: tuple[int, int] | None = None
    sack: list[tuple[int, int]] = field(default_factory=list)

    @property
    def length(self) -> int:
        """In sequence space."""
        return len(self.data) + ("S" in self.flags) + ("F" in self.flags)


def options(
    *,
    mss: int | None = None,
    shift: int | None = None,
    sack_ok: bool = False,
    ts: tuple[int, int] | None = None,
    sack: list[tuple[int, int]] | None = None,
) -> bytes:
    """The option bytes, padded."""
    out = b""
    if mss is not None:
        out += struct.pack("!BBH", 2, 4, mss)
    if sack_ok:
        out += b"\x04\x02"
    if ts is not None:
        out += struct.pack("!BBII", 8, 10, ts[0] & 0xFFFFFFFF, ts[1] & 0xFFFFFFFF)
    if shift is not None:
        out += struct.pack("!BBB", 3, 3, shift)
    if sack:
        out += struct.pack("!BB", 5, 2 + 8 * len(sack))
        out += b"".join(struct.pack("!II", a & 0xFFFFFFFF, b & 0xFFFFFFFF) for a, b in sack)
    return out + b"\0" * (-len(out) % 4)


def ipv4(
    src: int, dst: int, protocol: int, payload: bytes, *, tos: int = 0, ttl: int = 64, frag: int = 0, id_: int = 0
) -> bytes:
    """A datagram; `frag` is the whole field with its flags."""
    head = struct.pack("!BBHHHBBHII", 0x45, tos, 20 + len(payload), id_, frag, ttl, protocol, 0, src, dst)
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + payload


def tcp(segment: Segment) -> bytes:
    """Header and data with the right checksum."""
    head = struct.pack(
        "!HHIIBBHHH",
        segment.sport,
        segment.dport,
        segment.seq & 0xFFFFFFFF,
        segment.ack & 0xFFFFFFFF,
        (20 + len(segment.options)) // 4 << 4,
        bits(segment.flags),
        segment.window,
        0,
        segment.urgent,
    )
    body = head + segment.options + segment.data
    pseudo = struct.pack("!IIHH", segment.src, segment.dst, 6, len(body))
    return body[:16] + struct.pack("!H", checksum(pseudo + body)) + body[18:]


def parse_ipv4(data: bytes) -> tuple[int, int, int, int, int, int, bytes]:
    """(source, destination, protocol, tos, ttl, fragment field, payload) of a datagram without options."""
    version, tos, total, _, frag, ttl, protocol, _, src, dst = struct.unpack("!BBHHHBBHII", data[:20])
    assert version == 0x45
    assert checksum(data[:20]) == 0
    assert 20 <= total <= len(data)
    assert ttl
    return src, dst, protocol, tos, ttl, frag, data[20:total]


def parse_tcp(data: bytes) -> Segment:
    """The segment of a datagram."""
    src, dst, protocol, tos, ttl, frag, payload = parse_ipv4(data)
    assert protocol == 6
    assert checksum(struct.pack("!IIHH", src, dst, 6, len(payload)) + payload) == 0
    sport, dport, seq, ack, offset, flags, window, _, urgent = struct.unpack("!HHIIBBHHH", payload[:20])
    head = (offset >> 4) * 4
    assert offset & 15 == 0
    segment = Segment(
        src, dst, sport, dport, seq, ack, "".join(f for i, f in enumerate(FLAGS) if flags >> i & 1), window, urgent
    )
    segment.tos, segment.ttl, segment.df = tos, ttl, bool(frag & 0x4000)
    segment.options, segment.data = payload[20:head], payload[head:]
    rest = segment.options
    while rest and rest[0]:
        if rest[0] == 1:
            rest = rest[1:]
            continue
        kind, length = rest[0], rest[1]
        assert 2 <= length <= len(rest)
        value = rest[2:length]
        if kind == 2:
            segment.mss = struct.unpack("!H", value)[0]
        elif kind == 3:
            segment.shift = value[0]
        elif kind == 4:
            segment.sack_ok = True
        elif kind == 5:
            words = struct.unpack(f"!{len(value) // 4}I", value)
            segment.sack = list(zip(words[::2], words[1::2], strict=True))
        elif kind == 8:
            segment.ts = struct.unpack("!II", value)
        else:
            raise AssertionError(f"option {kind}, which nobody asked for")
        rest = rest[length:]
    assert not any(rest), "padding behind the end of options (RFC 9293: MUST-69)"
    syn = "S" in segment.flags
    assert syn or (segment.mss is None and segment.shift is None and not segment.sack_ok), "options of a SYN only"
    assert not (syn and segment.sack)
    if "A" not in segment.flags:
        assert segment.ts is None or segment.ts[1] == 0
    return segment
