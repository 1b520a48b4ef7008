"""Functions in an ELF's code: which one each byte belongs to, and where one was inlined. Pure: an ELF in, names out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from posixpath import normpath
from typing import Any

import numpy as np
from elftools.dwarf.descriptions import describe_form_class
from elftools.dwarf.die import DIE
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.dwarf.ranges import BaseAddressEntry, RangeEntry
from numpy.typing import NDArray

from .image import Elf

_EXECUTE = 1
_FUNCTIONS = ("DW_TAG_subprogram", "DW_TAG_inlined_subroutine")
#: Folders that a unit's path is told from.
_ROOTS = ("netd", "kernel")


@dataclass(frozen=True)
class Function:
    """A function's own code, without that of functions that were inlined into it.

    Attributes:
        name: its own, also where it was inlined.
        unit: the source file that was compiled, as in "netd/stack/ipv4.c"; "" if unknown.
    """

    name: str
    unit: str


class CodeMap:
    """Of one ELF. What has no debug information, such as assembly, goes by the symbol in front of it.

    Raises:
        ImageError: the ELF has no symbols.
    """

    def __init__(self, elf: Elf) -> None:
        self.segments = [segment for segment in elf.segments if segment.flags & _EXECUTE]
        self._functions: list[Function] = [Function("?", "")]
        self._numbers: dict[Function, int] = {self._functions[0]: 0}
        self._owners = [np.zeros(segment.memory_size, dtype=np.int32) for segment in self.segments]
        dwarf = elf.dwarf()
        units = sorted(_units(dwarf)) if dwarf is not None else []
        starts = [start for start, _, _ in units]
        placed = sorted((s.address, s.name) for s in elf.symbols.values() if s.kind in ("func", "notype"))
        for (start, name), (end, _) in pairwise([*placed, (1 << 64, "")]):
            at = bisect_right(starts, start) - 1
            unit = units[at][2] if at >= 0 and start < units[at][1] else ""
            self._fill(start, end, Function(name, unit))
        if dwarf is not None:
            for start, end, function in _functions(dwarf):
                self._fill(start, end, function)

    def _fill(self, start: int, end: int, function: Function) -> None:
        for segment, owners in zip(self.segments, self._owners, strict=True):
            first, last = (min(max(address - segment.virtual, 0), segment.memory_size) for address in (start, end))
            if first < last:
                number = self._numbers.setdefault(function, len(self._functions))
                if number == len(self._functions):
                    self._functions.append(function)
                owners[first:last] = number

    def sums(self, counts: Mapping[int, NDArray[np.uint64]]) -> dict[Function, int]:
        """What was counted byte by byte, by function; those of which nothing was are left out.

        Args:
            counts: an array for each of :attr:`segments`, by its virtual address.
        """
        total = np.zeros(len(self._functions), dtype=np.uint64)
        for segment, owners in zip(self.segments, self._owners, strict=True):
            found = np.flatnonzero(counts[segment.virtual])
            np.add.at(total, owners[found], counts[segment.virtual][found])
        return {self._functions[number]: int(total[number]) for number in np.flatnonzero(total).tolist()}


def _units(dwarf: DWARFInfo) -> Iterator[tuple[int, int, str]]:
    """Pieces of code that were compiled of one file: start, end, file."""
    for unit in dwarf.iter_CUs():
        top = unit.get_top_DIE()
        for start, end in _ranges(dwarf, top):
            yield start, end, _path(_name(top))


def _functions(dwarf: DWARFInfo) -> Iterator[tuple[int, int, Function]]:
    """Pieces of functions, the inner ones behind the outer ones."""
    for unit in dwarf.iter_CUs():
        top = unit.get_top_DIE()
        file, pending = _path(_name(top)), [top]
        while pending:  # level by level
            inner = []
            for die in (child for outer in pending for child in outer.iter_children()):
                if die.tag in _FUNCTIONS:
                    for start, end in _ranges(dwarf, die):
                        yield start, end, Function(_name(die), file)
                if die.has_children and die.tag in (*_FUNCTIONS, "DW_TAG_lexical_block"):
                    inner.append(die)
            pending = inner


@dataclass(frozen=True)
class Inlined:
    """One call of a function that the compiler put in place.

    Attributes:
        file, line: of the sources, where it is called; the file as Function.unit has it.
        ranges: where its code lies: first address, and the one behind the last.
    """

    file: str
    line: int
    ranges: list[tuple[int, int]]


def inlined(dwarf: DWARFInfo, name: str) -> Iterator[Inlined]:
    """Every call of the function `name` that was inlined (DWARF 4, section 3.3.8.2)."""
    for unit in dwarf.iter_CUs():
        program: Any = dwarf.line_program_for_CU(unit)
        files = program["file_entry"]
        folders = [b"", *program["include_directory"]]
        for die in unit.iter_DIEs():
            if die.tag == "DW_TAG_inlined_subroutine" and _name(die) == name:
                entry = files[die.attributes["DW_AT_call_file"].value - 1]
                path = normpath(f"{folders[entry.dir_index].decode()}/{entry.name.decode()}")
                yield Inlined(_path(path), die.attributes["DW_AT_call_line"].value, _ranges(dwarf, die))


def _ranges(dwarf: DWARFInfo, die: DIE) -> list[tuple[int, int]]:
    """Addresses of the code of a DIE (DWARF 4, section 2.17)."""
    low = die.attributes.get("DW_AT_low_pc")
    if "DW_AT_ranges" in die.attributes:
        base = die.cu.get_top_DIE().attributes.get("DW_AT_low_pc")
        start, found = base.value if base is not None else 0, []
        lists: Any = dwarf.range_lists()
        for entry in lists.get_range_list_at_offset(die.attributes["DW_AT_ranges"].value, die.cu):
            if isinstance(entry, BaseAddressEntry):
                start = entry.base_address
            elif isinstance(entry, RangeEntry):
                moved = 0 if entry.is_absolute else start
                found.append((entry.begin_offset + moved, entry.end_offset + moved))
        return found
    if low is None or "DW_AT_high_pc" not in die.attributes:
        return []
    high = die.attributes["DW_AT_high_pc"]
    is_address = describe_form_class(high.form) == "address"
    return [(low.value, high.value if is_address else low.value + high.value)]


def _name(die: DIE) -> str:
    for link in ("DW_AT_abstract_origin", "DW_AT_specification"):
        while "DW_AT_name" not in die.attributes and link in die.attributes:
            die = die.get_DIE_from_attribute(link)
    told: Any = die.attributes.get("DW_AT_name")
    return "?" if told is None else str(told.value.decode(errors="replace"))


def _path(file: str) -> str:
    """From the folder on that both a checkout and any other place of building have."""
    parts = file.split("/")
    at = [i for i, part in enumerate(parts) if part in _ROOTS]
    return "/".join(parts[at[0] :] if at else parts)
