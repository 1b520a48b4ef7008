"""The page-table walker on synthetic tables: against a model that was told what it mapped, and against itself."""

from __future__ import annotations

from collections.abc import Iterator

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from keuos_hil.errors import InfraError, UsageError
from keuos_hil.page_tables import X86_64, Caching, Mapping, PageMap, Rights, Walker, format_for, path, translate

P, W, U, PWT, PCD, PS, G = 1, 2, 4, 8, 16, 128, 256
NX = 1 << 63
PAGE = 4096
KIB4, MIB2, GIB1 = PAGE, 1 << 21, 1 << 30
LEVEL = {KIB4: 1, MIB2: 2, GIB1: 3}
CANONICAL_HIGH = 0xFFFF_8000_0000_0000


class Memory:
    """Physical memory of page tables, made by the book: Intel SDM vol. 3, figure 4-11."""

    def __init__(self) -> None:
        self.tables: dict[int, list[int]] = {}
        self.next = 0x10_0000
        self.root = self.table()
        self.reads = 0

    def table(self) -> int:
        self.next += PAGE
        self.tables[self.next] = [0] * 512
        return self.next

    def read(self, physical: int, size: int) -> bytes:
        self.reads += 1
        base = physical & ~0xFFF
        if base not in self.tables or physical + size > base + PAGE:
            raise InfraError(f"{physical:#x} is not in memory")
        data = np.array(self.tables[base], dtype="<u8").tobytes()
        return data[physical - base : physical - base + size]

    def slots(self, virtual: int, size: int, upper: int) -> Iterator[tuple[int, int]]:
        """(table, index) from the top down to the entry that maps the page; missing tables are made."""
        table = self.root
        for level in range(4, LEVEL[size] - 1, -1):
            index = virtual >> (12 + 9 * (level - 1)) & 511
            yield table, index
            if level == LEVEL[size]:
                return
            if not self.tables[table][index] & P:
                self.tables[table][index] = self.table() | upper
            table = self.tables[table][index] & 0x000F_FFFF_FFFF_F000

    def map(self, virtual: int, entry: int, size: int = KIB4, upper: int = P | W | U) -> None:
        *_, (table, index) = self.slots(virtual, size, upper)
        self.tables[table][index] = entry | (PS if size > KIB4 else 0)

    def walk(self, **how: bool) -> PageMap:
        return Walker(X86_64(**how), self.read).walk([self.root])

    def set_entry(self, virtual: int, level: int, change: int, size: int = KIB4) -> None:
        """Exclusive-or into the entry of that level on the way to an address."""
        for number, (table, index) in zip(range(4, 0, -1), self.slots(virtual, size, 0), strict=False):
            if number == level:
                self.tables[table][index] ^= change


@pytest.fixture
def memory() -> Memory:
    return Memory()


USER_RW = Rights.USER_READ | Rights.USER_WRITE | Rights.KERNEL_READ | Rights.KERNEL_WRITE
KERNEL_R = Rights.KERNEL_READ


def only(found: PageMap) -> Mapping:
    [mapping] = found
    return mapping


def test_an_empty_root_maps_nothing(memory):
    found = memory.walk()
    assert (len(found), len(found.tables), found.malformed) == (0, 0, ())
    assert found.find(0) is None
    assert found.translate(0xFFFF_FFFF_FFFF_FFFF) is None
    assert found.rights(0x1234) == Rights.NONE


@pytest.mark.parametrize("virtual", [0, 0x40_0000, 0x7FFF_FFFF_F000, CANONICAL_HIGH, 0xFFFF_FFFF_FFFF_F000])
def test_a_page_is_found_where_it_was_mapped(memory, virtual):
    memory.map(virtual, 0x5000 | P | W | U | NX)
    found = memory.walk()
    assert only(found) == Mapping(virtual, 0x5000, PAGE, USER_RW, 1, False, Caching.WRITE_BACK)
    assert found.translate(virtual + 0xABC) == 0x5ABC
    assert found.find(virtual + PAGE) is None
    assert found.find(virtual - 1) is None
    assert len(found.tables) == 3


@pytest.mark.parametrize(("size", "physical"), [(MIB2, 0x4000_0000), (GIB1, 0x4000_0000)])
def test_a_large_page_is_one_mapping(memory, size, physical):
    memory.map(CANONICAL_HIGH + GIB1, physical | P | W | NX, size, upper=P | W)
    mapping = only(memory.walk())
    assert (mapping.size, mapping.level, mapping.rights) == (
        size,
        LEVEL[size],
        Rights.KERNEL_READ | Rights.KERNEL_WRITE,
    )
    assert memory.walk().translate(mapping.end - 1) == physical + size - 1


@pytest.mark.parametrize("level", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("bit", "lost"),
    [
        (W, Rights.USER_WRITE | Rights.KERNEL_WRITE),
        (U, Rights.USER),
        (NX, Rights.USER_EXECUTE | Rights.KERNEL_EXECUTE),
        (P, Rights.ALL),
    ],
)
def test_a_right_must_be_given_on_every_level(memory, level, bit, lost):
    memory.map(0x40_0000, 0x5000 | P | W | U)
    assert only(memory.walk()).rights == Rights.ALL
    memory.set_entry(0x40_0000, level, bit)
    assert memory.walk().rights(0x40_0000) == Rights.ALL & ~lost
    steps = path(X86_64(), memory.read, [memory.root], 0x40_0000)
    assert (steps[-1].permitted if steps[-1].leaf else Rights.NONE) == Rights.ALL & ~lost


def test_without_nx_everything_is_executable_and_the_bit_is_reserved(memory):
    memory.map(0x1000, 0x5000 | P | NX)
    found = memory.walk(nx=False)
    assert only(found).rights & Rights.KERNEL_EXECUTE
    [said] = found.malformed
    assert "0x1000" in said
    assert "reserved" in said


@pytest.mark.parametrize(
    ("size", "bits", "good"),
    [(MIB2, 1 << 13, False), (MIB2, 1 << 12, True), (GIB1, 1 << 29, False), (GIB1, 1 << 12, True)],
)
def test_reserved_bits_of_a_large_page_are_told_and_its_pat_bit_is_not(memory, size, bits, good):
    memory.map(GIB1, 0x8000_0000 | P | bits, size)
    found = memory.walk()
    assert only(found).physical == 0x8000_0000
    assert (found.malformed == ()) is good


def test_a_large_page_in_the_top_table_is_reserved(memory):
    memory.map(0x1000, 0x5000 | P)
    memory.set_entry(0x1000, 4, PS)
    assert any("level 4" in said for said in memory.walk().malformed)


def test_a_table_outside_memory_is_told_and_the_rest_is_walked(memory):
    memory.map(0x1000, 0x5000 | P)
    memory.map(GIB1, 0x6000 | P)
    [(table, index), *_] = list(memory.slots(GIB1, GIB1, 0))[1:]
    memory.tables[table][index] = 0xDEAD_F000 | P
    found = memory.walk()
    assert only(found).virtual == 0x1000
    assert any("0xdeadf000" in said and "not in memory" in said for said in found.malformed)


def test_a_root_outside_memory_is_told(memory):
    assert "not in memory" in Walker(X86_64(), memory.read).walk([0x7000_0000]).malformed[0]


def test_neighbours_with_equal_attributes_are_one_and_others_are_not(memory):
    for page in range(4):
        memory.map(0x1000 + page * PAGE, 0x10_000 + page * PAGE | P | U | NX)
    memory.map(0x5000, 0x14_000 | P | U | W | NX)  # other rights
    memory.map(0x6000, 0x20_000 | P | U | W | NX)  # another place
    memory.map(0x8000, 0x22_000 | P | U | W | NX)  # a hole before it
    memory.map(0x9000, 0x23_000 | P | U | W | NX | PCD | PWT)  # another caching
    memory.map(0xA000, 0x24_000 | P | U | W | NX | PCD | PWT | G)  # global
    found = [(m.virtual, m.size) for m in memory.walk()]
    assert found == [
        (0x1000, 4 * PAGE),
        (0x5000, PAGE),
        (0x6000, PAGE),
        (0x8000, PAGE),
        (0x9000, PAGE),
        (0xA000, PAGE),
    ]


def test_caching_follows_the_bits(memory):
    kinds = {0: Caching.WRITE_BACK, PWT: Caching.WRITE_THROUGH, PCD: Caching.UNCACHED, PCD | PWT: Caching.DEVICE}
    for number, bits in enumerate(kinds):
        memory.map(number * 0x2000, 0x5000 | P | bits)
    assert [m.caching for m in memory.walk()] == list(kinds.values())


def test_pages_spell_mappings_out(memory):
    memory.map(0x1000, 0x5000 | P | U | NX)
    memory.map(0x2000, 0x6000 | P | U | NX)
    memory.map(MIB2, 0x80_0000 | P | NX, MIB2)
    found = memory.walk()
    pages = found.pages()
    assert len(pages) == 2 + 512
    assert pages["virtual"][:3].tolist() == [0x1000, 0x2000, MIB2]
    assert pages["physical"][-1] == 0x80_0000 + MIB2 - PAGE
    assert found.pages(found.mappings["size"] > MIB2).size == 0


def test_what_two_spaces_share_is_walked_once(memory):
    memory.map(CANONICAL_HIGH, 0x5000 | P, upper=P | W)
    other = memory.table()
    memory.tables[other][256] = memory.tables[memory.root][256]
    walker = Walker(X86_64(), memory.read)
    first = walker.walk([memory.root])
    before = memory.reads
    second = walker.walk([other])
    assert memory.reads == before + 1, "only the other root had to be read"
    assert np.array_equal(first.mappings, second.mappings)


def test_non_canonical_addresses_have_no_way(memory):
    assert path(X86_64(), memory.read, [memory.root], 0x8000_0000_0000) == []
    assert translate(X86_64(), memory.read, [memory.root], 0xFFFF_7FFF_FFFF_FFFF) is None


def test_rights_read_as_a_person_writes_them():
    assert str(Rights.ALL) == "user rwx, kernel rwx"
    assert str(KERNEL_R | Rights.KERNEL_EXECUTE) == "kernel r-x"
    assert str(Rights.NONE) == "nothing"


def test_an_unknown_architecture_lists_those_that_are_known():
    assert format_for("x86_64").levels == 4
    with pytest.raises(UsageError, match="x86_64"):
        format_for("vax")


def test_protections_that_are_off_are_named():
    all_on = {"cr0": 1 << 31 | 1 << 16, "cr4": 1 << 11 | 1 << 20 | 1 << 21, "efer": 1 << 11}
    expected = frozenset({"wp", "nx", "smep", "smap", "umip"})
    assert X86_64().core_faults(all_on, expected) == []
    [said] = X86_64().core_faults({**all_on, "cr4": 1 << 11 | 1 << 21}, expected)
    assert said.startswith("smep is off")
    assert X86_64().core_faults({**all_on, "cr4": 0, "efer": 0}, frozenset({"wp"})) == []
    assert len(X86_64().core_faults({"cr0": 0, "cr4": 0, "efer": 0}, expected)) == 6


# Against a model and against itself ----------------------------------------------------------------------------------

INDICES = st.tuples(*[st.sampled_from([0, 1, 2, 255, 256, 257, 511])] * 4)
LEAF_BITS = st.sets(st.sampled_from([W, U, NX, PCD, PWT, G])).map(sum)


def address(indices: tuple[int, ...]) -> int:
    low = sum(index << shift for index, shift in zip(indices, (39, 30, 21, 12), strict=True))
    return low | (0xFFFF << 48 if indices[0] >= 256 else 0)


@settings(deadline=None)
@given(st.dictionaries(INDICES, st.tuples(st.integers(1, 1 << 20), LEAF_BITS), max_size=40))
def test_pages_mapped_at_random_are_found_and_nothing_else(pages):
    memory = Memory()
    for indices, (frame, leaf_bits) in pages.items():
        memory.map(address(indices), frame * PAGE | P | leaf_bits)
    expected = {
        address(indices): (
            frame * PAGE,
            KERNEL_R
            | (Rights.KERNEL_WRITE if leaf & W else 0)
            | (Rights.KERNEL_EXECUTE if not leaf & NX else 0)
            | (Rights.USER_READ if leaf & U else 0)
            | (Rights.USER_WRITE if leaf & U and leaf & W else 0)
            | (Rights.USER_EXECUTE if leaf & U and not leaf & NX else 0),
        )
        for indices, (frame, leaf) in pages.items()
    }
    found = memory.walk()
    assert {int(p["virtual"]): (int(p["physical"]), Rights(int(p["rights"]))) for p in found.pages()} == expected
    assert sum(m.size for m in found) == len(pages) * PAGE
    assert [m.virtual for m in found] == sorted(m.virtual for m in found)
    for where, (physical, _) in expected.items():
        assert found.translate(where + 7) == physical + 7


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_two_ways_of_walking_agree_on_any_garbage(data):
    """Entries of any bits at all, as a kernel gone wrong would leave them, in a memory of six pages."""
    memory = Memory()
    pages = [memory.root, *(memory.table() for _ in range(5))]
    target = st.one_of(st.sampled_from(pages), st.integers(0, (1 << 40) - 1).map(lambda n: n * PAGE))
    flags = st.integers(0, 0xFFF) | st.just(P | W | U)
    entry = st.builds(lambda a, f, top: a | f | top << 52, target, flags, st.integers(0, 0xFFF) | st.just(0))
    slots = st.dictionaries(st.sampled_from([0, 1, 255, 256, 511]), entry, max_size=3)
    for page in pages:
        for index, value in data.draw(slots).items():
            memory.tables[page][index] = value
    found = memory.walk()
    some = [m.virtual for m in found][:4] + [m.end - 1 for m in found][:4]
    for where in some + [address(i) for i in data.draw(st.lists(INDICES, max_size=4))]:
        try:
            steps = path(X86_64(), memory.read, [memory.root], where)
        except InfraError:
            assert found.find(where) is None
            assert any("not in memory" in said for said in found.malformed)
            continue
        mapping = found.find(where)
        assert (mapping is not None) == steps[-1].leaf
        if mapping is not None:
            assert mapping.rights == steps[-1].permitted
            assert found.translate(where) == translate(X86_64(), memory.read, [memory.root], where)
