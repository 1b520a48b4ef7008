"""Ordered instructions where the ring needs them, read in the arm64 programs as they were built.

An emulator on x86 hides a missing barrier: its host orders almost everything. So the code is read instead. Each access
that a peer synchronises with has a line in keuos/ring.h or ring_sleep.h; the debug information tells which instructions
came of it, and capstone what they are.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import capstone
import pytest
from elftools.elf.elffile import ELFFile

from keuos_hil import bundled

KERNEL = Path(__file__).parents[2] / "kernel"
INCLUDE = KERNEL / "include" / "keuos"


@dataclass(frozen=True)
class Access:
    """What a line of a header must become.

    Attributes:
        header: its file.
        function: the one that it is in.
        text: how the line's access begins.
        ordered: the mnemonics of which one must be among its instructions.
        plain: the mnemonics of which none may be.
        order: the C memory order that makes it so.
    """

    header: str
    function: str
    text: str
    ordered: frozenset[str]
    plain: frozenset[str]
    order: str


RELEASE, ACQUIRE, FENCE = frozenset({"stlr"}), frozenset({"ldar", "ldapr"}), frozenset({"dmb"})
PLAIN_STORES = frozenset({"str", "stur", "stp", "strb", "strh"})


def store(function: str, target: str) -> Access:
    return Access("ring.h", function, f"__atomic_store_n(&{target},", RELEASE, PLAIN_STORES, "__ATOMIC_RELEASE")


def load(function: str, target: str) -> Access:
    return Access("ring.h", function, f"__atomic_load_n(&{target},", ACQUIRE, frozenset(), "__ATOMIC_ACQUIRE")


def fence(function: str) -> Access:
    return Access("ring_sleep.h", function, "__atomic_thread_fence(", FENCE, frozenset(), "__ATOMIC_SEQ_CST")


#: What produces and consumes: the word that releases a message, the counters that give room back, the sleep flags.
ACCESSES = (
    store("keuos_send_inline", "first->word"),
    store("keuos_send_descriptor", "slot->word"),
    store("keuos_send_descriptor", "p->ring.own->slots"),
    store("keuos_consumer_publish", "c->ring.own->data"),
    store("keuos_consumer_publish", "c->ring.own->slots"),
    load("keuos_producer_refresh", "p->ring.peer->slots"),
    load("keuos_producer_refresh", "p->ring.peer->data"),
    load("keuos_receive_inline", "slot->word"),
    load("keuos_receive_verified", "slot->word"),
    load("keuos_receive_cookie", "slot->word"),
    fence("keuos_ring_sleeping"),
    fence("keuos_ring_peer_sleeps"),
)
#: Together they inline every function above.
PROGRAMS = ("ring_self", "ring_stream", "ring_ping", "ring_pong")


def line_of(include: Path, access: Access) -> int:
    """The number of the line, in the function, where the access begins."""
    lines = (include / access.header).read_text().splitlines()
    start = next(
        i for i, line in enumerate(lines) if re.search(rf"\b{access.function}\(", line) and line[0] not in "\t "
    )
    end = next(i for i in range(start, len(lines)) if lines[i] == "}")
    found = [i + 1 for i in range(start, end) if access.text in lines[i]]
    assert found, f"{access.header}: {access.function} has no line with {access.text!r}"
    return found[0]


def instructions(elf: ELFFile, header: str) -> Iterator[tuple[int, str, str]]:
    """(line of the header, mnemonic, operands) of every instruction that came of it."""
    text: Any = elf.get_section_by_name(".text")
    code, base = text.data(), text["sh_addr"]
    machine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    for unit in elf.get_dwarf_info().iter_CUs():
        program: Any = elf.get_dwarf_info().line_program_for_CU(unit)
        files = {i + 1: entry.name.decode() for i, entry in enumerate(program["file_entry"])}
        before = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if before is not None and files[before.file] == header:
                for found in machine.disasm(code[before.address - base : state.address - base], before.address):
                    yield before.line, found.mnemonic, found.op_str
            before = None if state.end_sequence else state


def faults(include: Path, programs: list[Path]) -> dict[str, str]:
    """By access: what is wrong with its instructions in these programs."""
    seen: dict[tuple[str, int], list[str]] = {}
    for path in programs:
        with path.open("rb") as file:
            elf = ELFFile(file)
            for header in {access.header for access in ACCESSES}:
                for line, mnemonic, _ in instructions(elf, header):
                    seen.setdefault((header, line), []).append(mnemonic)
    wrong = {}
    for access in ACCESSES:
        found = seen.get((access.header, line_of(include, access)), [])
        name = f"{access.function}: {access.text}"
        if not access.ordered & set(found):
            wrong[name] = f"expected one of {sorted(access.ordered)}, found {found}"
        elif access.plain & set(found):
            wrong[name] = f"an access without order among {found}"
    return wrong


@pytest.fixture(scope="module")
def folder() -> Path:
    bundled.ensure("arm64")
    return bundled.paths("arm64", "release").initrd.parent / "user"


def test_every_access_that_a_peer_synchronises_with_is_an_ordered_instruction(folder: Path) -> None:
    assert faults(INCLUDE, [folder / f"{name}.elf" for name in PROGRAMS]) == {}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the programs are built from, to be spoilt."""
    place = tmp_path_factory.mktemp("kernel")
    for name in ("user", "include", "tools"):
        shutil.copytree(KERNEL / name, place / name)
    return place


@pytest.mark.parametrize("access", ACCESSES, ids=lambda access: f"{access.function}-{access.text}")
def test_one_order_less_is_found(sources: Path, access: Access) -> None:
    """Each access made relaxed, in a copy: what the test above can see at all."""
    include = sources / "include" / "keuos"
    header = include / access.header
    good = header.read_text()
    lines = good.splitlines(keepends=True)
    at = line_of(include, access) - 1
    end = next(i for i in range(at, at + 4) if access.order in lines[i])
    lines[end] = lines[end].replace(access.order, "__ATOMIC_RELAXED")
    build = sources / "build"
    programs = [build / "user" / f"{name}.elf" for name in PROGRAMS[:2]]
    header.write_text("".join(lines))
    try:
        command = [
            "make",
            "-s",
            "-f",
            str(sources / "user" / "user.mk"),
            "ARCH=arm64",
            f"BUILD={build}",
            *map(str, programs),
        ]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        wrong = faults(include, programs)
    finally:
        header.write_text(good)
    assert f"{access.function}: {access.text}" in wrong
