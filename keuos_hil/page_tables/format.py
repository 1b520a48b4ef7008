"""What a page-table format has to say: how an entry reads, and which tables an address space has.

The walker (:mod:`.walk`) knows nothing of any architecture. It asks a :class:`Format` for whole tables at once, as
numpy arrays, so that a space of thousands of pages is walked in a few calls.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Rights(enum.IntFlag):
    """What tables permit. The rights of a page are those that every entry on the way to it permits.

    Control registers may take away more (SMEP, SMAP, PAN: the kernel on pages of user mode).
    """

    NONE = 0
    KERNEL_READ = 1
    KERNEL_WRITE = 2
    KERNEL_EXECUTE = 4
    USER_READ = 8
    USER_WRITE = 16
    USER_EXECUTE = 32
    KERNEL = 7
    USER = 56
    ALL = 63

    def __str__(self) -> str:
        """As in "user r-x, kernel rw-"; "user ---" is left out."""
        sides = (("user", self.USER_READ), ("kernel", self.KERNEL_READ))
        texts = [
            f"{side} " + "".join(letter if self & read << i else "-" for i, letter in enumerate("rwx"))
            for side, read in sides
            if self & read * 7
        ]
        return ", ".join(texts) or "nothing"


class Caching(enum.IntEnum):
    """How accesses are cached, as far as the tables decide it."""

    WRITE_BACK = 0
    WRITE_THROUGH = 1
    UNCACHED = 2  #: may still be combined by a range register of the CPU
    DEVICE = 3  #: strictly uncached
    WRITE_COMBINING = 4


@dataclass(frozen=True)
class Decoded:
    """The entries of some tables of one level. Every field is an array of the shape that the entries had.

    Attributes:
        present: bool; the other fields mean nothing where it is False.
        leaf: bool; maps a page; the others lead to a table.
        address: uint64; physical, of the page or of the table.
        rights: uint8; the :class:`Rights` that this entry permits by itself.
        global_: bool; a leaf that outlives a change of the address space in the TLB.
        caching: uint8; a leaf's :class:`Caching`.
        malformed: bool; the architecture reserves what stands there.
    """

    present: NDArray[np.bool_]
    leaf: NDArray[np.bool_]
    address: NDArray[np.uint64]
    rights: NDArray[np.uint8]
    global_: NDArray[np.bool_]
    caching: NDArray[np.uint8]
    malformed: NDArray[np.bool_]


@dataclass(frozen=True)
class Control:
    """A protection of the memory that is switched on in a register of each core.

    Attributes:
        name: of the protection.
        register: as Debug.registers names it.
        bit: of the register.
        on: what the bit is where the protection is on.
        optional: a CPU may lack it.
    """

    name: str
    register: str
    bit: int
    on: bool = True
    optional: bool = True

    def fault(self, registers: dict[str, int]) -> str | None:
        """In words, that it is off; None if it is on."""
        if bool(registers[self.register] >> self.bit & 1) is self.on:
            return None
        state = "clear" if self.on else "set"
        return f"{self.name} is off ({self.register} is {registers[self.register]:#x}, bit {self.bit} is {state})"


@dataclass(frozen=True)
class Accesses:
    """How a process's accesses end, where that does not follow from rights alone.

    Attributes:
        returns: an instruction that comes back at once from a call.
        step: instructions begin at multiples of so many bytes.
        beyond_is_fault: an access to an address that no table could map is a page fault there; if not, illegal.
        update_reads_first: changing memory in place counts as a read where it can't be read.
    """

    returns: bytes
    step: int
    beyond_is_fault: bool
    update_reads_first: bool


class Format(Protocol):
    """Page tables with a granule of 4 KiB and 512 entries a table: an architecture's, or an IOMMU's.

    Levels are counted from the page up: 1 maps 4 KiB, 2 maps 2 MiB, 3 maps 1 GiB.

    Attributes:
        name: the architecture's.
        levels: the number of the top level.
    """

    name: str
    levels: int

    def decode(self, level: int, entries: NDArray[np.uint64]) -> Decoded:
        """What entries of tables of that level say. `entries` may have any shape."""
        ...

    def root_entries(self, number: int) -> slice:
        """Which entries of root `number` are looked at."""
        ...

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The addresses at these distances from the start of what root `number` maps."""
        ...

    def offset(self, address: int) -> tuple[int, int] | None:
        """The number of the root for an address, and the distance that :meth:`virtual` undoes.

        None for an address that no table could map, such as a non-canonical one.
        """
        ...


class CpuFormat(Format, Protocol):
    """Page tables that cores walk.

    Attributes:
        machine: the architecture's name in ELF headers, such as "EM_AARCH64".
        shares_kernel_root: the kernel's half has a root of its own, so that no space can differ there.
        denying_levels: those whose entries to tables say whether user mode gets through; at others all entries let it.
        controls: the protections that registers switch on.
        alike: registers that must say the same on every core.
        accesses: how a process's accesses end.
    """

    machine: str
    shares_kernel_root: bool
    denying_levels: tuple[int, ...]
    controls: tuple[Control, ...]
    alike: tuple[str, ...]
    accesses: Accesses

    def roots(self, space: int, kernel: int) -> tuple[int, ...]:
        """The top tables that are loaded while a process runs, the process's own first.

        Args:
            space: what the kernel has noted of the process's own top table: its physical address, or what it loads.
            kernel: the same of the kernel's.
        """
        ...

    def roots_of(self, registers: dict[str, int]) -> tuple[int, ...]:
        """The top tables that a core has loaded, by its registers as Debug.registers names them."""
        ...

    def core_faults(self, registers: dict[str, int], expected: frozenset[str]) -> list[str]:
        """In words, which protections of the memory a core has switched off.

        Args:
            registers: of the core.
            expected: names of the protections that its CPU has, such as "smep".
        """
        ...

    def armed_breakpoints(self, registers: dict[str, int]) -> list[str]:
        """In words, the debug registers of a core that something has set."""
        ...

    def page(self, physical: int, rights: Rights) -> int:
        """An entry of level 1 that maps a page with these rights, for the kernel's half if user mode has none."""
        ...

    def flag(self, what: str, entry: int, *, leaf: bool) -> int:
        """The bits that change one property of an entry when they are flipped.

        Args:
            what: present, write, user, execute, global, caching, or reserved: bits that nobody may set in a large page.
            entry: as it stands.
            leaf: it maps a page.
        """
        ...


def bits(value: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """An array of numbers as one of truth: nonzero or not."""
    return value.astype(np.bool_)
