"""Link parts of a board: a host interface (AF_PACKET), a TAP device, a datagram socket, or none."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

from keuos_hil.errors import InfraError
from keuos_hil.hookspecs import PartContext, PartType, hookimpl
from keuos_hil.parts import Link

from .dgram_link import DatagramLink
from .held_interface import HeldInterface
from .lease_values import fill, require_values
from .packet_link import RawLink, exists, open_packet_socket
from .tap_link import TapLink

ROLE = "link"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


@dataclass(frozen=True)
class RawOptions:
    """`part = "raw"`: a network interface of this host that is wired to the board and used for nothing else."""

    interface: str = field(metadata={"help": "its name, such as enp3s0"})
    hold: bool = field(
        default=True,
        metadata={"help": "whether it is taken into a network namespace of its own, so that this host can't answer"},
    )


class RawLinkPart:
    """See :class:`keuos_hil.board_parts.BoardLink`."""

    def __init__(self, options: RawOptions, context: PartContext) -> None:
        require_values(options.interface, context, "interface")
        self._options = options
        self._where = context.where

    def open(self, values: Mapping[str, str]) -> tuple[Link, AbstractContextManager[object]]:
        """See BoardLink.open."""
        name = fill(self._options.interface, values, f"{self._where}: interface")
        with ExitStack() as stack:
            end = stack.enter_context(HeldInterface(name)).socket if self._options.hold else open_packet_socket()
            link = RawLink(end, name)
            stack.callback(link.close)
            return link, stack.pop_all()


@dataclass(frozen=True)
class TapOptions:
    """`part = "tap"`: a TAP device of this host, bridged to whatever the board hangs on."""

    interface: str = field(metadata={"help": "its name; made beforehand: `ip tuntap add NAME mode tap user YOU`"})


class TapLinkPart:
    """See :class:`keuos_hil.board_parts.BoardLink`."""

    def __init__(self, options: TapOptions, context: PartContext) -> None:
        require_values(options.interface, context, "interface")
        self._interface = options.interface
        self._where = context.where

    def open(self, values: Mapping[str, str]) -> tuple[Link, AbstractContextManager[object]]:
        """See BoardLink.open."""
        name = fill(self._interface, values, f"{self._where}: interface")
        if not exists(name):
            raise InfraError(f"there is no interface {name}; `sudo ip tuntap add {name} mode tap user $USER` makes it")
        try:
            fd = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
        except OSError as error:
            raise InfraError(f"/dev/net/tun can't be opened: {error.strerror}") from None
        try:
            fcntl.ioctl(fd, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI))
        except OSError as error:
            os.close(fd)
            raise InfraError(f"the TAP device {name} can't be taken: {error.strerror}; who else has it open?") from None
        link = TapLink(fd)
        return link, closing(link)


@dataclass(frozen=True)
class DgramOptions:
    """`part = "dgram"`: a datagram socket of which each message is a frame, such as QEMU's `-netdev dgram`."""

    local: str = field(metadata={"help": "path of this end's socket; made for each session"})
    remote: str = field(metadata={"help": "path of the other end's socket"})


class DgramLinkPart:
    """See :class:`keuos_hil.board_parts.BoardLink`."""

    def __init__(self, options: DgramOptions, context: PartContext) -> None:
        require_values(options.local, context, "local")
        require_values(options.remote, context, "remote")
        self._options = options
        self._where = context.where

    def open(self, values: Mapping[str, str]) -> tuple[Link, AbstractContextManager[object]]:
        """See BoardLink.open. The other end may come and go with the board's power."""
        local = fill(self._options.local, values, f"{self._where}: local")
        remote = fill(self._options.remote, values, f"{self._where}: remote")
        if not Path(local).parent.is_dir():
            raise InfraError(f"{self._where}: local = {local!r}: there is no folder {Path(local).parent}")
        end = _PeeredSocket(local, remote)
        link = DatagramLink(end)
        return link, closing(link)


class _PeeredSocket(socket.socket):
    """An unconnected datagram socket that sends to one path: a board that was off and on again is still its peer."""

    def __init__(self, local: str, remote: str) -> None:
        super().__init__(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._local, self._remote = local, remote
        try:
            with suppress(FileNotFoundError):
                os.unlink(local)
            self.bind(local)
        except OSError as error:
            self.close()
            raise InfraError(f"no socket can be made at {local}: {error}") from None

    def send(self, data: bytes, flags: int = 0, /) -> int:  # type: ignore[override]
        """To the peer; nobody listens while the board is off, and the frame is lost."""
        try:
            return self.sendto(data, flags, self._remote)
        except FileNotFoundError:
            return len(data)

    def close(self) -> None:
        """The path goes with it."""
        if self.fileno() >= 0:
            with suppress(OSError):
                os.unlink(self._local)
        super().close()


@dataclass(frozen=True)
class NoneOptions:
    """`part = "none"`: no wire; network suites are skipped."""


class NoLinkPart:
    """Stands where no link is; the target never opens it."""

    def __init__(self, options: NoneOptions, context: PartContext) -> None:
        self._board = context.board

    def open(self, values: Mapping[str, str]) -> tuple[Link | None, AbstractContextManager[object]]:
        """No link."""
        return None, nullcontext()


@hookimpl
def keuos_hil_part_types() -> list[PartType]:
    """This module's parts."""
    return [
        PartType(ROLE, "raw", "a network interface of this host", RawOptions, RawLinkPart),
        PartType(ROLE, "tap", "a TAP device of this host", TapOptions, TapLinkPart),
        PartType(ROLE, "dgram", "a datagram socket", DgramOptions, DgramLinkPart),
        PartType(ROLE, "none", "no wire", NoneOptions, NoLinkPart),
    ]
