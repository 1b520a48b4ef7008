"""Makes the kernel's symbol table for backtraces: reads the functions of a linked ELF, writes an assembly file.

The kernel is linked twice. The table lies behind the code, so the second link moves no function; `--check` proves it.
Usage: symbols.py KERNEL.elf OUT.S | symbols.py --check FIRST.elf SECOND.elf
"""

import struct
import sys
from pathlib import Path

SHT_SYMTAB = 2
STT_FUNC = 2
STT_NOTYPE = 0


def functions(path: Path) -> list[tuple[int, str]]:
    """All code symbols of an ELF-64 file, (address, name), sorted by address."""
    data = path.read_bytes()
    (shoff,) = struct.unpack_from("<Q", data, 0x28)
    shentsize, shnum = struct.unpack_from("<HH", data, 0x3A)
    sections = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + i * shentsize) for i in range(shnum)]
    executable = {i for i, s in enumerate(sections) if s[2] & 4}
    found: dict[int, str] = {}
    for section in sections:
        if section[1] != SHT_SYMTAB:
            continue
        strings = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 24):
            name, info, _, shndx, value, _ = struct.unpack_from("<IBBHQQ", data, at)
            if shndx in executable and info & 15 in (STT_FUNC, STT_NOTYPE):
                end = data.index(b"\0", strings + name)
                text = data[strings + name : end].decode()
                if text and (info & 15 == STT_FUNC or value not in found):
                    found[value] = text
    return sorted(found.items())


def write(symbols: list[tuple[int, str]], out: Path) -> None:
    """Writes the table as assembly: addresses from kernel_start, and one blob of names."""
    start = symbols[0][0] & ~0xFFF  # kernel_start: the image begins on a page, with code
    lines = ['\t.section .symbols, "a", @progbits', "\t.globl symbol_table, symbol_count, symbol_names", "\t.align 4"]
    lines += ["symbol_count:", f"\t.long {len(symbols)}", "symbol_table:"]
    offset = 0
    for address, name in symbols:
        lines.append(f"\t.long {address - start}, {offset}")
        offset += len(name) + 1
    lines.append("symbol_names:")
    lines += [f'\t.asciz "{name}"' for _, name in symbols]
    lines.append('\t.section .note.GNU-stack, "", @progbits')
    out.write_text("\n".join(lines) + "\n")


def main() -> int:
    """Write the table, or compare two links; the exit status."""
    if sys.argv[1] == "--check":
        first, second = (functions(Path(p)) for p in sys.argv[2:4])
        if first != second:
            print(f"symbols.py: {sys.argv[3]} has its functions elsewhere than {sys.argv[2]}", file=sys.stderr)
            return 1
        return 0
    write(functions(Path(sys.argv[1])), Path(sys.argv[2]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
