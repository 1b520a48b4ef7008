"""Ethernet, ARP, IPv4, ICMP, UDP and TCP by the struct module: built in microseconds, parsed without trust.

Field names are the RFCs'. Building never refuses: a case may ask for any wrong value, and what it leaves out is filled
in right. Parsing raises :class:`Malformed` for what can't be read at all, and notes a wrong checksum.
Sources: RFC 826, 791, 792, 768, 9293, 7323 (window scale, timestamps), 2018 (SACK).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

BROADCAST_MAC = b"\xff" * 6
ETHERTYPE_IPV4 = 0x0800
ETHERTYPE_ARP = 0x0806
PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP = 1, 6, 17

FIN, SYN, RST, PSH, ACK, URG, ECE, CWR = 1, 2, 4, 8, 16, 32, 64, 128
_LETTERS = (("S", SYN), ("F", FIN), ("R", RST), ("P", PSH), ("A", ACK), ("U", URG), ("E", ECE), ("C", CWR))
_FLAGS = dict(_LETTERS)

DF, MF = 0x4000, 0x2000

OPTION_EOL, OPTION_NOP, OPTION_MSS, OPTION_WSCALE, OPTION_SACK_OK, OPTION_SACK, OPTION_TS = 0, 1, 2, 3, 4, 5, 8

_ETHERNET = struct.Struct("!6s6sH")
_IPV4 = struct.Struct("!BBHHHBBH4s4s")
_TCP = struct.Struct("!HHIIBBHHH")
_UDP = struct.Struct("!HHHH")
_ICMP = struct.Struct("!BBHHH")
_ARP = struct.Struct("!HHBBH6s4s6s4s")
_PSEUDO = struct.Struct("!4s4sBBH")


class Malformed(Exception):
    """A frame that can't be what it claims to be; the text says why."""


def checksum(data: bytes) -> int:
    """The Internet checksum of `data` (RFC 1071): 0 over data that holds its own right checksum.

    The one's-complement sum of 16-bit words is the number that all of them make, modulo 65535.
    """
    if len(data) & 1:
        data += b"\0"
    total = int.from_bytes(data, "big")
    return 0xFFFF - (total % 0xFFFF or 0xFFFF) if total else 0xFFFF


def ip(address: str) -> bytes:
    """Four bytes of a dotted address."""
    return socket.inet_aton(address)


def dotted(address: bytes) -> str:
    """A person's form of four bytes."""
    return socket.inet_ntoa(address)


def flags_of(letters: str) -> int:
    """The flags of "SA", "R", "FPA"...; "" or "." for none of them."""
    try:
        return sum(_FLAGS[letter] for letter in letters if letter != ".")
    except KeyError:
        raise ValueError(f"{letters!r}: TCP flags are {''.join(_FLAGS)}") from None


def letters_of(flags: int) -> str:
    """As :func:`flags_of` takes them."""
    return "".join(letter for letter, bit in _LETTERS if flags & bit) or "."


# TCP options --------------------------------------------------------------------------------------------------------


def mss(value: int) -> bytes:
    """Maximum segment size."""
    return struct.pack("!BBH", OPTION_MSS, 4, value)


def wscale(shift: int) -> bytes:
    """Window scale."""
    return struct.pack("!BBB", OPTION_WSCALE, 3, shift)


def sack_ok() -> bytes:
    """SACK permitted."""
    return bytes((OPTION_SACK_OK, 2))


def timestamps(value: int, echo: int) -> bytes:
    """Timestamps, behind two NOPs as RFC 7323 A recommends."""
    return struct.pack("!BBBBII", OPTION_NOP, OPTION_NOP, OPTION_TS, 10, value & 0xFFFFFFFF, echo & 0xFFFFFFFF)


def sack(*blocks: tuple[int, int]) -> bytes:
    """SACK blocks (left edge, right edge), behind two NOPs."""
    body = b"".join(struct.pack("!II", left & 0xFFFFFFFF, right & 0xFFFFFFFF) for left, right in blocks)
    return bytes((OPTION_NOP, OPTION_NOP, OPTION_SACK, 2 + len(body))) + body


def padded(options: bytes) -> bytes:
    """Filled up with zeros, which end the list, to whole words."""
    return options + bytes(-len(options) % 4)


@dataclass(slots=True)
class Options:
    """The options of a TCP header. `problem` says what is wrong with how they are written, or is ""."""

    kinds: list[int] = field(default_factory=list)
    mss: int | None = None
    wscale: int | None = None
    sack_ok: bool = False
    sack: list[tuple[int, int]] | None = None
    ts: tuple[int, int] | None = None
    problem: str = ""


_FIXED = {OPTION_MSS: 4, OPTION_WSCALE: 3, OPTION_SACK_OK: 2, OPTION_TS: 10}


def parse_options(data: bytes) -> Options:
    """Read a list of options; never raises, for whatever bytes. What stands behind a problem is not read."""
    found = Options()
    at = 0
    while at < len(data):
        kind = data[at]
        if kind == OPTION_EOL:
            if any(data[at:]):
                found.problem = f"padding behind the end of options is not zero: {data[at:].hex()}"
            break
        if kind == OPTION_NOP:
            found.kinds.append(kind)
            at += 1
            continue
        size = data[at + 1] if at + 1 < len(data) else 0
        if size < 2 or at + size > len(data):
            found.problem = f"option {kind} has the length {size}, with {len(data) - at} bytes left"
            break
        if _FIXED.get(kind, size) != size or (kind == OPTION_SACK and (size < 10 or size % 8 != 2)):
            found.problem = f"option {kind} has the length {size}"
            break
        found.kinds.append(kind)
        _note(found, kind, data[at + 2 : at + size])
        at += size
    return found


def _note(found: Options, kind: int, body: bytes) -> None:
    if kind == OPTION_MSS:
        found.mss = int.from_bytes(body, "big")
    elif kind == OPTION_WSCALE:
        found.wscale = body[0]
    elif kind == OPTION_SACK_OK:
        found.sack_ok = True
    elif kind == OPTION_TS:
        found.ts = struct.unpack("!II", body)
    elif kind == OPTION_SACK:
        edges = struct.unpack(f"!{len(body) // 4}I", body)
        found.sack = list(zip(edges[::2], edges[1::2], strict=True))


# Frames -------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Datagram:
    """An IPv4 datagram as it came. `offset` is the fragment's, in bytes."""

    source_mac: bytes
    destination_mac: bytes
    tos: int
    identification: int
    dont_fragment: bool
    more_fragments: bool
    offset: int
    ttl: int
    protocol: int
    source: bytes
    destination: bytes
    options: bytes
    payload: bytes
    checksum_ok: bool
    #: From the start of the IPv4 header: what an ICMP error quotes.
    raw: bytes


@dataclass(slots=True)
class Arp:
    """An ARP packet for Ethernet and IPv4."""

    operation: int
    sender_mac: bytes
    sender: bytes
    target_mac: bytes
    target: bytes
    source_mac: bytes
    destination_mac: bytes


@dataclass(slots=True)
class Icmp:
    """An ICMP message; `rest` is the second header word, `payload` what follows."""

    type: int
    code: int
    rest: bytes
    payload: bytes
    checksum_ok: bool
    ip: Datagram


@dataclass(slots=True)
class Udp:
    """A UDP datagram. `checksum` is the field's value."""

    source_port: int
    destination_port: int
    checksum: int
    payload: bytes
    checksum_ok: bool
    ip: Datagram


@dataclass(slots=True)
class Segment:
    """A TCP segment. `length` counts SYN and FIN, as SEG.LEN does."""

    source_port: int
    destination_port: int
    seq: int
    ack: int
    flags: int
    window: int
    urgent: int
    options: Options
    payload: bytes
    checksum_ok: bool
    reserved: int
    ip: Datagram
    time: float = 0.0

    @property
    def length(self) -> int:
        """SEG.LEN."""
        return len(self.payload) + bool(self.flags & SYN) + bool(self.flags & FIN)


Packet = Arp | Icmp | Udp | Segment | Datagram


def parse(frame: bytes) -> Packet | None:
    """What a frame holds; None for an Ethernet type that is not ours.

    Raises:
        Malformed: it is too short for what it claims, or its lengths contradict each other.
    """
    if len(frame) < 14:
        raise Malformed(f"a frame of {len(frame)} bytes")
    destination_mac, source_mac, kind = _ETHERNET.unpack_from(frame)
    if kind == ETHERTYPE_ARP:
        return _parse_arp(frame, source_mac, destination_mac)
    if kind != ETHERTYPE_IPV4:
        return None
    datagram = parse_ipv4(frame[14:], source_mac, destination_mac)
    if datagram.offset or datagram.more_fragments:
        return datagram
    return parse_payload(datagram)


def _parse_arp(frame: bytes, source_mac: bytes, destination_mac: bytes) -> Arp:
    if len(frame) < 14 + _ARP.size:
        raise Malformed(f"an ARP packet of {len(frame) - 14} bytes")
    hardware, protocol, mac_size, ip_size, operation, sender_mac, sender, target_mac, target = _ARP.unpack_from(
        frame, 14
    )
    if (hardware, protocol, mac_size, ip_size) != (1, ETHERTYPE_IPV4, 6, 4):
        raise Malformed(f"ARP for hardware {hardware}, protocol {protocol:#x}, lengths {mac_size} and {ip_size}")
    return Arp(operation, sender_mac, sender, target_mac, target, source_mac, destination_mac)


def parse_ipv4(data: bytes, source_mac: bytes = b"", destination_mac: bytes = b"") -> Datagram:
    """Read an IPv4 datagram; what lies behind its total length is padding. Raises Malformed."""
    if len(data) < 20:
        raise Malformed(f"an IPv4 header of {len(data)} bytes")
    version, tos, total, identification, fragment, ttl, protocol, _, source, destination = _IPV4.unpack_from(data)
    size = (version & 15) * 4
    if version >> 4 != 4 or size < 20 or total < size or total > len(data):
        raise Malformed(f"IPv4 version {version >> 4}, header of {size} bytes, total length {total} of {len(data)}")
    return Datagram(
        source_mac,
        destination_mac,
        tos,
        identification,
        bool(fragment & DF),
        bool(fragment & MF),
        (fragment & 0x1FFF) * 8,
        ttl,
        protocol,
        source,
        destination,
        data[20:size],
        data[size:total],
        checksum(data[:size]) == 0,
        data[:total],
    )


def parse_payload(datagram: Datagram) -> Packet:
    """What a whole datagram carries; itself if the protocol is none of ours. Raises Malformed."""
    if datagram.protocol == PROTOCOL_TCP:
        return _parse_tcp(datagram)
    if datagram.protocol == PROTOCOL_ICMP:
        return _parse_icmp(datagram)
    if datagram.protocol == PROTOCOL_UDP:
        return _parse_udp(datagram)
    return datagram


def _pseudo(datagram: Datagram) -> bytes:
    size = len(datagram.payload)
    return _PSEUDO.pack(datagram.source, datagram.destination, 0, datagram.protocol, size)


def _parse_tcp(datagram: Datagram) -> Segment:
    data = datagram.payload
    if len(data) < 20:
        raise Malformed(f"a TCP header of {len(data)} bytes")
    source_port, destination_port, seq, ack, offset, flags, window, _, urgent = _TCP.unpack_from(data)
    size = (offset >> 4) * 4
    if size < 20 or size > len(data):
        raise Malformed(f"a TCP data offset of {size} bytes in a segment of {len(data)}")
    return Segment(
        source_port,
        destination_port,
        seq,
        ack,
        flags,
        window,
        urgent,
        parse_options(data[20:size]) if size > 20 else Options(),
        data[size:],
        checksum(_pseudo(datagram) + data) == 0,
        offset & 15,
        datagram,
    )


def _parse_icmp(datagram: Datagram) -> Icmp:
    data = datagram.payload
    if len(data) < 8:
        raise Malformed(f"an ICMP message of {len(data)} bytes")
    return Icmp(data[0], data[1], data[4:8], data[8:], checksum(data) == 0, datagram)


def _parse_udp(datagram: Datagram) -> Udp:
    data = datagram.payload
    if len(data) < 8:
        raise Malformed(f"a UDP header of {len(data)} bytes")
    source_port, destination_port, size, given = _UDP.unpack_from(data)
    if not 8 <= size <= len(data):
        raise Malformed(f"a UDP length of {size} in {len(data)} bytes")
    right = given == 0 or checksum(_PSEUDO.pack(datagram.source, datagram.destination, 0, 17, size) + data[:size]) == 0
    return Udp(source_port, destination_port, given, data[8:size], right, datagram)


# Building -----------------------------------------------------------------------------------------------------------


def ethernet(destination: bytes, source: bytes, kind: int, payload: bytes) -> bytes:
    """A frame, filled up to the 60 bytes that Ethernet asks for."""
    frame = _ETHERNET.pack(destination, source, kind) + payload
    return frame + bytes(60 - len(frame)) if len(frame) < 60 else frame


def ipv4(
    source: bytes,
    destination: bytes,
    protocol: int,
    payload: bytes,
    *,
    tos: int = 0,
    identification: int = 0,
    fragment: int = DF,
    ttl: int = 64,
    options: bytes = b"",
    version: int = 4,
    ihl: int | None = None,
    total: int | None = None,
    header_checksum: int | None = None,
) -> bytes:
    """An IPv4 datagram. `fragment` is the word with DF, MF and the offset in units of 8 bytes."""
    options = padded(options)
    words = 5 + len(options) // 4 if ihl is None else ihl
    size = 20 + len(options) + len(payload) if total is None else total
    first = version << 4 | words
    fields = (first, tos, size & 0xFFFF, identification, fragment, ttl, protocol)
    header = _IPV4.pack(*fields, 0, source, destination) + options
    value = checksum(header) if header_checksum is None else header_checksum
    return header[:10] + value.to_bytes(2, "big") + header[12:] + payload


def tcp(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    seq: int,
    ack: int,
    flags: int,
    window: int,
    *,
    urgent: int = 0,
    options: bytes = b"",
    payload: bytes = b"",
    offset: int | None = None,
    reserved: int = 0,
    given_checksum: int | None = None,
) -> bytes:
    """A TCP segment, its checksum over the pseudo-header of `source` and `destination`."""
    options = padded(options)
    words = 5 + len(options) // 4 if offset is None else offset
    head = (source_port, destination_port, seq & 0xFFFFFFFF, ack & 0xFFFFFFFF, (words << 4 & 0xF0) | reserved, flags)
    data = _TCP.pack(*head, window, 0, urgent) + options + payload
    if given_checksum is None:
        given_checksum = checksum(_PSEUDO.pack(source, destination, 0, PROTOCOL_TCP, len(data)) + data)
    return data[:16] + given_checksum.to_bytes(2, "big") + data[18:]


def udp(
    source: bytes,
    destination: bytes,
    source_port: int,
    destination_port: int,
    payload: bytes,
    *,
    given_checksum: int | None = None,
    length: int | None = None,
) -> bytes:
    """A UDP datagram; a computed checksum of zero is sent as 0xFFFF (RFC 768)."""
    size = 8 + len(payload) if length is None else length
    data = _UDP.pack(source_port, destination_port, size, 0) + payload
    if given_checksum is None:
        given_checksum = checksum(_PSEUDO.pack(source, destination, 0, PROTOCOL_UDP, len(data)) + data) or 0xFFFF
    return data[:6] + given_checksum.to_bytes(2, "big") + data[8:]


def icmp(kind: int, code: int, rest: bytes, payload: bytes = b"", *, given_checksum: int | None = None) -> bytes:
    """An ICMP message."""
    data = bytes((kind, code, 0, 0)) + rest + payload
    value = checksum(data) if given_checksum is None else given_checksum
    return data[:2] + value.to_bytes(2, "big") + data[4:]


def echo(identifier: int, sequence: int, payload: bytes = b"", *, reply: bool = False) -> bytes:
    """An ICMP echo request, or its reply."""
    return icmp(0 if reply else 8, 0, struct.pack("!HH", identifier, sequence), payload)


def arp(
    operation: int,
    sender_mac: bytes,
    sender: bytes,
    target_mac: bytes,
    target: bytes,
    *,
    hardware: int = 1,
    protocol: int = ETHERTYPE_IPV4,
    sizes: tuple[int, int] = (6, 4),
) -> bytes:
    """An ARP packet: 1 asks, 2 answers."""
    return _ARP.pack(hardware, protocol, *sizes, operation, sender_mac, sender, target_mac, target)


def fragments(
    source: bytes, destination: bytes, protocol: int, payload: bytes, cuts: Sequence[int], identification: int
) -> list[bytes]:
    """`payload` as IPv4 fragments that begin at 0 and at each of `cuts` (multiples of 8)."""
    edges = [0, *cuts, len(payload)]
    made: list[bytes] = []
    for start, end in pairwise(edges):
        word = (MF if end < len(payload) else 0) | start // 8
        made.append(
            ipv4(source, destination, protocol, payload[start:end], identification=identification, fragment=word)
        )
    return made


def pattern(start: int, size: int) -> bytes:
    """Bytes `start` to `start + size` of the test pattern that docs/socket-calls.md defines."""
    at = np.arange(start, start + size, dtype=np.uint64)
    values = at * 7 + (at >> 8) * 3 + (at >> 16) * 31 + (at >> 24) * 101
    return bytes(values.astype(np.uint8).data)


def describe_options(options: Options) -> str:
    """In words, for a transcript."""
    parts: list[str] = []
    if options.mss is not None:
        parts.append(f"MSS {options.mss}")
    if options.wscale is not None:
        parts.append(f"window scale {options.wscale}")
    if options.sack_ok:
        parts.append("SACK permitted")
    if options.ts is not None:
        parts.append(f"timestamps {options.ts[0]} echo {options.ts[1]}")
    known = {OPTION_NOP, OPTION_MSS, OPTION_WSCALE, OPTION_SACK_OK, OPTION_SACK, OPTION_TS}
    parts += [f"option {kind}" for kind in options.kinds if kind not in known]
    if options.problem:
        parts.append(f"MALFORMED: {options.problem}")
    return ", ".join(parts)


def join(parts: Iterable[bytes]) -> bytes:
    """Options one behind the other."""
    return b"".join(parts)
