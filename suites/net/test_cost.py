"""What a packet costs: system calls, interrupts, doorbells and copies, from the counters (docs/measuring.md)."""

from __future__ import annotations

import pytest

from keuos_hil.net.host import Host
from keuos_hil.net.netd import Netd
from keuos_hil.net.tcp import Conversation
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

ROUNDS = 200


def test_the_cost_of_interactive_echo_is_counted(target: LiveTarget, host: Host, netd: Netd, record: Recorder) -> None:
    c = Conversation(host, 7, 5200)
    c.tx("S")
    c.rx("SA", ack=c.snd)
    c.tx("A")
    c.tx("PA", data=64)
    c.rx_data(64)

    def now() -> tuple[int, int, int]:
        counters = netd.counters()
        packets = counters["nic_received"] + counters["nic_transmitted"]
        return packets, int(netd.process.info().syscalls), int(target.agent.devices()[netd.nic - 1].interrupts)

    before = now()
    for _ in range(ROUNDS):
        c.tx("PA", data=64)
        c.rx_data(64)
    packets, calls, interrupts = (after - first for after, first in zip(now(), before, strict=True))
    assert packets >= 2 * ROUNDS
    per_thousand = {"net.syscalls": calls * 1000 / packets, "net.interrupts": interrupts * 1000 / packets}
    for name, value in per_thousand.items():
        record.add(name, {"load": "echo", "mode": "shared"}, "1/1000 packets", value=value)
    assert calls <= packets, f"{calls} system calls for {packets} packets: at most one each"
    assert interrupts <= calls, "no interrupt without a wait that asked for it"
    c.kill()
