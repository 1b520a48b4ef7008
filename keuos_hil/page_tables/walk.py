"""The walker: from a root to everything that it maps, and the same for one address.

Two ways to the same answer, on purpose: :class:`Walker` takes whole levels at once and keeps what it has seen;
:func:`path` follows one address entry by entry, as the processor does. Tests hold them against each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.errors import InfraError

from .format import Caching, Format, Rights

#: `size` bytes of physical memory. Raises InfraError where there is none.
Read = Callable[[int, int], bytes]

PAGE = 4096
ENTRIES = 512
#: More tables than this on one level are no page tables: a terabyte of 4 KiB pages has fewer.
_TABLES_MAX = 1 << 19

#: A run of pages with equal attributes, adjacent in both address spaces. `own`: the rights of the last entry alone.
MAPPING = np.dtype([
    ("virtual", "<u8"), ("physical", "<u8"), ("size", "<u8"), ("rights", "u1"), ("level", "u1"), ("global", "?"),
    ("caching", "u1"), ("own", "u1"),
])  # fmt: skip
#: A table but the root: what it maps starts at `virtual`; `rights` are those of the entry that leads to it.
TABLE = np.dtype([("virtual", "<u8"), ("physical", "<u8"), ("level", "u1"), ("rights", "u1")])
#: One 4 KiB page of a mapping.
PAGES = np.dtype([("virtual", "<u8"), ("physical", "<u8"), ("rights", "u1"), ("caching", "u1")])


@dataclass(frozen=True)
class Mapping:
    """A run of pages with equal attributes, adjacent in both address spaces.

    Attributes:
        level: of the entries that map it: 1 for 4 KiB pages, 2 for 2 MiB, 3 for 1 GiB.
    """

    virtual: int
    physical: int
    size: int
    rights: Rights
    level: int
    global_: bool
    caching: Caching

    @property
    def end(self) -> int:
        """The first address behind it."""
        return self.virtual + self.size

    def __str__(self) -> str:
        extra = "" if self.caching == Caching.WRITE_BACK else f", {self.caching.name.lower()}"
        extra += ", global" if self.global_ else ""
        return f"{self.virtual:#x}..{self.end:#x} -> {self.physical:#x} {self.rights}{extra}"


@dataclass(frozen=True)
class Step:
    """One entry on the way to an address.

    Attributes:
        where: physical address of the entry itself.
        permitted: what this entry and those before it permit together.
        target: physical, of the table or page that it leads to; 0 if it is not present.
    """

    level: int
    where: int
    entry: int
    present: bool
    leaf: bool
    permitted: Rights
    target: int


class PageMap:
    """All that an address space maps.

    Attributes:
        mappings: a MAPPING array by rising virtual address.
        tables: a TABLE array: every table but the roots, in no order.
        roots: physical addresses of the top tables.
        malformed: in words, entries that the architecture forbids, or that lead out of memory.
    """

    def __init__(
        self,
        format_: Format,
        roots: Sequence[int],
        mappings: NDArray[Any],
        tables: NDArray[Any],
        malformed: Sequence[str],
    ) -> None:
        self.format = format_
        self.roots = tuple(roots)
        self.mappings = mappings
        self.tables = tables
        self.malformed = tuple(malformed)

    def __len__(self) -> int:
        return len(self.mappings)

    def __iter__(self) -> Iterator[Mapping]:
        return (_mapping(row) for row in self.mappings)

    def where(self, mask: NDArray[np.bool_]) -> Iterator[Mapping]:
        """Those of the mappings that the mask names."""
        return (_mapping(row) for row in self.mappings[mask])

    def find(self, address: int) -> Mapping | None:
        """The mapping that holds a virtual address, or None."""
        starts = self.mappings["virtual"]
        at = int(np.searchsorted(starts, np.uint64(address), side="right")) - 1 if 0 <= address < 1 << 64 else -1
        if at < 0:
            return None
        mapping = _mapping(self.mappings[at])
        return mapping if address < mapping.end else None

    def rights(self, address: int) -> Rights:
        """What the tables permit at a virtual address; nothing where nothing is mapped."""
        mapping = self.find(address)
        return Rights.NONE if mapping is None else mapping.rights

    def translate(self, address: int) -> int | None:
        """The physical address behind a virtual one, or None."""
        mapping = self.find(address)
        return None if mapping is None else mapping.physical + address - mapping.virtual

    def pages(self, keep: NDArray[np.bool_] | None = None) -> NDArray[Any]:
        """The mappings, or those that the mask `keep` names, page by page: a PAGES array."""
        chosen = self.mappings if keep is None else self.mappings[keep]
        counts = (chosen["size"] // PAGE).astype(np.intp)
        out = np.empty(int(counts.sum()), dtype=PAGES)
        which = np.repeat(np.arange(len(chosen)), counts)
        within = np.arange(len(out)) - np.repeat(np.cumsum(counts) - counts, counts)
        distance = within.astype(np.uint64) * np.uint64(PAGE)
        out["virtual"] = chosen["virtual"][which] + distance
        out["physical"] = chosen["physical"][which] + distance
        out["rights"] = chosen["rights"][which]
        out["caching"] = chosen["caching"][which]
        return out


def _mapping(row: Any) -> Mapping:
    return Mapping(
        int(row["virtual"]),
        int(row["physical"]),
        int(row["size"]),
        Rights(int(row["rights"])),
        int(row["level"]),
        bool(row["global"]),
        Caching(int(row["caching"])),
    )


@dataclass(frozen=True)
class _Found:
    """What one entry of a top table leads to. Addresses are offsets from the root's start."""

    mappings: NDArray[Any]
    tables: NDArray[Any]
    malformed: tuple[tuple[int, str], ...]


class Walker:
    """Walks many address spaces of one moment.

    Memory is taken to stand still while it lives: what two spaces share is walked once.

    Args:
        format_: of the tables.
        read: physical memory.
    """

    def __init__(self, format_: Format, read: Read) -> None:
        self.format = format_
        self._read = read
        self._seen: dict[tuple[int, int], _Found] = {}

    def walk(self, roots: Sequence[int]) -> PageMap:
        """Everything that these top tables map: the roots of one space, in the order that CpuFormat.roots gives."""
        mappings: list[NDArray[Any]] = []
        tables: list[NDArray[Any]] = []
        malformed: list[str] = []
        for number, root in enumerate(roots):
            try:
                entries = np.frombuffer(self._read(root, PAGE), dtype="<u8")
            except InfraError as error:
                malformed.append(f"the root at {root:#x} is not in memory: {error}")
                continue
            looked_at = np.arange(ENTRIES)[self.format.root_entries(number)]
            for index in looked_at[np.flatnonzero(entries[looked_at])]:
                found = self._entry(int(index), int(entries[index]))
                for part, into in ((found.mappings, mappings), (found.tables, tables)):
                    if len(part):
                        placed = part.copy()
                        placed["virtual"] = self.format.virtual(number, part["virtual"])
                        into.append(placed)
                for offset, text in found.malformed:
                    at = int(self.format.virtual(number, np.array([offset], dtype=np.uint64))[0])
                    malformed.append(f"{at:#x}: {text}")
        whole = np.concatenate(mappings) if mappings else np.empty(0, MAPPING)
        order = np.argsort(whole["virtual"], kind="stable")
        return PageMap(
            self.format,
            roots,
            _merged(whole[order]),
            np.concatenate(tables) if tables else np.empty(0, TABLE),
            malformed,
        )

    def _entry(self, index: int, entry: int) -> _Found:
        key = (index, entry)
        if key not in self._seen:
            self._seen[key] = self._descend(index, entry)
        return self._seen[key]

    def _descend(self, index: int, entry: int) -> _Found:
        """Level by level, all tables of a level at once."""
        level = self.format.levels
        entries = np.array([[entry]], dtype=np.uint64)
        bases = np.array([index << _shift(level)], dtype=np.uint64)
        permitted = np.array([Rights.ALL], dtype=np.uint8)
        mappings: list[NDArray[Any]] = []
        tables: list[NDArray[Any]] = []
        malformed: list[tuple[int, str]] = []
        while True:
            decoded = self.format.decode(level, entries)
            spread = np.arange(entries.shape[1], dtype=np.uint64) << np.uint64(_shift(level))
            virtual = bases[:, None] + spread
            rights = permitted[:, None] & decoded.rights
            for row, column in np.argwhere(decoded.malformed):
                text = f"the level {level} entry {int(entries[row, column]):#018x} has reserved bits set"
                malformed.append((int(virtual[row, column]), text))
            leaf = decoded.present & decoded.leaf
            page = np.empty(int(leaf.sum()), dtype=MAPPING)
            page["virtual"], page["physical"] = virtual[leaf], decoded.address[leaf]
            page["size"], page["level"], page["rights"] = 1 << _shift(level), level, rights[leaf]
            page["own"] = decoded.rights[leaf]
            page["global"], page["caching"] = decoded.global_[leaf], decoded.caching[leaf]
            mappings.append(page)

            below = decoded.present & ~decoded.leaf
            table = np.empty(int(below.sum()), dtype=TABLE)
            table["virtual"], table["physical"] = virtual[below], decoded.address[below]
            table["level"], table["rights"] = level - 1, decoded.rights[below]
            tables.append(table)
            if not len(table) or level == 1:
                break
            level -= 1
            entries, there = self._tables(table, malformed)
            bases, permitted = table["virtual"][there], rights[below][there]
            if not len(bases):
                break
        return _Found(np.concatenate(mappings), np.concatenate(tables), tuple(malformed))

    def _tables(
        self, table: NDArray[Any], malformed: list[tuple[int, str]]
    ) -> tuple[NDArray[np.uint64], NDArray[np.bool_]]:
        """The entries of these tables, and which of them lie in memory."""
        if len(table) > _TABLES_MAX:
            raise InfraError(f"more than {_TABLES_MAX} tables on level {table['level'][0]}: these are no page tables")
        there = np.ones(len(table), dtype=np.bool_)
        parts = []
        for i, physical in enumerate(table["physical"].tolist()):
            try:
                parts.append(self._read(physical, PAGE))
            except InfraError:
                there[i] = False
                text = f"the table of level {table['level'][i]} at {physical:#x} is not in memory"
                malformed.append((int(table["virtual"][i]), text))
        return np.frombuffer(b"".join(parts), dtype="<u8").reshape(-1, ENTRIES), there


def _shift(level: int) -> int:
    return 12 + 9 * (level - 1)


def _merged(rows: NDArray[Any]) -> NDArray[Any]:
    """Neighbours that continue each other, as one."""
    if len(rows) < 2:
        return rows
    before, behind = rows[:-1], rows[1:]
    joined = (before["virtual"] + before["size"] == behind["virtual"]) & (
        before["physical"] + before["size"] == behind["physical"]
    )
    for name in ("rights", "own", "level", "global", "caching"):
        joined &= before[name] == behind[name]
    starts = np.flatnonzero(np.concatenate(([True], ~joined)))
    merged = rows[starts].copy()
    merged["size"] = np.add.reduceat(rows["size"], starts)
    return merged


def path(format_: Format, read: Read, roots: Sequence[int], address: int) -> list[Step]:
    """The entries that a processor looks at for a virtual address, from the top down; the last may be absent.

    Raises:
        InfraError: a table on the way is not in memory.
    """
    place = format_.offset(address)
    if place is None:
        return []
    number, offset = place
    table, permitted = roots[number], Rights.ALL
    steps = []
    for level in range(format_.levels, 0, -1):
        where = table + (offset >> _shift(level) & ENTRIES - 1) * 8
        entry = np.frombuffer(read(where, 8), dtype="<u8")
        decoded = format_.decode(level, entry)
        present, leaf = bool(decoded.present[0]), bool(decoded.leaf[0])
        permitted &= Rights(int(decoded.rights[0])) if present else Rights.NONE
        table = int(decoded.address[0]) if present else 0
        steps.append(Step(level, where, int(entry[0]), present, present and leaf, permitted, table))
        if not present or leaf:
            break
    return steps


def translate(format_: Format, read: Read, roots: Sequence[int], address: int) -> int | None:
    """The physical address behind a virtual one, or None if nothing is mapped there.

    Raises:
        InfraError: a table on the way is not in memory.
    """
    steps = path(format_, read, roots, address)
    if not steps or not steps[-1].leaf:
        return None
    last = steps[-1]
    return last.target + (address & (1 << _shift(last.level)) - 1)
