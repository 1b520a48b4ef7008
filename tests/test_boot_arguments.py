"""Boot arguments behind `--` are carried out at the prompt: NetD serves from the start, with the address they say."""

from __future__ import annotations

import pytest

_SOURCE = """
import re
import time

from scapy.layers.inet import ICMP, IP

from keuos_hil.errors import TargetFailure
from keuos_hil.net.scapy_socket import LinkSocket

ADDRESS, WITHIN = "192.0.2.2", 60


def test_netd_serves_from_the_start(target, console):
    console.expect(f"keuos> spawn netd ip={ADDRESS}/24 gw=192.0.2.1", WITHIN)
    console.expect(re.compile(rb"\\[\\d+\\] netd on core"), WITHIN)
    wire, deadline = LinkSocket(target.link, "02:00:00:00:ad:04", "192.0.2.1"), time.monotonic() + WITHIN
    while time.monotonic() < deadline:
        try:
            answer = wire.sr1(IP(dst=ADDRESS) / ICMP(id=7))
        except TargetFailure:
            continue  # nobody has answered to ARP yet
        assert (answer.src, answer[ICMP].type) == (ADDRESS, 0)
        return
    raise AssertionError(f"nobody answers for {ADDRESS}")
"""


def _run(pytester: pytest.Pytester, source: str, *arguments: str) -> pytest.RunResult:
    pytester.makepyfile(source)
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-q", *arguments, timeout=240)


@pytest.mark.parametrize("target", ["qemu-x86", "qemu-arm64"])
def test_a_command_behind_two_dashes_is_carried_out(pytester: pytest.Pytester, target: str) -> None:
    words = "seed=7 -- spawn netd ip=192.0.2.2/24 gw=192.0.2.1"
    _run(pytester, _SOURCE, f"--target={target}", f"--qemu-append={words}").assert_outcomes(passed=1)


def test_more_than_the_first_process_takes_is_told_and_left_out(pytester: pytest.Pytester) -> None:
    source = """
def test_x(console):
    console.expect("boot arguments: more than 127 bytes behind -- are left out", 60)
    console.expect("keuos> ", 60)
    console.write("help\\r")
    console.expect("this list", 60)
"""
    _run(pytester, source, "--target=qemu-x86", f"--qemu-append=-- spawn {'x' * 122}").assert_outcomes(passed=1)
