"""The arm64 page-table format: single entries by the book (Arm ARM D8.3), and both ways of walking held together."""

from __future__ import annotations

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from keuos_hil.errors import InfraError
from keuos_hil.page_tables import Arm64, Caching, Decoded, Rights, SmmuStage1, Walker, path, translate

FORMAT = Arm64()
VALID, TABLE, USER, READ_ONLY, ACCESSED, NOT_GLOBAL = 1, 2, 1 << 6, 1 << 7, 1 << 10, 1 << 11
PXN, UXN, PXN_TABLE, UXN_TABLE, NO_USER_TABLE, NO_WRITES_TABLE = (1 << bit for bit in (53, 54, 59, 60, 61, 62))
NORMAL = 1 << 2
LEAF = 0x5000 | VALID | TABLE | ACCESSED | NORMAL
PAGE = 4096
UPPER = 0xFFFF << 48
KERNEL_RW, KERNEL_R = Rights.KERNEL_READ | Rights.KERNEL_WRITE, Rights.KERNEL_READ


def decode(level: int, entry: int) -> Decoded:
    return FORMAT.decode(level, np.array([entry], dtype=np.uint64))


@pytest.mark.parametrize(
    ("bits", "rights"),
    [
        (PXN | UXN, KERNEL_RW),
        (PXN | UXN | READ_ONLY, KERNEL_R),
        (UXN | READ_ONLY, KERNEL_R | Rights.KERNEL_EXECUTE),
        (PXN | UXN | USER, KERNEL_RW | Rights.USER_READ | Rights.USER_WRITE),
        (PXN | USER | READ_ONLY, KERNEL_R | Rights.USER_READ | Rights.USER_EXECUTE),
        # What user mode may write the kernel never executes, whatever PXN says; what user mode can't read it may run.
        (UXN | USER, KERNEL_RW | Rights.USER_READ | Rights.USER_WRITE),
        (PXN, KERNEL_RW | Rights.USER_EXECUTE),
    ],
)
def test_a_pages_rights_are_those_of_its_bits(bits, rights):
    assert Rights(int(decode(1, LEAF | bits).rights[0])) == rights


def test_a_page_that_is_not_marked_as_accessed_cannot_be():
    assert not decode(1, LEAF & ~ACCESSED | PXN | UXN).rights[0]


@pytest.mark.parametrize(
    ("bit", "lost"),
    [
        (NO_USER_TABLE, Rights.USER_READ | Rights.USER_WRITE),
        (NO_WRITES_TABLE, Rights.USER_WRITE | Rights.KERNEL_WRITE),
        (UXN_TABLE, Rights.USER_EXECUTE),
        (PXN_TABLE, Rights.KERNEL_EXECUTE),
        (0, Rights.NONE),
    ],
)
@pytest.mark.parametrize("level", [2, 3, 4])
def test_an_entry_to_a_table_takes_away_what_it_says(bit, lost, level):
    found = decode(level, 0x5000 | VALID | TABLE | bit)
    assert (bool(found.present[0]), bool(found.leaf[0])) == (True, False)
    assert Rights(int(found.rights[0])) == Rights.ALL & ~lost


@pytest.mark.parametrize(
    ("level", "entry", "present", "malformed"),
    [
        (1, LEAF, True, False),
        (1, LEAF & ~TABLE, False, True),
        (2, LEAF & ~TABLE & ~0x5000 | 1 << 21, True, False),
        (2, LEAF & ~TABLE & ~0x5000 | 1 << 21 | 1 << 16, True, False),  # nT
        (2, LEAF & ~TABLE & ~0x5000 | 1 << 14, True, True),
        (3, LEAF & ~TABLE & ~0x5000 | 1 << 21, True, True),
        (4, LEAF & ~TABLE, False, True),
        (1, LEAF | 1 << 48, True, True),
        (1, LEAF & ~VALID, False, False),
    ],
)
def test_what_the_architecture_reserves_is_malformed(level, entry, present, malformed):
    found = decode(level, entry)
    assert (bool(found.present[0]), bool(found.malformed[0])) == (present, malformed)


def test_caching_and_scope_are_read():
    found = FORMAT.decode(1, np.array([LEAF, LEAF & ~NORMAL, LEAF | NOT_GLOBAL], dtype=np.uint64))
    assert found.caching.tolist() == [Caching.WRITE_BACK, Caching.DEVICE, Caching.WRITE_BACK]
    assert found.global_.tolist() == [True, True, False]


@given(st.sampled_from([KERNEL_R, KERNEL_RW, KERNEL_R | Rights.KERNEL_EXECUTE, KERNEL_R | Rights.USER_READ,
                        KERNEL_RW | Rights.USER_READ | Rights.USER_WRITE,
                        KERNEL_R | Rights.USER_READ | Rights.USER_EXECUTE]), st.integers(0, (1 << 36) - 1))  # fmt: skip
def test_an_entry_that_it_makes_reads_as_what_was_asked_for(rights, frame):
    found = decode(1, FORMAT.page(frame * PAGE, rights))
    assert (int(found.address[0]), Rights(int(found.rights[0]))) == (frame * PAGE, rights)
    assert not found.malformed[0]
    assert bool(found.global_[0]) == (not rights & Rights.USER)


@pytest.mark.parametrize("what", ["present", "write", "user", "execute", "global", "caching"])
def test_a_flag_changes_one_property(what):
    entry = FORMAT.page(0x5000, Rights.USER_READ | KERNEL_R)
    before, after = decode(1, entry), decode(1, entry ^ FORMAT.flag(what, entry, leaf=True))
    right = {"write": Rights.USER_WRITE | Rights.KERNEL_WRITE, "user": Rights.USER_READ, "execute": Rights.USER_EXECUTE}
    assert int(before.rights[0] ^ after.rights[0]) == right.get(what, 0)
    assert (before.present[0] != after.present[0]) == (what == "present")
    assert (before.global_[0] != after.global_[0]) == (what == "global")
    assert (before.caching[0] != after.caching[0]) == (what == "caching")


def test_each_half_has_its_root_and_between_them_nothing_is():
    assert FORMAT.roots(5 << 48 | 0x4000, 0x8000) == (0x4000, 0x8000)
    assert FORMAT.offset(0x7FFF_FFFF_FFFF) == (0, 0x7FFF_FFFF_FFFF)
    assert FORMAT.offset(0xFFFF_8000_0000_1000) == (1, 0x8000_0000_1000)
    for address in (1 << 47, 1 << 48, (0xFFFF << 48) - 1, 1 << 55):
        assert FORMAT.offset(address) is None


def test_the_upper_half_of_a_processs_root_is_not_looked_at():
    root = np.zeros(512, dtype="<u8")
    root[256] = 0xDEAD_F000 | VALID | TABLE
    memory = {0x4000: root.tobytes(), 0x8000: bytes(PAGE)}
    found = Walker(FORMAT, lambda at, size: memory[at]).walk((0x4000, 0x8000))
    assert (len(found), found.malformed) == (0, ())


REGISTERS = {
    "sctlr_el1": 0x3050_191D | 1 << 19, "tcr_el1": 0x5_B510_3511, "mair_el1": 0xFF04, "id_aa64mmfr1_el1": 1 << 20,
}  # fmt: skip
EXPECTED = frozenset({"nx", "umip", "smep", "wp"})


def test_protections_that_are_off_are_named():
    assert FORMAT.core_faults(REGISTERS, EXPECTED) == []
    for control in FORMAT.controls:
        changed = {**REGISTERS, control.register: REGISTERS[control.register] ^ 1 << control.bit}
        [said] = FORMAT.core_faults(changed, EXPECTED)
        assert said.startswith(f"{control.name} is off")


def test_without_pan_its_control_is_not_looked_at():
    assert FORMAT.core_faults({**REGISTERS, "id_aa64mmfr1_el1": 0, "sctlr_el1": REGISTERS["sctlr_el1"] | 1 << 23},
                              EXPECTED) == []  # fmt: skip


def test_a_translation_or_attributes_of_another_kind_are_named():
    for bit in (0, 7, 14, 16, 22, 23, 30, 37, 38, 39, 40, 41, 42):  # the last six: TBI0, TBI1, HA, HD, HPD0, HPD1
        [said] = FORMAT.core_faults({**REGISTERS, "tcr_el1": REGISTERS["tcr_el1"] ^ 1 << bit}, EXPECTED)
        assert said.startswith("translation is not")
    [said] = FORMAT.core_faults({**REGISTERS, "mair_el1": 0x4404}, EXPECTED)
    assert said.startswith("memory attribute 1 is not write_back")


def test_armed_breakpoints_are_named():
    registers = {"mdscr_el1": 1 << 12, "dbgbcr0_el1": 0, "dbgwcr1_el1": 0}
    assert FORMAT.armed_breakpoints(registers) == []
    assert len(FORMAT.armed_breakpoints({**registers, "mdscr_el1": 1 << 15, "dbgwcr1_el1": 1})) == 2


# The two ways of walking against each other --------------------------------------------------------------------------

PAGES = [0x10_0000 + PAGE * i for i in range(6)]


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_the_two_ways_of_walking_agree_on_any_garbage(data):
    """Entries of any bits at all, as a kernel gone wrong would leave them, in a memory of six pages."""
    tables = {page: np.zeros(512, dtype="<u8") for page in PAGES}
    target = st.one_of(st.sampled_from(PAGES), st.integers(0, (1 << 36) - 1).map(lambda number: number * PAGE))
    entry = st.builds(
        lambda at, low, high: at | low | high << 48,
        target,
        st.integers(0, 0xFFF) | st.just(VALID | TABLE | ACCESSED),
        st.integers(0, 0xFFFF) | st.just(0),
    )
    for page in PAGES:
        slots = st.dictionaries(st.sampled_from([0, 1, 255, 256, 511]), entry, max_size=3)
        for index, value in data.draw(slots).items():
            tables[page][index] = value

    def read(at: int, size: int) -> bytes:
        page = at & -PAGE
        if page not in tables:
            raise InfraError(f"{at:#x} is not in memory")
        return tables[page].tobytes()[at - page : at - page + size]

    roots = (PAGES[0], PAGES[1])
    found = Walker(FORMAT, read).walk(roots)
    index = st.sampled_from([0, 1, 255, 256, 511])
    address = st.builds(
        lambda a, b, c, d: (a << 39 | b << 30 | c << 21 | d << 12) | (UPPER if data.draw(st.booleans()) else 0),
        index, index, index, index,
    )  # fmt: skip
    for where in (
        [m.virtual for m in found][:4] + [m.end - 1 for m in found][:4] + data.draw(st.lists(address, max_size=4))
    ):
        try:
            steps = path(FORMAT, read, roots, where)
        except InfraError:
            assert found.find(where) is None
            continue
        mapping = found.find(where)
        assert (mapping is not None) == bool(steps and steps[-1].leaf)
        if mapping is not None:
            assert mapping.rights == steps[-1].permitted
            assert found.translate(where) == translate(FORMAT, read, roots, where)


@pytest.mark.parametrize(
    ("bits", "rights"),
    [
        (USER, KERNEL_RW),
        (USER | READ_ONLY, KERNEL_R),
        (0, Rights.NONE),  # for privileged accesses, and a device's are none
    ],
)
def test_a_device_reaches_what_unprivileged_accesses_may_and_never_executes(bits, rights):
    found = SmmuStage1().decode(1, np.array([LEAF | bits], dtype=np.uint64))
    assert Rights(int(found.rights[0])) == rights


def test_iovas_are_as_wide_as_the_smmus_tables_are_deep():
    assert SmmuStage1().offset((1 << 39) - 1) == (0, (1 << 39) - 1)
    assert SmmuStage1().offset(1 << 39) is None
