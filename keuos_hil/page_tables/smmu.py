"""Stage 1 tables of an SMMU (Arm IHI0070, 3.4): the cores' own format, from one root, three levels deep.

Their rights are written as the kernel's: a device has no user mode here, and fetches nothing to execute.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .arm64 import Arm64
from .format import Decoded, Rights

_CPU = Arm64()
_KERNEL = np.uint8(Rights.KERNEL_READ | Rights.KERNEL_WRITE)


class SmmuStage1:
    """See :class:`.Format`."""

    name = "smmu-v3"
    levels = 3

    def decode(self, level: int, entries: NDArray[np.uint64]) -> Decoded:
        """See Format.decode. What only privileged accesses may use is out of a device's reach."""
        found = _CPU.decode(level, entries)
        user = found.rights & np.uint8(Rights.USER_READ) != 0
        rights = np.where(found.leaf & ~user, np.uint8(0), found.rights & _KERNEL)
        return replace(found, rights=rights.astype(np.uint8))

    def root_entries(self, number: int) -> slice:
        """See Format.root_entries."""
        return slice(None)

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """See Format.virtual: IOVAs are not sign-extended."""
        return offset

    def offset(self, address: int) -> tuple[int, int] | None:
        """See Format.offset."""
        return (0, address) if address >> (12 + 9 * self.levels) == 0 else None
