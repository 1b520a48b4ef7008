"""Rules on the kernel's records: that capabilities, sides, counts, quotas and cores agree with each other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from .snapshot import UPPER_HALF, Snapshot, Table


def _held(snapshot: Snapshot) -> Iterator[tuple[int, int, Any]]:
    """(process, index, capability) of every capability that somebody holds."""
    free = snapshot.constant("KEUOS_PROCESS_FREE")
    types = snapshot.processes.records["capabilities"]["type"]
    for process, number in np.argwhere(types != snapshot.constant("KEUOS_CAP_NONE")).tolist():
        record = snapshot.processes.records[process]
        if record["state"] != free:
            yield process, number, record["capabilities"][number]


def capabilities(snapshot: Snapshot) -> Iterator[str]:
    """Each capability names a live object of its type; objects count them; a channel's sides are held."""
    constant = snapshot.constant
    own = {constant("KEUOS_CAP_SELF"), constant("KEUOS_CAP_SYSTEM_INDEX")}
    tables: dict[int, tuple[str, Table]] = {
        constant("KEUOS_CAP_PROCESS"): ("process", snapshot.processes),
        constant("KEUOS_CAP_PRODUCER"): ("channel", snapshot.channels),
        constant("KEUOS_CAP_CONSUMER"): ("channel", snapshot.channels),
        constant("KEUOS_CAP_CHANNEL"): ("channel", snapshot.channels),
        constant("KEUOS_CAP_MEMORY"): ("memory object", snapshot.objects),
        constant("KEUOS_CAP_DEVICE"): ("device", snapshot.devices),
    }
    sides = {constant("KEUOS_CAP_PRODUCER"): "producer", constant("KEUOS_CAP_CONSUMER"): "consumer"}
    counts: dict[tuple[int, int], int] = {}
    ends: set[tuple[int, str]] = set()
    total = 0
    for process, number, capability in _held(snapshot):
        kind = int(capability["type"])
        here = f"{snapshot.process_name(process)} capability {number}"
        total += number not in own
        if kind == constant("KEUOS_CAP_SYSTEM"):
            continue
        if kind not in tables:
            yield f"{here} is of type {kind}, which there is not"
            continue
        what, table = tables[kind]
        index = table.index(int(capability["object"]))
        if index is None:
            yield f"{here} names no {what}: {int(capability['object']):#x}"
            continue
        if number != constant("KEUOS_CAP_SELF"):
            counts[kind, index] = counts.get((kind, index), 0) + 1
        if kind in sides:
            ends.add((index, sides[kind]))
            yield from _side(snapshot, here, process, number, index, sides[kind])
    yield from _sides_held(snapshot, ends)
    for name, field, table, what in (
        ("PROCESS", "references", snapshot.processes, "process"),
        ("CHANNEL", "controls", snapshot.channels, "channel"),
        ("MEMORY", "references", snapshot.objects, "memory object"),
    ):
        for index, record in enumerate(table.records):
            found = counts.get((constant(f"KEUOS_CAP_{name}"), index), 0)
            if int(record[field]) != found:
                yield f"{what} {index} counts {record[field]} capabilities to it; there are {found}"
    if total != snapshot.values["capability_count"]:
        yield f"capability_count is {snapshot.values['capability_count']}; there are {total}"


def _side(snapshot: Snapshot, here: str, process: int, number: int, index: int, side: str) -> Iterator[str]:
    record = snapshot.channels.records[index][side]
    holder = snapshot.processes.index(int(record["process"]))
    if holder != process or int(record["capability"]) != number:
        yield f"{here} is the {side} of channel {index + 1}, which names another: capability {record['capability']}"


def _sides_held(snapshot: Snapshot, ends: set[tuple[int, str]]) -> Iterator[str]:
    for index, channel in enumerate(snapshot.channels.records):
        for side in ("producer", "consumer"):
            if channel[side]["process"] and (index, side) not in ends:
                yield f"channel {index + 1}'s {side} holds no capability to it"


def quotas(snapshot: Snapshot) -> Iterator[str]:
    """Pages: tables, those of its program and stack, the register area, and the channels and objects that it pays for.

    What the processes of a program share each is charged for.
    """
    charged = [snapshot.constant(f"FRAME_{kind}") for kind in ("USER", "PROGRAM")]
    for index, space in snapshot.spaces.items():
        record = snapshot.processes.records[index]
        pointer = snapshot.processes.pointer(index)
        tables = 1 + int((space.tables["virtual"] < UPPER_HALF).sum())
        private = int(np.isin(snapshot.kind_of(snapshot.lower[index]["physical"]), charged).sum())
        state = int(record["extended_state_frame"] != 0)
        channels = snapshot.channels.records
        bound = channels[channels["binder"] == pointer]
        objects = snapshot.objects.records
        paid = objects[objects["payer"] == pointer]
        driven = [
            domain
            for device, domain in snapshot.domains.items()
            if int(snapshot.devices.records[device]["domain"]["payer"]) == pointer
        ]
        tables += sum(1 + len(domain.tables) for domain in driven)
        found = tables + private + state + int(bound["pages"].sum()) + int(paid["pages"].sum())
        name = snapshot.process_name(index)
        if found != int(record["pages"]):
            yield (
                f"{name} is charged for {record['pages']} pages and has {found}: {tables} tables, "
                f"{private} of its own, {state} for registers, {len(bound)} channels, {len(paid)} memory objects"
            )
        if int(record["pages"]) > int(record["pages_max"]):
            yield f"{name} has {record['pages']} pages, and its quota is {record['pages_max']}"
        if len(bound) != int(record["channels"]):
            yield f"{name} is charged for {record['channels']} channels and has {len(bound)}"


def cores(snapshot: Snapshot) -> Iterator[str]:
    """By the root registers of each core."""
    constant = snapshot.constant
    alive = {constant(f"KEUOS_PROCESS_{state}") for state in ("READY", "RUNNING", "WAITING")}
    by_roots = {space.roots: index for index, space in snapshot.spaces.items()}
    kernel = snapshot.kernel.roots
    for core in snapshot.cores:
        roots = snapshot.format.roots_of(core.registers)
        said = f"core {core.index} has loaded {', '.join(f'{root:#x}' for root in roots)}"
        if roots == kernel:
            loaded = snapshot.elf.symbol("kernel_space").address
        elif roots in by_roots:
            index = by_roots[roots]
            record = snapshot.processes.records[index]
            loaded = snapshot.processes.pointer(index) + _offset(record, "space")
            if int(record["state"]) not in alive:
                yield f"{said}: the space of {snapshot.process_name(index)}, which is not alive"
            if int(record["core"]) != core.index:
                yield f"{said}: the space of {snapshot.process_name(index)}, which lives on core {record['core']}"
        else:
            yield f"{said}: no space of a process, and not the kernel's"
            continue
        if core.space != loaded:
            yield f"{said}, and the kernel believes that it has loaded another space ({core.space:#x})"


def _offset(record: Any, field: str) -> int:
    return int(record.dtype.fields[field][1])
