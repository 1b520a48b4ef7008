"""Arm's IOMMU (SMMUv3, Arm IHI0070, chapter 5): stream table entries and context descriptors; messages are the ITS's.

What the ITS (Arm IHI0069) keeps in its tables is its maker's secret. So interrupts are judged by what the kernel has
noted that it told it, and by the table of properties, which is the kernel's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.errors import InfraError
from keuos_hil.memory import KernelMemory
from keuos_hil.page_tables import SmmuStage1
from keuos_hil.page_tables.walk import PAGE, Read

from .unit import INTERRUPT_WINDOW, Bound, Context, Damage, Place, leaf_of

_ADDRESS = 0x0000_FFFF_FFFF_F000
#: A context descriptor need not begin a page.
_DESCRIPTOR = 0x0000_FFFF_FFFF_FFC0
_ENTRY_BYTES, _ENTRIES = 64, PAGE // 64
_VALID, _STAGE_1 = 1, 5
#: Stream table entry [5.2], what is not the descriptor's address: one descriptor, stage 1; its memory is cached and
#: shared, and shareability is the access's own. No ATS (EATS), no stalls of its own, nothing of stage 2.
_STREAM_WANTED = (_VALID | _STAGE_1 << 1, 1 << 2 | 1 << 4 | 3 << 6 | 1 << 44, 0, 0, 0, 0, 0, 0)
#: Context descriptor [5.4]: valid, 64-bit tables of 4 KiB pages, cached and shared, no upper half, an ASID of the
#: domain's own; what faults is recorded and ended, not stalled. No byte of addresses is ignored, no flag is the unit's.
_CONTEXT_WANTED = 1 << 8 | 1 << 10 | 3 << 12 | 1 << 30 | 1 << 31 | 1 << 41 | 1 << 45 | 1 << 46 | 1 << 47
#: What differs by domain and machine: ASID, the size of physical addresses, and that of IOVAs, which tells the levels.
_CONTEXT_VARIES = 0xFFFF << 48 | 7 << 32 | 63
#: Kinds of memory, by the index in an entry: a device's, and write-back.
_ATTRIBUTES = 0xFF04
#: Where the word that takes messages lies in the doorbell's page (GITS_TRANSLATER).
_MESSAGE = 0x40


@dataclass(frozen=True)
class SmmuUnit:
    """See :class:`.Unit`.

    Attributes:
        noted: what the kernel told the ITS of each slot: (the core's index or None, the device's number).
        properties: a byte for each interrupt that a message can become; bit 0 lets it come.
        numbers: the ITS's number of a requester.
        where: physical addresses of what is noted and of the properties, by the kernel's variables.
        streams: physical address of the stream table's first level.
    """

    contexts: dict[int, Context]
    tables: SmmuStage1
    shared: dict[int, int]
    noted: tuple[tuple[int | None, int], ...]
    properties: bytes
    numbers: Callable[[int], int | None]
    where: dict[str, int]
    streams: int
    stream_of: Callable[[int], int | None]
    read: Read

    def open_interrupts(self) -> int:
        """See Unit.open_interrupts."""
        return sum(core is not None for core, _ in self.noted)

    def interrupt_faults(self, bound: Mapping[int, Bound]) -> Iterator[str]:
        """See Unit.interrupt_faults."""
        for slot, (core, number) in enumerate(self.noted):
            one = bound.get(slot)
            if core is None:
                if one is not None and not one.blocked:
                    yield f"device {one.device}'s vector {one.vector} is on, and event {slot} is not mapped"
                continue
            if one is None:
                yield f"event {slot} is mapped for device {number:#x} of the ITS, and no vector is bound there"
                continue
            here = f"event {slot}, device {one.device}'s vector {one.vector},"
            if number != self.numbers(one.requester):
                yield f"{here} may be used by device {number:#x} of the ITS"
            if core != one.core:
                yield f"{here} goes to core {core}; its driver lives on core {one.core}"
        for number, byte in enumerate(self.properties):
            if byte & 1 and number >= len(self.noted):
                yield f"interrupt {number} of the ITS may come, and it is no slot's"
            elif number < len(self.noted) and not byte & 1:
                yield f"interrupt {number} of the ITS can't come"

    def _entry(self, requester: int) -> int:
        stream = self.stream_of(requester)
        assert stream is not None, f"requester {requester:#x} has no stream"
        first = int.from_bytes(self.read(self.streams + stream // _ENTRIES * 8, 8), "little")
        return (first & _ADDRESS) + stream % _ENTRIES * _ENTRY_BYTES

    def damages(self, place: Place) -> dict[str, Damage]:
        """See Unit.damages."""
        entry = self._entry(place.requester)
        context = int.from_bytes(self.read(entry, 8), "little") & _DESCRIPTOR
        writable, readable = (
            leaf_of(self.tables, self.read, place.root, iova) for iova in (place.writable, place.readable)
        )
        doorbell = leaf_of(self.tables, self.read, place.root, INTERRUPT_WINDOW)
        device = self.where["event_device"] + 4 * place.slot
        core = self.where["event_core"] + 8 * place.slot
        mapped = _VALID | _STAGE_1 << 1 | context
        word = device % 8  # a word of memory holds two devices' numbers
        table = "interrupt-table"
        return {
            "another frame": Damage("dma-reach", writable, 1 << 20, "did not show it"),
            "writable": Damage("dma-reach", readable, 1 << 7, "its driver may not"),
            "another doorbell": Damage("dma-reach", doorbell, 1 << 16, "did not show it"),
            "no function's": Damage("dma-contexts", entry + _ENTRY_BYTES, mapped, "nobody drives it"),
            "passed through": Damage("dma-contexts", entry, 1 << 1, "are not translated"),
            "upper half": Damage("dma-contexts", context, 1 << 30, "are not translated"),
            "address translation service": Damage("dma-contexts", entry + 8, 1 << 28, "are not translated"),
            "another granule": Damage("dma-contexts", context, 1 << 14, "are not translated"),
            "addresses' top byte ignored": Damage("dma-contexts", context, 1 << 38, "are not translated"),
            "faults stall": Damage("dma-contexts", context, 1 << 44, "are not translated"),
            "another kind of memory": Damage("dma-contexts", context + 24, 1 << 8, "are not translated"),
            "another depth": Damage("dma-contexts", context, 1 << 4, "deep"),
            "another domain": Damage("dma-contexts", context, 1 << 50, "is in domain"),
            "no domain": Damage("dma-contexts", entry, _VALID, "and no domain"),
            "another source": Damage(table, device - word, 1 << 8 * word, "may be used by device"),
            "gone": Damage(table, core, int.from_bytes(self.read(core, 8), "little"), "is not mapped"),
            "any interrupt": Damage(table, self.where["lpi_properties"] + 32, 1, "is no slot's"),
        }


class _Numbers:
    """By what numbers a controller knows requesters: a `struct tree_id_map` of the kernel's."""

    def __init__(self, map_: Any, controller: int) -> None:
        self._mask = int(map_.mask)
        ranges = map_.ranges[: int(map_.count)]
        self._ranges = [
            (int(one.requester), int(one.id), int(one.count)) for one in ranges if int(one.controller) == controller
        ]

    def of(self, requester: int) -> int | None:
        for first, number, count in self._ranges:
            if 0 <= (requester & self._mask) - first < count:
                return number + (requester & self._mask) - first
        return None

    def requester(self, number: int) -> int:
        """The other way; a number that is nobody's stays as it is."""
        return next((first + number - start for first, start, n in self._ranges if 0 <= number - start < n), number)


def _context(words: NDArray[np.uint64], read: Read) -> Context:
    """Of a stream table entry: 8 words."""
    config = int(words[0]) >> 1 & 7
    try:
        descriptor = np.frombuffer(read(int(words[0]) & _DESCRIPTOR, _ENTRY_BYTES), dtype="<u8").tolist()
    except InfraError:
        return Context(0, 0, 0, f"entry {int(words[0]):#x} leads out of memory")
    wrong = "" if config == _STAGE_1 else f"configuration {config}"
    entry = (int(words[0]) & ~_DESCRIPTOR, *map(int, words[1:]))
    if entry != _STREAM_WANTED:
        wrong = wrong or f"entry {' '.join(f'{word:x}' for word in entry)}"
    rest = (descriptor[0] & ~_CONTEXT_VARIES, descriptor[1] & ~_ADDRESS, *descriptor[2:])
    if rest != (_CONTEXT_WANTED, 0, 0, _ATTRIBUTES, 0, 0, 0, 0):
        wrong = wrong or f"context descriptor {' '.join(f'{word:x}' for word in descriptor)}"
    bits = 64 - (descriptor[0] & 63)
    return Context(descriptor[1] & _ADDRESS, descriptor[0] >> 48, -(-(bits - 12) // 9), wrong)


class Smmu:
    """See :class:`.Kind`."""

    name = "SMMUv3"
    root = "stream_table"
    checks_writers = True

    def take(self, kernel: KernelMemory, translate: Callable[[int], int | None], cpus: NDArray[Any]) -> SmmuUnit | None:
        """See Kind.take."""
        streams = translate(int(kernel.read("stream_table")))
        if streams is None or not int(kernel.read("machine").smmu.bytes):
            return None
        machine, read = kernel.read("machine"), kernel.debug.read_physical
        streams_of = _Numbers(machine.pci_streams, int(machine.smmu_phandle))
        contexts = {}
        for part, first in enumerate(np.frombuffer(read(streams, PAGE), dtype="<u8").tolist()):
            if not first & 31:
                continue
            entries = np.frombuffer(read(first & _ADDRESS, PAGE), dtype="<u8").reshape(_ENTRIES, -1)
            for place in np.flatnonzero(entries[:, 0] & np.uint64(_VALID)).tolist():
                stream = part * _ENTRIES + place
                contexts[streams_of.requester(stream)] = _context(entries[place], read)
        names = ("event_core", "event_device", "lpi_properties")
        where = {name: kernel.physical(kernel.address(name)) for name in names}
        cores, devices, properties = (kernel.read(name) for name in names)
        first_core, core_bytes = kernel.address("cpus"), cpus.dtype.itemsize
        return SmmuUnit(
            contexts=contexts,
            tables=SmmuStage1(),
            shared={INTERRUPT_WINDOW: int(machine.its.base) + 0x10000},
            noted=tuple(
                ((int(core) - first_core) // core_bytes if int(core) else None, int(device))
                for core, device in zip(cores, devices, strict=True)
            ),
            properties=bytes(properties),
            numbers=_Numbers(machine.pci_messages, int(machine.its_phandle)).of,
            where=where,
            streams=streams,
            stream_of=streams_of.of,
            read=read,
        )

    def message(self, index: int) -> tuple[int, int]:
        """See Kind.message: the event is the data."""
        return INTERRUPT_WINDOW | _MESSAGE, index

    def index_of(self, slot: int) -> int:
        """See Kind.index_of."""
        return slot

    def line_names_its_writer(self, kernel: KernelMemory) -> bool:
        """See Kind.line_names_its_writer: the line goes past the ITS."""
        return False

    def old_message(self, vector: int) -> None:
        """See Kind.old_message."""
        return

    def registers(self, kernel: KernelMemory) -> dict[str, int]:
        """See Kind.registers: where the device tree said they are."""
        machine = kernel.read("machine")
        return {"interrupt controller": int(machine.gic_ranges[0].base), "iommu": int(machine.smmu.base)}
