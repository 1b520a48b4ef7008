"""What must hold of every frame received, in every case.

:class:`Monitor` looks at frames by themselves; :class:`Rules` at the segments of one connection against everything both
sides have said. Both return what is wrong in words, or "". The legal exceptions stand beside each rule; a case that
provokes one that stands nowhere names the rule in ``allowed``.

Both are permissive about what the test itself sent: a case may send segments that the target must throw away, and what
such a segment said counts as said.
"""

from __future__ import annotations

from keuos_hil.parts import Network

from . import wire
from .seq import add, diff

#: RFC 9293 MUST-15: without an MSS option.
DEFAULT_MSS = 536
#: RFC 7323, 2.3.
MAX_SHIFT = 14
#: Further off than any window reaches (RFC 7323, 2.3).
_FAR_BYTES = 1 << 30
#: Timer retransmissions of one segment follow each other at intervals that don't shrink; clocks and load blur them.
_SPACING_BLUR = 0.75
#: Of a window probe: RFC 9293, 3.8.6.1 lets a sender pass the right edge to ask for a window.
_PROBE_BYTES = 1
#: RFC 6864: the maximum datagram lifetime is taken to be two minutes.
_LIFETIME_S = 120.0
#: The names by which :attr:`Rules.allowed` takes rules of a connection out of force.
RULES = frozenset({"ack", "ecn", "edge", "mss", "sack", "scale", "spacing", "timestamps", "window"})


class Monitor:
    """Rules for a frame by itself. `requirements`: 9293:MUST-2, MUST-45, MUST-68, MUST-69; 1122:I-05, I-06, L-04."""

    def __init__(self, network: Network) -> None:
        self._mac = network.mac
        self._address = wire.ip(network.address)
        self._mtu = network.mtu
        self.allowed: set[str] = set()
        self._identifications: dict[tuple[bytes, bytes, int], list[tuple[int, float]]] = {}

    def check(self, packet: wire.Packet, now: float) -> str:
        """What is wrong with a frame of the target that came `now`, in seconds of its clock; or ""."""
        if isinstance(packet, wire.Arp):
            if packet.source_mac == self._mac:
                return ""
            return f"an ARP packet came from {packet.source_mac.hex(':')}, and the target is {self._mac.hex(':')}"
        datagram = packet if isinstance(packet, wire.Datagram) else packet.ip
        problem = self._check_datagram(datagram, now)
        if problem or isinstance(packet, wire.Datagram):
            return problem
        if not packet.checksum_ok:
            return f"wrong {type(packet).__name__.upper()} checksum (MUST-2)"
        if isinstance(packet, wire.Segment):
            return self._check_segment(packet)
        return ""

    def _check_datagram(self, datagram: wire.Datagram, now: float) -> str:
        if datagram.source_mac != self._mac:
            return f"a frame came from {datagram.source_mac.hex(':')}, and the target is {self._mac.hex(':')}"
        if not datagram.checksum_ok:
            return "wrong IPv4 header checksum"
        if datagram.source != self._address:
            return f"the source address is {wire.dotted(datagram.source)}, not the target's (1122:I-05)"
        if datagram.ttl == 0:
            return "a datagram with a time to live of 0 (1122:I-06)"
        if len(datagram.raw) > self._mtu:
            return f"a datagram of {len(datagram.raw)} bytes, over the MTU of {self._mtu}"
        return self._check_identification(datagram, now)

    def _check_identification(self, datagram: wire.Datagram, now: float) -> str:
        """RFC 6864, 4.2: of datagrams that may be fragmented, while one of before may live. Fragments share theirs."""
        if datagram.dont_fragment or datagram.offset:
            return ""
        seen = self._identifications.setdefault((datagram.source, datagram.destination, datagram.protocol), [])
        again = any(number == datagram.identification and now - when < _LIFETIME_S for number, when in seen)
        if again and "identification" not in self.allowed:
            return f"the IPv4 identification {datagram.identification} came before (6864:1)"
        seen.append((datagram.identification, now))
        del seen[:-256]
        return ""

    def _check_segment(self, segment: wire.Segment) -> str:
        flags, options = segment.flags, segment.options
        if options.problem:
            return f"options are malformed: {options.problem} (MUST-68, MUST-69)"
        if segment.reserved:
            return f"reserved bits {segment.reserved:#x} are set"
        if flags & wire.SYN and flags & (wire.FIN | wire.RST):
            return f"the flags {wire.letters_of(flags)} exclude each other"
        if not flags & (wire.SYN | wire.RST | wire.ACK):
            return "a segment with neither SYN, RST nor ACK"
        if not flags & wire.SYN:
            if options.mss is not None:
                return "an MSS option outside a SYN segment (MUST-65)"
            if options.wscale is not None:
                return "a window scale option outside a SYN segment (7323:WS1)"
            if options.sack_ok:
                return "SACK permitted outside a SYN segment (2018:1)"
        return ""


class Rules:
    """Rules for the segments of one connection. Tell it what is sent, ask it about what comes."""

    def __init__(self) -> None:
        self.allowed: set[str] = set()
        # What we have said.
        self.own_mss: int | None = None
        self.own_shift: int | None = None
        self.own_sack = False
        self.own_ts = False
        self.own_ecn = False
        self.sent_until: int | None = None
        self._far: set[tuple[int, int]] = set()  # what was sent nowhere near the window
        self.edge: int | None = None
        self.echoes: set[int] = set()
        #: The highest number of the target's that we have acknowledged.
        self.acked: int | None = None
        self._news = 0
        # What the target has said. After a SYN of its own a simultaneous open's SYN-ACK may repeat that one's options.
        self.offered = False
        self._irs: int | None = None
        self._reset = False
        self.shift: int | None = None
        self.sack = False
        self.ts = False
        self.ecn = False
        self.last_ack: int | None = None
        self.right_edge: int | None = None
        self.last_ts: int | None = None
        self.max_sent: int | None = None
        self._copies: dict[int, tuple[float, float, int]] = {}

    def sent(self, seq: int, ack: int, flags: int, window: int, length: int, options: wire.Options) -> None:
        """Note a segment of ours, right or wrong."""
        self._note_end(seq, add(seq, length), bool(flags & wire.SYN))
        if flags & wire.SYN:
            self.own_mss = options.mss if options.mss is not None else self.own_mss
            self.own_shift = options.wscale if options.wscale is not None else self.own_shift
            self.own_sack |= options.sack_ok
            self.own_ts |= options.ts is not None
            self.own_ecn |= bool(flags & wire.ECE)
        if options.ts is not None:
            self.echoes.add(options.ts[0])
        self._reset |= bool(flags & wire.RST)
        self._news += 1
        if flags & wire.ACK and not flags & wire.RST:
            scaled = window if flags & wire.SYN else window << self._shift(self.own_shift)
            if self.max_sent is not None and not -_FAR_BYTES < diff(ack, self.max_sent) <= 0:
                return  # of what was not sent: it is thrown away, with its window (RFC 9293, 3.10.7.4)
            if self.acked is None or diff(ack, self.acked) > 0:
                self.acked = ack
            edge = add(ack, scaled)
            if self.edge is None or diff(edge, self.edge) > 0:
                self.edge = edge

    def _note_end(self, seq: int, end: int, syn: bool) -> None:
        """A SYN in a connection, and what lies far outside the window that was offered, count as not sent."""
        outside = self.right_edge is not None and (syn or abs(diff(end, self.right_edge)) > _FAR_BYTES)
        if outside:
            self._far.add((seq, end))
            return
        if self.sent_until is None or diff(end, self.sent_until) > 0:
            self.sent_until = end

    def _shift(self, own: int | None) -> int:
        """In force only if both sides asked for scaling."""
        both = own is not None and (self.shift is not None or self.own_shift is None)
        return min(own, MAX_SHIFT) if both and own is not None else 0

    def scaled(self, segment: wire.Segment) -> int:
        """The window that a segment of the target offers, in bytes."""
        if segment.flags & wire.SYN or self.own_shift is None or self.shift is None:
            return segment.window
        return segment.window << min(self.shift, MAX_SHIFT)

    def received(self, segment: wire.Segment) -> str:
        """What is wrong with a segment of the target, or ""; then it is remembered."""
        problem = self._syn(segment) if segment.flags & wire.SYN else ""
        self._reset |= bool(segment.flags & wire.RST)
        problem = problem or self._options(segment) or self._ecn(segment)
        problem = problem or self._acknowledgment(segment) or self._payload(segment)
        if problem:
            name = problem[problem.rfind("[") + 1 : -1]
            if name in self.allowed:
                problem = ""
        return problem

    def _begin_anew(self, syn: wire.Segment) -> None:
        """Another connection of the same endpoints: what the target has said was about the one before."""
        self.shift = self.last_ack = self.right_edge = self.last_ts = self.max_sent = self.edge = self.acked = None
        self.sent_until = syn.ack if syn.flags & wire.ACK else None
        self._reset = False
        self._copies.clear()

    def _syn(self, segment: wire.Segment) -> str:
        options = segment.options
        if self._irs is not None and (segment.seq != self._irs or self._reset):
            self._begin_anew(segment)
        self._irs = segment.seq
        if segment.flags & wire.ACK and not self.offered:
            if options.wscale is not None and self.own_shift is None:
                return "window scale in a SYN-ACK, though the SYN had none (7323:WS1) [scale]"
            if options.ts is not None and not self.own_ts:
                return "timestamps in a SYN-ACK, though the SYN had none (7323:TS1) [timestamps]"
            if options.sack_ok and not self.own_sack:
                return "SACK permitted in a SYN-ACK, though the SYN had none (2018:1) [sack]"
        if segment.flags & wire.ACK:
            self.ecn = bool(segment.flags & wire.ECE)
        self.offered = True
        self.shift = options.wscale
        self.sack = options.sack_ok
        self.ts = options.ts is not None
        if options.wscale is not None and options.wscale > MAX_SHIFT:
            return f"a window scale of {options.wscale} (7323:WS3) [scale]"
        return ""

    def _options(self, segment: wire.Segment) -> str:
        options, flags = segment.options, segment.flags
        if options.sack is not None:
            if not self.own_sack or not self.sack:
                return "SACK blocks, though SACK was not permitted (2018:1) [sack]"
            for left, right in options.sack:
                if diff(right, left) <= 0:
                    return "a SACK block whose edges are in the wrong order [sack]"
                if any(diff(left, start) >= 0 and diff(end, right) >= 0 for start, end in self._far):
                    continue  # RFC 2883: a duplicate may be reported, wherever it lies
                if self.sent_until is not None and diff(right, self.sent_until) > 0:
                    return "a SACK block beyond all that was sent [sack]"
        if flags & (wire.SYN | wire.RST):
            return ""
        negotiated = self.own_ts and self.ts
        if negotiated and options.ts is None:
            return "no timestamps, though they were negotiated (7323:TS1) [timestamps]"
        if options.ts is not None:
            if not negotiated:
                return "timestamps, though they were not negotiated (7323:TS1) [timestamps]"
            value, echo = options.ts
            if self.last_ts is not None and diff(value, self.last_ts) < 0:
                return "TSval went backwards (7323:TS4) [timestamps]"
            self.last_ts = value
            if echo not in self.echoes:
                return f"TSecr {echo} echoes nothing that was sent (7323:TS3) [timestamps]"
        return ""

    def _ecn(self, segment: wire.Segment) -> str:
        codepoint = segment.ip.tos & 3
        both = self.own_ecn and self.ecn
        if codepoint and (not both or segment.flags & wire.SYN or not segment.payload):
            return "an ECN codepoint on a segment that may not bear one (3168:1) [ecn]"
        if not segment.flags & wire.SYN and segment.flags & (wire.ECE | wire.CWR) and not both:
            return "ECE or CWR, though ECN was not negotiated (3168:1) [ecn]"
        return ""

    def _acknowledgment(self, segment: wire.Segment) -> str:
        if not segment.flags & wire.ACK or segment.flags & wire.RST:
            return ""
        if self.sent_until is not None and diff(segment.ack, self.sent_until) > 0:
            return f"acknowledges {diff(segment.ack, self.sent_until)} bytes that nobody sent [ack]"
        if self.last_ack is not None and diff(segment.ack, self.last_ack) < 0:
            return f"the acknowledgment went backwards by {diff(self.last_ack, segment.ack)} [ack]"
        edge = add(segment.ack, self.scaled(segment))
        unit = 1 << min(self.shift or 0, MAX_SHIFT)
        if self.right_edge is not None and diff(edge, self.right_edge) < -(unit - 1) and not segment.flags & wire.SYN:
            return f"the right edge moved left by {diff(self.right_edge, edge)} (SHLD-14) [edge]"
        self.last_ack = segment.ack
        if self.right_edge is None or diff(edge, self.right_edge) > 0:
            self.right_edge = edge
        return ""

    def _payload(self, segment: wire.Segment) -> str:
        size = len(segment.payload)
        if segment.flags & wire.RST or not segment.length:
            return ""
        end = add(segment.seq, size)
        bound = (self.own_mss if self.own_mss is not None else DEFAULT_MSS) - self._option_bytes(segment)
        if size > max(bound, _PROBE_BYTES):
            return f"{size} bytes in a segment, and the effective MSS is {bound} (MUST-16) [mss]"
        if size and self.edge is not None and diff(end, self.edge) > _PROBE_BYTES:
            # Bytes sent before a window shrank may be sent again (MAY-7): only new ones must fit.
            if self.max_sent is None or diff(end, self.max_sent) > 0:
                return f"{diff(end, self.edge)} bytes beyond the window that was offered (SHLD-15) [window]"
        new = self.max_sent is None or diff(add(segment.seq, segment.length), self.max_sent) > 0
        if new:
            self.max_sent = add(segment.seq, segment.length)
        return self._spacing(segment)

    @staticmethod
    def _option_bytes(segment: wire.Segment) -> int:
        return (segment.ip.payload[12] >> 4) * 4 - 20 if not segment.flags & wire.SYN else 0

    def _spacing(self, segment: wire.Segment) -> str:
        """6298:5: without a word from us in between, copies of a segment come at intervals that don't shrink."""
        last, gap, news = self._copies.get(segment.seq, (0.0, 0.0, -1))
        now = segment.time
        if news != self._news:
            self._copies[segment.seq] = (now, 0.0, self._news)
            return ""
        self._copies[segment.seq] = (now, now - last, news)
        if gap and now - last < gap * _SPACING_BLUR:
            return f"sent again after {now - last:.3f} s, and the time before after {gap:.3f} s (6298:5) [spacing]"
        return ""
