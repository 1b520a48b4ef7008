"""Counts the instructions of the linked daemon: one row per module, then per folder, the sum, and what others have.

Used by `make -C netd size`. What is counted is what llvm-objdump disassembles of the executable sections that the
linker kept; padding between functions (nop, int3) does not count. Whose an instruction is, the linker's map tells.
"""

from __future__ import annotations

import bisect
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

_INSTRUCTION = re.compile(r"^\s*([0-9a-f]+):\s+(\S+)")
_SECTION = re.compile(r"^\s*([0-9a-f]+)\s+[0-9a-f]+\s+([0-9a-f]+)\s+\d+\s+(\S+\.o):\(\.text")
_PADDING = ("nop", "int3", "xchg")
#: What lwIP's figure is of, too: no driver, no rings, no library.
_STACK = ("netd/stack", "netd/wire", "netd/services")
#: Published or asked for by others, not counted here.
_BESIDE = (
    (8000, "the article's figure for a whole daemon"),
    (11221, "lwIP by -Os: IPv4, without drivers, sockets over rings, a sender's SACK, PAWS, cookies"),
)


def module(path: str) -> tuple[str, str]:
    """An object's (folder, name): netd/stack/arp.c is ("netd/stack", "arp"), the library's are ("lib", NAME)."""
    source = re.sub(r"^.*/user/obj/(more/)?", "", path)
    folder, _, name = source.rpartition("/")
    return folder, name.split(".")[0]


def sections(text: str) -> list[tuple[int, int, tuple[str, str]]]:
    """(begin, end, module) of each piece of code in a map of ld.lld, in order of addresses."""
    found = []
    for match in filter(None, map(_SECTION.match, text.splitlines())):
        begin, size = int(match[1], 16), int(match[2], 16)
        if size:
            found.append((begin, begin + size, module(match[3])))
    return sorted(found)


def count(disassembly: str, pieces: list[tuple[int, int, tuple[str, str]]]) -> Counter[tuple[str, str]]:
    """Instructions by module. ValueError: one lies in no piece, so the map is another program's."""
    counts: Counter[tuple[str, str]] = Counter()
    begins = [begin for begin, _, _ in pieces]
    for match in filter(None, map(_INSTRUCTION.match, disassembly.splitlines())):
        if match[2].startswith(_PADDING):
            continue
        address = int(match[1], 16)
        at = bisect.bisect_right(begins, address) - 1
        if at < 0 or address >= pieces[at][1]:
            raise ValueError(f"the instruction at {address:#x} is in no module of the map")
        counts[pieces[at][2]] += 1
    return counts


def main(program: Path, linker_map: Path) -> None:
    """Prints the table for a linked program and the map that was written with it."""
    command = ["llvm-objdump", "--disassemble", "--no-show-raw-insn", str(program)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    counts = count(text, sections(linker_map.read_text()))
    for folder in sorted({folder for folder, _ in counts}):
        rows = {name: number for (where, name), number in counts.items() if where == folder}
        for name, number in sorted(rows.items(), key=lambda row: -row[1]):
            print(f"{number:7}  {folder}/{name}")
        print(f"{sum(rows.values()):7}  {folder}, {len(rows)} modules")
    print(f"{sum(counts.values()):7}  all")
    print(f"{sum(number for (where, _), number in counts.items() if where in _STACK):7}  of these, {', '.join(_STACK)}")
    for number, what in _BESIDE:
        print(f"{number:7}  beside it: {what}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
