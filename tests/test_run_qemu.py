"""`make run-qemu`: the script behind it, with a NIC on each wire that it offers, in a network namespace of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from keuos_hil import bundled
from keuos_hil.net.linux_peer import why_not

TOP = Path(__file__).resolve().parent.parent
SCRIPT = [str(TOP / ".ci" / "run-qemu"), str(TOP / "build" / "kernel"), "qemu-x86"]
WITHIN = 120

#: A person at that prompt, who then talks to NetD. Arguments: the script's, what starts NetD, its address and port.
PERSON = """
import socket, subprocess, sys, time

*script, start, address, port = sys.argv[1:]
machine = subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

def expect(text):
    said = b""
    while text not in said:
        byte = machine.stdout.read(1)
        assert byte, said
        said += byte

def echo():
    with socket.create_connection((address, int(port)), 10) as tcp:
        tcp.settimeout(10)
        tcp.sendall(b"echo")
        return tcp.recv(4)

try:
    expect(b"keuos> ")
    machine.stdin.write(start.encode() + b"\\r")
    machine.stdin.flush()
    expect(b"netd on core")
    for _ in range(20):  # an address by DHCP takes a moment
        try:
            if echo() == b"echo":
                break
        except OSError:
            pass
        time.sleep(0.5)
    else:
        raise AssertionError("NetD does not answer")
    machine.stdin.write(b"\\x01x")
    machine.stdin.flush()
    machine.wait(30)
finally:
    machine.kill()
"""
WIRE = (
    "ip link set lo up && ip tuntap add tap0 mode tap && ip address add 192.0.2.1/24 dev tap0 && "
    'ip link set tap0 up && exec "$@"'
)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can")
@pytest.mark.parametrize(
    ("link", "person"),
    [
        ("tap:tap0", ("spawn netd ip=192.0.2.2/24 gw=192.0.2.1", "192.0.2.2", "7")),
        ("user", ("spawn netd dhcp", "127.0.0.1", "5007")),
    ],
)
def test_a_person_at_the_prompt_has_a_nic_on_that_wire(link: str, person: tuple[str, ...]) -> None:
    bundled.ensure("x86_64")
    namespace = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--user", "--map-root-user"])]
    inner = [sys.executable, "-c", PERSON, *SCRIPT, link, *person]
    done = subprocess.run(
        [*namespace, "sh", "-c", WIRE, "sh", *inner], capture_output=True, text=True, timeout=WITHIN, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("link", "answer"),
    [
        ("tap:nosuch0", "there is no TAP device nosuch0; make one: ip tuntap add nosuch0 mode tap"),
        ("tap:", "expected LINK=user or LINK=tap:INTERFACE, found tap:"),
        ("veth", "expected LINK=user or LINK=tap:INTERFACE, found veth"),
    ],
)
def test_a_wire_that_is_not_there_is_one_line(link: str, answer: str) -> None:
    done = subprocess.run([*SCRIPT, link], capture_output=True, text=True, timeout=WITHIN, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"run-qemu: {answer}")
    assert done.stderr.count("\n") == 1
