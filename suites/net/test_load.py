"""What NetD does when much is asked of it: its death under load, connections without end, a flood of SYNs."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import numpy as np
import pytest

from keuos_hil.errors import TargetFailure
from keuos_hil.net import wire
from keuos_hil.net.host import OWN_MAC
from keuos_hil.net.linux_peer import LinuxPeer
from keuos_hil.net.netd import Netd
from keuos_hil.net.transfer import Transfer
from keuos_hil.parts import Network
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .conftest import fenced
from .programs import device_of, until

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

ECHO = 7
MIB = 1 << 20
#: Own ports of the connections that follow each other: each is used again while NetD is in TIME-WAIT for it.
FIRST_PORT, PORTS = 20000, 8
#: Slices of the flood; the honest connection talks during each.
SLICES = 10
#: RFC 2544's addresses for tests: nobody answers there.
STRANGERS = 0xC6120000
_SOURCE, _PORT, _SEQUENCE = slice(26, 30), slice(34, 36), slice(38, 42)
_IP, _TCP = slice(14, 34), slice(34, 54)


def syns(network: Network, port: int, count: int, seed: int) -> list[bytes]:
    """SYNs from addresses, ports and sequence numbers drawn at random, with right checksums."""
    source, target = STRANGERS.to_bytes(4, "big"), wire.ip(network.address)
    segment = wire.tcp(source, target, 1, port, 0, 0, wire.flags_of("S"), 8192)
    datagram = wire.ipv4(source, target, wire.PROTOCOL_TCP, segment)
    frame = wire.ethernet(network.mac, OWN_MAC, wire.ETHERTYPE_IPV4, datagram)
    draw = np.random.default_rng(seed)
    frames = np.tile(np.frombuffer(frame, np.uint8), (count, 1))
    frames[:, 28:30] = draw.integers(1, 255, (count, 2), np.uint8)
    frames[:, _PORT] = draw.integers(1, 255, (count, 2), np.uint8)
    frames[:, _SEQUENCE] = draw.integers(0, 255, (count, 4), np.uint8)
    pseudo = int.from_bytes(target[:2], "big") + int.from_bytes(target[2:], "big") + wire.PROTOCOL_TCP + 20
    for part, at, more in ((_IP, 24, None), (_TCP, 50, pseudo)):
        frames[:, at : at + 2] = 0
        words = np.ascontiguousarray(frames[:, part]).view(">u2").astype(np.uint64).sum(axis=1)
        if more is not None:
            words += np.ascontiguousarray(frames[:, _SOURCE]).view(">u2").astype(np.uint64).sum(axis=1) + np.uint64(
                more
            )
        for _ in range(2):
            words = (words & np.uint64(0xFFFF)) + (words >> np.uint64(16))
        frames[:, at : at + 2] = (~words).astype(">u2").view(np.uint8).reshape(count, 2)
    return [one.tobytes() for one in frames]


def test_the_flood_is_made_of_right_segments(seed: int) -> None:
    network = Network("192.0.2.2", bytes.fromhex("020000000002"), 24, "192.0.2.1")
    sources = set()
    for frame in syns(network, 80, 100, seed):
        packet = wire.parse(frame)
        assert isinstance(packet, wire.Segment)
        assert packet.checksum_ok
        assert packet.ip.checksum_ok
        assert (wire.letters_of(packet.flags), packet.destination_port) == ("S", 80)
        sources.add((packet.ip.source, packet.source_port))
    assert len(sources) > 90


def test_a_netd_that_dies_under_load_is_quiet_and_the_next_one_resets_what_it_does_not_know(
    target: LiveTarget, netd: Netd, start_peer: Callable[..., LinuxPeer], transfer: Transfer, record: Recorder
) -> None:
    peer = start_peer()
    device = device_of(target.agent, netd.nic)
    peer.begin("send", port=transfer.sink, count=1 << 40)
    until("the transfer to be under way", lambda: int(transfer.results.received), lambda n: n > MIB)
    killed = time.monotonic()
    netd.process.kill()
    netd.process.wait_exit()  # at its core's next entry into the kernel
    after = device_of(target.agent, netd.nic)
    assert (after.holder, after.dma_pages, after.dma_ranges) == (0, 0, 0)
    assert not after.state & target.agent.image.constant("KEUOS_DEVICE_MASTERING")
    assert transfer.process.wait_exit().detail == 2, "the application was told that NetD is gone"
    netd.close()
    second = Netd(target.agent)
    record.add("net.recovery_under_load", {}, "ms", value=(time.monotonic() - killed) * 1000, timebase="host")
    with pytest.raises(TargetFailure, match="ConnectionResetError"):
        peer.finish()
    again = Transfer(second)
    told = peer.do("send", port=again.sink, count=MIB)
    assert (told["received"], told["bad"]) == (MIB, -1)
    assert device_of(target.agent, netd.nic).faults == device.faults, "the NIC reached for memory it had lost"
    peer.close()
    fenced(target, second)
    second.close()


@pytest.mark.parametrize("which", ["requests", "events"])
def test_an_application_whose_channel_is_revoked_under_load_ends_alone(
    netd: Netd, start_peer: Callable[..., LinuxPeer], transfer: Transfer, which: str
) -> None:
    peer = start_peer()
    peer.do("open", port=ECHO)
    peer.begin("send", port=transfer.sink, count=1 << 40)
    until("the transfer to be under way", lambda: int(transfer.results.received), lambda n: n > MIB)
    netd.channels[0 if which == "requests" else 1].revoke()
    until("NetD to see its end", lambda: netd.counters()["ended"], lambda n: n == 1)
    with pytest.raises(TargetFailure, match="ConnectionResetError"):
        peer.finish()
    peer.do("talk", rounds=2, size=1000)
    assert transfer.process.wait_exit().name.startswith("fault"), "the application has lost what it went on touching"
    told = peer.do("send", port=Transfer(netd).sink, count=MIB)
    assert (told["received"], told["bad"]) == (MIB, -1)


@pytest.mark.parametrize("count", [300, pytest.param(100_000, marks=pytest.mark.soak)])
def test_connections_come_and_go_and_their_tuples_come_again(
    netd: Netd, start_peer: Callable[..., LinuxPeer], transfer: Transfer, record: Recorder, count: int
) -> None:
    peer, observer = start_peer(), netd.application()
    before = observer.counters()
    told = peer.do(
        "connections", port=transfer.source, count=count, size=100, first=FIRST_PORT, ports=PORTS, timeout=300 + count
    )
    record.add("net.connections", {}, "1/s", value=count / float(told["seconds"]), timebase="host")
    results = until("every connection to be done with", lambda: transfer.results, lambda r: r.finished >= count)
    assert (results.accepted, results.finished, results.failed) == (count, count, 0)
    after = observer.counters()
    assert after["tcp_accepted"] - before["tcp_accepted"] == count
    assert after["tcp_no_buffer"] == before["tcp_no_buffer"], "each connection's buffers came back"


@pytest.mark.parametrize("count", [2000, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_a_flood_of_syns_stops_neither_a_connection_nor_a_newcomer(
    target: LiveTarget,
    netd: Netd,
    start_peer: Callable[..., LinuxPeer],
    transfer: Transfer,
    record: Recorder,
    seed: int,
    count: int,
) -> None:
    peer, observer = start_peer(), netd.application()
    peer.do("open", port=ECHO)
    before = observer.counters()
    draw = random.Random(seed)
    flooded = 0.0
    for _ in range(SLICES):
        frames = syns(netd.network, transfer.source, count // SLICES, draw.getrandbits(32))
        peer.begin("talk", rounds=10, size=1000)
        begun = time.monotonic()
        for frame in frames:
            target.link.send(frame)
        peer.finish()
        flooded += time.monotonic() - begun
    record.add("net.flood", {}, "SYN/s", value=count / flooded, timebase="host")
    newcomer = peer.do("receive", port=transfer.source, count=10_000)
    assert newcomer["digest"] == newcomer["right"]
    peer.do("talk", rounds=1, size=1000)
    after = observer.counters()
    assert after["cookies_sent"] - before["cookies_sent"] > count // 2, "the backlog overflowed"
    assert transfer.results.failed == 0
