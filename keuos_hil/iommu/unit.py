"""What every kind of IOMMU has in common: contexts of functions, interrupts, and what a test wants to know of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from keuos_hil.memory import KernelMemory
from keuos_hil.page_tables import Format, path
from keuos_hil.page_tables.walk import Read

#: Where no memory is shown to a device, on any architecture: a write there is an interrupt.
INTERRUPT_WINDOW = 0xFEE0_0000


@dataclass(frozen=True)
class Context:
    """What the IOMMU does with a function's requests.

    Attributes:
        root: physical address of the tables that they go through.
        domain: by which its memory of translations is told apart.
        levels: how deep it walks the tables.
        wrong: why the tables do not decide, in words; "" if they do.
    """

    root: int
    domain: int
    levels: int
    wrong: str = ""


@dataclass(frozen=True)
class Bound:
    """A vector of a device that its driver has switched on.

    Attributes:
        device: its number, from 1 on.
        core: where its driver lives; None: it has none.
        blocked: it fired twice, and is let through again when its driver waits.
    """

    device: int
    vector: int
    requester: int
    core: int | None
    blocked: bool


@dataclass(frozen=True)
class Place:
    """What a damage is done to: a driven function, a slot of its, and two pages that it reaches, the second to read."""

    requester: int
    root: int
    slot: int
    writable: int
    readable: int


@dataclass(frozen=True)
class Damage:
    """A change of a table, and the rule that has to notice it.

    Attributes:
        where: physical address of a word of 64 bits.
        change: exclusive-or into it.
        says: a part of what the rule then says.
    """

    rule: str
    where: int
    change: int
    says: str


class Unit(Protocol):
    """An IOMMU at one moment."""

    @property
    def contexts(self) -> Mapping[int, Context]:
        """Of each function that has one, by requester id."""
        ...

    @property
    def tables(self) -> Format:
        """The format of domains' tables."""
        ...

    @property
    def shared(self) -> Mapping[int, int]:
        """Pages that every domain has beside its driver's own: physical address by IOVA."""
        ...

    def open_interrupts(self) -> int:
        """How many slots somebody may raise."""
        ...

    def interrupt_faults(self, bound: Mapping[int, Bound]) -> Iterator[str]:
        """What is wrong with what lets functions interrupt, given the vectors that are on, by slot."""
        ...

    def damages(self, place: Place) -> dict[str, Damage]:
        """By name: for each rule on devices at least one that it has to notice."""
        ...


class Kind(Protocol):
    """A kind of IOMMU, by the kernel's variables.

    Attributes:
        root: the kernel's variable that leads to the unit's own tables.
        checks_writers: a message raises an interrupt only by the function that wrote it, as told by the bus itself.
    """

    @property
    def checks_writers(self) -> bool:
        """See the class."""
        ...

    @property
    def name(self) -> str:
        """As its maker calls it."""
        ...

    @property
    def root(self) -> str:
        """See the class."""
        ...

    def take(self, kernel: KernelMemory, translate: Callable[[int], int | None], cpus: NDArray[Any]) -> Unit | None:
        """The unit as it stands; None if the machine has none. `translate`: from the kernel's addresses to physical."""
        ...

    def message(self, index: int) -> tuple[int, int]:
        """(address, data): what a device writes for the interrupt of the entry or event of that index."""
        ...

    def index_of(self, slot: int) -> int:
        """The index of a slot's entry or event."""
        ...

    def line_names_its_writer(self, kernel: KernelMemory) -> bool:
        """Whether the serial line's entry, of index 0, says who alone may use it; False where the line has none."""
        ...

    def old_message(self, vector: int) -> tuple[int, int] | None:
        """The same in a format that names the core's vector itself, which the kernel forbids; None: there is none."""
        ...

    def registers(self, kernel: KernelMemory) -> dict[str, int]:
        """Pages of registers that no device may reach: of the `interrupt controller`, of the `iommu`."""
        ...


def leaf_of(tables: Format, read: Read, root: int, iova: int) -> int:
    """Physical address of the entry that maps a page."""
    return path(tables, read, (root,), iova)[-1].where
