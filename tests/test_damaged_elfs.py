"""Damaged programs in an initrd: the kernel's loader refuses each, and neither falls nor loses a page over it.

The ELF files are made here, byte by byte, so that one field at a time is wrong. What keuos_hil itself says of damaged
files is tests/test_image.py's.
"""

from __future__ import annotations

import random
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from keuos_hil.targets.qemu_x86 import QemuX86, QemuX86Options

from keuos_hil import bundled
from keuos_hil.agent import Process
from keuos_hil.errors import Refused
from keuos_hil.hookspecs import RunOptions
from keuos_hil.image import Image
from keuos_hil.rig import LiveTarget, Rig

ROOT = Path(__file__).resolve().parents[1]
PAGE = 0x1000
BASE = 0x40_0000
#: mov $EXIT, %eax; xor %edi, %edi; syscall; ud2. EXIT is 2: lib/x86_64/crt0.S relies on it as well.
CODE = bytes.fromhex("b802000000 31ff 0f05 0f0b")
R, W, X = 4, 2, 1
HEADER, SEGMENT, SECTION = struct.Struct("<16sHHIQQQIHHHHHH"), struct.Struct("<IIQQQQQQ"), struct.Struct("<IIQQQQIIQQ")
FAR = 2**64


@dataclass(frozen=True)
class Load:
    """A PT_LOAD segment. `file_bytes` and `offset` default to the code, which lies behind the headers."""

    address: int = BASE
    memory_bytes: int = PAGE
    flags: int = R | X
    file_bytes: int = len(CODE)
    offset: int | None = None


@dataclass(frozen=True)
class Program:
    """An ELF file. The fields are the header's; None is what is right."""

    loads: tuple[Load, ...] = (Load(),)
    entry: int = BASE
    ident: bytes = b"\x7fELF\2\1\1" + bytes(9)
    kind: int = 2
    machine: int = 62
    segments: int | None = None
    segment_bytes: int = SEGMENT.size
    segment_count: int | None = None
    sections: int | None = None
    section_bytes: int = SECTION.size
    section_count: int | None = None
    section_names: int = 1
    #: The section .keuos.proofs, if any: its contents, and what its header says of its size and place.
    proofs: bytes | None = None
    proofs_bytes: int | None = None
    proofs_offset: int | None = None
    length: int | None = None  # the file is cut there

    def bytes(self) -> bytes:
        """The file."""
        code_at = HEADER.size + SEGMENT.size * len(self.loads)
        proofs_at = code_at + len(CODE) + -(code_at + len(CODE)) % 16
        proofs = self.proofs or b""
        names = b"\0.shstrtab\0.keuos.proofs\0"
        names_at = proofs_at + len(proofs)
        sections_at = names_at + len(names) + -(names_at + len(names)) % 8
        table = b""
        if self.proofs is not None:
            size = len(proofs) if self.proofs_bytes is None else self.proofs_bytes
            place = proofs_at if self.proofs_offset is None else self.proofs_offset
            table = SECTION.pack(*([0] * 10))
            table += SECTION.pack(1, 3, 0, 0, names_at, len(names), 0, 0, 1, 0)
            table += SECTION.pack(11, 1, 2, 0, place, size, 0, 0, 16, 0)
        count = len(table) // SECTION.size
        out = HEADER.pack(
            self.ident,
            self.kind,
            self.machine,
            1,
            self.entry,
            HEADER.size if self.segments is None else self.segments,
            (sections_at if table else 0) if self.sections is None else self.sections,
            0,
            HEADER.size,
            self.segment_bytes,
            len(self.loads) if self.segment_count is None else self.segment_count,
            self.section_bytes,
            count if self.section_count is None else self.section_count,
            self.section_names if table else 0,
        )
        for load in self.loads:
            at = code_at if load.offset is None else load.offset
            out += SEGMENT.pack(1, load.flags, at, load.address, 0, load.file_bytes, load.memory_bytes, PAGE)
        out += CODE
        out = out.ljust(proofs_at, b"\0") + proofs + names
        out = out.ljust(sections_at, b"\0") + table
        return out[: self.length]


def one(**how: int) -> Program:
    """A program whose one segment is as told, entered where that begins."""
    load = Load(**how)
    return Program((load,), entry=load.address)


#: What must run, or the others would be refused for the wrong reason.
GOOD = {
    "plain": Program(),
    "lowest": one(address=0x1_0000),
    "with_proofs": Program(proofs=bytes(16 * 128)),
    "empty_proofs": Program(proofs=b""),
    "two_segments": Program((Load(), Load(BASE + PAGE, flags=R | W))),
    "empty_segment": Program((Load(), Load(0, memory_bytes=0, file_bytes=0))),
}
REFUSED = {
    "entry_non_canonical": Program(entry=0x0001_0000_0000_0000 | BASE),
    "entry_high_bits": Program(entry=0x7FFF_0000_0000_0000 | BASE),
    "entry_sign_extended": Program(entry=0xFFFF_0000_0000_0000 | BASE),
    "entry_kernel": Program(entry=0xFFFF_FFFF_8010_0000),
    "entry_unmapped": Program(entry=BASE + PAGE),
    "entry_null": Program(entry=0),
    "below_64k": one(address=0x8000),
    "null_page": one(address=0),
    "last_below_64k": one(address=0xF000),
    "data_below_64k": Program((Load(), Load(0x8000, flags=R | W))),
    "across_64k": one(address=0xF000, memory_bytes=2 * PAGE),
    "writable_code": one(flags=R | W | X),
    "shared_page": Program((Load(), Load(BASE + 0x800, memory_bytes=16, flags=R | W))),
    "same_segment_twice": Program((Load(), Load())),
    "across_program_end": one(address=(1 << 40) - PAGE, memory_bytes=2 * PAGE),
    "channel_window": one(address=0x1000_0000_0000),
    "memory_window": one(address=0x2000_0000_0000),
    "over_the_stack": one(address=0x7FFF_EFFF_F000),
    "kernel_half": one(address=0xFFFF_8000_0000_0000),
    "wraps": one(address=FAR - PAGE),
    "wraps_by_size": one(memory_bytes=FAR - 1),
    "wraps_to_itself": one(memory_bytes=FAR - BASE),
    "ends_in_kernel": one(memory_bytes=0xFFFF_8000_0000_0000),
    "more_file_than_memory": one(memory_bytes=8),
    "offset_past_end": one(offset=1 << 20),
    "offset_wraps": one(offset=FAR - 4),
    "file_bytes_past_end": one(file_bytes=PAGE),
    "file_bytes_wrap": one(file_bytes=FAR - 1, memory_bytes=FAR - 1),
    "segments_past_end": Program(segments=1 << 20),
    "segments_wrap": Program(segments=FAR - 8),
    "segments_overlap_end": Program(segments=HEADER.size + 64),
    "segment_count": Program(segment_count=0xFFFF),
    "segment_bytes": Program(segment_bytes=32),
    "sections_past_end": Program(sections=1 << 20, section_count=1),
    "sections_wrap": Program(sections=FAR - 8, section_count=1),
    "section_count": Program(proofs=bytes(16), section_count=0xFFFF),
    "section_bytes": Program(proofs=bytes(16), section_bytes=40),
    "section_names": Program(proofs=bytes(16), section_names=3),
    "proofs_in_part": Program(proofs=bytes(24)),
    "proofs_too_many": Program(proofs=bytes(16 * 129)),
    "proofs_past_end": Program(proofs=bytes(16), proofs_bytes=1 << 20),
    "proofs_wrap": Program(proofs=bytes(16), proofs_offset=FAR - 16, proofs_bytes=32),
    "another_machine": Program(machine=183),
    "shared_object": Program(kind=3),
    "relocatable": Program(kind=1),
    "class_32": Program(ident=b"\x7fELF\1\1\1" + bytes(9)),
    "big_endian": Program(ident=b"\x7fELF\2\2\1" + bytes(9)),
    "no_magic": Program(ident=b"\x7fELG\2\1\1" + bytes(9)),
    "no_segments": Program(segment_count=0),
    "cut_in_magic": Program(length=3),
    "cut_in_header": Program(length=HEADER.size - 1),
    "cut_behind_header": Program(length=HEADER.size),
    "cut_in_segments": Program(length=HEADER.size + SEGMENT.size - 1),
    "cut_in_code": Program(length=HEADER.size + SEGMENT.size + 4),
    "empty": Program(length=0),
}
#: Each segment lies in a table of its own: pages and tables in equal parts.
SPREAD = Program(tuple(Load(BASE + i * 0x20_0000) for i in range(40)))
HUGE = one(memory_bytes=1 << 39)
NOT_CODE = one(flags=R | W)
#: How many files have bytes of their headers changed at random, and by which seed.
MUTANTS, SEED = 250, 20
_INTERESTING = (0, 1, 0x7F, 0x80, 0xFF)


def mutant(number: int) -> bytes:
    """A good program with one to four bytes of its headers changed."""
    choice = random.Random(SEED * MUTANTS + number)
    program = bytearray(GOOD["with_proofs"].bytes())
    sections_at = len(program) - 3 * SECTION.size
    headers = [*range(4, HEADER.size + SEGMENT.size), *range(sections_at, len(program))]
    for at in choice.choices(headers, k=choice.randint(1, 4)):
        program[at] = choice.choice((*_INTERESTING, choice.randrange(256)))
    return bytes(program)


class Described(Image):
    """An image of whose initrd the host reads the console alone; the rest is for the kernel to judge."""

    @property
    def files(self) -> dict[str, bytes]:
        """The console."""
        return {}


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveTarget]:
    """A kernel whose initrd holds the console and every program above."""
    place = tmp_path_factory.mktemp("damaged")
    bundled.ensure("x86_64")
    kept = bundled.snapshot("x86_64", "release", place / "image")
    files = {name: program.bytes() for name, program in (GOOD | REFUSED).items()}
    files |= {"spread": SPREAD.bytes(), "huge": HUGE.bytes(), "not_code": NOT_CODE.bytes()}
    files |= {f"mutant{number}": mutant(number) for number in range(MUTANTS)}
    (place / "files").mkdir()
    for name, data in files.items():
        (place / "files" / name).write_bytes(data)
    (place / "files" / "console").write_bytes(Image.load(kept.kernel, kept.initrd).files["console"])
    initrd = place / "damaged.cpio"
    maker = [sys.executable, str(ROOT / "kernel/tools/mkinitrd.py"), "--output", str(initrd)]
    subprocess.run([*maker, *map(str, sorted((place / "files").iterdir()))], check=True, timeout=60)

    image = Described.load(kept.kernel, initrd)
    rig = Rig(lambda: place / "sessions", lambda name: QemuX86(name, QemuX86Options(), RunOptions()))
    try:
        yield rig.get("qemu-x86", image)
    finally:
        rig.close()


@pytest.fixture(autouse=True)
def nothing_is_left(live: LiveTarget) -> Iterator[None]:
    """Behind each test the kernel has as many processes, channels and free pages as at its start."""
    assert live.agent.files()
    live.begin_test()
    yield
    live.end_test()


def spawned(live: LiveTarget, name: str, reasons: str, **how: Any) -> Process | None:
    """The process; None if the kernel refused it for one of the reasons. Another refusal is raised."""
    try:
        return live.agent.spawn(name, **how)
    except Refused as refusal:
        if not re.search(reasons, str(refusal)):
            raise
        return None


@pytest.mark.parametrize("name", GOOD)
def test_a_whole_program_runs(live: LiveTarget, name: str) -> None:
    with live.agent.spawn(name) as process:
        end = process.wait_exit()
        assert end.ok, end


@pytest.mark.parametrize("name", REFUSED)
def test_a_damaged_program_is_refused(live: LiveTarget, name: str) -> None:
    for suspended in (False, True):
        with pytest.raises(Refused, match=r"(?i)enoexec"):
            live.agent.spawn(name, suspended=suspended)
    live.agent.ping()


def test_a_program_that_is_entered_in_its_data_ends_there(live: LiveTarget) -> None:
    with live.agent.spawn("not_code") as process:
        end = process.wait_exit()
        assert (end.name, end.detail) == ("fault_execute", BASE), end


def test_a_program_of_half_a_tebibyte_is_stopped_by_its_quota(live: LiveTarget) -> None:
    with pytest.raises(Refused, match=r"(?i)equota"):
        live.agent.spawn("huge", pages=300)


def test_a_program_and_its_page_tables_stay_within_its_quota(live: LiveTarget) -> None:
    """Whatever the quota, the program is either refused or has no more pages than that."""
    refused, accepted = [], []
    for quota in range(40, 140):
        process = spawned(live, "spread", r"(?i)equota|enomem", suspended=True, pages=quota)
        if process is None:
            refused.append(quota)
            continue
        info = process.info()
        process.close()
        assert info.pages <= quota, f"{info.pages} pages with a quota of {quota}"
        accepted.append(quota)
    assert refused, "no quota was too small"
    assert accepted, "no quota was enough"
    assert max(refused) < min(accepted), "a larger quota was refused where a smaller one was enough"


def test_headers_with_random_bytes_do_no_harm(live: LiveTarget) -> None:
    outcomes = set()
    for number in range(MUTANTS):
        process = spawned(live, f"mutant{number}", r"(?i)enoexec|equota|enomem", core=number % 2, pages=100)
        outcomes.add("refused" if process is None else "accepted")
        if process is not None:
            process.close()
    live.agent.ping()
    assert outcomes == {"refused", "accepted"}, "the changes are all harmless, or all obvious"
