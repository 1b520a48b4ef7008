"""Second-level tables of an Intel IOMMU (VT-d 4.0, 3.7 and 9.8): what a device may reach.

Their rights are written as the kernel's: a device has no user mode.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .format import Caching, Decoded, Rights, bits

_READ, _WRITE, _LARGE = 1, 2, 1 << 7
_ADDRESS = 0x000F_FFFF_FFFF_F000


class VtdSecondLevel:
    """See :class:`.Format`.

    Args:
        levels: of the tables, 3 to 5: what the hardware was told in the context entry.
    """

    name = "vt-d"

    def __init__(self, levels: int) -> None:
        self.levels = levels

    def decode(self, level: int, entries: NDArray[np.uint64]) -> Decoded:
        """See Format.decode."""
        read, write = bits(entries & np.uint64(_READ)), bits(entries & np.uint64(_WRITE))
        large = bits(entries & np.uint64(_LARGE))
        leaf = large if level in (2, 3) else np.full(entries.shape, level == 1)
        page_bits = np.uint64((1 << 12 + 9 * (level - 1)) - 1)
        address = entries & np.uint64(_ADDRESS)
        rights = read * np.uint8(Rights.KERNEL_READ) | write * np.uint8(Rights.KERNEL_WRITE)
        return Decoded(
            present=read | write,
            leaf=leaf,
            address=np.where(leaf, address & ~page_bits, address),
            rights=rights.astype(np.uint8),
            global_=np.zeros(entries.shape, dtype=np.bool_),
            caching=np.full(entries.shape, Caching.WRITE_BACK, dtype=np.uint8),
            malformed=(read | write) & leaf & bits(address & page_bits),
        )

    def root_entries(self, number: int) -> slice:
        """See Format.root_entries."""
        return slice(None)

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """See Format.virtual: IOVAs are not sign-extended."""
        return offset

    def offset(self, address: int) -> tuple[int, int] | None:
        """See Format.offset."""
        return (0, address) if address >> (12 + 9 * self.levels) == 0 else None
