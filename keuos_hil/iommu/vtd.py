"""Intel's IOMMU (VT-d 4.0): root and context entries (9.1, 9.3), interrupt table (9.10), messages (5.1.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.memory import KernelMemory
from keuos_hil.page_tables import VtdSecondLevel
from keuos_hil.page_tables.walk import PAGE, Read

from .unit import INTERRUPT_WINDOW, Bound, Context, Damage, Place, leaf_of

#: Context entry [9.3]: translation type 0 is "through the tables"; 2 would pass everything through.
_TYPE = 3 << 2
#: Interrupt entry [9.10]: verify the whole requester id.
_SVT_EXACT = 1 << 18
_ADDRESS = 0x000F_FFFF_FFFF_F000


@dataclass(frozen=True)
class VtdUnit:
    """See :class:`.Unit`.

    Attributes:
        interrupts: the remapping table's entries, two words each.
        apics: the interrupt controller's id of each core.
        first, vectors: entry and processor's vector of slot 0.
        roots, remap: physical addresses of the root table and the remapping table.
    """

    contexts: dict[int, Context]
    tables: VtdSecondLevel
    interrupts: NDArray[np.uint64]
    apics: tuple[int, ...]
    first: int
    vectors: int
    roots: int
    remap: int
    read: Read

    @property
    def shared(self) -> dict[int, int]:
        """See Unit.shared: writes into the window never come to the tables."""
        return {}

    def open_interrupts(self) -> int:
        """See Unit.open_interrupts."""
        return sum(low & 1 for low, _ in self.interrupts[self.first :].tolist())

    def interrupt_faults(self, bound: Mapping[int, Bound]) -> Iterator[str]:
        """See Unit.interrupt_faults: good for one requester alone, and to its driver's core."""
        for index, (low, high) in enumerate(self.interrupts.tolist()):
            if not low & 1 or index < self.first:
                continue
            one = bound.get(index - self.first)
            if one is None:
                yield f"entry {index} of the interrupt table is good, and no vector is bound there"
                continue
            here = f"entry {index} of the interrupt table, device {one.device}'s vector {one.vector},"
            if high & 0xFFFFF != one.requester | _SVT_EXACT:
                yield f"{here} may be used by requester {high & 0xFFFF:#x} (check {high >> 16 & 15:#x})"
            if low >> 16 & 0xFF != self.vectors + index - self.first:
                yield f"{here} raises vector {low >> 16 & 0xFF:#x}"
            if one.core is None or low >> 40 & 0xFF != self.apics[one.core]:
                yield f"{here} goes to APIC {low >> 40 & 0xFF}; its driver lives on core {one.core}"
            if low >> 1 & 0x7F:
                yield f"{here} is no fixed interrupt to one core: {low:#x}"
        for slot, one in bound.items():
            index = self.first + slot
            if not self.interrupts[index][0] & 1 and not one.blocked:
                yield (
                    f"device {one.device}'s vector {one.vector} is on, "
                    f"and entry {index} of the interrupt table is not good"
                )

    def damages(self, place: Place) -> dict[str, Damage]:
        """See Unit.damages."""
        root = int.from_bytes(self.read(self.roots + 16 * (place.requester >> 8), 8), "little")
        context = (root & _ADDRESS) + 16 * (place.requester & 0xFF)
        entry = self.remap + 16 * (self.first + place.slot)
        writable, readable = (
            leaf_of(self.tables, self.read, place.root, iova) for iova in (place.writable, place.readable)
        )
        table = "interrupt-table"
        return {
            "another frame": Damage("dma-reach", writable, 1 << 20, "did not show it"),
            "writable": Damage("dma-reach", readable, 2, "its driver may not"),
            "no function's": Damage("dma-contexts", context + 16, 1, "nobody drives it"),
            "passed through": Damage("dma-contexts", context, 2 << 2, "are not translated"),
            "another domain": Damage("dma-contexts", context + 8, 1 << 10, "is in domain"),
            "no domain": Damage("dma-contexts", context, 1, "and no domain"),
            "another source": Damage(table, entry + 8, 1, "may be used by requester"),
            "any source": Damage(table, entry + 8, 1 << 18, "(check 0x0)"),
            "another vector": Damage(table, entry, 1 << 17, "raises vector"),
            "another core": Damage(table, entry, 1 << 41, "goes to APIC"),
            "an NMI": Damage(table, entry, 4 << 5, "is no fixed interrupt"),
            "gone": Damage(table, entry, 1, "is not good"),
            "nobody's": Damage(table, entry + 16, 1, "no vector is bound"),
        }


class Vtd:
    """See :class:`.Kind`."""

    name = "VT-d"
    root = "remap_table"
    checks_writers = False

    def take(self, kernel: KernelMemory, translate: Callable[[int], int | None], cpus: NDArray[Any]) -> VtdUnit | None:
        """See Kind.take: a root entry for each bus, and a context entry for each of its 256 functions."""
        roots, remap = (translate(int(kernel.read(name))) for name in ("root_table", "remap_table"))
        if roots is None or remap is None:
            return None
        read = kernel.debug.read_physical

        def table(physical: int) -> NDArray[np.uint64]:
            return np.frombuffer(read(physical, PAGE), dtype="<u8").reshape(-1, 2)

        contexts = {}
        for bus, (entry, _) in enumerate(table(roots).tolist()):
            if entry & 1:
                for place, (low, high) in enumerate(table(entry & _ADDRESS).tolist()):
                    if low & 1:
                        wrong = f"context {low:#x}" if low & _TYPE else ""
                        contexts[bus << 8 | place] = Context(low & _ADDRESS, high >> 8 & 0xFFFF, (high & 7) + 2, wrong)
        return VtdUnit(
            contexts=contexts,
            tables=VtdSecondLevel(int(kernel.read("iommu_tables").levels)),
            interrupts=table(remap),
            apics=tuple(int(cpu["arch"]["apic_id"]) for cpu in cpus),
            first=kernel.elf.layouts.constant("REMAP_FIRST_SLOT"),
            vectors=kernel.elf.layouts.constant("VECTOR_DEVICE"),
            roots=roots,
            remap=remap,
            read=read,
        )

    def message(self, index: int) -> tuple[int, int]:
        """See Kind.message: in remappable format (5.1.2.2) the index lies in the address."""
        return INTERRUPT_WINDOW | 1 << 4 | index << 5, 0

    def index_of(self, slot: int) -> int:
        """See Kind.index_of: entry 0 is the serial line's."""
        return 1 + slot

    def line_names_its_writer(self, kernel: KernelMemory) -> bool:
        """See Kind.line_names_its_writer: the I/O APIC, by its requester id (9.10)."""
        return int(kernel.read("acpi").io_apic_requester) != 0

    def old_message(self, vector: int) -> tuple[int, int]:
        """See Kind.old_message: to core 0 (5.1.2.1)."""
        return INTERRUPT_WINDOW, vector

    def registers(self, kernel: KernelMemory) -> dict[str, int]:
        """See Kind.registers: where PCs have them."""
        return {"interrupt controller": 0xFEC0_0000, "iommu": 0xFED9_0000}
