"""The conversation so far: every frame of both directions, told in words with relative numbers, and kept as a pcap."""

from __future__ import annotations

import struct
import time
from dataclasses import dataclass
from pathlib import Path

from ..parts import Link
from . import wire
from .seq import diff

_PCAP_HEADER = struct.pack("<IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 1 << 18, 1)  # nanoseconds, Ethernet
_RECORD = struct.Struct("<IIII")
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Entry:
    """One frame, or a remark. `direction` is ">" for what the test sent, "<" for what came, "#" for a remark."""

    time: float
    direction: str
    frame: bytes
    remark: str = ""


class Transcript:
    """Collects entries; numbers are told relative to the first sequence number of each direction of a connection."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._bases: dict[tuple[bytes, int, bytes, int], int] = {}

    def add(self, time: float, direction: str, frame: bytes, remark: str = "") -> None:
        """Note a frame."""
        self.entries.append(Entry(time, direction, frame, remark))

    def note(self, time: float, text: str) -> None:
        """Note what happened beside the wire."""
        self.entries.append(Entry(time, "#", b"", text))

    def lines(self, most: int = _SHOWN) -> list[str]:
        """The last entries, a line each."""
        shown = self.entries[-most:]
        left = len(self.entries) - len(shown)
        start = self.entries[0].time if self.entries else 0.0
        for entry in self.entries[:left]:
            self._learn(entry)
        told = [f"({left} frames before these are in the pcap)"] if left else []
        for entry in shown:
            text = entry.remark if entry.direction == "#" else self._tell(entry)
            told.append(f"{entry.time - start:10.6f}  {entry.direction} {text}")
        return told

    def _learn(self, entry: Entry) -> None:
        if entry.direction != "#":
            self._tell(entry)

    def _tell(self, entry: Entry) -> str:
        try:
            packet = wire.parse(entry.frame)
        except wire.Malformed as problem:
            return f"malformed: {problem}"
        text = self.describe(packet) if packet is not None else f"Ethernet type {entry.frame[12:14].hex()}"
        return f"{text}  [{entry.remark}]" if entry.remark else text

    def describe(self, packet: wire.Packet) -> str:
        """One packet in words."""
        if isinstance(packet, wire.Segment):
            return self.describe_segment(packet)
        if isinstance(packet, wire.Arp):
            verb = {1: "asks for", 2: "answers"}.get(packet.operation, f"operation {packet.operation}")
            return f"ARP {wire.dotted(packet.sender)} {verb} {wire.dotted(packet.target)}"
        if isinstance(packet, wire.Icmp):
            wrong = "" if packet.checksum_ok else " BAD CHECKSUM"
            return f"ICMP type {packet.type} code {packet.code}, {len(packet.payload)} bytes{wrong}"
        if isinstance(packet, wire.Udp):
            ports = f"{packet.source_port} -> {packet.destination_port}"
            return f"UDP {ports}, {len(packet.payload)} bytes{'' if packet.checksum_ok else ' BAD CHECKSUM'}"
        way = f"{wire.dotted(packet.source)} -> {wire.dotted(packet.destination)}"
        more = ", more follow" if packet.more_fragments else ""
        return f"IPv4 {way} protocol {packet.protocol} fragment at {packet.offset}, {len(packet.payload)} bytes{more}"

    def tell(self, segment: wire.Segment) -> str:
        """A segment that came, in words, relative to everything before it."""
        self.lines()
        return self.describe_segment(segment)

    def relative(self, segment: wire.Segment) -> tuple[int, int | None]:
        """SEG.SEQ and SEG.ACK relative to the first number of each side; None for an ACK whose side never spoke."""
        ip = segment.ip
        own = (ip.source, segment.source_port, ip.destination, segment.destination_port)
        other = (ip.destination, segment.destination_port, ip.source, segment.source_port)
        if segment.flags & wire.SYN or own not in self._bases:
            self._bases[own] = segment.seq
        seq = diff(segment.seq, self._bases[own])
        return seq, diff(segment.ack, self._bases[other]) if other in self._bases else None

    def describe_segment(self, segment: wire.Segment) -> str:
        """`S seq 0 win 64240 <MSS 1460>`."""
        seq, ack = self.relative(segment)
        parts = [f"{segment.source_port}>{segment.destination_port} {wire.letters_of(segment.flags)} seq {seq}"]
        if segment.payload:
            parts.append(f"..{seq + len(segment.payload)} ({len(segment.payload)} bytes)")
        if segment.flags & wire.ACK:
            parts.append(f"ack {segment.ack if ack is None else ack}")
        parts.append(f"win {segment.window}")
        if segment.flags & wire.URG:
            parts.append(f"urgent {segment.urgent}")
        told = wire.describe_options(segment.options)
        if segment.options.sack is not None:
            base = self._bases.get(
                (segment.ip.destination, segment.destination_port, segment.ip.source, segment.source_port), 0
            )
            edges = (f"{diff(left, base)}..{diff(right, base)}" for left, right in segment.options.sack)
            told = ", ".join(part for part in (told, "SACK " + " ".join(edges)) if part)
        if told:
            parts.append(f"<{told}>")
        if not segment.checksum_ok:
            parts.append("BAD CHECKSUM")
        return " ".join(parts)

    def write_pcap(self, path: Path) -> None:
        """Every frame, for Wireshark. Times are nanoseconds since the epoch of the test's clock."""
        with path.open("wb") as sink:
            sink.write(_PCAP_HEADER)
            for entry in self.entries:
                if entry.frame:
                    seconds, fraction = divmod(entry.time, 1)
                    size = len(entry.frame)
                    sink.write(_RECORD.pack(int(seconds), int(fraction * 1e9), size, size) + entry.frame)


class TranscribedLink:
    """A Link whose frames are noted as they pass, by this machine's clock."""

    def __init__(self, link: Link, transcript: Transcript) -> None:
        self._link = link
        self._transcript = transcript

    def send(self, frame: bytes) -> None:
        """See Link.send."""
        self._transcript.add(time.monotonic(), ">", frame)
        self._link.send(frame)

    def receive(self, timeout: float) -> bytes | None:
        """See Link.receive."""
        frame = self._link.receive(timeout)
        if frame is not None:
            self._transcript.add(time.monotonic(), "<", frame)
        return frame
