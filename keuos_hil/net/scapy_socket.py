"""A Link as a scapy socket, so that `sr1(IP(dst=...) / ICMP())` goes over the target's wire.

Raw Ethernet only; address resolution is done here, on
the same wire, because scapy's own would ask the host's interfaces.
"""

from __future__ import annotations

import time
from typing import Any

from scapy.layers.inet import IP
from scapy.layers.l2 import ARP, Ether
from scapy.sendrecv import SndRcvHandler
from scapy.supersocket import SuperSocket

from keuos_hil.errors import TargetFailure
from keuos_hil.parts import Link

_RESOLVE_S = 5.0


class LinkSocket(SuperSocket):
    """scapy's end of a target's wire.

    Args:
        link: to the target's NIC; it stays open when this is closed.
        mac: our address, as 02:00:00:00:00:01.
        ip: our IPv4 address.
    """

    desc = "a target's wire"
    nonblocking_socket = True

    def __init__(self, link: Link, mac: str, ip: str) -> None:
        self.link = link
        self.mac = mac
        self.ip = ip
        self.closed = False
        self._neighbours: dict[str, str] = {}
        self._waiting: list[bytes] = []

    def send(self, x: Any) -> int:
        """Send a packet; an IP packet gets its Ethernet header here."""
        if isinstance(x, IP):
            x = self._framed(x)
        data = bytes(x)
        x.sent_time = time.time()
        self.link.send(data)
        return len(data)

    def _framed(self, packet: Any) -> Any:
        """An IP packet with our address, unless it has one, behind an Ethernet header."""
        packet = packet.copy()
        if "src" not in packet.fields:
            packet.src = self.ip
        return Ether(src=self.mac, dst=self.resolve(packet.dst)) / packet

    def resolve(self, ip: str) -> str:
        """The Ethernet address of a neighbour, by ARP (RFC 826). Raises TargetFailure if nobody answers."""
        if ip not in self._neighbours:
            ask = ARP(op=1, hwsrc=self.mac, psrc=self.ip, pdst=ip)
            self.link.send(bytes(Ether(src=self.mac, dst="ff:ff:ff:ff:ff:ff") / ask))
            deadline = time.monotonic() + _RESOLVE_S
            while ip not in self._neighbours:
                frame = self.link.receive(max(0.0, deadline - time.monotonic()))
                if frame is None:
                    raise TargetFailure(f"nobody answers to ARP for {ip} within {_RESOLVE_S:g} s")
                if not self._learn(frame):
                    self._waiting.append(frame)
        return self._neighbours[ip]

    def _learn(self, frame: bytes) -> bool:
        """Take what an ARP packet tells, and answer one that asks for us; whether that was all."""
        packet = Ether(frame)
        if ARP not in packet:
            return False
        arp = packet[ARP]
        self._neighbours[arp.psrc] = arp.hwsrc
        if arp.op == 1 and arp.pdst == self.ip:
            reply = ARP(op=2, hwsrc=self.mac, psrc=self.ip, hwdst=arp.hwsrc, pdst=arp.psrc)
            self.link.send(bytes(Ether(src=self.mac, dst=arp.hwsrc) / reply))
        return True

    def recv_raw(self, x: int = 65535) -> tuple[Any, bytes | None, float | None]:
        """The next frame, for scapy to dissect; ARP is dealt with on the way."""
        frame = self._waiting.pop(0) if self._waiting else self.link.receive(0.01)
        if frame is None:
            return None, None, None
        self._learn(frame)
        return Ether, frame[:x], time.time()

    def close(self) -> None:
        """The wire stays."""
        self.closed = True

    @staticmethod
    def select(sockets: list[Any], remain: float | None = None) -> list[Any]:
        """scapy asks which can be read: `recv_raw` waits for itself."""
        return sockets

    def sr1(self, packet: Any, timeout: float = 5.0) -> Any:
        """Send `packet` and return the answer to it, from the network layer on; None if none comes."""
        handler = SndRcvHandler(
            self,
            self._framed(packet),
            timeout=timeout,  # type: ignore[arg-type]  # fractions work; scapy's annotation is narrower than its code
            verbose=False,
            threaded=False,
        )
        answered, _ = handler.results()
        return answered[0][1].payload if answered else None
