"""The cable is pulled out of the NIC and put back, while connections have data on their way."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from keuos_hil.image import NETD_TEST_PROGRAM
from keuos_hil.net import wire
from keuos_hil.net.linux_peer import LinuxPeer
from keuos_hil.net.netd import Netd, NetdSockets
from keuos_hil.net.seq import diff
from keuos_hil.net.sockets import App
from keuos_hil.net.transfer import Transfer
from keuos_hil.rig import LiveTarget

from .conftest import connect_to, fenced
from .programs import HeldClock, until

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd", "unplug")

MIB = 1 << 20
SECOND = 1_000_000


def nic_of(netd: Netd) -> Any:
    """What NetD's driver knows of the NIC."""
    return netd.process.read_struct("wire").nic


def wait_link(netd: Netd, up: bool) -> None:
    """Until NetD has noticed."""
    until(f"the link to be {'up' if up else 'down'}", lambda: bool(nic_of(netd).link_up), lambda now: now == up)


def test_without_a_cable_netd_knows_it_and_with_it_says_who_it_is(target: LiveTarget, netd: Netd) -> None:
    host = fenced(target, netd)
    for _ in range(3):
        with target.unplugged():
            wait_link(netd, up=False)
            host.ping()
            assert not host.pump(0.05), "a frame went through a cable that is out"
        wait_link(netd, up=True)
        host.arps.clear()
        assert host.wait(lambda: any(arp.sender == arp.target == host.target for arp in host.arps), 5), (
            "a link that comes back is announced (RFC 5227, 2.3)"
        )
        host.fence()


@pytest.mark.needs("netd-clock")
def test_what_is_sent_into_a_cable_that_is_out_comes_again_and_nothing_twice(
    target: LiveTarget, start_netd: Callable[..., Netd]
) -> None:
    netd = start_netd(program=NETD_TEST_PROGRAM)
    host, application = fenced(target, netd), netd.application()
    c = connect_to(host, App(application, host), 4300, 4301)
    clock = HeldClock(netd)
    clock.do("hold")
    c.tx("PA", data=500)
    clock.do("advance", SECOND)
    c.rx_ack()
    before = application.counters()
    with target.unplugged():
        wait_link(netd, up=False)
        driver = netd.counters()
        assert application.call("send", c.sock.number, 3000, "-")[0] == "3000"
        c.tx("PA", data=700, seq=c.snd)
        for _ in range(3):
            clock.do("advance", 5 * SECOND)
        refused = netd.counters()
        assert refused["nic_transmitted"] == driver["nic_transmitted"], "a NIC without a link is given nothing"
        assert refused["nic_received"] == driver["nic_received"], "a frame went through a cable that is out"
        assert refused["nic_no_room"] > driver["nic_no_room"], "what was refused is counted"
        timeouts = application.counters()["tcp_timeouts"] - before["tcp_timeouts"]
        assert timeouts >= 2
    wait_link(netd, up=True)
    host.fence()
    assert not c.segments, "with its clock held NetD sends nothing by itself"
    clock.do("advance", 60 * SECOND)
    first = c.rcv
    for segment in c.rx_data(3000, reply=True):
        assert segment.payload == wire.pattern(diff(segment.seq, first), len(segment.payload))
    c.tx("PA", data=700)
    got = c.sock.recv_exactly(1200)
    assert (got.count, got.bad) == (1200, None)
    host.fence()
    after = application.counters()
    assert after["tcp_retransmitted"] - before["tcp_retransmitted"] >= timeouts
    assert after["bytes_delivered"] - before["bytes_delivered"] == 1200, "each byte is delivered once"
    assert after["tcp_gave_up"] == before["tcp_gave_up"]


@pytest.mark.soak
def test_a_transfer_survives_a_cable_that_is_pulled_and_what_was_lost_is_counted(
    target: LiveTarget,
    netd: Netd,
    application: NetdSockets,
    start_peer: Callable[..., LinuxPeer],
    transfer: Transfer,
) -> None:
    peer = start_peer()
    before = application.counters()
    peer.begin("receive", port=transfer.source, count=2 * MIB)
    until("data to be under way", lambda: int(transfer.results.sent), lambda sent: sent > MIB // 2)
    with target.unplugged():
        wait_link(netd, up=False)
        sent = netd.counters()["nic_transmitted"]
        until("the retransmission timer", lambda: application.counters()["tcp_timeouts"], before["tcp_timeouts"].__lt__)
        counted = netd.counters()
        assert counted["nic_transmitted"] == sent, "nothing is given to a NIC without a link"
        assert counted["nic_no_room"] > 0, "and that it was refused is counted"
    told = peer.finish()
    assert (told["received"], told["digest"]) == (2 * MIB, told["right"])
    after = application.counters()
    assert after["tcp_retransmitted"] > before["tcp_retransmitted"]
    assert after["tcp_accepted"] - before["tcp_accepted"] == 1, "it was one and the same connection"
    assert after["tcp_gave_up"] == before["tcp_gave_up"]
    assert (transfer.results.finished, transfer.results.failed) == (1, 0)
