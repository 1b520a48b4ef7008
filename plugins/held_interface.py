"""An interface of this host, taken into a network namespace where nobody but a test talks through it.

What lives here: the way there and back. While it is held, this host's own stack neither hears nor answers on that
interface. A physical one comes back by itself when the namespace ends, however this process ends; a virtual one (veth,
TAP) does when :meth:`HeldInterface.close` can give it back, and ends with the namespace otherwise.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

from keuos_hil.errors import InfraError

from .packet_link import exists, has_carrier, is_up, open_packet_socket

_START_S = 60.0
#: Gigabit Ethernet takes 2 to 4 s to agree with its other end.
_CARRIER_S = 15.0
_MESSAGE_MAX = 4096
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _SIOCGIFADDR = 0x8913, 0x8914, 0x8915
_IFF_UP = 1
_RTM_SETLINK, _NLM_F_REQUEST, _NLM_F_ACK, _IFLA_NET_NS_FD = 19, 1, 4, 28
#: struct nlmsghdr, and what is told of the link: struct ifinfomsg with one attribute of four bytes.
_HEADER, _CHANGE = struct.Struct("IHHII"), struct.Struct("BxHiIIHHI")
_READY, _DONE = b"ready", b"done"


class HeldInterface:
    """The namespace, with the interface in it and up; see this file's first lines. A context manager.

    Attributes:
        socket: a packet socket in the namespace, for whoever talks through the interface; its user closes it.

    Raises:
        InfraError: there is no such interface, this host uses it, or this process may not take it.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._was_up, self._had_carrier = _require_unused(interface)
        _require_rights(interface)
        self._control, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._start(far)
        except BaseException:
            self.close()
            raise

    def _start(self, far: socket.socket) -> None:
        user = [] if _may(_CAP_SYS_ADMIN) else ["--user", "--map-root-user"]
        guard, unshare = shutil.which("setpriv"), shutil.which("unshare")
        if guard is None or unshare is None:
            raise InfraError("setpriv and unshare are not installed (Debian: util-linux)")
        command = [guard, "--pdeathsig", "KILL", unshare, "--net", *user, sys.executable, "-m", __name__]
        try:
            self._process = subprocess.Popen(
                [*command, str(far.fileno()), self._interface],
                pass_fds=[far.fileno()],
                stdin=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
            )
        finally:
            far.close()
        _, theirs = self._hear(1)
        try:
            move(self._interface, theirs[0])
        except OSError as error:
            raise InfraError(
                f"the interface {self._interface} can't be taken into a namespace of its own: {error.strerror}; "
                "with `hold = false` in its table it stays where it is"
            ) from None
        finally:
            os.close(theirs[0])
        own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            socket.send_fds(self._control, [_READY], [own])
        finally:
            os.close(own)
        _, ends = self._hear(1)
        self.socket = socket.socket(fileno=ends[0])
        self._await_carrier()

    def _await_carrier(self) -> None:
        """Being moved takes an interface down. Up again, a network card has to agree with its other end once more."""
        deadline = time.monotonic() + _CARRIER_S
        while self._had_carrier and not has_carrier(self.socket, self._interface):
            if time.monotonic() >= deadline:
                self.socket.close()
                raise InfraError(
                    f"the interface {self._interface} had a carrier, and has had none for {_CARRIER_S:g} s since it "
                    "was taken into a namespace of its own; is the cable, or whoever it ends at, still there?"
                )
            time.sleep(0.01)

    def _hear(self, descriptors: int) -> tuple[bytes, list[int]]:
        message: bytes = b""
        got: list[int] = []
        if select.select([self._control], [], [], _START_S)[0]:
            message, got, _, _ = socket.recv_fds(self._control, _MESSAGE_MAX, descriptors)
        if len(got) != descriptors:
            raise InfraError(f"no namespace for the interface {self._interface}: {message.decode() or self._said()}")
        return message, got

    def _said(self) -> str:
        """What the other process wrote before it ended."""
        if self._process is None or self._process.stderr is None:
            return ""
        self._process.kill()
        return self._process.stderr.read().decode("utf-8", "replace").strip().replace("\n", "; ")[-500:]

    def __enter__(self) -> HeldInterface:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the interface back, as far as that is allowed, and end the namespace. Safe to repeat."""
        if self._control.fileno() < 0:
            return
        with suppress(OSError):
            self._control.send(b"back")
            if self._process is not None and select.select([self._control], [], [], _START_S)[0]:
                if self._control.recv(_MESSAGE_MAX) == _DONE and self._was_up:
                    bring_up(self._interface)
        self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stderr is not None:
                self._process.stderr.close()


def _may(capability: int) -> bool:
    """Whether this process has a capability in effect (capabilities(7))."""
    with open("/proc/self/status") as status:
        effective = next(line for line in status if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> capability & 1)


def _require_rights(interface: str) -> None:
    if not _may(_CAP_NET_ADMIN):
        grant = f"sudo setcap cap_net_raw,cap_net_admin+ep {os.path.realpath(sys.executable)}"
        raise InfraError(
            f"taking the interface {interface} into a namespace of its own takes CAP_NET_ADMIN: run as root, grant it "
            f"to this interpreter (`{grant}`), or say `hold = false` in its table: then this host's own stack hears "
            "everything, too"
        )


def _require_unused(interface: str) -> tuple[bool, bool]:
    """Whether it is up, and has a carrier.

    Raises:
        InfraError: there is no such interface, or it has an address that would be lost.
    """
    if not exists(interface):
        raise InfraError(f"there is no interface {interface}; `ip link` lists them")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        request = struct.pack("16s24x", interface.encode())
        with suppress(OSError):
            answer = fcntl.ioctl(any_socket, _SIOCGIFADDR, request)
            raise InfraError(
                f"the interface {interface} has the address {socket.inet_ntoa(answer[20:24])}, and this host would "
                f"lose it: `sudo ip address flush dev {interface}` if nothing else uses it, or `hold = false` in its "
                "table"
            )
        return is_up(any_socket, interface), has_carrier(any_socket, interface)


def move(interface: str, namespace: int) -> None:
    """Move an interface of this process's namespace into another (rtnetlink(7)). Raises OSError."""
    change = _CHANGE.pack(socket.AF_UNSPEC, 0, socket.if_nametoindex(interface), 0, 0, 8, _IFLA_NET_NS_FD, namespace)
    header = _HEADER.pack(_HEADER.size + len(change), _RTM_SETLINK, _NLM_F_REQUEST | _NLM_F_ACK, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as route:
        route.send(header + change)
        error = -int(struct.unpack_from("i", route.recv(_MESSAGE_MAX), _HEADER.size)[0])
    if error:
        raise OSError(error, os.strerror(error))


def bring_up(interface: str) -> None:
    """As `ip link set ... up`. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, struct.pack("16s24x", interface.encode()))
        flags = int(struct.unpack_from("h", answer, 16)[0]) | _IFF_UP
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, struct.pack("16sh22x", interface.encode(), flags))


def _hold(control: socket.socket, interface: str) -> None:
    """In the namespace: say that it is there, open the socket when the interface is, and give it back when asked."""
    own = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    socket.send_fds(control, [_READY], [own])
    os.close(own)
    _, theirs, _, _ = socket.recv_fds(control, _MESSAGE_MAX, 1)
    if not theirs:
        return
    try:
        bring_up(interface)
        with open_packet_socket() as end:
            socket.send_fds(control, [_DONE], [end.fileno()])
        if control.recv(_MESSAGE_MAX):
            move(interface, theirs[0])
            control.send(_DONE)
    except (OSError, InfraError) as error:
        control.send(str(error).encode())


if __name__ == "__main__":
    _hold(socket.socket(fileno=int(sys.argv[1])), sys.argv[2])
