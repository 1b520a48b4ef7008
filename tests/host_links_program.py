"""Cases of test_host_links.py, to be run as root of a network namespace: one, or, each in a further namespace of its
own, all that take no loss of rights: then what came of each is told as JSON.

    host_links_program.py [CASE]
"""

from __future__ import annotations

import array
import ctypes
import fcntl
import json
import os
import socket
import struct
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager

from keuos_hil.plugins.board_link import RawLinkPart, RawOptions, TapLinkPart, TapOptions
from keuos_hil.plugins.packet_link import RawLink, exists, is_up, open_packet_socket

from keuos_hil.errors import InfraError
from keuos_hil.hookspecs import PartContext
from keuos_hil.net import wire
from keuos_hil.parts import Link

_CONTEXT = PartContext("x", "arm64", "[targets.x.link]")
_SIOCETHTOOL, _SET_GRO = 0x8946, 0x2C
_UDP_SEGMENT = 103  # of udp(7)
_CLONE_NEWNET = 0x40000000
_ADDRESS = "192.0.2.7"
_ASKED_BY = bytes.fromhex("02000000aa01")


def ip(words: str) -> None:
    """The tool of that name."""
    subprocess.run(["ip", *words.split()], check=True)


def ethtool(interface: str, command: int, value: int) -> None:
    """One setting of an interface (linux/ethtool.h)."""
    setting = array.array("I", [command, value])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SIOCETHTOOL, struct.pack("16sP16x", interface.encode(), setting.buffer_info()[0]))


def make_pair() -> None:
    """`near` and `far`, up."""
    ip("link add near type veth peer name far")
    for name in ("near", "far"):
        ip(f"link set {name} up")


def raw(interface: str = "near", *, hold: bool = False) -> tuple[Link, AbstractContextManager[object]]:
    """The part `raw` of a board, opened."""
    return RawLinkPart(RawOptions("{card}", hold), _CONTEXT).open({"card": interface})


def frame(destination: str, text: bytes) -> bytes:
    """Of an experimental type (RFC 5342)."""
    return bytes.fromhex(destination) + _ASKED_BY + b"\x88\xb5" + text.ljust(60, b".")


def wait(link: Link, wanted: bytes) -> None:
    """Until that very frame comes; what this host itself sent must not."""
    for _ in range(200):
        got = link.receive(5)
        assert got is not None, "the frame did not come"
        if got == wanted:
            return
        assert b"from here" not in got, "what this host sent is seen"
    raise AssertionError("other frames without end")


def both_ways(link: Link, far: Link) -> None:
    """A frame each way; the interface has to be promiscuous to pass the second on."""
    link.send(frame("020000000001", b"from here"))
    wait(far, frame("020000000001", b"from here"))
    stranger = frame("020000000099", b"to somebody else")
    far.send(stranger)
    wait(link, stranger)


def case_raw() -> None:
    """An interface that stays where it is."""
    make_pair()
    link, closing = raw()
    with closing:
        both_ways(link, RawLink(open_packet_socket(), "far"))


def case_held() -> None:
    """An interface in a namespace of its own."""
    make_pair()
    link, closing = raw(hold=True)
    with closing:
        assert not exists("near"), "it is still here"
        both_ways(link, RawLink(open_packet_socket(), "far"))


def case_back() -> None:
    """Both an interface that was up and one that was not are afterwards as they were."""
    make_pair()
    for up in (True, False):
        if not up:
            ip("link set near down")
        _, closing = raw(hold=True)
        with closing:
            assert not exists("near"), "it is still here"
        assert exists("near"), "it did not come back"
        assert is_up(open_packet_socket(), "near") == up


def case_answers() -> None:
    """Held, nobody answers ARP requests for an address of this host, which Linux does on every interface."""
    make_pair()
    ip("link set lo up")
    ip(f"addr add {_ASKED_BY[0]}.0.0.1/32 dev lo")
    ip(f"addr add {_ASKED_BY[0]}.0.0.2/32 dev lo")
    ip(f"addr add {_ADDRESS}/32 dev lo")
    far = RawLink(open_packet_socket(), "far")
    request = wire.arp(1, _ASKED_BY, wire.ip("192.0.2.1"), bytes(6), wire.ip(_ADDRESS))
    asked = wire.ethernet(b"\xff" * 6, _ASKED_BY, wire.ETHERTYPE_ARP, request).ljust(60, b"\0")

    def answered() -> bool:
        far.send(asked)
        far.send(marker := frame("020000000098", b"behind it %d" % time.monotonic_ns()))
        wait(link, asked)
        wait(link, marker)
        deadline = time.monotonic() + 0.3
        while (left := deadline - time.monotonic()) > 0:
            got = far.receive(left)
            if got is not None and got[12:14] == b"\x08\x06" and got[20:22] == b"\0\2":
                return True
        return False

    link, closing = raw()
    with closing:
        assert answered(), "this host is silent by itself: the case shows nothing"
    link, closing = raw(hold=True)
    with closing:
        assert not answered(), "this host answers on the interface"


def case_tap() -> None:
    """A TAP device, which has one user."""
    ip("tuntap add tap0 mode tap")
    part = TapLinkPart(TapOptions("tap0"), _CONTEXT)
    link, closing = part.open({})
    ip("link set tap0 up")
    with closing:
        both_ways(link, RawLink(open_packet_socket(), "tap0"))
        say_error(lambda: part.open({}))


def say_error(do: Callable[[], object]) -> None:
    """What is told instead of a link or a frame."""
    try:
        do()
    except InfraError as error:
        print(error)
    else:
        raise AssertionError("nothing is wrong with it")


def case_merging() -> None:
    """GRO is on."""
    make_pair()
    ethtool("near", _SET_GRO, 1)
    say_error(raw)


def case_down() -> None:
    """Nobody brought the interface up."""
    ip("link add near type veth peer name far")
    say_error(raw)


def case_addressed() -> None:
    """This host has an address on it."""
    make_pair()
    ip("addr add 192.0.2.1/24 dev near")
    say_error(lambda: raw(hold=True))


def case_may_not_raw() -> None:
    """Without CAP_NET_RAW."""
    make_pair()
    say_error(raw)


def case_may_not_hold() -> None:
    """Without CAP_NET_ADMIN: nothing can be made here, so the interface is one that every namespace has."""
    say_error(lambda: raw("lo", hold=True))


def _talk_from_far(size: int, *, segment: int = 0) -> Link:
    """This host's own stack sends `size` bytes by `far`, as datagrams of `segment` bytes that `far` is to cut."""
    ip("addr add 192.0.2.1/24 dev far")
    ip("neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev far")
    link, _ = raw()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        if segment:
            sender.setsockopt(socket.IPPROTO_UDP, _UDP_SEGMENT, segment)
        sender.sendto(bytes(size), ("192.0.2.2", 9))
    return link


def _first_udp(link: Link) -> None:
    while (got := link.receive(5)) is not None and got[23:24] != b"\x11":
        pass


def case_unsummed() -> None:
    """The other end leaves the checksum to hardware, as veth does by default."""
    make_pair()
    link = _talk_from_far(100)
    say_error(lambda: _first_udp(link))


def case_oversized() -> None:
    """The other end leaves it to hardware to cut datagrams, as veth does by default."""
    make_pair()
    link = _talk_from_far(3000, segment=1000)
    say_error(lambda: _first_udp(link))


def case_tagged() -> None:
    """The kernel keeps a VLAN tag beside the frame, not in it."""
    make_pair()
    link, closing = raw()
    with closing:
        far = RawLink(open_packet_socket(), "far")
        for tag in (b"\x81\x00\x20\x07", b"\x88\xa8\x00\x05"):
            plain = frame("020000000099", b"with a tag")
            tagged = plain[:12] + tag + plain[12:]
            far.send(tagged)
            wait(link, tagged)


def in_own_namespace(case: str) -> tuple[int, str]:
    """Fork, and run a case; its exit status, and what it said."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.dup2(writing, 1)
            os.dup2(writing, 2)
            if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "no network namespace")
            CASES[case]()
            status = 0
        finally:
            if status:
                traceback.print_exc()
            sys.stdout.flush()
            os._exit(status)
    os.close(writing)
    with open(reading) as said:
        text = said.read()
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), text


CASES = {name.removeprefix("case_"): do for name, do in list(globals().items()) if name.startswith("case_")}

if __name__ == "__main__":
    if sys.argv[1:]:
        CASES[sys.argv[1]]()
    else:
        print(json.dumps({case: in_own_namespace(case) for case in CASES if not case.startswith("may_not")}))
