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


class Format(Protocol):
    """One architecture's page tables, with a granule of 4 KiB and 512 entries a table.

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

    def roots(self, space: int, kernel: int) -> tuple[int, ...]:
        """The top tables that are loaded while a process runs.

        Args:
            space: physical address of the process's own top table.
            kernel: that of the kernel's.
        """
        ...

    def roots_of(self, registers: dict[str, int]) -> tuple[int, ...]:
        """The top tables that a core has loaded, by its registers as Debug.registers names them."""
        ...

    def virtual(self, number: int, offset: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """The addresses at these distances from the start of what root `number` maps."""
        ...

    def offset(self, address: int) -> tuple[int, int] | None:
        """The number of the root for an address, and the distance that :meth:`virtual` undoes.

        None for an address that no table could map, such as a non-canonical one.
        """
        ...

    def core_faults(self, registers: dict[str, int], expected: frozenset[str]) -> list[str]:
        """In words, which protections of the memory a core has switched off.

        Args:
            registers: of the core.
            expected: names of the protections that its CPU has, such as "smep".
        """
        ...


def bits(value: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """An array of numbers as one of truth: nonzero or not."""
    return value.astype(np.bool_)
