"""Executed instructions by function: of the kernel and of each program that a process runs.

What lives here: from counts by place in the target's memory to counts by function, and what is said of two of them. The
counting is the target's (:class:`keuos_hil.parts.CountsExecuted`). Which function grew is told for each operation, such
as a round trip, so that what is done once does not count.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from .code_map import CodeMap, Function
from .image import Elf, Image
from .memory import KernelMemory
from .page_tables import PageMap, Walker, format_for
from .parts import CountsExecuted

KERNEL = "kernel"
_PAGE = 4096
#: A run has an image or two, of each of which it needs the kernel and a few programs.
_MAPS_KEPT = 24

#: Of an operation's instructions. What differs by less is what the console did meanwhile.
_NOISE = 0.1

#: By program, or KERNEL: executed instructions of each function.
Executed = Mapping[str, Mapping[Function, int]]
#: The same as a row of results.json has it: for each operation, by the function's name.
Shares = Mapping[str, Mapping[str, float]]


def read(kernel: KernelMemory, image: Image, counter: CountsExecuted) -> dict[str, Counter[Function]]:
    """What was executed since the target was started, of the kernel and of every program that a process has.

    The target has to stand still, or nothing to start or to end processes meanwhile.

    Raises:
        ImageError: a program has no symbols.
    """
    made = {KERNEL: Counter(_sums(_code(kernel.elf), lambda at, size: counter.executed(kernel.physical(at), size)))}
    format_ = format_for(image.kernel.machine)
    walker = Walker(format_, kernel.debug.read_physical)
    root = int(kernel.read("kernel_space").root)
    free = kernel.elf.layouts.constant("KEUOS_PROCESS_FREE")
    seen = set()
    for record in kernel.read_array("processes"):
        if record["state"] == free or record["space"]["root"] == 0:
            continue
        name = bytes(record["name"]).split(b"\0")[0].decode("utf-8", "backslashreplace")
        space = walker.walk(format_.roots(int(record["space"]["root"]), root))
        code = _code(image.program(name))
        first = space.translate(code.segments[0].virtual)
        if first is None or (name, first) in seen:  # processes of one program share its code
            continue
        seen.add((name, first))
        made.setdefault(name, Counter()).update(_sums(code, lambda at, size: _virtual(space, counter, at, size)))  # noqa: B023
    return made


@lru_cache(maxsize=_MAPS_KEPT)
def _code(elf: Elf) -> CodeMap:
    """It takes a second or two."""
    return CodeMap(elf)


def _sums(code: CodeMap, counts: Any) -> dict[Function, int]:
    return code.sums({segment.virtual: counts(segment.virtual, segment.memory_size) for segment in code.segments})


def _virtual(space: PageMap, counter: CountsExecuted, address: int, size: int) -> Any:
    """The counts of a range of virtual addresses; zero where nothing is mapped."""
    made = np.zeros(size, dtype=np.uint64)
    at = address
    while at < address + size:
        length = min(_PAGE - at % _PAGE, address + size - at)
        physical = space.translate(at)
        if physical is not None:
            made[at - address : at - address + length] = counter.executed(physical, length)
        at += length
    return made


def difference(after: Executed, before: Executed) -> dict[str, Counter[Function]]:
    """What was executed between two moments, of programs that were there at both."""
    return {
        name: Counter({
            function: count - before[name].get(function, 0)
            for function, count in functions.items()
            if count != before[name].get(function, 0)
        })
        for name, functions in after.items()
        if name in before
    }  # fmt: skip


def least(windows: Sequence[Executed]) -> dict[str, dict[Function, int]]:
    """Of several windows in which the same was done, the least that each function executed."""
    return {
        name: {function: min(window.get(name, {}).get(function, 0) for window in windows) for function in functions}
        for name, functions in windows[0].items()
    }


def shares(more: Executed, fewer: Executed, operations: int) -> dict[str, dict[str, float]]:
    """What one operation takes, of two windows of which the first had `operations` more and was else the same."""
    made: dict[str, dict[str, float]] = {}
    for name in more:
        by_name: Counter[str] = Counter()
        for function in more[name].keys() | fewer.get(name, {}).keys():
            by_name[function.name] += more[name].get(function, 0) - fewer.get(name, {}).get(function, 0)
        found = {f: count / operations for f, count in by_name.items() if abs(count) >= _NOISE * operations}
        if found:
            made[name] = dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    return made


@dataclass(frozen=True)
class Grown:
    """A function of which one operation executes another number of instructions than before."""

    file: str
    function: str
    old: float
    new: float


def grown(old: Shares, new: Shares) -> list[Grown]:
    """Functions that differ; those that grew most first, those that shrank most last."""
    made = [
        Grown(file, name, old.get(file, {}).get(name, 0.0), new.get(file, {}).get(name, 0.0))
        for file in old.keys() | new.keys()
        for name in old.get(file, {}).keys() | new.get(file, {}).keys()
    ]
    return sorted((g for g in made if abs(g.new - g.old) >= _NOISE), key=lambda g: (g.old - g.new, g.file, g.function))
