"""Direct mode (docs/sockets.md): who can have the NIC to itself, what it then reaches, and what it can't do with that.

That no byte is copied is counted in test_cost.py.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keuos_hil.agent import Process
from keuos_hil.errors import SocketError
from keuos_hil.net.host import Host
from keuos_hil.net.linux_peer import LinuxPeer
from keuos_hil.net.netd import Netd
from keuos_hil.net.sockets import App
from keuos_hil.net.tcp import Conversation
from keuos_hil.net.transfer import Transfer
from keuos_hil.page_tables import Rights
from keuos_hil.rig import LiveTarget

from ..gates.moments import Auditor, protections_of, space_of
from .conftest import connect_to, fenced
from .programs import device_of, frame_of, until
from .reader import Reader
from .test_dma_audit import reached

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

MIB, PAGE = 1 << 20, 4096
#: Of full frames: so many are on loan at a time and close no window.
ON_LOAN, PAYLOAD = 20, 1400
#: Of a driver's, in bytes; and frames under way at a time, which the device always has a buffer for.
BUFFER, UNDER_WAY = 2048, 16


def serves(host: Host, netd: Netd, port: int) -> None:
    """NetD takes an application, and moves its data."""
    application = netd.application()
    c = connect_to(host, App(application, host), port, port + 1)
    c.tx("PA", data=500)
    assert c.sock.recv_exactly(500).bad is None
    c.sock.abort()
    application.process.close()


def refused(netd: Netd, application: Process) -> None:
    """NetD gives both ends of one who wants the NIC to itself back."""
    before = netd.counters()["refused"]
    netd.bind(application, alone=True)
    until("the ends to be refused", lambda: netd.counters()["refused"], lambda n: n == before + 2)


def test_while_one_has_the_nic_nobody_else_gets_a_socket(target: LiveTarget, host: Host, netd: Netd) -> None:
    other = App(netd.application(), host)
    alone = Transfer(netd, alone=True)
    listener = other.open()
    listener.bind(port=4600)
    with pytest.raises(SocketError, match="EACCES"):
        listener.listen()
    with pytest.raises(SocketError, match="EACCES"):
        other.open("udp").bind(port=4600)
    refused(netd, target.agent.spawn("sleeper"))
    alone.process.close()
    until("NetD to see its end", lambda: netd.counters()["ended"], lambda n: n >= 2)
    serves(host, netd, 4610)


def test_one_who_comes_when_others_have_sockets_does_not_get_the_nic(
    target: LiveTarget, host: Host, netd: Netd
) -> None:
    app = App(netd.application(), host)
    c = connect_to(host, app, 4620, 4621)
    refused(netd, target.agent.spawn("sleeper"))
    c.tx("PA", data=500)
    assert c.sock.recv_exactly(500).bad is None


@pytest.mark.needs("debug", "registers", "pause")
def test_the_device_reaches_the_frames_of_the_ring_and_nothing_else_of_it(target: LiveTarget, netd: Netd) -> None:
    auditor = Auditor(target, protections_of(target.agent))
    before = reached(auditor.check(), netd.nic)
    alone = Transfer(netd, alone=True)
    constant = netd.process.elf.layouts.constant
    snapshot = auditor.check()  # what the device reaches belongs to capabilities of its driver
    more = {iova: frame for iova, frame in reached(snapshot, netd.nic).items() if iova not in before}
    assert len(more) == constant("KEUOS_SOCKET_FRAMES_BYTES") // PAGE
    frames, space = int(alone.process.read_struct("client").frames), space_of(snapshot, alone.process.pid)
    pages = range(frames, frames + PAGE * len(more), PAGE)
    assert [space.translate(page) for page in pages] == [more[iova] for iova in sorted(more)]
    assert {space.rights(page) & Rights.USER for page in pages} == {Rights.USER_READ}, "to read, and no more"
    alone.process.close()
    until("NetD to see its end", lambda: netd.counters()["ended"], lambda n: n >= 1)
    assert reached(auditor.check(), netd.nic) == before


def write_over_what_the_device_has(host: Host, netd: Netd) -> None:
    """Frames for nobody, twice as many as there are buffers: what is not on loan afterwards holds one of them."""
    buffers = netd.process.elf.layouts.constant("KEUOS_SOCKET_FRAMES_BYTES") // BUFFER
    for _ in range(2 * buffers // UNDER_WAY):
        for _ in range(UNDER_WAY):
            host.send(frame_of(netd.network.mac, b"\xff" * 1500))
        host.fence()


@pytest.mark.parametrize("taken", [0, 1, 16, 17])
def test_frames_that_are_read_late_hold_what_came_in_them(host: Host, netd: Netd, taken: int) -> None:
    """`taken` messages leave the ring meanwhile, the last of them unread; the library tells the tail every 16."""
    reader = Reader(host, netd, alone=True)
    reader.credit(1 << 24)
    sent = 0
    for _ in range(2):  # then in buffers that were on loan before
        reader.hold(True)
        before = int(reader.results.messages)
        for late in (True, False):
            for _ in range(ON_LOAN):
                reader.peer.tx("PA", data=PAYLOAD)
            sent += ON_LOAN * PAYLOAD
            host.fence()
            if taken and late:
                reader.stop_at(before + taken)
            write_over_what_the_device_has(host, netd)
        reader.go_on()
        reader.received(sent)
    assert netd.counters()["direct"] == sent, "none was copied: each was read where it lay"


@pytest.mark.parametrize("how", ["dies", "is unbound", "is revoked"])
def test_one_that_goes_under_load_leaves_a_nic_that_serves(
    target: LiveTarget, netd: Netd, start_peer: Callable[..., LinuxPeer], how: str
) -> None:
    alone, peer = Transfer(netd, alone=True), start_peer()
    peer.begin("send", port=alone.sink, count=1 << 40)
    until("the transfer to be under way", lambda: int(alone.results.received), lambda n: n > MIB)
    if how == "dies":
        alone.process.kill()
    elif how == "is revoked":
        netd.channels[-1].revoke()
    else:
        netd.channels[-1].close()
    until("NetD to see its end", lambda: netd.counters()["ended"], lambda n: n >= 1)
    peer.close()
    device = device_of(target.agent, netd.nic)
    assert device.faults == 0, "the NIC reached for pages that it had lost"
    serves(fenced(target, netd), netd, 4630)


def test_a_tail_that_lies_ends_its_application_alone(host: Host, netd: Netd) -> None:
    alone = Transfer(netd, alone=True)
    c = Conversation(host, alone.sink, 4641)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    c.tx("A")
    before = netd.counters()
    tail = int(getattr(alone.process.read_struct("client"), "in").ring.own)
    alone.process.write(tail, (0x7000).to_bytes(4, "little"))
    c.tx("PA", data=500)
    c.rx("RA", within=10)
    until("NetD to be done with it", lambda: netd.counters()["ended"], lambda n: n == before["ended"] + 1)
    assert netd.counters()["violations"] == before["violations"] + 1
    serves(host, netd, 4640)
