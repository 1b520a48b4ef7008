"""A small TFTP server at the host's end of a link: read requests only (RFC 1350, options by RFC 2347 to 2349).

It speaks frames, so that it serves a board on any wire that a test can have, without an address on any interface of
this host and without root's ports. It serves what it was given and reads no file system.
"""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address

from keuos_hil.net import wire
from keuos_hil.parts import Link

PORT = 69
#: Locally administered; of the host's end of the wire.
MAC = bytes.fromhex("02000000ad01")
_BLOCK_DEFAULT, _BLOCK_LEAST, _BLOCK_MOST = 512, 8, 1468
_RRQ, _WRQ, _DATA, _ACK, _ERROR, _OACK = range(1, 7)
_ERROR_OTHER, _ERROR_NOT_FOUND, _ERROR_ILLEGAL = 0, 1, 4
#: A block that nobody acknowledges is sent again after so long, and given up after so many times.
_AGAIN_S = 0.5
_TIMES = 10
_SLICE_S = 0.05
_FIRST_PORT = 50000


@dataclass
class _Transfer:
    """One read request under way. `block` counts from 0, the options' acknowledgment, without wrapping."""

    data: bytes
    size: int
    port: int
    block: int
    packet: bytes
    sent: float
    times: int = 1


class TftpServer:
    """Serves `files` on `link` while the block runs. The link must have no other reader meanwhile.

    Args:
        link: the wire; it stays open.
        address: of this server, and of nobody else on the wire.
        files: contents by name.
    """

    def __init__(self, link: Link, address: str, files: Mapping[str, bytes]) -> None:
        self._link = link
        self._address = IPv4Address(address).packed
        self._files = files
        self._transfers: dict[tuple[bytes, int], _Transfer] = {}
        self._macs: dict[bytes, bytes] = {}
        self._next_port = _FIRST_PORT
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="keuos-hil tftp", daemon=True)
        #: Bytes acknowledged so far by file name; blocks that were sent again.
        self.served: dict[str, int] = {}
        self.repeats = 0

    def __enter__(self) -> TftpServer:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()

    def _serve(self) -> None:
        while not self._stop.is_set():
            frame = self._link.receive(_SLICE_S)
            if frame is not None:
                try:
                    packet = wire.parse(frame)
                except wire.Malformed:
                    packet = None
                if isinstance(packet, wire.Arp):
                    self._answer_arp(packet)
                elif isinstance(packet, wire.Udp) and packet.ip.destination == self._address and packet.checksum_ok:
                    self._take(packet)
            self._repeat()

    def _answer_arp(self, asked: wire.Arp) -> None:
        if asked.operation == 1 and asked.target == self._address:
            answer = wire.arp(2, MAC, self._address, asked.sender_mac, asked.sender)
            self._link.send(wire.ethernet(asked.sender_mac, MAC, wire.ETHERTYPE_ARP, answer))

    def _take(self, packet: wire.Udp) -> None:
        client = packet.ip.source, packet.source_port
        self._macs[packet.ip.source] = packet.ip.source_mac
        if len(packet.payload) < 4:
            return
        (code,) = struct.unpack_from("!H", packet.payload)
        if packet.destination_port == PORT:
            if code == _RRQ:
                self._begin(client, packet.payload[2:])
            elif code == _WRQ:
                self._refuse(client, _ERROR_ILLEGAL, "this server is read only")
            return
        transfer = self._transfers.get(client)
        if transfer is None or packet.destination_port != transfer.port:
            return
        if code == _ERROR:
            del self._transfers[client]
        elif code == _ACK and struct.unpack_from("!H", packet.payload, 2)[0] == transfer.block & 0xFFFF:
            self._advance(client, transfer)

    def _begin(self, client: tuple[bytes, int], request: bytes) -> None:
        fields = request.split(b"\0")
        if len(fields) < 3 or fields[1].lower() != b"octet":
            self._refuse(client, _ERROR_ILLEGAL, "expected a file name and the mode octet")
            return
        name = fields[0].decode("latin-1")
        data = self._files.get(name)
        if data is None:
            self._refuse(client, _ERROR_NOT_FOUND, f"no file {name}")
            return
        options = {key.lower(): value for key, value in zip(fields[2:-1:2], fields[3::2], strict=False)}
        size, accepted = _BLOCK_DEFAULT, b""
        if options.get(b"blksize", b"").isdigit() and int(options[b"blksize"]) >= _BLOCK_LEAST:
            size = min(int(options[b"blksize"]), _BLOCK_MOST)
            accepted += b"blksize\0%d\0" % size
        if b"tsize" in options:
            accepted += b"tsize\0%d\0" % len(data)
        if options.get(b"timeout", b"").isdigit():
            accepted += b"timeout\0%s\0" % options[b"timeout"]
        old = self._transfers.get(client)
        if old is None:
            self._next_port += 1
        transfer = _Transfer(data, size, old.port if old else self._next_port, 0, b"", 0.0)
        self._transfers[client] = transfer
        self.served[name] = 0
        if accepted:
            self._post(client, transfer, struct.pack("!H", _OACK) + accepted)
        else:
            self._advance(client, transfer)

    def _advance(self, client: tuple[bytes, int], transfer: _Transfer) -> None:
        """The last packet was acknowledged: the next block, or the end."""
        at = transfer.block * transfer.size
        if transfer.block and at > len(transfer.data):
            del self._transfers[client]
            return
        transfer.block += 1
        transfer.times = 0
        head = struct.pack("!HH", _DATA, transfer.block & 0xFFFF)
        self._post(client, transfer, head + transfer.data[at : at + transfer.size])

    def _post(self, client: tuple[bytes, int], transfer: _Transfer, packet: bytes) -> None:
        transfer.packet, transfer.sent = packet, time.monotonic()
        transfer.times += 1
        self._send(client, transfer.port, packet)

    def _refuse(self, client: tuple[bytes, int], code: int, text: str) -> None:
        self._send(client, PORT, struct.pack("!HH", _ERROR, code) + text.encode() + b"\0")

    def _send(self, client: tuple[bytes, int], port: int, packet: bytes) -> None:
        address, remote = client
        datagram = wire.ipv4(
            self._address, address, wire.PROTOCOL_UDP, wire.udp(self._address, address, port, remote, packet)
        )
        self._link.send(wire.ethernet(self._macs[address], MAC, wire.ETHERTYPE_IPV4, datagram))

    def _repeat(self) -> None:
        now = time.monotonic()
        for client, transfer in list(self._transfers.items()):
            if now - transfer.sent < _AGAIN_S:
                continue
            if transfer.times >= _TIMES:
                del self._transfers[client]
            else:
                self.repeats += 1
                self._post(client, transfer, transfer.packet)
