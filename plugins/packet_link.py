"""An Ethernet wire by a packet socket (packet(7)) on an interface of this host, and what of that interface spoils it.

A network card and its driver may merge segments, strip VLAN tags and leave checksums to each other. A test wants frames
as they are on the wire: tags are put back here; what can't be undone is an error that names the command against it.
"""

from __future__ import annotations

import array
import errno
import fcntl
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from pathlib import Path

from keuos_hil.errors import InfraError

_FRAME_MAX = 1 << 17
_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_AUXDATA, _PACKET_IGNORE_OUTGOING = 263, 1, 8, 23
_PACKET_MR_PROMISC = 1
#: struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
_AUXILIARY = struct.Struct("IIIHHHH")
_CHECKSUM_MISSING, _VLAN_VALID, _VLAN_TPID_VALID = 1 << 3, 1 << 4, 1 << 6
_ETHERTYPE_VLAN = 0x8100
_ADDRESSES = 12  # bytes of a frame before the place of its tag
#: Ethernet's header and two tags (802.1ad): what a frame may be longer than the interface's MTU.
_HEADERS = 22
_SIOCGIFFLAGS, _SIOCGIFMTU, _SIOCGIFINDEX, _SIOCETHTOOL = 0x8913, 0x8921, 0x8933, 0x8946
_IFF_UP, _IFF_RUNNING = 1, 1 << 6
#: linux/ethtool.h: the commands that ask for an offload, the bit of the answer that tells, and `ethtool -K`'s word.
_SPOILING = ((0x2B, 1, "gro"), (0x25, 1 << 15, "lro"))
#: ETHTOOL_GDRVINFO's number, the size of its structure, and where the driver's name lies in it, and the bus's.
_DRIVER, _DRIVER_SIZE, _DRIVER_NAME, _BUS_NAME = 3, 196, slice(4, 36), slice(100, 132)
#: Its GRO is on by default and without effect: what is written to a TAP device is a frame, and stays one.
_NEVER_MERGES = b"tun"


def open_packet_socket() -> socket.socket:
    """A packet socket of this process's network namespace that receives nothing yet.

    Raises:
        InfraError: this process may not have one.
    """
    try:
        return socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    except PermissionError:
        python = Path(sys.executable).resolve()
        raise InfraError(
            "a packet socket takes CAP_NET_RAW. Grant it to this interpreter: "
            f"`sudo setcap cap_net_raw+ep {python}`, or run as root; "
            "setcap counts for every script of that interpreter, so better give it a copy (docs/board.md)"
        ) from None


def ask_interface(end: socket.socket, interface: str, what: int) -> int:
    """The whole number that an ioctl of netdevice(7) tells of an interface where `end` was made. Raises OSError."""
    answer = fcntl.ioctl(end, what, struct.pack("16s24x", interface.encode()))
    return int(struct.unpack_from("i", answer, 16)[0])


def is_up(end: socket.socket, interface: str) -> bool:
    """Whether it was brought up. Raises OSError."""
    return bool(ask_interface(end, interface, _SIOCGIFFLAGS) & _IFF_UP)


def has_carrier(end: socket.socket, interface: str) -> bool:
    """Whether it is up and somebody is at the other end. Raises OSError."""
    return bool(ask_interface(end, interface, _SIOCGIFFLAGS) & _IFF_RUNNING)


def spoiling_offloads(end: socket.socket, interface: str) -> list[str]:
    """Those offloads that are on and make one frame of several, by `ethtool -K`'s words. Raises OSError."""
    if _ethtool(end, interface, _DRIVER, _DRIVER_SIZE)[_DRIVER_NAME].rstrip(b"\0") == _NEVER_MERGES:
        return []
    answers = [(word, bit, _ethtool(end, interface, command, 8)) for command, bit, word in _SPOILING]
    return [word for word, bit, answer in answers if int.from_bytes(answer[4:8], sys.byteorder) & bit]


def _ethtool(end: socket.socket, interface: str, command: int, size: int) -> bytes:
    """A structure of linux/ethtool.h, filled in; zero where the interface knows nothing of it, so does not do it."""
    structure = array.array("B", command.to_bytes(4, sys.byteorder) + bytes(size - 4))
    request = struct.pack("16sP16x", interface.encode(), structure.buffer_info()[0])
    try:
        fcntl.ioctl(end, _SIOCETHTOOL, request)
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise
        return bytes(size)
    return structure.tobytes()


class RawLink:
    """A :class:`keuos_hil.parts.Link` over a packet socket; what this host itself sends is not seen.

    Args:
        end: of :func:`open_packet_socket`, in whatever namespace; the link closes it, also if it can't be made.
        interface: its name in that namespace.

    Raises:
        InfraError: there is no such interface, it is down, or its offloads spoil what is received.
    """

    def __init__(self, end: socket.socket, interface: str) -> None:
        self._socket = end
        self._interface = interface
        try:
            self._take()
        except BaseException as error:
            end.close()
            if isinstance(error, OSError):
                why = f"the interface {interface} can't be used: {error.strerror}; `ip link` lists them"
                raise InfraError(why) from None
            raise

    def _take(self) -> None:
        end, name = self._socket, self._interface
        index = ask_interface(end, name, _SIOCGIFINDEX)
        if not is_up(end, name):
            raise InfraError(f"the interface {name} is down; `sudo ip link set {name} up`")
        spoiling = spoiling_offloads(end, name)
        if spoiling:
            off = " ".join(f"{word} off" for word in spoiling)
            raise InfraError(
                f"the interface {name} merges what it receives ({', '.join(spoiling)}), so that a test would not see "
                f"the target's segments: `sudo ethtool -K {name} {off}`"
            )
        membership = struct.pack("iHH8s", index, _PACKET_MR_PROMISC, 0, b"")
        end.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
        end.setsockopt(_SOL_PACKET, _PACKET_AUXDATA, 1)
        end.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
        self._longest = ask_interface(end, name, _SIOCGIFMTU) + _HEADERS
        end.setblocking(False)
        end.bind((name, _ETH_P_ALL))
        self._poller = select.poll()
        self._poller.register(end, select.POLLIN)

    def send(self, frame: bytes) -> None:
        """Put one frame on the wire; lost if the interface is down or its queue is full."""
        with suppress(OSError):
            self._socket.send(frame)

    def receive(self, timeout: float) -> bytes | None:
        """The next frame from the target, or None after `timeout` seconds.

        Raises:
            InfraError: it is not as it was on the wire, or never was on one.
        """
        deadline = time.monotonic() + timeout
        while self._poller.poll(max(0.0, deadline - time.monotonic()) * 1000):
            try:
                frame, auxiliary, _, _ = self._socket.recvmsg(_FRAME_MAX, socket.CMSG_SPACE(_AUXILIARY.size))
            except BlockingIOError:
                continue
            except OSError:
                return None
            return self._whole(frame, auxiliary[0][2]) if auxiliary else frame
        return None

    def _whole(self, frame: bytes, auxiliary: bytes) -> bytes:
        status, length, _, _, _, tag, protocol = _AUXILIARY.unpack(auxiliary)
        if length > self._longest:
            raise InfraError(
                f"a frame of {length} bytes came to {self._interface}, longer than its MTU allows: several segments as "
                "one. Whoever merges them is told by `sudo ethtool -K INTERFACE tso off gso off gro off lro off`, "
                f"on {self._interface} and at the other end"
            )
        if status & _CHECKSUM_MISSING:
            raise InfraError(
                f"a frame came to {self._interface} without its checksum: the other end is on this machine and leaves "
                "that to a network card that is not there; there, `sudo ethtool -K INTERFACE tx off`"
            )
        if not status & _VLAN_VALID:
            return frame
        protocol = protocol if status & _VLAN_TPID_VALID else _ETHERTYPE_VLAN
        return frame[:_ADDRESSES] + struct.pack("!HH", protocol, tag) + frame[_ADDRESSES:]

    def fileno(self) -> int:
        """To wait for a frame along with other things."""
        return self._socket.fileno()

    def close(self) -> None:
        """Safe to repeat."""
        self._socket.close()


def exists(interface: str) -> bool:
    """Whether this process's namespace has an interface of that name."""
    return interface in (there for _, there in socket.if_nameindex())


def is_tap(interface: str) -> bool:
    """Whether this process's namespace has a TAP device of that name (Linux's drivers/net/tun.c names itself so)."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket, suppress(OSError):
        told = _ethtool(any_socket, interface, _DRIVER, _DRIVER_SIZE)
        return told[_DRIVER_NAME].rstrip(b"\0") == b"tun" and told[_BUS_NAME].rstrip(b"\0") == b"tap"
    return False
