"""NetD's throughput beside that of a Linux guest: the same transfer, the same emulated machine and NIC, in one run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from keuos_hil.targets.linux_guest import find_kernel
from keuos_hil.targets.linux_transfer import SINK, SOURCE, LinuxTransfer
from keuos_hil.targets.qemu_x86 import QemuX86

from keuos_hil.agent import Agent
from keuos_hil.errors import InfraError
from keuos_hil.net.bridge import PollableLink
from keuos_hil.net.linux_peer import LinuxPeer, why_not
from keuos_hil.net.netd import Netd
from keuos_hil.net.transfer import Transfer
from keuos_hil.parts import Network
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

MIB = 1 << 20
#: The slowest that is waited for, in bytes a second: this tells a hang from an emulator on a busy machine.
SLOWEST = 20_000


def move(peer: LinuxPeer, direction: str, port: int, size: int) -> float:
    """One transfer, every byte compared. MiB/s."""
    what = {"receive": "send", "send": "receive"}[direction]  # the peer does the opposite
    told = peer.do(what, port=port, count=size, timeout=300 + size / SLOWEST)
    assert told["received"] == size
    assert (told["bad"] == -1) if what == "send" else (told["digest"] == told["right"])
    return size / MIB / float(told["seconds"])


@pytest.fixture
def guest(target: LiveTarget, tmp_path: Path, iommu: bool) -> Iterator[LinuxTransfer]:
    """A Linux in the target's machine; skips where there is no kernel for one, or no namespace for its peer."""
    if not isinstance(target.definition, QemuX86):
        pytest.skip("the Linux guest is one for the target qemu-x86")
    if why := why_not():
        pytest.skip(why)
    try:
        find_kernel(target.name)
    except InfraError as error:
        pytest.skip(str(error))
    network = Network("192.0.2.3", b"", 24, "192.0.2.1")
    with LinuxTransfer(target.definition, network, tmp_path, iommu=iommu) as made:
        yield made


@pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")
@pytest.mark.parametrize(
    ("size", "iommu"),
    [
        (MIB, False),
        pytest.param(1 << 30, False, marks=pytest.mark.soak),
        pytest.param(1 << 30, True, marks=pytest.mark.soak),
    ],
)
def test_netd_and_a_linux_guest_move_the_same_bytes(
    target: LiveTarget,
    agent: Agent,
    guest: LinuxTransfer,
    record: Recorder,
    transfer_bytes: Callable[[int], int],
    size: int,
    iommu: bool,
) -> None:
    size = transfer_bytes(size)
    target.end_netd()
    netd = Netd(agent)
    transfer = Transfer(netd)
    assert isinstance(target.link, PollableLink)
    with LinuxPeer(target.link, netd.network) as near, LinuxPeer(guest.link, guest.network) as far:
        for direction, port, other in (("receive", transfer.sink, SINK), ("send", transfer.source, SOURCE)):
            ours, theirs = move(near, direction, port, size), move(far, direction, other, size)
            params = {"direction": direction, "bytes": size, "linux_iommu": "yes" if iommu else "no"}
            record.add("net.throughput_netd", params, "MiB/s", value=ours, timebase="host")
            record.add("net.throughput_linux", params, "MiB/s", value=theirs, timebase="host")
            record.add("net.throughput_ratio", params, "times", value=ours / theirs, timebase="host")
    assert guest.system.startswith("Linux ")
    assert transfer.results.failed == 0
