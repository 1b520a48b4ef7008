"""arm64 page tables with four levels of 4 KiB tables (Arm ARM D8.3), as KeuOS sets the translation up.

The lower half of the addresses is what TTBR0_EL1 leads to, the upper half what TTBR1_EL1 leads to. How many bits each
takes, and what the indices of memory attributes mean, stands in registers of each core: :meth:`Arm64.core_faults`
compares those with what is assumed here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .format import Accesses, Caching, Control, Decoded, Rights, bits

_VALID = 1 << 0
#: At levels 4 to 2 a table rather than a block; at level 1 a page, without it the entry is invalid.
_TABLE = 1 << 1
_USER = 1 << 6
_READ_ONLY = 1 << 7
_SHARED = 3 << 8
_ACCESSED = 1 << 10
_NOT_GLOBAL = 1 << 11
_PXN = 1 << 53
_UXN = 1 << 54
_TABLE_PXN = 1 << 59
_TABLE_UXN = 1 << 60
_TABLE_NO_USER = 1 << 61
_TABLE_NO_WRITES = 1 << 62
_ADDRESS = 0x0000_FFFF_FFFF_F000
#: Bits 49 and 48 of a leaf, and below the address of a block all but bit 16 (nT).
_RESERVED_HIGH, _NT = 3 << 48, 1 << 16
_TOP = 4
_LOWER_BITS, _UPPER_BITS = 47, 48
_UPPER_HALF = 1 << 63

#: Attributes by index in MAIR_EL1: 0x04 is Device-nGnRE, 0xff normal memory, write-back (Arm ARM D17.2.97).
_ATTRIBUTES = {0: (0x04, Caching.DEVICE), 1: (0xFF, Caching.WRITE_BACK)}
_DEVICE_INDEX, _NORMAL_INDEX = 0, 1
#: Indices that KeuOS gives no meaning: MAIR_EL1 is 0 there, the strictest kind of device.
_CACHINGS = np.array([_ATTRIBUTES.get(i, (0, Caching.DEVICE))[1] for i in range(8)], dtype=np.uint8)

#: TCR_EL1: T0SZ, EPD0, TG0, T1SZ, A1, EPD1, TG1: 47 and 48 bits, both walked, 4 KiB pages, the ASID in TTBR0. TBI0,
#: TBI1, HA, HD, HPD0, HPD1: no top byte is ignored, no flag is set by the CPU, what tables deny is heeded.
_TRANSLATION = (0x3F << 0 | 1 << 7 | 3 << 14) | (0x3F << 16 | 1 << 22 | 1 << 23 | 3 << 30) | 0x3F << 37
_TRANSLATION_WANTED = (64 - _LOWER_BITS) | (64 - _UPPER_BITS) << 16 | 2 << 30
_PAN_FIELD = 20  #: of ID_AA64MMFR1_EL1


class Arm64:
    """See :class:`.CpuFormat`."""

    name, machine = "arm64", "EM_AARCH64"
    levels = _TOP
    shares_kernel_root = True
    denying_levels: tuple[int, ...] = (4,)
    alike: tuple[str, ...] = ("sctlr_el1", "tcr_el1", "mair_el1")
    accesses = Accesses(b"\xc0\x03\x5f\xd6", 4, beyond_is_fault=True, update_reads_first=True)
    controls: tuple[Control, ...] = (
        Control("paging", "sctlr_el1", 0, optional=False),
        Control("nx", "sctlr_el1", 19),  # WXN
        Control("umip", "sctlr_el1", 9, on=False),  # UMA: DAIF is the kernel's
        Control("smap", "sctlr_el1", 23, on=False),  # SPAN: PAN is set at each entry
    )

    def decode(self, level: int, entries: NDArray[np.uint64]) -> Decoded:
        """See Format.decode. What no core has accessed yet can't be: KeuOS has no fault that sets the flag."""
        valid, table = bits(entries & np.uint64(_VALID)), bits(entries & np.uint64(_TABLE))
        leaf = table if level == 1 else ~table & (1 < level < _TOP)
        present = valid & (leaf if level == 1 else leaf | table)
        page_bits = np.uint64((1 << 12 + 9 * (level - 1)) - 1)
        address = entries & np.uint64(_ADDRESS)
        reserved = np.uint64((int(page_bits) & _ADDRESS & ~_NT) | _RESERVED_HIGH)
        return Decoded(
            present=present,
            leaf=leaf,
            address=np.where(leaf, address & ~page_bits, address),
            rights=np.where(leaf, _of_leaves(entries), _of_tables(entries)),
            global_=leaf & ~bits(entries & np.uint64(_NOT_GLOBAL)),
            caching=_CACHINGS[(entries >> np.uint64(2) & np.uint64(7)).astype(np.intp)],
            malformed=valid & ~present | present & leaf & bits(entries & reserved),
        )

    def roots(self, space: int, kernel: int) -> tuple[int, ...]:
        """See CpuFormat.roots: a root is noted with its ASID, as TTBR0_EL1 takes it."""
        return (space & _ADDRESS, kernel & _ADDRESS)

    def roots_of(self, registers: dict[str, int]) -> tuple[int, ...]:
        """See CpuFormat.roots_of."""
        return (registers["ttbr0_el1"] & _ADDRESS, registers["ttbr1_el1"] & _ADDRESS)

    def root_entries(self, number: int) -> slice:
        """See Format.root_entries: with 47 bits the lower half of a table."""
        return slice(None) if number else slice(1 << _LOWER_BITS - 39)

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """See Format.virtual."""
        return offset | np.uint64(0xFFFF << _UPPER_BITS) if number else offset

    def offset(self, address: int) -> tuple[int, int] | None:
        """See Format.offset: all bits above those of the half are as the topmost (no top byte is ignored)."""
        if address >> _LOWER_BITS == 0:
            return 0, address
        return (1, address & ((1 << _UPPER_BITS) - 1)) if address >> _UPPER_BITS == 0xFFFF else None

    def core_faults(self, registers: dict[str, int], expected: frozenset[str]) -> list[str]:
        """See CpuFormat.core_faults; names: paging, nx, umip, smap. Whether there is PAN (smap) the core tells itself.

        SMEP's part is PXN's, in the tables; the kernel can nowhere write what is read-only (wp).
        """
        has_pan = registers["id_aa64mmfr1_el1"] >> _PAN_FIELD & 15
        expected = expected | {"smap"} if has_pan else expected - {"smap"}
        wanted = [control for control in self.controls if not control.optional or control.name in expected]
        found = [fault for control in wanted if (fault := control.fault(registers))]
        if registers["tcr_el1"] & _TRANSLATION != _TRANSLATION_WANTED:
            found.append(f"translation is not as KeuOS sets it up (tcr_el1 is {registers['tcr_el1']:#x})")
        for index, (attribute, caching) in _ATTRIBUTES.items():
            if registers["mair_el1"] >> 8 * index & 0xFF != attribute:
                found.append(
                    f"memory attribute {index} is not {caching.name.lower()} (mair_el1 is {registers['mair_el1']:#x})"
                )
        return found

    def armed_breakpoints(self, registers: dict[str, int]) -> list[str]:
        """See CpuFormat.armed_breakpoints: bit 0 of a control register, and MDSCR_EL1's SS (0) and MDE (15)."""
        masks = {name: 1 for name in registers if name.startswith(("dbgbcr", "dbgwcr"))} | {"mdscr_el1": 1 | 1 << 15}
        return [f"{name} is {registers[name]:#x}" for name, mask in masks.items() if registers[name] & mask]

    def page(self, physical: int, rights: Rights) -> int:
        """See CpuFormat.page: normal memory."""
        entry = physical | _VALID | _TABLE | _ACCESSED | _SHARED | _NORMAL_INDEX << 2
        entry |= 0 if rights & (Rights.USER_WRITE | Rights.KERNEL_WRITE) else _READ_ONLY
        entry |= _USER | _NOT_GLOBAL if rights & Rights.USER else 0
        entry |= 0 if rights & Rights.KERNEL_EXECUTE else _PXN
        return entry | (0 if rights & Rights.USER_EXECUTE else _UXN)

    def flag(self, what: str, entry: int, *, leaf: bool) -> int:
        """See CpuFormat.flag. Whose execution it is follows from whose page it is."""
        if what == "user":
            return _USER if leaf else _TABLE_NO_USER
        if what == "execute":
            return _UXN if entry & _USER else _PXN
        return {
            "present": _VALID,
            "write": _READ_ONLY,
            "global": _NOT_GLOBAL,
            "caching": (_DEVICE_INDEX ^ _NORMAL_INDEX) << 2,
            "reserved": 1 << 14,
        }[what]


def _denied(entries: NDArray[np.uint64], bit: int, rights: Rights) -> NDArray[np.uint8]:
    """Of each entry, all rights but these if it has the bit."""
    return np.where(bits(entries & np.uint64(bit)), np.uint8(Rights.ALL & ~rights), np.uint8(Rights.ALL))


def _of_leaves(entries: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """D8.4.1: user mode may execute what it can't read; the kernel never what user mode may write."""
    rights = _denied(entries, _READ_ONLY, Rights.USER_WRITE | Rights.KERNEL_WRITE)
    rights &= _denied(~entries, _USER, Rights.USER_READ | Rights.USER_WRITE)
    rights &= _denied(entries, _UXN, Rights.USER_EXECUTE) & _denied(entries, _PXN, Rights.KERNEL_EXECUTE)
    rights &= np.where(
        bits(rights & np.uint8(Rights.USER_WRITE)), np.uint8(~Rights.KERNEL_EXECUTE & Rights.ALL), np.uint8(Rights.ALL)
    )
    return rights & _denied(~entries, _ACCESSED, Rights.ALL)


def _of_tables(entries: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """D8.4.2: what an entry to a table takes away from all below it."""
    rights = _denied(entries, _TABLE_NO_USER, Rights.USER_READ | Rights.USER_WRITE)
    rights &= _denied(entries, _TABLE_NO_WRITES, Rights.USER_WRITE | Rights.KERNEL_WRITE)
    return (
        rights & _denied(entries, _TABLE_UXN, Rights.USER_EXECUTE) & _denied(entries, _TABLE_PXN, Rights.KERNEL_EXECUTE)
    )
