"""What a packet costs: system calls, interrupts, doorbells and copies, from the counters (docs/measuring.md)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from keuos_hil.executed import Executed, difference
from keuos_hil.net.host import Host
from keuos_hil.net.linux_peer import LinuxPeer
from keuos_hil.net.netd import Netd
from keuos_hil.net.phases import TOTAL, by_phase
from keuos_hil.net.tcp import Conversation
from keuos_hil.net.transfer import Transfer
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

pytestmark = pytest.mark.needs("agent", "channels", "iommu", "link", "entropy", "netd")

ROUNDS = 200


class Spent:
    """What is executed, where the target counts it (--executed): a window from :meth:`begin` to :meth:`end`."""

    def __init__(self, target: LiveTarget) -> None:
        self._target = target if "executed" in target.definition.capabilities else None
        self._before: Executed = {}
        self.begin()  # what is known of the programs is read now, and not while a peer waits

    def begin(self) -> None:
        """From here on."""
        if self._target is not None:
            self._before = self._target.executed()

    def end(self) -> Executed:
        """What was executed since; nothing where nobody counts."""
        return {} if self._target is None else difference(self._target.executed(), self._before)


def _record_phases(record: Recorder, of: dict[str, str], spent: Executed, packets: int, *applications: str) -> None:
    if spent:
        phases = by_phase(spent, packets, applications)
        for phase, count in phases.items():
            more = {} if phase == TOTAL else {"phase": phase}
            record.add("net.instructions", of | more, "instructions per packet", value=count)
        assert phases[TOTAL] > 100, "a packet can't be dealt with in so few instructions"


@pytest.mark.parametrize("mode", ["shared", "direct"])
def test_the_cost_of_interactive_echo_is_counted(
    target: LiveTarget, host: Host, netd: Netd, record: Recorder, mode: str
) -> None:
    """The echo service is NetD's own. In direct mode what is for it lands in an application's frames all the same."""
    if mode == "direct":
        Transfer(netd, alone=True)
    spent = Spent(target)
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
    spent.begin()
    for _ in range(ROUNDS):
        c.tx("PA", data=64)
        c.rx_data(64)
    executed = spent.end()
    packets, calls, interrupts = (after - first for after, first in zip(now(), before, strict=True))
    assert packets >= 2 * ROUNDS
    per_thousand = {"net.syscalls": calls * 1000 / packets, "net.interrupts": interrupts * 1000 / packets}
    for name, value in per_thousand.items():
        record.add(name, {"load": "echo", "mode": mode}, "1/1000 packets", value=value)
    _record_phases(record, {"load": "echo", "mode": mode}, executed, packets)
    assert calls <= packets, f"{calls} system calls for {packets} packets: at most one each"
    assert interrupts <= calls, "no interrupt without a wait that asked for it"
    c.kill()


#: Behind a first transfer of this size the rings have been used, and every page has been touched.
WARM_UP, BULK = 1 << 20, 16 << 20
#: Copies of a byte, at most, by mode and direction. What is sent is copied twice, and its headers once.
COPIES = {("shared", "receive"): 1.0, ("shared", "send"): 2.1, ("direct", "receive"): 0.0}
#: A host that is busy elsewhere offers less than a bulk load; so many transfers are tried for one that is.
TRIES = 3


class Counted:
    """What one transfer made NetD, its application and the NIC do."""

    def __init__(self, target: LiveTarget, netd: Netd, transfer: Transfer) -> None:
        self._target, self._netd, self._transfer = target, netd, transfer
        self._observer = netd.application()
        self._told = 0

    def now(self) -> dict[str, int]:
        """The counters as they stand."""
        rings, application = self._netd.counters(), self._transfer.results
        stack = self._observer.counters()
        receive_copied = rings["copied"] + stack["bytes_copied"] - self._told
        self._told += 8 * len(stack)  # the answer to the observer is no data of a connection
        return {
            "packets": rings["nic_received"] + rings["nic_transmitted"],
            "notifications": rings["doorbells"] + int(application.doorbells),
            "kicks": rings["nic_notifications"],
            "syscalls": int(self._netd.process.info().syscalls),
            "interrupts": int(self._target.agent.devices()[self._netd.nic - 1].interrupts),
            "received": int(application.received),
            "receive_copied": receive_copied,
            "sent": int(application.sent),
            # Out of the ring into the send buffer, and into the NIC's.
            "send_copied": rings["sent_copied"] + rings["nic_transmitted_bytes"],
            "direct": rings["direct"],
            # Copied once more: what came behind a hole, was sent again, or came while as many frames as may were kept.
            "repaired": stack["tcp_out_of_order"] + stack["tcp_retransmitted"] + stack["tcp_frames_full"],
        }


@pytest.mark.parametrize(("mode", "direction"), COPIES)
def test_bulk_data_costs_few_notifications_and_few_copies(
    target: LiveTarget,
    netd: Netd,
    start_peer: Callable[..., LinuxPeer],
    record: Recorder,
    transfer_bytes: Callable[[int], int],
    mode: str,
    direction: str,
) -> None:
    transfer = Transfer(netd, alone=mode == "direct")
    peer, counted, size = start_peer(), Counted(target, netd, transfer), transfer_bytes(BULK)
    what, port, moved = (
        ("send", transfer.sink, "received") if direction == "receive" else ("receive", transfer.source, "sent")
    )
    peer.do(what, port=port, count=WARM_UP)
    spent, tries, executed = Spent(target), [], []
    for _ in range(TRIES):
        before = counted.now()
        spent.begin()
        peer.do(what, port=port, count=size)
        executed.append(spent.end())
        after = counted.now()
        tries.append({name: after[name] - before[name] for name in after})
        if tries[-1]["notifications"] * 10 <= tries[-1]["packets"]:
            break
    counts = min(tries, key=lambda one: one["notifications"] / one["packets"])
    of = {"load": "bulk", "mode": mode, "direction": direction}
    for name in ("notifications", "kicks", "syscalls", "interrupts"):
        at_most = 100.0 if name == "notifications" else None
        value = counts[name] * 1000 / counts["packets"]
        record.add(f"net.{name}", of, "1/1000 packets", value=value, at_most=at_most)
    _record_phases(record, of, executed[tries.index(counts)], counts["packets"], transfer.process.name)
    copied = counts[f"{direction}_copied"] / counts[moved]
    at_most = COPIES[mode, direction]
    record.add("net.copied", of, "bytes per byte", value=copied, at_most=at_most)
    if mode == "shared":
        # How many become one depends on who is quicker: the limit is told beside the figure, and here they are few.
        assert counts["notifications"] * 4 <= counts["packets"], f"hardly ever is one for many packets: {tries}"
    assert copied <= at_most or counts["repaired"], "a byte is copied no oftener than docs/sockets.md says"
    assert mode == "shared" or counts["direct"] == size or counts["repaired"]
