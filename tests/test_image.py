"""Images: layouts against the compiler's own offsetof, symbols, damaged and foreign files as one clear line each."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keuos_hil.plugins.arm64_image import flatten

from keuos_hil import initrd
from keuos_hil.dwarf import Record, records
from keuos_hil.errors import ImageError
from keuos_hil.image import Elf, Grade, Image
from keuos_hil.memory import Variables

SOURCE = """
#include <stddef.h>
#include <stdint.h>
typedef uint16_t half;
enum colour { RED = 1, GREEN = 2, BLUE = 0x7fffffff };
enum { LONELY = 42 };
struct inner { uint8_t kind; uint64_t wide; };
struct outer {
	char name[12];
	half halves[3];
	struct inner inner;
	struct inner several[2];
	union { uint32_t as_word; uint8_t as_bytes[4]; };
	enum colour colour;
	void *pointer;
	int8_t negative;
	double ratio;
	uint32_t grid[2][3];
};
struct outer thing = { .name = "thing", .halves = {1, 2, 3}, .inner = {4, 5}, .several = {{6, 7}, {8, 9}},
	.as_word = 0x01020304, .colour = GREEN, .pointer = (void *)0x1234, .negative = -5, .ratio = 0.5,
	.grid = {{1, 2, 3}, {4, 5, 6}} };
volatile const struct inner table[4] = {{1, 10}, {2, 20}, {3, 30}, {4, 40}};
uint32_t samples[100] = {7, 8, 9};
int32_t number = -3;
int lonely(void) { return LONELY; }
const uint64_t oracle[] = { sizeof(struct outer), offsetof(struct outer, name), offsetof(struct outer, halves),
	offsetof(struct outer, inner), offsetof(struct outer, several), offsetof(struct outer, as_word),
	offsetof(struct outer, as_bytes), offsetof(struct outer, colour), offsetof(struct outer, pointer),
	offsetof(struct outer, negative), offsetof(struct outer, ratio), offsetof(struct outer, grid) };
struct keuos_template { uint16_t opcode; uint16_t reserved; uint32_t flags; uint32_t max_length; uint32_t alignment; };
__attribute__((used, section(".keuos.proofs"))) const struct keuos_template proofs[2] = {
	{1, 0, 2, 3, 64}, {5, 0, 6, 7, 128}};
void _start(void) { for (;;); }
"""
FIELDS = ("name", "halves", "inner", "several", "as_word", "as_bytes", "colour", "pointer", "negative", "ratio", "grid")


@pytest.fixture(scope="session", params=["-gdwarf-4", "-gdwarf-5"])
def elf_path(request, tmp_path_factory):
    place = tmp_path_factory.mktemp("elf")
    (place / "x.c").write_text(SOURCE)
    command = ["clang", "--target=x86_64-elf", request.param, "-O1", "-ffreestanding", "-c", "x.c", "-o", "x.o"]
    subprocess.run(command, cwd=place, check=True)
    subprocess.run(["ld.lld", "--build-id=sha1", "x.o", "-o", "x.elf"], cwd=place, check=True)
    return place / "x.elf"


@pytest.fixture
def elf(elf_path):
    return Elf.load(elf_path)


@pytest.fixture
def memory(elf):
    """The file's own data segment as memory."""
    cells = {}
    for segment in elf.segments:
        cells.update({segment.virtual + i: b for i, b in enumerate(segment.data)})

    def write(address, data):
        cells.update({address + i: b for i, b in enumerate(data)})

    return Variables(elf, lambda address, size: bytes(cells[address + i] for i in range(size)), write)


def test_offsets_and_sizes_are_the_compiler_s(elf, memory):
    size, *offsets = memory.read_array("oracle").tolist()
    layout = elf.layouts.struct("outer")
    assert layout.itemsize == size
    assert [layout.fields[name][1] for name in FIELDS] == offsets


def test_a_structure_is_read_with_everything_in_it(memory):
    thing = memory.read("thing")
    assert (thing.name, thing.halves.tolist(), thing.inner.kind, thing.inner.wide) == ("thing", [1, 2, 3], 4, 5)
    assert [(s.kind, s.wide) for s in thing.several] == [(6, 7), (8, 9)]
    assert (thing.as_word, thing.as_bytes.tolist()) == (0x01020304, [4, 3, 2, 1])
    assert (thing.colour, thing.pointer, thing.negative, thing.ratio) == (2, 0x1234, -5, 0.5)
    assert thing.grid.tolist() == [[1, 2, 3], [4, 5, 6]]
    assert thing.as_dict()["several"][1] == {"kind": 8, "wide": 9}


def test_arrays_are_read_in_part_and_beyond_their_end_never(memory):
    assert memory.read_array("samples", 3).tolist() == [7, 8, 9]
    assert [t.wide for t in memory.read("table")] == [10, 20, 30, 40]
    assert memory.read_element("table", 2).wide == 30
    assert memory.read("number") == -3
    with pytest.raises(ValueError, match="100 elements"):
        memory.read_array("samples", 101)
    with pytest.raises(ValueError, match="no array"):
        memory.read_array("number")


def test_writing_some_fields_leaves_the_others(memory):
    memory.write("thing", name="new", colour=1, halves=[9, 8, 7])
    thing = memory.read("thing")
    assert (thing.name, thing.colour, thing.halves.tolist(), thing.inner.wide) == ("new", 1, [9, 8, 7], 5)
    memory.write("number", 12)
    assert memory.read("number") == 12
    with pytest.raises(AttributeError, match="no field 'colur'"):
        memory.write("thing", colur=1)
    with pytest.raises(ValueError, match="does not fit"):
        memory.write("thing", as_word=1 << 32)
    with pytest.raises(ValueError, match="holds 12 bytes"):
        memory.write("thing", name="much too long a name")


def test_enumerators_have_their_names_and_values(elf):
    colour = elf.layouts.enum("colour")
    assert colour.GREEN == 2
    assert colour(0x7FFFFFFF).name == "BLUE"
    assert elf.layouts.constant("BLUE") == 0x7FFFFFFF
    with pytest.raises(ImageError, match="no enumerator 'PURPLE'"):
        elf.layouts.constant("PURPLE")


def test_a_record_is_its_bytes(elf):
    inner = elf.layouts.struct("inner")
    record = Record.of(inner, bytes(range(16)))
    assert bytes(record) == bytes(range(16))
    record.wide = 1
    assert bytes(record)[8:] == (1).to_bytes(8, "little")
    assert record == Record.of(inner, bytes(record))
    assert len(records(inner, bytes(40))) == 2
    with pytest.raises(ValueError, match="takes 16 bytes, not 15"):
        Record.of(inner, bytes(15))


def test_symbols_describe_addresses_and_misspelt_ones_get_a_hint(elf):
    start = elf.symbol("_start")
    assert start.kind == "func"
    assert elf.describe(start.address + 1) == "_start+0x1"
    assert elf.describe(3) == "0x3"
    with pytest.raises(ImageError, match=r"no symbol 'sampels'; did you mean samples"):
        elf.symbol("sampels")


def test_kernel_addresses_map_to_ram_by_the_program_headers(elf):
    segment = elf.segments[-1]
    assert elf.physical(segment.virtual + 5) == segment.physical + 5
    with pytest.raises(ImageError, match="in no segment"):
        elf.physical(0xDEAD_0000_0000)


def test_templates_come_from_their_section(elf_path, tmp_path):
    archive = tmp_path / "initrd.cpio"
    archive.write_bytes(newc({"program": elf_path.read_bytes()}))
    image = Image.load(elf_path, archive)
    assert [(t.opcode, t.max_length, t.alignment) for t in image.templates("program")] == [(1, 3, 64), (5, 7, 128)]
    with pytest.raises(ImageError, match=r"no 'other'; it has: program"):
        image.program("other")


def test_a_stripped_program_is_described_by_the_whole_one_beside_the_initrd(elf_path, tmp_path):
    stripped = tmp_path / "stripped"
    subprocess.run(["ld.lld", "--build-id=sha1", "-S", elf_path.with_name("x.o"), "-o", stripped], check=True)
    archive = tmp_path / "initrd.cpio"
    archive.write_bytes(newc({"x": stripped.read_bytes()}))
    assert not Image.load(elf_path, archive).program("x").layouts.present
    (tmp_path / "user").mkdir()
    shutil.copy(elf_path, tmp_path / "user" / "x.elf")
    assert Image.load(elf_path, archive).program("x").layouts.present


def test_a_damaged_program_keeps_nobody_from_what_others_describe(elf_path, tmp_path):
    archive = tmp_path / "initrd.cpio"
    whole = elf_path.read_bytes()
    archive.write_bytes(newc({"broken": whole[: len(whole) // 2], "x": whole}))
    stripped = tmp_path / "stripped"
    subprocess.run(["ld.lld", "--build-id=sha1", "-S", elf_path.with_name("x.o"), "-o", stripped], check=True)
    for kernel in (elf_path, stripped):
        image = Image.load(kernel, archive)
        assert image.constant("LONELY") == 42
        assert image.enumerators("colour", "")[2] == "green"
        assert image.struct("inner").itemsize == 16
    with pytest.raises(ImageError, match=r"broken in .* truncated"):
        image.program("broken")


def test_an_image_without_keuos_s_layouts_only_prints(elf_path):
    image = Image.load(elf_path)
    assert image.grade is Grade.PRINTS
    assert image.capabilities == {"dwarf", "symbols"}


def test_a_flat_image_must_hold_the_build_id_of_its_symbols(elf_path, tmp_path, elf):
    flat = tmp_path / "Image"
    flat.write_bytes(b"x" * 100 + bytes.fromhex(elf.build_id) + b"y" * 10)
    image = Image.load(flat, symbols=elf_path)
    assert image.kernel_path == flat
    flat.write_bytes(b"x" * 100)
    with pytest.raises(ImageError, match="not built together"):
        Image.load(flat, symbols=elf_path)


@pytest.mark.parametrize("variant", ["release", "hil"])
def test_keuos_s_own_flat_image_is_its_elf_to_the_byte(pytestconfig: pytest.Config, variant: str) -> None:
    built: Path = pytestconfig.rootpath / "build" / "kernel" / "arm64" / variant
    image = Image.load(built / "Image", symbols=built / "keuos.elf")
    assert image.kernel_path.read_bytes() == flatten(image.kernel)


def test_a_flat_kernel_without_symbols_is_told_the_option(tmp_path: Path) -> None:
    flat = tmp_path / "Image"
    flat.write_bytes(b"MZ" + bytes(100))
    with pytest.raises(ImageError, match=r"is no ELF file.*; of a flat kernel, pass the ELF of its build to --symbols"):
        Image.load(flat)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: b"MZ" + d[2:], "no ELF file"),
        (lambda d: b"", "no ELF file"),
        (lambda d: d[: len(d) // 2], "truncated"),
        (lambda d: d[:40], "truncated"),
        (lambda d: d[:4] + b"\x01" + d[5:], "ELF"),
        (lambda d: d[:40] + struct.pack("<Q", 1 << 40) + d[48:], "truncated"),
    ],
)
def test_a_damaged_kernel_is_one_clear_line(elf_path, tmp_path, spoil, message):
    path = tmp_path / "kernel"
    path.write_bytes(spoil(elf_path.read_bytes()))
    with pytest.raises(ImageError, match=message) as caught:
        Image.load(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def newc(files):
    out = b""
    for name, data in [*files.items(), ("TRAILER!!!", b"")]:
        mode = 0o100644 if name != "TRAILER!!!" else 0
        fields = [1, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % f for f in fields) + name.encode() + b"\0"
        out += b"\0" * (-len(out) % 4) + data
        out += b"\0" * (-len(out) % 4)
    return out


FILES = st.dictionaries(
    st.text("abc/.", min_size=1, max_size=9).filter(lambda n: not n.startswith("./")), st.binary(max_size=50)
)


@given(FILES)
def test_an_archive_gives_back_its_files(files):
    assert initrd.parse(newc(files)) == files


@given(FILES.filter(bool), st.binary(max_size=50), st.data())
def test_one_file_has_other_contents_another_is_gone_and_the_rest_is_as_it_was(files, contents, data):
    name = data.draw(st.sampled_from(sorted(files)))
    without = data.draw(st.sampled_from(sorted({*files, "no such"} - {name})))
    changed = initrd.with_file(newc(files), name, contents, without=without)
    assert changed == newc({n: contents if n == name else d for n, d in files.items() if n != without})


def test_a_file_that_is_not_there_can_not_be_exchanged():
    with pytest.raises(ImageError, match="no file 'netd'"):
        initrd.with_file(newc({"a": b"1"}), "netd", b"")


@pytest.mark.skipif(shutil.which("cpio") is None, reason="compares with cpio, which is not installed")
def test_cpio_s_own_archives_are_understood(tmp_path):
    (tmp_path / "a").write_bytes(b"hello")
    made = subprocess.run(["cpio", "-o", "-H", "newc"], input=b"a\n", cwd=tmp_path, capture_output=True, check=True)
    assert initrd.parse(made.stdout) == {"a": b"hello"}


@given(FILES.filter(bool), st.data())
def test_every_truncation_is_told(files, data):
    whole = newc(files)
    trailer = whole.rindex(b"TRAILER!!!") + 11
    with pytest.raises(ImageError, match="truncated"):
        initrd.parse(whole[: data.draw(st.integers(0, trailer - 1))])


@given(st.binary(max_size=200))
def test_what_is_no_archive_never_crashes_the_parser(data):
    with pytest.raises(ImageError):
        initrd.parse(data)
    with pytest.raises(ImageError):
        initrd.parse(b"070701" + data)


def test_a_negative_size_is_no_way_back_into_the_archive():
    whole = bytearray(newc({"a": b"1234"}))
    whole[6 + 8 * 6 : 6 + 8 * 7] = b"-0000080"
    with pytest.raises(ImageError, match="no hexadecimal numbers"):
        initrd.parse(bytes(whole))


def test_a_number_of_numpy_reads_as_a_plain_one(memory):
    assert type(memory.read("number")) is int
    assert type(memory.read("thing").inner.wide) is int
    assert memory.read_array("samples", 2).dtype == np.uint32
