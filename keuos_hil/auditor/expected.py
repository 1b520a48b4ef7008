"""Which pages each process should have, from its program, its stack and its capabilities; and where it differs.

The rights on a channel's pages are those of the table in keuos/channel.h, said here once more and independently: this
is the other opinion that the kernel's mappings are compared with.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from keuos_hil.errors import ImageError
from keuos_hil.page_tables import Rights

from .snapshot import PAGE, Snapshot

_R = Rights.USER_READ
_RW = Rights.USER_READ | Rights.USER_WRITE

_NONE = Rights.NONE
_ELF_WRITE = 2
_ELF_RIGHTS = ((1, Rights.USER_EXECUTE), (_ELF_WRITE, Rights.USER_WRITE), (4, Rights.USER_READ))

#: keuos/channel.h: the rights of (producer, consumer) on each page of a channel.
CHANNEL_RIGHTS = {
    "slots": (_RW, _R),
    "head": (_RW, _R),
    "tail": (_R, _RW),
    "status": (_R, _R),
    "tags": (_R, _R),
    "mailbox": (_NONE, _R),
    "data": (_RW, _R),
}


class Kind(enum.Enum):
    """What a page belongs to, or would."""

    PROGRAM = "program"
    STACK = "stack"
    CHANNEL = "channel"
    MEMORY = "memory object"
    DEVICE = "device"
    GUARD = "guard"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Page:
    """A page that a process should have.

    Attributes:
        physical: its frame; None for one of the process's own, or of its program's, whichever it is.
        owner: whose that is: a pid; 0 for what all processes of the program share, which none can write.
    """

    kind: Kind
    what: str
    physical: int | None
    rights: Rights
    owner: int = 0


@dataclass(frozen=True)
class Difference:
    """One page of a process that is not as expected. `text` says it in words, process and address included.

    Attributes:
        kind: what the page belongs to; for one that should not be there, what stands there instead.
        extra: nothing should be mapped there.
    """

    kind: Kind
    extra: bool
    text: str


def expected_pages(snapshot: Snapshot, index: int) -> dict[int, Page]:
    """By virtual address, what the process should have mapped. Raises ImageError if its program is unknown."""
    pages: dict[int, Page] = {}
    pages.update(_program(snapshot, index))
    pages.update(_stack(snapshot, index))
    for number, capability in enumerate(snapshot.processes.records[index]["capabilities"]):
        kind = int(capability["type"])
        if kind in (snapshot.constant("KEUOS_CAP_PRODUCER"), snapshot.constant("KEUOS_CAP_CONSUMER")):
            pages.update(_channel(snapshot, number, capability))
        elif kind == snapshot.constant("KEUOS_CAP_MEMORY"):
            pages.update(_memory(snapshot, index, number, capability))
        elif kind == snapshot.constant("KEUOS_CAP_DEVICE"):
            pages.update(registers_of(snapshot, index, number, capability))
    return pages


def constant_pages(snapshot: Snapshot, index: int) -> list[tuple[int, bytes]]:
    """(address, content) of each page that a process's program has and can't write; none if the program is unknown."""
    known: dict[str, list[tuple[int, bytes]]] = snapshot.notes.setdefault("constant pages", {})
    name = snapshot.program(index)
    if name not in known:
        known[name] = []
        with suppress(ImageError):  # the rule on a program's rights tells
            for segment in snapshot.programs(name):
                if not segment.flags & _ELF_WRITE:
                    before = segment.virtual % PAGE
                    data = bytes(before) + segment.data[: segment.file_size]
                    data += bytes(-(-(before + segment.memory_size) // PAGE) * PAGE - len(data))
                    known[name] += [
                        (segment.virtual - before + at, data[at : at + PAGE]) for at in range(0, len(data), PAGE)
                    ]
    return known[name]


def _program(snapshot: Snapshot, index: int) -> Iterator[tuple[int, Page]]:
    name, pid = snapshot.program(index), int(snapshot.processes.records[index]["pid"])
    for segment in snapshot.programs(name):
        rights = _NONE
        for flag, right in _ELF_RIGHTS:
            rights |= right if segment.flags & flag else _NONE
        # The formats here know no page that user mode may execute or write, but not read.
        rights |= Rights.USER_READ
        owner = pid if segment.flags & _ELF_WRITE else 0
        for at in range(segment.virtual & -PAGE, segment.virtual + segment.memory_size, PAGE):
            yield at, Page(Kind.PROGRAM, f"of {name}'s segment at {segment.virtual:#x}", None, rights, owner)


def _stack(snapshot: Snapshot, index: int) -> Iterator[tuple[int, Page]]:
    pid = int(snapshot.processes.records[index]["pid"])
    top, pages = snapshot.values["process_stack_top"], snapshot.values["process_stack_pages"]
    for at in range(top - pages * PAGE, top, PAGE):
        yield at, Page(Kind.STACK, "of the stack", None, _RW, pid)


def channel_layout(snapshot: Snapshot, channel: Any) -> Iterator[tuple[int, str, int]]:
    """(index of the page, its name, its frame) of a channel's record; frame 0 where there is none."""
    for name in CHANNEL_RIGHTS:
        first = snapshot.constant(f"KEUOS_OFFSET_{name.upper()}") // PAGE
        count = int(channel["data_bytes"]) // PAGE if name == "data" else 1
        for page in range(first, first + count):
            yield page, name, int(channel["frames"][page])


def _channel(snapshot: Snapshot, number: int, capability: Any) -> Iterator[tuple[int, Page]]:
    """Windows of equal size, one for each capability's index; the first page of each is a guard."""
    which = snapshot.channels.index(int(capability["object"]))
    if which is None:
        return  # a rule on records tells
    channel = snapshot.channels.records[which]
    consumer = int(capability["type"]) == snapshot.constant("KEUOS_CAP_CONSUMER")
    base = snapshot.values["channel_window"] + number * snapshot.values["channel_window_bytes"] + PAGE
    for page, name, frame in channel_layout(snapshot, channel):
        rights = CHANNEL_RIGHTS[name][consumer]
        if name == "mailbox" and int(channel["mode"]) != snapshot.constant("KEUOS_VERIFIED"):
            rights = _NONE
        if rights:
            side = "consumer" if consumer else "producer"
            what = f"channel {channel['id']}'s {name} page, {side}'s side"
            yield base + page * PAGE, Page(Kind.CHANNEL, what, frame, rights)


def _memory(snapshot: Snapshot, index: int, number: int, capability: Any) -> Iterator[tuple[int, Page]]:
    """An object is mapped as a whole or not at all; for writing only with the right to."""
    which = snapshot.objects.index(int(capability["object"]))
    if which is None:
        return
    record = snapshot.objects.records[which]
    size = snapshot.values["memory_window_bytes"]
    base = snapshot.values["memory_window"] + number * size
    lower = snapshot.lower.get(index)
    if lower is None:
        return
    inside = lower[(lower["virtual"] >= base) & (lower["virtual"] < base + size)]
    if not len(inside):
        return
    may_write = int(capability["rights"]) & snapshot.constant("KEUOS_RIGHT_WRITE")
    writes = bool((inside["rights"] & int(Rights.USER_WRITE)).any())
    rights = _RW if may_write and writes else _R
    if not int(capability["rights"]) & snapshot.constant("KEUOS_RIGHT_READ"):
        rights = _NONE
    for page in range(int(record["pages"])):
        what = f"page {page} of memory object {which}, by capability {number}"
        yield base + page * PAGE, Page(Kind.MEMORY, what, int(record["frames"][page]), rights)


def registers_of(snapshot: Snapshot, index: int, number: int, capability: Any) -> Iterator[tuple[int, Page]]:
    """Pages of a claimed device's BARs, as far as they are mapped; never one that holds a part of an MSI-X table."""
    which = snapshot.devices.index(int(capability["object"]))
    if which is None:
        return
    device = snapshot.devices.records[which]
    if snapshot.processes.index(int(device["holder"])) != index or int(device["capability"]) != number:
        return
    lower = snapshot.lower[index]
    function = snapshot.function(device)
    for bar, record in enumerate(function["bars"]):
        base = snapshot.values["device_window"] + number * snapshot.values["device_window_bytes"]
        base += bar * snapshot.values["bar_window_bytes"]
        size = -(-int(record["bytes"]) // PAGE) * PAGE
        mapped = lower["virtual"][(lower["virtual"] >= base) & (lower["virtual"] < base + size)]
        if int(record["kind"]) != snapshot.constant("KEUOS_BAR_MEMORY"):
            continue
        for at in (mapped - np.uint64(base)).tolist():
            if not _of_msix(function, bar, at):
                what = f"device {device['id']}'s BAR {bar} at {at:#x}"
                yield base + at, Page(Kind.DEVICE, what, int(record["address"]) + at, _RW)


def _of_msix(function: Any, bar: int, at: int) -> bool:
    """Whether a page of the BAR holds a part of the MSI-X table (16 bytes a vector) or of its pending bits."""
    if not function["msix"]:
        return False
    vectors = int(function["vectors"])
    parts = (("table", 16 * vectors), ("pending", -(-vectors // 64) * 8))
    return any(
        int(function[f"{name}_bar"]) == bar
        and int(function[f"{name}_offset"]) < at + PAGE
        and int(function[f"{name}_offset"]) + size > at
        for name, size in parts
    )


def differences(snapshot: Snapshot, index: int) -> list[Difference]:
    """Every page of the process that is there and should not be, is not there and should, or is another."""
    name = snapshot.process_name(index)
    try:
        wanted = expected_pages(snapshot, index)
    except ImageError as error:
        return [Difference(Kind.PROGRAM, False, f"{name}: its program is unknown: {error}")]
    private, shared = snapshot.constant("FRAME_USER"), snapshot.constant("FRAME_PROGRAM")
    lower = snapshot.lower[index]
    found: list[Difference] = []
    kinds = snapshot.kind_of(lower["physical"])
    seen = set()
    for (virtual, physical, bits, _), kind in zip(lower.tolist(), kinds.tolist(), strict=True):
        rights = Rights(bits)
        page = wanted.get(virtual)
        seen.add(virtual)
        here = f"{name} {virtual:#x}"
        if page is None:
            place, what = _place(snapshot, virtual)
            found.append(
                Difference(place, True, f"{here} ({what}): mapped to {snapshot.frame_name(physical)}, {rights}")
            )
            continue
        right_frame = (
            physical == page.physical
            if page.physical is not None
            else kind == (private if page.owner else shared)
            and int(snapshot.frames[physical // PAGE]["owner"]) == page.owner
        )
        if not right_frame:
            own = "a frame of its own" if page.owner else "one of its program's"
            meant = own if page.physical is None else snapshot.frame_name(page.physical)
            text = f"{here} ({page.what}): mapped to {snapshot.frame_name(physical)}; expected {meant}"
            found.append(Difference(page.kind, False, text))
        if rights & Rights.USER != page.rights or _kernel_can_execute(rights, page.rights):
            text = f"{here} ({page.what}): the tables permit {rights}; expected {page.rights}"
            found.append(Difference(page.kind, False, text))
    for virtual in sorted(wanted.keys() - seen):
        page = wanted[virtual]
        if page.rights:
            found.append(Difference(page.kind, False, f"{name} {virtual:#x} ({page.what}): not mapped"))
    return found


def _kernel_can_execute(rights: Rights, expected: Rights) -> bool:
    """On a page that user mode may not execute, neither may the kernel, whatever control registers say."""
    return bool(rights & Rights.KERNEL_EXECUTE) and not expected & Rights.USER_EXECUTE


def _place(snapshot: Snapshot, virtual: int) -> tuple[Kind, str]:
    """What should be at an address where nothing should be mapped."""
    values = snapshot.values
    if virtual < values["arch_user_base"]:
        return Kind.GUARD, "the null page"
    top = values["process_stack_top"]
    if virtual == top - (values["process_stack_pages"] + 1) * PAGE:
        return Kind.GUARD, "the guard below the stack"
    if virtual == top:
        return Kind.GUARD, "the page above the stack"
    slots = snapshot.constant("KEUOS_CAPABILITIES")
    for kind in ("channel", "memory", "device"):
        start, size = values[f"{kind}_window"], values[f"{kind}_window_bytes"]
        if start <= virtual < start + slots * size:
            index, at = divmod(virtual - start, size)
            return Kind.GUARD, f"{kind} window {index}, page {at // PAGE}, where nothing belongs"
    return Kind.NOTHING, "nothing that its capabilities or its program account for"


__all__ = [
    "CHANNEL_RIGHTS",
    "Difference",
    "Kind",
    "Page",
    "channel_layout",
    "constant_pages",
    "differences",
    "expected_pages",
]
