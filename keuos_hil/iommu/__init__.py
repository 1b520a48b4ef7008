"""What stands between devices and memory, seen from outside: the tables that an IOMMU reads, of its kind.

What lives here: where a kind's tables are and what they mean (:mod:`.vtd`, :mod:`.smmu`), what a device would have to
write to raise an interrupt, how a table can be damaged for a test. What must not: what a kernel should have put there
(:mod:`keuos_hil.auditor`). Formats of page tables are :mod:`keuos_hil.page_tables`'.

A new kind adds a module with a :class:`Kind` and a line in :func:`kind_of`.
"""

from __future__ import annotations

from keuos_hil.memory import KernelMemory

from .smmu import Smmu
from .unit import INTERRUPT_WINDOW, Bound, Context, Damage, Kind, Place, Unit
from .vtd import Vtd

__all__ = ["INTERRUPT_WINDOW", "Bound", "Context", "Damage", "Kind", "Place", "Smmu", "Unit", "Vtd", "kind_of"]

_KINDS: tuple[Kind, ...] = (Vtd(), Smmu())


def kind_of(kernel: KernelMemory) -> Kind | None:
    """The kind of IOMMU that a kernel knows how to drive, whether its machine has one or not; None: none."""
    return next((kind for kind in _KINDS if kind.root in kernel.elf.symbols), None)
