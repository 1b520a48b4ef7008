"""The test's end of the wire: sends what it is told, keeps what comes, and by itself answers nothing but ARP.

Frames are stamped, parsed, written into the transcript, held against the invariants, and sorted: a segment goes to the
conversation it belongs to (:class:`keuos_hil.net.tcp.Conversation` registers itself), everything else into a list.
"""

from __future__ import annotations

import itertools
import struct
from collections import deque
from collections.abc import Callable
from ipaddress import IPv4Network
from typing import Protocol

from keuos_hil.errors import TargetFailure
from keuos_hil.parts import Link, Network

from . import wire
from .clock import Clock, RealTime
from .invariants import Monitor
from .transcript import Transcript

#: A target that lives answers an echo at once; this tells a hang.
FENCE_S = 5.0
_ECHO_IDENTIFIER = 0x4B45
_identifications = itertools.cycle(range(1, 1 << 16))
#: The hardware address of a test's end of the wire.
OWN_MAC = bytes.fromhex("02000000ad01")


class WireFailure(TargetFailure):
    """What came is not what had to come; the text tells both, and the conversation before."""


class Sink(Protocol):
    """Whoever wants the segments of one pair of endpoints."""

    def take(self, segment: wire.Segment) -> None:
        """A segment came; hold it against what is known, and keep it."""
        ...


class Host:
    """One machine on the wire, with as many addresses as a case needs.

    Args:
        link: to the target's NIC.
        network: the target's addresses, and ours.
    """

    def __init__(self, link: Link, network: Network, clock: Clock | None = None) -> None:
        self.link = link
        self.network = network
        self.clock: Clock = clock or RealTime()
        self.mac = OWN_MAC
        self.address = wire.ip(network.gateway)
        self.target = wire.ip(network.address)
        self.subnet = IPv4Network(f"{network.address}/{network.prefix}", strict=False)
        self.transcript = Transcript()
        self.monitor = Monitor(network)
        #: Whether an ARP request for this address is answered, and with which hardware address.
        self.answers: Callable[[bytes], bytes | None] = self._own
        self.arps: deque[wire.Arp] = deque()
        self.icmps: deque[wire.Icmp] = deque()
        self.udps: deque[wire.Udp] = deque()
        self.fragments: deque[wire.Datagram] = deque()
        self.strays: deque[wire.Segment] = deque()
        #: False while a case is being cleaned up: what comes is kept, and not held against anything.
        self.judging = True
        self._sinks: dict[tuple[bytes, int, int], Sink] = {}
        self._echoes = 0

    def _own(self, address: bytes) -> bytes | None:
        return self.mac if self._inside(address) and address != self.target else None

    def _inside(self, address: bytes) -> bool:
        return int.from_bytes(address, "big") & int(self.subnet.netmask) == int(self.subnet.network_address)

    # Sending ---------------------------------------------------------------------------------------------------

    def send(self, frame: bytes, remark: str = "") -> None:
        """Put a frame on the wire."""
        self.transcript.add(self.clock.now(), ">", frame, remark)
        self.link.send(frame)

    def send_ip(self, datagram: bytes, *, to: bytes | None = None, sender: bytes | None = None) -> None:
        """Put an IPv4 datagram on the wire; `to` and `sender` are hardware addresses, the target's and ours."""
        self.send(wire.ethernet(to or self.network.mac, sender or self.mac, wire.ETHERTYPE_IPV4, datagram))

    def next_identification(self) -> int:
        """An IPv4 identification that no datagram has had lately, of this case or of one before."""
        return next(_identifications)

    def send_udp(
        self, source_port: int, port: int, payload: bytes, *, source: bytes | None = None, target: bytes | None = None
    ) -> None:
        """A right UDP datagram."""
        own, other = source or self.address, target or self.target
        data = wire.udp(own, other, source_port, port, payload)
        self.send_ip(wire.ipv4(own, other, wire.PROTOCOL_UDP, data))

    def send_icmp(self, message: bytes, *, source: bytes | None = None) -> None:
        """An ICMP message."""
        self.send_ip(wire.ipv4(source or self.address, self.target, wire.PROTOCOL_ICMP, message))

    def ping(self, payload: bytes = b"", *, source: bytes | None = None) -> tuple[int, int]:
        """Send an echo request; its identifier and sequence number."""
        self._echoes = (self._echoes + 1) & 0xFFFF
        self.send_icmp(wire.echo(_ECHO_IDENTIFIER, self._echoes, payload), source=source)
        return _ECHO_IDENTIFIER, self._echoes

    # Receiving -------------------------------------------------------------------------------------------------

    def register(self, peer: bytes, port: int, target_port: int, sink: Sink) -> None:
        """Segments to `peer`:`port` from the target's `target_port` go to `sink` from now on."""
        self._sinks[peer, port, target_port] = sink

    def pump(self, within: float) -> bool:
        """Take the next frame, waiting at most `within` seconds; whether one came.

        Raises:
            WireFailure: an invariant does not hold.
        """
        frame = self.clock.receive(self.link, within)
        if frame is None:
            return False
        now = self.clock.now()
        self.transcript.add(now, "<", frame)
        try:
            packet = wire.parse(frame)
        except wire.Malformed as problem:
            if not self.judging:
                return True
            raise self.failure(f"the target sent a malformed frame: {problem}") from None
        if packet is not None:
            self._sort(packet, now)
        return True

    def _sort(self, packet: wire.Packet, now: float) -> None:
        problem = self.monitor.check(packet, now)
        if problem and self.judging:
            raise self.failure(problem)
        if isinstance(packet, wire.Arp):
            self.arps.append(packet)
            answer = self.answers(packet.target) if packet.operation == 1 else None
            if answer is not None:
                reply = wire.arp(2, answer, packet.target, packet.sender_mac, packet.sender)
                self.send(wire.ethernet(packet.sender_mac, answer, wire.ETHERTYPE_ARP, reply))
        elif isinstance(packet, wire.Segment):
            packet.time = now
            key = (packet.ip.destination, packet.destination_port, packet.source_port)
            sink = self._sinks.get(key)
            if sink is not None:
                sink.take(packet)
            else:
                self.strays.append(packet)
        elif isinstance(packet, wire.Icmp):
            self.icmps.append(packet)
        elif isinstance(packet, wire.Udp):
            self.udps.append(packet)
        else:
            self.fragments.append(packet)

    def wait(self, condition: Callable[[], bool], within: float) -> bool:
        """Take frames until `condition` holds, for at most `within` seconds; whether it does."""
        deadline = self.clock.now() + within
        while not condition():
            left = deadline - self.clock.now()
            if not self.pump(max(left, 0.0)) and left <= 0:
                return condition()
        return True

    def elapse(self, seconds: float) -> None:
        """Let that much of the target's time pass, and keep what comes meanwhile."""
        self.wait(lambda: False, seconds)

    def fence(self) -> None:
        """Return when the target has dealt with everything sent so far: an echo behind it has come back.

        Raises:
            WireFailure: no answer.
        """
        identifier, sequence = self.ping()
        wanted = struct.pack("!HH", identifier, sequence)

        def back() -> bool:
            for message in self.icmps:
                if message.type == 0 and message.rest == wanted:
                    self.icmps.remove(message)
                    return True
            return False

        if not self.wait(back, FENCE_S):
            raise self.failure(f"the target did not answer an echo request within {FENCE_S:g} s")

    # Telling ---------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Put a remark into the transcript."""
        self.transcript.note(self.clock.now(), text)

    def failure(self, text: str) -> WireFailure:
        """An exception that tells `text` and the conversation so far."""
        lines = "\n".join(self.transcript.lines())
        return WireFailure(f"{text}\nthe conversation (> sent, < received, numbers relative):\n{lines}")
