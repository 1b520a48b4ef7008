"""x86-64 page tables with four levels (Intel SDM vol. 3, 4.5; AMD APM vol. 2, 5.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .format import Caching, Decoded, Rights, bits

_PRESENT = 1 << 0
_WRITE = 1 << 1
_USER = 1 << 2
_WRITE_THROUGH = 1 << 3
_CACHE_DISABLE = 1 << 4
_LARGE = 1 << 7
_GLOBAL = 1 << 8
_NO_EXECUTE = 1 << 63
#: Bits 51 to 12. What of them lies above the CPU's physical addresses is reserved; RAM ends far below.
_ADDRESS = 0x000F_FFFF_FFFF_F000
_TOP = 4
_BITS = 48

_KERNEL, _USER_SIDE = int(Rights.KERNEL), int(Rights.USER)
_NO_WRITES = int(Rights.ALL & ~(Rights.KERNEL_WRITE | Rights.USER_WRITE))
_NO_EXECUTION = int(Rights.ALL & ~(Rights.KERNEL_EXECUTE | Rights.USER_EXECUTE))
#: PCD and PWT as a number, by the page attribute table's state after a reset (SDM vol. 3, 11.12.4).
_CACHINGS = np.array([Caching.WRITE_BACK, Caching.WRITE_THROUGH, Caching.UNCACHED, Caching.DEVICE], dtype=np.uint8)

#: Protection, the register it is switched on in, and the bit.
_CONTROLS = (
    ("paging", "cr0", 31),
    ("wp", "cr0", 16),
    ("nx", "efer", 11),
    ("umip", "cr4", 11),
    ("smep", "cr4", 20),
    ("smap", "cr4", 21),
)


class X86_64:  # noqa: N801  (the architecture is written so)
    """See :class:`.Format`.

    Args:
        nx: whether EFER.NXE is set. Without it every page can be executed, and bit 63 is reserved.
    """

    name = "x86_64"
    levels = _TOP

    def __init__(self, *, nx: bool = True) -> None:
        self._nx = nx

    def decode(self, level: int, entries: NDArray[np.uint64]) -> Decoded:
        """See Format.decode."""
        present = bits(entries & np.uint64(_PRESENT))
        large = bits(entries & np.uint64(_LARGE))
        leaf = large if 1 < level < _TOP else np.full(entries.shape, level == 1)
        page_bits = np.uint64((1 << 12 + 9 * (level - 1)) - 1)
        # Bits 12 to 20 or 29 of a large page: 12 is the PAT bit, the others are reserved.
        offset_bits = page_bits & np.uint64(_ADDRESS)
        address = np.where(leaf, entries & np.uint64(_ADDRESS) & ~page_bits, entries & np.uint64(_ADDRESS))
        malformed = leaf & bits(entries & offset_bits & ~np.uint64(1 << 12))
        if level == _TOP:
            malformed |= large

        rights = np.full(entries.shape, Rights.ALL, dtype=np.uint8)
        rights[~bits(entries & np.uint64(_WRITE))] &= _NO_WRITES
        rights[~bits(entries & np.uint64(_USER))] &= _KERNEL
        no_execute = bits(entries & np.uint64(_NO_EXECUTE))
        if self._nx:
            rights[no_execute] &= _NO_EXECUTION
        else:
            malformed |= no_execute
        caching = _CACHINGS[(entries >> np.uint64(3) & np.uint64(3)).astype(np.intp)]
        return Decoded(
            present=present,
            leaf=leaf,
            address=address,
            rights=rights,
            global_=leaf & bits(entries & np.uint64(_GLOBAL)),
            caching=caching,
            malformed=malformed & present,
        )

    def roots(self, space: int, kernel: int) -> tuple[int, ...]:
        """See Format.roots: one table holds both halves, so the kernel's own is not loaded beside it."""
        return (space,)

    def roots_of(self, registers: dict[str, int]) -> tuple[int, ...]:
        """See Format.roots_of."""
        return (registers["cr3"] & _ADDRESS,)

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """See Format.virtual: canonical addresses repeat bit 47 in those above."""
        high = bits(offset >> np.uint64(_BITS - 1))
        return np.where(high, offset | np.uint64(0xFFFF << _BITS), offset)

    def offset(self, address: int) -> tuple[int, int] | None:
        """See Format.offset."""
        above = address >> (_BITS - 1)
        return (0, address & ((1 << _BITS) - 1)) if above in (0, 0x1FFFF) else None

    def core_faults(self, registers: dict[str, int], expected: frozenset[str]) -> list[str]:
        """See Format.core_faults; names: paging, wp, nx, umip, smep, smap. Paging is always expected."""
        return [
            f"{name} is off ({register} is {registers[register]:#x}, bit {bit} is clear)"
            for name, register, bit in _CONTROLS
            if (name == "paging" or name in expected) and not registers[register] >> bit & 1
        ]
