"""NetD as a person at the prompt has it, and as the first process keeps it alive."""

from __future__ import annotations

import re
import struct
import time

import pytest

from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.netd import ADDRESS, GATEWAY, PREFIX
from keuos_hil.parts import Network
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels", "clean-line", "iommu", "link", "entropy", "netd")

#: A line of the prompt comes within milliseconds; so long means that it never will.
SOON_S = 20.0
_BROADCAST = b"\xff" * 6


def say(target: LiveTarget, line: str) -> None:
    """Type a line at the prompt."""
    target.console.write(line + "\r")


def spawn_netd(target: LiveTarget, more: str = "") -> int:
    """NetD by the prompt; its pid."""
    target.end_netd()
    _ = target.agent
    say(target, f"spawn netd ip={ADDRESS}/{PREFIX} gw={GATEWAY} {more}".strip())
    return int(target.console.expect(re.compile(rb"\[(\d+)\] netd on core"), SOON_S)[1])


def answers(target: LiveTarget, within: float = SOON_S) -> Host:
    """Wait until NetD answers for its address, and then a ping. The host that asked."""
    host = Host(target.link, Network(ADDRESS, _BROADCAST, PREFIX, GATEWAY))
    host.judging = False
    ask = wire.arp(1, host.mac, host.address, bytes(6), host.target)
    deadline = time.monotonic() + within
    while time.monotonic() < deadline:
        host.send(wire.ethernet(_BROADCAST, host.mac, wire.ETHERTYPE_ARP, ask))
        if host.wait(lambda: any(answer.operation == 2 for answer in host.arps), 0.02):
            break
    else:
        pytest.fail(f"no NetD answered for {ADDRESS} within {within:g} s")
    mac = next(answer.sender_mac for answer in host.arps if answer.operation == 2)
    pinger = Host(target.link, Network(ADDRESS, mac, PREFIX, GATEWAY))
    pinger.judging = False
    pinger.fence()
    return pinger


def end_netd(target: LiveTarget) -> None:
    """No NetD any more, and none in its place."""
    say(target, "net off")
    target.console.expect(re.compile(rb"netd: killed by"), SOON_S)


def test_net_at_the_prompt_shows_addresses_counters_and_connections(target: LiveTarget) -> None:
    spawn_netd(target)
    answers(target)
    say(target, "net")
    target.console.expect(f"address {ADDRESS}/{PREFIX} gateway {GATEWAY}", SOON_S)
    target.console.expect(re.compile(rb"card 52:54:00:[0-9a-f:]{8} mtu 1500 link up dhcp off"), SOON_S)
    target.console.expect(re.compile(rb"icmp_echoes \d+"), SOON_S)
    target.console.expect(re.compile(rb"LISTEN +0\.0\.0\.0:7 "), SOON_S)
    target.console.expect(re.compile(rb"\] net: exit 0"), SOON_S)
    end_netd(target)


def test_net_resolve_at_the_prompt_tells_a_names_address(target: LiveTarget) -> None:
    spawn_netd(target, f"dns={GATEWAY}")
    host = answers(target)
    say(target, "net resolve www.example")
    assert host.wait(lambda: bool(host.udps), SOON_S), "nobody is asked"
    question = host.udps.popleft()
    record = b"\xc0\x0c" + struct.pack("!HHIH", 1, 1, 60, 4) + wire.ip("198.51.100.7")
    answer = question.payload[:2] + b"\x81\x80" + question.payload[4:6] + b"\0\1" + question.payload[8:] + record
    data = wire.udp(host.address, host.target, 53, question.source_port, answer)
    host.send_ip(wire.ipv4(host.address, host.target, wire.PROTOCOL_UDP, data))
    target.console.expect("www.example is 198.51.100.7", SOON_S)
    say(target, "net resolve a..b")
    target.console.expect("a..b: that is no name", SOON_S)
    say(target, "net resolve")
    target.console.expect("net: expected nothing, 'off' or 'resolve' and a name, got 'resolve'", SOON_S)
    end_netd(target)


def test_net_without_a_netd_says_how_to_get_one(target: LiveTarget) -> None:
    target.end_netd()
    _ = target.agent
    say(target, "net")
    target.console.expect("net: there is no NetD: 'spawn netd ip=A.B.C.D/BITS gw=A.B.C.D' starts one", SOON_S)


def test_a_netd_that_cannot_have_the_nic_says_who_may_and_serves_nobody(target: LiveTarget) -> None:
    _ = target.sockets  # NetD by the host: the prompt knows nothing of it
    say(target, f"spawn netd ip={ADDRESS}/{PREFIX}")
    target.console.expect("the NIC can't be claimed: another process drives it: 'devices' tells which one", SOON_S)
    target.console.expect("netd: exit 3", SOON_S)
    say(target, "net off")
    target.console.expect("net: there is no NetD", SOON_S)


def test_a_second_netd_is_refused_while_one_serves(target: LiveTarget) -> None:
    pid = spawn_netd(target)
    say(target, "spawn netd ip=bad")
    target.console.expect(f"spawn: NetD already serves as [{pid}]; 'net off' ends it", SOON_S)
    answers(target)
    end_netd(target)


def test_a_netd_that_dies_is_started_again_and_serves(target: LiveTarget, record: Recorder) -> None:
    pid = spawn_netd(target)
    answers(target)
    time.sleep(1.0)  # one that dies at once is not started again
    faults = sum(device.faults for device in target.agent.devices())
    killed = time.monotonic()
    say(target, f"kill {pid}")
    target.console.expect(re.compile(rb"netd: killed by .*\r\n"), SOON_S)
    target.console.expect("netd: started again", SOON_S)
    answers(target)
    record.add("net.recovery", {}, "ms", value=(time.monotonic() - killed) * 1000, timebase="host")
    assert sum(device.faults for device in target.agent.devices()) == faults, "the NIC reached for memory it lost"
    end_netd(target)
