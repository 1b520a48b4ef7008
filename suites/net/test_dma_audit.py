"""The DMA gate from outside: the IOMMU's own tables, read on a machine that stands still, against what drivers hold.

The rules and their sentences are in keuos_hil.auditor; the kernel is not asked, and none of its code is used.
"""

from __future__ import annotations

import pytest

from keuos_hil.agent import Agent
from keuos_hil.auditor import DEVICE_RULES, Snapshot
from keuos_hil.iommu import Place
from keuos_hil.rig import LiveTarget

from ..gates.moments import Auditor, protections_of
from .programs import Probe, Rogue, device_of, nic_number, until
from .test_dma_gate import IOVA, PAGE, bind_ring

pytestmark = pytest.mark.needs("agent", "channels", "link", "iommu", "debug", "registers", "pause", "entropy")


@pytest.fixture
def auditor(target: LiveTarget, agent: Agent) -> Auditor:
    return Auditor(target, protections_of(agent))


def reached(snapshot: Snapshot, device: int) -> dict[int, int]:
    """What a device reaches: physical address by IOVA."""
    pages = snapshot.domains[device - 1].pages()
    return dict(zip(pages["virtual"].tolist(), pages["physical"].tolist(), strict=True))


def test_a_device_that_nobody_drives_reaches_nothing(auditor: Auditor, agent: Agent) -> None:
    snapshot = auditor.check()
    assert snapshot.iommu is not None
    assert snapshot.iommu.contexts == {}
    assert snapshot.domains == {}


def test_a_driver_at_work_has_its_device_in_bounds(auditor: Auditor, target: LiveTarget, agent: Agent) -> None:
    probe = Probe(agent)
    snapshot = auditor.check()
    assert snapshot.iommu is not None
    assert list(snapshot.iommu.contexts) == [device_of(agent, probe.nic).requester]
    assert len(reached(snapshot, probe.nic)) > 2
    assert snapshot.iommu.open_interrupts() >= 1, "no interrupt is bound"


def test_pages_shown_to_a_device_are_those_of_its_drivers_capabilities(
    auditor: Auditor, target: LiveTarget, agent: Agent
) -> None:
    rogue = Rogue(agent)
    rogue.open()
    rogue.new_page(IOVA + 16 * PAGE)
    rogue.new_page(IOVA + 18 * PAGE, writable=False)
    channel, _, _ = bind_ring(agent, rogue)
    snapshot = auditor.check()
    assert {IOVA, IOVA + 16 * PAGE, IOVA + 18 * PAGE} <= set(reached(snapshot, rogue.nic))
    channel.revoke()
    snapshot = auditor.check()
    assert IOVA not in reached(snapshot, rogue.nic)
    rogue.process.kill()
    rogue.process.wait_exit()
    snapshot = auditor.check()
    assert snapshot.iommu is not None
    assert (snapshot.iommu.contexts, snapshot.domains) == ({}, {})


def test_all_that_a_driver_paid_for_its_device_comes_back_with_the_release(agent: Agent) -> None:
    rogue = Rogue(agent)
    rogue.open()
    device, number = rogue.capability, rogue.nic
    release, claim = (agent.image.constant(f"KEUOS_DEVICE_{name}") for name in ("RELEASE", "CLAIM"))
    rogue.good("device_control", device, release, 0)
    before = rogue.process.info().pages, agent.counts().pages_free
    for turn in range(3):
        until("the reset to end", lambda: rogue.call("device_control", device, claim, 0), lambda value: value == 0)
        memory = rogue.good("memory_create", 3)
        for place in range(8):
            rogue.good("dma_map", device, memory, 0, 3, IOVA + (place << 30), 1)
        assert rogue.process.info().pages > before[0] + 8
        rogue.good("cap_drop", memory)
        rogue.good("device_control", device, release, 0)
        assert device_of(agent, number).dma_ranges == 0
        assert (rogue.process.info().pages, agent.counts().pages_free) == before, f"after turn {turn}"


def test_who_left_a_device_left_nothing_in_it(agent: Agent) -> None:
    """Its queues would be there for the next driver, and with bus mastering on it would use them."""
    rogue = Rogue(agent)
    rogue.open()
    assert rogue.results.status != 0, "the driver did not come to run its device"
    rogue.process.close()
    number = nic_number(agent)
    second = Rogue(agent)
    claim = agent.image.constant("KEUOS_DEVICE_CLAIM")
    until("the reset to end", lambda: second.call("device_control", second.capability, claim, 0), lambda v: v == 0)
    registers = second.good("device_map", second.capability, 4, 0, 1)
    status = registers + 20  # struct virtio_pci_common_cfg.device_status (virtio 1.2, 4.1.4.3)
    assert second.peek(status) & 0xFF == 0, f"device {number} still runs for its last driver"


# That each rule can fail ---------------------------------------------------------------------------------------------


def test_damage_to_the_iommus_tables_is_named(auditor: Auditor, target: LiveTarget, agent: Agent) -> None:
    rogue = Rogue(agent)
    rogue.open()
    rogue.new_page(IOVA)
    memory = rogue.good("memory_create", 1)
    reading = rogue.good("cap_grant", 0, memory, agent.image.constant("KEUOS_RIGHT_READ"))
    rogue.good("dma_map", rogue.capability, reading, 0, 1, IOVA + PAGE, 0)
    rogue.good("device_control", rogue.capability, agent.image.constant("KEUOS_DEVICE_INTERRUPT"), 0)
    slot = int(target.kernel.read_element("devices", rogue.nic - 1).slots[0])
    wrong: dict[str, str] = {}
    rules: set[str] = set()

    def damage_all(snapshot: Snapshot) -> None:
        assert snapshot.iommu is not None
        record = snapshot.devices.records[rogue.nic - 1]
        place = Place(
            requester=int(snapshot.function(record)["requester"]),
            root=int(record["domain"]["root"]),
            slot=slot,
            writable=IOVA,
            readable=IOVA + PAGE,
        )
        for name, damage in snapshot.iommu.damages(place).items():
            rules.add(damage.rule)
            was = target.debug.read_physical(damage.where, 8)
            target.debug.write_physical(
                damage.where, (int.from_bytes(was, "little") ^ damage.change).to_bytes(8, "little")
            )
            found = auditor.audit(auditor.take(), only=[rule.name for rule in DEVICE_RULES])
            target.debug.write_physical(damage.where, was)
            if not any(violation.rule == damage.rule and damage.says in violation.text for violation in found):
                wrong[name] = "; ".join(map(str, found)) or "nothing was found"

    assert auditor.audit(auditor.quiet_moment(damage_all)) == []
    assert wrong == {}
    assert rules == {rule.name for rule in DEVICE_RULES}, "a rule has no damage that it is shown to find"
