"""`--link=tap:NAME` on an emulator: this host's own stack and tools are NetD's peer, in a network namespace."""

from __future__ import annotations

import os
import sys

import pytest

from keuos_hil.net.linux_peer import why_not

_SOURCE = """
import shutil
import socket
import subprocess

import pytest

from keuos_hil.net import wire
from keuos_hil.net.linux_peer_program import NETCAT
from keuos_hil.net.netd import ADDRESS, Netd

DATA, WITHIN = b"from this host's own stack", 60


def test_the_hosts_stack_and_tools_talk_to_netd(agent):
    Netd(agent)
    with socket.create_connection((ADDRESS, 7), WITHIN) as tcp:
        tcp.sendall(DATA)
        tcp.shutdown(socket.SHUT_WR)
        assert b"".join(iter(lambda: tcp.recv(100), b"")) == DATA
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(WITHIN)
        udp.sendto(DATA, (ADDRESS, 7))
        assert udp.recvfrom(100) == (DATA, (ADDRESS, 7))
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as icmp:
        icmp.settimeout(WITHIN)
        icmp.sendto(wire.echo(7, 1, DATA), (ADDRESS, 0))
        assert icmp.recv(200)[28:] == DATA
    if shutil.which(NETCAT):
        nc = [NETCAT, "-N", "-w", str(WITHIN), ADDRESS, "7"]
        assert subprocess.run(nc, input=DATA, capture_output=True, check=True, timeout=2 * WITHIN).stdout == DATA


@pytest.mark.needs("link")
def test_the_test_has_no_end_of_that_wire(target):
    raise AssertionError("not reached")
"""
_WIRE = (
    "ip tuntap add tap0 mode tap && ip address add 192.0.2.1/24 dev tap0 && ip link set tap0 up && "
    'ip link set lo up && exec "$@"'
)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can")
def test_a_tap_of_this_host_is_the_nics_wire(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(_SOURCE)
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    inner = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-rs", "--target=qemu-x86", "--link=tap:tap0"]
    result = pytester.run(*namespace, "sh", "-c", _WIRE, "sh", *inner, timeout=240)
    result.assert_outcomes(passed=1, skipped=1)
    result.stdout.fnmatch_lines(["SKIPPED*needs 'link'*: the wire is the TAP device tap0: leave out --link=tap:tap0"])
