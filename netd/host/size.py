"""Counts the instructions of release objects: one row per module, then per folder, and the sum.

Used by `make -C netd size`. What is counted is what llvm-objdump disassembles of all executable sections, at -Os for
x86-64; padding between functions (nop, int3) does not count.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

_INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\s+(\S+)")
_PADDING = ("nop", "int3", "xchg")


def instructions(objects: Path) -> int:
    """The instructions of one object file."""
    text = subprocess.run(
        ["llvm-objdump", "--disassemble", "--no-show-raw-insn", str(objects)],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found = [match[1] for match in map(_INSTRUCTION.match, text.splitlines()) if match]
    return sum(1 for name in found if not name.startswith(_PADDING))


def main(folder: Path) -> None:
    """Prints the table for all objects below a folder."""
    modules: dict[str, dict[str, int]] = {}
    for path in sorted(folder.rglob("*.o")):
        part = path.relative_to(folder).parent.name
        modules.setdefault(part, {})[path.stem] = instructions(path)
    for part, counts in modules.items():
        for name, count in sorted(counts.items(), key=lambda item: -item[1]):
            print(f"{count:7}  {part}/{name}")
        print(f"{sum(counts.values()):7}  {part}, {len(counts)} modules")
    print(f"{sum(sum(counts.values()) for counts in modules.values()):7}  all")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
