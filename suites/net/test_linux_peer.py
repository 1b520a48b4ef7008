"""Linux's own stack as the peer, in a network namespace: bulk transfers, over a clean wire and over a bad one."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from keuos_hil.net.impaired_link import Impairments
from keuos_hil.net.linux_peer import LinuxPeer
from keuos_hil.net.linux_peer_program import NETCAT
from keuos_hil.net.transfer import Transfer
from keuos_hil.record import Recorder

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

MIB = 1 << 20
BAD = Impairments(loss=0.01, duplicate=0.01, corrupt=0.01, reorder=0.01, delay_s=0.001, jitter_s=0.001)
CLEAN_SIZES = [4 * MIB, pytest.param(1 << 30, marks=pytest.mark.soak)]
BAD_SIZES = [MIB, pytest.param(100 * MIB, marks=pytest.mark.soak)]
#: The slowest that is waited for, in bytes a second: this tells a hang from an emulator on a busy machine.
SLOWEST = 20_000


def check_send(peer: LinuxPeer, transfer: Transfer, size: int) -> float:
    """Linux sends; the program on the target has compared every byte. MiB/s."""
    told = peer.do("send", port=transfer.sink, count=size, timeout=300 + size / SLOWEST)
    assert (told["received"], told["bad"]) == (size, -1)
    return size / MIB / float(told["seconds"])


def check_receive(peer: LinuxPeer, transfer: Transfer, size: int) -> float:
    """Linux receives, and compares by SHA-256. MiB/s."""
    told = peer.do("receive", port=transfer.source, count=size, timeout=300 + size / SLOWEST)
    assert (told["received"], told["digest"]) == (size, told["right"])
    return size / MIB / float(told["seconds"])


def _both_ways(peer: LinuxPeer, transfer: Transfer, record: Recorder, size: int, wire: str) -> None:
    """Both checks, and their rates under the wire's name."""
    for direction, check in (("receive", check_send), ("send", check_receive)):
        params = {"direction": direction, "wire": wire}
        record.add("net.throughput", params, "MiB/s", value=check(peer, transfer, size), timebase="host")


@pytest.mark.parametrize("size", CLEAN_SIZES)
def test_every_byte_arrives_over_a_clean_wire(
    start_peer: Callable[..., LinuxPeer],
    transfer: Transfer,
    record: Recorder,
    transfer_bytes: Callable[[int], int],
    size: int,
) -> None:
    size = transfer_bytes(size)
    peer = start_peer()
    _both_ways(peer, transfer, record, size, "clean")
    assert transfer.results.failed == 0


@pytest.mark.parametrize("size", BAD_SIZES)
def test_every_byte_arrives_over_a_bad_wire(
    start_peer: Callable[..., LinuxPeer],
    transfer: Transfer,
    record: Recorder,
    transfer_bytes: Callable[[int], int],
    size: int,
) -> None:
    size = transfer_bytes(size)
    peer = start_peer(BAD)
    _both_ways(peer, transfer, record, size, "bad")
    assert peer.bridge is not None
    for way in (peer.bridge.to_target, peer.bridge.from_target):
        assert min(way.counts.values()) > 0, f"the wire was to do each of these: {way.counts}"


@pytest.mark.skipif(shutil.which(NETCAT) is None, reason=f"no {NETCAT} on this machine (Debian: netcat-openbsd)")
def test_netcat_sends_and_receives_every_byte(start_peer: Callable[..., LinuxPeer], transfer: Transfer) -> None:
    peer = start_peer()
    told = peer.do("netcat_send", port=transfer.sink, count=MIB)
    assert (told["received"], told["bad"]) == (MIB, -1)
    told = peer.do("netcat_receive", port=transfer.source, count=MIB)
    assert (told["received"], told["digest"]) == (MIB, told["right"])
    assert (transfer.results.finished, transfer.results.failed) == (2, 0)
