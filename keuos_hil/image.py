"""What is booted: a kernel, its initrd, and what can be known of them without booting.

Symbols, layouts, sealed-template sections, build-id and capabilities are read from the ELF files. What must not live
here: building images (:mod:`keuos_hil.bundled`) and starting them (the targets).
"""

from __future__ import annotations

import difflib
import enum
import hashlib
import io
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from elftools.common.exceptions import ELFError
from elftools.dwarf.dwarfinfo import DWARFInfo
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import NoteSection, SymbolTableSection

from . import initrd as cpio
from .dwarf import Layouts, Record, records
from .errors import ImageError
from .page_tables import architecture_of

_SHF_ALLOC = 2
#: A HIL build is one that has this entry point.
HIL_SYMBOL = "hil_syscall"
#: A kernel whose debug information has this structure has KeuOS's channels.
CHANNEL_STRUCT = "keuos_sealed"
#: NetD, and the program that makes socket calls of it as a host says.
NETD_PROGRAM, SOCKETS_PROGRAM = "netd", "sockets"
#: What a test reads of NetD.
NETD_VARIABLES = ("wire", "loop_counters", "application_counters")
#: NetD with a clock that a test can wind.
NETD_TEST_PROGRAM = "netd_hil"


class Grade(enum.IntEnum):
    """How much a kernel offers to a suite."""

    PRINTS = 1
    AGENT = 2
    CHANNELS = 3


@dataclass(frozen=True)
class Symbol:
    """An entry of the symbol table. `kind` is "func", "object" or "notype"."""

    name: str
    address: int
    size: int
    kind: str


@dataclass(frozen=True)
class Segment:
    """A loadable segment. `flags` are ELF's: 1 execute, 2 write, 4 read."""

    virtual: int
    physical: int
    file_size: int
    memory_size: int
    flags: int
    data: bytes = field(repr=False)


class NoElfError(ImageError):
    """A file does not begin as an ELF does."""


def is_elf(data: bytes) -> bool:
    """Whether a file begins as an ELF does."""
    return data[:4] == b"\x7fELF"


class Elf:
    """One 64-bit little-endian ELF file, held in memory.

    Args:
        data: the file.
        name: what error messages call it.

    Raises:
        ImageError: it is no such file, or truncated.
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        self.data = data
        if not is_elf(data):
            raise NoElfError(f"{name} is no ELF file: expected 7f 45 4c 46 at its start, found {data[:4].hex(' ')}")
        try:
            self._elf = ELFFile(io.BytesIO(data))
            header = self._elf.header
            ends = [segment["p_offset"] + segment["p_filesz"] for segment in self._elf.iter_segments()]
            ends += [s["sh_offset"] + s["sh_size"] for s in self._elf.iter_sections() if s["sh_type"] != "SHT_NOBITS"]
        except (ELFError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise ImageError(f"{name} is a damaged or truncated ELF file of {len(data)} bytes: {error}") from None
        if self._elf.elfclass != 64 or not self._elf.little_endian:
            raise ImageError(f"{name}: expected a 64-bit little-endian ELF, found {self._elf.elfclass} bits")
        if ends and max(ends) > len(data):
            raise ImageError(f"{name} is truncated: its headers speak of {max(ends)} bytes, the file has {len(data)}")
        self.machine = architecture_of(str(header["e_machine"]))
        self.entry: int = header["e_entry"]
        self.layouts = Layouts(self._elf, name)

    @classmethod
    def load(cls, path: Path) -> Elf:
        """Read `path`. Raises ImageError if it can't be read or is no such ELF."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise ImageError(f"{path} can't be read: {error.strerror}") from None
        return cls(data, str(path))

    def require_machine(self, architecture: str, target: str) -> None:
        """Raise ImageError unless this ELF is for `architecture`, the one that `target` runs."""
        if self.machine != architecture:
            raise ImageError(
                f"{self.name} is an ELF for the wrong machine: "
                f"target {target} runs {architecture}, this is {self.machine}"
            )

    @cached_property
    def producer(self) -> str:
        """Which compiler made it, as the first unit's debug information says; "" without any."""
        return self.layouts.producer

    def dwarf(self) -> DWARFInfo | None:
        """The debug information, for those who look at more than layouts; None without any."""
        return self._elf.get_dwarf_info() if self.layouts.present else None

    @cached_property
    def symbols(self) -> dict[str, Symbol]:
        """The symbol table by name; of several local ones of a name, the first."""
        table: dict[str, Symbol] = {}
        for section in self._elf.iter_sections():
            if not isinstance(section, SymbolTableSection):
                continue
            for entry in section.iter_symbols():
                kind = entry["st_info"]["type"]
                if entry.name and kind in ("STT_FUNC", "STT_OBJECT", "STT_NOTYPE") and entry["st_shndx"] != "SHN_UNDEF":
                    symbol = Symbol(entry.name, entry["st_value"], entry["st_size"], kind[4:].lower())
                    if entry["st_info"]["bind"] == "STB_GLOBAL" or entry.name not in table:
                        table[entry.name] = symbol
        return table

    def symbol(self, name: str) -> Symbol:
        """One symbol. Raises ImageError with the nearest names if there is none."""
        if name in self.symbols:
            return self.symbols[name]
        near = difflib.get_close_matches(name, self.symbols, 3)
        hint = f"; did you mean {', '.join(near)}?" if near else "" if self.symbols else "; it was stripped of all"
        raise ImageError(f"{self.name} has no symbol {name!r}{hint}")

    @cached_property
    def _functions(self) -> list[Symbol]:
        return sorted((s for s in self.symbols.values() if s.kind == "func"), key=lambda s: s.address)

    def describe(self, address: int) -> str:
        """`function+0x12` for an address in code, else the address."""
        at = bisect_right(self._functions, address, key=lambda s: s.address) - 1
        if at >= 0:
            function = self._functions[at]
            if address - function.address < max(function.size, 1):
                return f"{function.name}+{address - function.address:#x}"
        return f"{address:#x}"

    def section(self, name: str) -> bytes:
        """The bytes of a section; empty if there is none of that name."""
        section = self._elf.get_section_by_name(name)
        return bytes(section.data()) if section is not None else b""

    def section_names(self) -> list[str]:
        """The names of all sections."""
        return [section.name for section in self._elf.iter_sections()]

    @cached_property
    def segments(self) -> list[Segment]:
        """The loadable segments."""
        return [
            Segment(s["p_vaddr"], s["p_paddr"], s["p_filesz"], s["p_memsz"], s["p_flags"], bytes(s.data()))
            for s in self._elf.iter_segments()
            if s["p_type"] == "PT_LOAD"
        ]

    def contents(self) -> dict[int, bytes]:
        """What lies in memory at which address, without ELF's own headers and notes: the same for a stripped copy."""
        return {
            section["sh_addr"]: bytes(section.data())
            for section in self._elf.iter_sections()
            if section["sh_flags"] & _SHF_ALLOC and section["sh_type"] == "SHT_PROGBITS"
        }

    def physical(self, address: int) -> int:
        """Where a virtual address of the kernel lies in RAM, by the program headers. Raises ImageError outside."""
        for segment in self.segments:
            if segment.virtual <= address < segment.virtual + segment.memory_size:
                return address - segment.virtual + segment.physical
        raise ImageError(f"{address:#x} lies in no segment of {self.name}")

    @cached_property
    def build_id(self) -> str:
        """The linker's build-id, or `sha256-...` of the file if it has none."""
        for section in self._elf.iter_sections():
            if isinstance(section, NoteSection):
                for note in section.iter_notes():
                    if note["n_type"] == "NT_GNU_BUILD_ID":
                        return str(note["n_desc"])
        return "sha256-" + hashlib.sha256(self.data).hexdigest()[:32]


@dataclass
class Image:
    """A kernel and what it is booted with.

    Attributes:
        kernel_path: the file that a loader takes: an ELF, or a flat image.
        kernel: the ELF that describes it: the same file, or the one that ``--symbols`` named.
        initrd_path: None to boot without.
        variant: "release", "hil", or "given" for a user's own.
        command_line: handed to the kernel.
    """

    kernel_path: Path
    kernel: Elf
    initrd_path: Path | None = None
    variant: str = "given"
    command_line: str = ""

    @classmethod
    def load(
        cls,
        kernel: Path,
        initrd: Path | None = None,
        *,
        symbols: Path | None = None,
        variant: str = "given",
        command_line: str = "",
    ) -> Image:
        """Read the files and check that they are whole. Raises ImageError with one clear line if not."""
        try:
            elf = Elf.load(symbols or kernel)
        except NoElfError as error:
            hint = "" if symbols else "; of a flat kernel, pass the ELF of its build to --symbols"
            raise ImageError(f"{error}{hint}") from None
        if symbols is not None:
            _require_same_build(kernel, elf)
        image = cls(kernel, elf, initrd, variant, command_line)
        if initrd is not None:
            _ = image.files
        return image

    @cached_property
    def files(self) -> dict[str, bytes]:
        """The files in the initrd."""
        return cpio.read(self.initrd_path) if self.initrd_path is not None else {}

    @cached_property
    def _programs(self) -> dict[str, Elf]:
        return {}

    def program(self, name: str) -> Elf:
        """A program of the initrd; with symbols and layouts if they are in it, or in `user/NAME.elf` beside it.

        Raises:
            ImageError: there is no such file, or it is no ELF.
        """
        if name not in self._programs:
            if name not in self.files:
                raise ImageError(
                    f"the initrd {self.initrd_path} has no {name!r}; it has: {', '.join(self.files) or 'nothing'}"
                )
            elf = Elf(self.files[name], f"{name} in {self.initrd_path}")
            if not elf.layouts.present and self.initrd_path is not None:
                beside = self.initrd_path.parent / "user" / f"{name}.elf"
                if beside.is_file():
                    whole = Elf.load(beside)
                    if whole.contents() == elf.contents():
                        elf = whole
            self._programs[name] = elf
        return self._programs[name]

    def elfs(self) -> Iterator[tuple[str, Elf]]:
        """`kernel`, then the programs by name, each parsed when it is its turn; a damaged one is left out."""
        yield "kernel", self.kernel
        for name, data in self.files.items():
            if is_elf(data):
                with suppress(ImageError):  # whoever wants that very program is told by program()
                    yield name, self.program(name)

    def struct(self, name: str) -> np.dtype[Any]:
        """The layout of an interface structure: the kernel's, or else that of the first program that has it."""
        return self._having(name, "structure", Layouts.has_struct).struct(name)

    def enum(self, name: str) -> type[enum.IntEnum]:
        """An interface enumeration, found like :meth:`struct`."""
        return self._having(name, "enumeration", Layouts.has_enum).enum(name)

    def _having(self, name: str, what: str, has: Any) -> Layouts:
        for _, elf in self.elfs():
            if has(elf.layouts, name):
                return elf.layouts
        raise ImageError(
            f"neither {self.kernel.name} nor a program of its initrd describes a {what} {name!r} in its DWARF"
        )

    def constant(self, name: str) -> int:
        """The value of an enumerator, found like :meth:`struct`."""
        for _, elf in self.elfs():
            if elf.layouts.present:
                try:
                    return elf.layouts.constant(name)
                except ImageError:
                    continue
        raise ImageError(f"neither {self.kernel.name} nor a program of its initrd describes the enumerator {name!r}")

    def enumerators(self, name: str, prefix: str) -> dict[int, str]:
        """Value to name, `prefix` taken off and in lower case; empty if the image doesn't describe the enumeration."""
        try:
            return {int(member): member.name.removeprefix(prefix).lower() for member in self.enum(name)}
        except ImageError:
            return {}

    def templates(self, program: str, section: str = ".keuos.proofs") -> list[Record]:
        """What a program sends (`.keuos.proofs`) or accepts (`.keuos.interface`), in the order of the indices."""
        return records(self.struct("keuos_template"), self.program(program).section(section))

    @cached_property
    def grade(self) -> Grade:
        """What the image shows of itself. That an agent answers is known only when it has: see the `agent` fixture."""
        return Grade.CHANNELS if self.kernel.layouts.has_struct(CHANNEL_STRUCT) else Grade.PRINTS

    @cached_property
    def capabilities(self) -> frozenset[str]:
        """The capabilities of the second kind: those of the image."""
        found = set()
        if HIL_SYMBOL in self.kernel.symbols:
            found.add("hil")
        if self.kernel.layouts.present:
            found.add("dwarf")
        if self.kernel.symbols:
            found.add("symbols")
        if self.grade >= Grade.CHANNELS:
            found.add("channels")
        if self.files:
            found.add("initrd")
        if {NETD_PROGRAM, SOCKETS_PROGRAM} <= set(self.files):
            found.add("netd")
            if NETD_TEST_PROGRAM in self.files:
                found.add("netd-clock")
        return frozenset(found)

    @cached_property
    def key(self) -> str:
        """Two images with the same key are the same bytes."""
        digest = hashlib.sha256(self.kernel_path.read_bytes())
        digest.update(b"" if self.initrd_path is None else self.initrd_path.read_bytes())
        digest.update(self.command_line.encode())
        return digest.hexdigest()


def _require_same_build(flat: Path, symbols: Elf) -> None:
    """A flat image has no note that could be found by rule, but it holds the bytes of the build-id somewhere."""
    if symbols.build_id.startswith("sha256-"):
        raise ImageError(f"{symbols.name} has no build-id, so it can't be matched with {flat}; link it with --build-id")
    try:
        data = flat.read_bytes()
    except OSError as error:
        raise ImageError(f"the kernel {flat} can't be read: {error.strerror}") from None
    if bytes.fromhex(symbols.build_id) not in data:
        raise ImageError(
            f"{flat} was not built together with {symbols.name}: build-id {symbols.build_id} is not in it; "
            "pass the ELF of the same build to --symbols"
        )
