"""x86-64 page tables with four levels (Intel SDM vol. 3, 4.5; AMD APM vol. 2, 5.3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .format import Accesses, Caching, Control, Decoded, Rights, bits

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

_FLAGS = {
    "present": _PRESENT,
    "write": _WRITE,
    "user": _USER,
    "execute": _NO_EXECUTE,
    "global": _GLOBAL,
    "caching": _CACHE_DISABLE,
    "reserved": 1 << 14,
}


class X86_64:  # noqa: N801  (the architecture is written so)
    """See :class:`.CpuFormat`.

    Args:
        nx: whether EFER.NXE is set. Without it every page can be executed, and bit 63 is reserved.
    """

    name, machine = "x86_64", "EM_X86_64"
    levels = _TOP
    shares_kernel_root = False
    denying_levels: tuple[int, ...] = (4, 3, 2)
    alike: tuple[str, ...] = ("cr0", "cr4", "efer")
    accesses = Accesses(b"\xc3", 1, beyond_is_fault=False, update_reads_first=False)
    controls: tuple[Control, ...] = (
        Control("paging", "cr0", 31, optional=False),
        Control("wp", "cr0", 16),
        Control("nx", "efer", 11),
        Control("umip", "cr4", 11),
        Control("smep", "cr4", 20),
        Control("smap", "cr4", 21),
    )

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
        """See CpuFormat.roots: one table holds both halves, so the kernel's own is not loaded beside it."""
        return (space,)

    def roots_of(self, registers: dict[str, int]) -> tuple[int, ...]:
        """See CpuFormat.roots_of."""
        return (registers["cr3"] & _ADDRESS,)

    def root_entries(self, number: int) -> slice:
        """See Format.root_entries."""
        return slice(None)

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """See Format.virtual: canonical addresses repeat bit 47 in those above."""
        high = bits(offset >> np.uint64(_BITS - 1))
        return np.where(high, offset | np.uint64(0xFFFF << _BITS), offset)

    def offset(self, address: int) -> tuple[int, int] | None:
        """See Format.offset."""
        above = address >> (_BITS - 1)
        return (0, address & ((1 << _BITS) - 1)) if above in (0, 0x1FFFF) else None

    def core_faults(self, registers: dict[str, int], expected: frozenset[str]) -> list[str]:
        """See CpuFormat.core_faults; names: paging, wp, nx, umip, smep, smap. Paging is always expected."""
        wanted = [control for control in self.controls if not control.optional or control.name in expected]
        return [fault for control in wanted if (fault := control.fault(registers))]

    def armed_breakpoints(self, registers: dict[str, int]) -> list[str]:
        """See CpuFormat.armed_breakpoints (Intel SDM vol. 3, 18.2)."""
        wanted = {"dr0": ~0, "dr1": ~0, "dr2": ~0, "dr3": ~0, "dr7": 0xFF}
        return [f"{name} is {registers[name]:#x}" for name, mask in wanted.items() if registers[name] & mask]

    def page(self, physical: int, rights: Rights) -> int:
        """See CpuFormat.page."""
        entry = physical | _PRESENT
        entry |= _WRITE if rights & (Rights.USER_WRITE | Rights.KERNEL_WRITE) else 0
        entry |= _USER if rights & Rights.USER else 0
        return entry | (0 if rights & (Rights.USER_EXECUTE | Rights.KERNEL_EXECUTE) else _NO_EXECUTE)

    def flag(self, what: str, entry: int, *, leaf: bool) -> int:
        """See CpuFormat.flag."""
        return _FLAGS[what]
