"""Rules on devices: what the IOMMU permits each function, held against what the function's driver holds.

The tables are those that the hardware reads, as :mod:`keuos_hil.iommu` finds them. That each page a device reaches is
held, and paid for by its driver, is among the rules on frames and records.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from keuos_hil.iommu import Bound
from keuos_hil.page_tables import Rights

from .snapshot import PAGE, Snapshot


@dataclass(frozen=True)
class _Shown:
    """A page that a device may have by its driver's capability."""

    what: str
    physical: int
    writable: bool


def _driver(snapshot: Snapshot, device: Any) -> int | None:
    return snapshot.processes.index(int(device["holder"]))


def _frames_of(snapshot: Snapshot, capability: Any) -> tuple[str, list[int], bool] | None:
    """(what it names, its frames, whether they may be written by the holder's device); None: it shows nothing."""
    kind, pointer = int(capability["type"]), int(capability["object"])
    if kind == snapshot.constant("KEUOS_CAP_MEMORY"):
        which = snapshot.objects.index(pointer)
        if which is None or not int(capability["rights"]) & snapshot.constant("KEUOS_RIGHT_READ"):
            return None
        record = snapshot.objects.records[which]
        may_write = bool(int(capability["rights"]) & snapshot.constant("KEUOS_RIGHT_WRITE"))
        return f"memory object {which}", record["frames"][: int(record["pages"])].tolist(), may_write
    if kind in (snapshot.constant("KEUOS_CAP_PRODUCER"), snapshot.constant("KEUOS_CAP_CONSUMER")):
        which = snapshot.channels.index(pointer)
        if which is None:
            return None
        record = snapshot.channels.records[which]
        first = snapshot.constant("KEUOS_OFFSET_DATA") // PAGE
        ring = record["frames"][first : first + int(record["data_bytes"]) // PAGE].tolist()
        return f"the data ring of channel {which + 1}", ring, kind == snapshot.constant("KEUOS_CAP_PRODUCER")
    return None


def _ranges(snapshot: Snapshot, device: Any) -> Iterator[tuple[int, int, int]]:
    """(IOVA, pages, capability) of each range in use."""
    for one in device["ranges"]:
        if int(one["pages"]):
            yield int(one["iova"]), int(one["pages"]), int(one["capability"])


def reach(snapshot: Snapshot) -> Iterator[str]:
    """By the ranges that the driver registered, each made from a capability that it holds now."""
    for index, device in enumerate(snapshot.devices.records):
        name, driver = f"device {index + 1}", _driver(snapshot, device)
        shown: dict[int, set[_Shown]] = {}
        for iova, pages, number in _ranges(snapshot, device):
            if driver is None:
                yield f"{name} has a range at {iova:#x} and no driver"
                continue
            found = _frames_of(snapshot, snapshot.processes.records[driver]["capabilities"][number])
            if found is None:
                yield f"{name} has a range at {iova:#x} of {snapshot.process_name(driver)}'s capability {number}"
                continue
            what, frames, may_write = found
            for page in range(pages):
                shown[iova + page * PAGE] = {_Shown(what, frame, may_write) for frame in frames}
        domain = snapshot.domains.get(index)
        if domain is None:
            continue
        for row in domain.pages():
            at, physical, rights = int(row["virtual"]), int(row["physical"]), Rights(int(row["rights"]))
            if snapshot.iommu is not None and snapshot.iommu.shared.get(at) == physical:
                continue
            allowed = next((page for page in shown.get(at, ()) if page.physical == physical), None)
            if allowed is None:
                yield f"{name} reaches {snapshot.frame_name(physical)} at {at:#x}, which its driver did not show it"
            elif rights & Rights.KERNEL_WRITE and not allowed.writable:
                yield f"{name} may write {allowed.what} at {at:#x}, and its driver may not"


def contexts(snapshot: Snapshot) -> Iterator[str]:
    """A function that nobody drives reaches nothing; one that is driven its own tables, and no other's."""
    if snapshot.iommu is None:
        return
    driven = {
        int(snapshot.function(device)["requester"]): (
            index,
            int(device["domain"]["root"]),
            int(device["domain"]["number"]),
        )
        for index, device in enumerate(snapshot.devices.records)
        if int(device["holder"])
    }
    for requester, context in snapshot.iommu.contexts.items():
        if requester not in driven:
            yield f"requester {requester:#x} reaches {context.root:#x}, and nobody drives it"
            continue
        index, root, number = driven[requester]
        if (context.root, context.domain) != (root, number):
            own = f"{number} at {root:#x}"
            yield f"device {index + 1} is in domain {context.domain} at {context.root:#x}; its own is {own}"
        if context.wrong:
            yield f"device {index + 1}'s requests are not translated by its tables: {context.wrong}"
        if context.levels != snapshot.iommu.tables.levels:
            its = snapshot.iommu.tables.levels
            yield f"device {index + 1}'s tables are walked {context.levels} deep; they are {its}"
    for requester, (index, _, _) in driven.items():
        if requester not in snapshot.iommu.contexts:
            yield f"device {index + 1} has a driver and no domain"
    numbers = [context.domain for context in snapshot.iommu.contexts.values()]
    if len(set(numbers)) < len(numbers):
        yield f"domains are shared: {numbers}"


def interrupts(snapshot: Snapshot) -> Iterator[str]:
    """What lets a function interrupt is one vector of a driven device, its own alone, and goes to its driver's core."""
    if snapshot.iommu is None:
        return
    bound = {}
    for index, device in enumerate(snapshot.devices.records):
        if not int(device["holder"]):
            continue
        driver = _driver(snapshot, device)
        core = int(snapshot.processes.records[driver]["core"]) if driver is not None else None
        requester, blocked = int(snapshot.function(device)["requester"]), int(device["blocked"])
        for vector, slot in enumerate(device["slots"]):
            if int(slot) >= 0:
                bound[int(slot)] = Bound(index + 1, vector, requester, core, bool(blocked >> vector & 1))
    yield from snapshot.iommu.interrupt_faults(bound)
