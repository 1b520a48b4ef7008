"""More than 4 GiB in one connection: sequence numbers go round by real data. A soak."""

from __future__ import annotations

import zlib

import pytest

from keuos_hil.net import wire
from keuos_hil.net.host import Host
from keuos_hil.net.seq import add
from keuos_hil.net.tcp import Stack

pytestmark = [pytest.mark.needs("link", "sockets"), pytest.mark.soak, pytest.mark.requirement("9293:S-17")]

#: Once round, and some way into the second round.
_BYTES = (1 << 32) + (64 << 20)
#: Segments smaller than this make an hour of it.
_MTU = 9000


@pytest.fixture(autouse=True)
def _large_segments(host: Host) -> None:
    if host.network.mtu < _MTU:
        why = f"4 GiB by an MTU of {host.network.mtu} take an hour"
        pytest.skip(f"{why}; try --target=netd --netd-mtu={_MTU}")


def test_more_than_four_gibibytes_come_whole(net: Stack) -> None:
    c = net.est(mss=_MTU - 40, shift=7, window=1 << 20, options={"sndbuf": 1 << 20})
    came = 0
    while came < _BYTES:
        count, data = c.sock.send(min(_BYTES - came, 1 << 19)), b""
        while len(data) < count:
            data += b"".join(segment.payload for segment in c.burst())
            c.tx("A")
        assert data == wire.pattern(came, count)
        came += count
        c.host.transcript.entries.clear()
    c.sock.shutdown()
    c.rx("FA", seq=add(c.irs, 1 + _BYTES))


def test_more_than_four_gibibytes_are_taken_whole(net: Stack) -> None:
    c = net.est(mss=_MTU - 40, shift=7, options={"rcvbuf": 1 << 20})
    mss = _MTU - 40
    sent = crc = 0
    while sent < _BYTES:
        room = min(c.target_window, _BYTES - sent)
        start = sent
        while sent < start + room:
            data = wire.pattern(sent, min(mss, start + room - sent))
            crc = zlib.crc32(data, crc)
            c.tx("PA", data=data)
            sent += len(data)
        c.rx_ack()
        got = c.sock.recv_exactly(sent - start)
        assert got.bad is None
        c.burst()
        c.host.transcript.entries.clear()
    assert got.crc == crc
