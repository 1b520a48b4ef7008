"""What a caller names is bounded on mispredicted paths too (Spectre v1): read in the code as it was built.

No test that runs can tell: a mask that is missing changes no result. So each place in the sources that asks for one is
looked up in the debug information, and the instructions that came of it must hold it.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import capstone
import pytest
from elftools.elf.elffile import ELFFile

from keuos_hil.code_map import inlined
from tests.built import images

TREE = Path(__file__).parents[1]
MACHINES = {
    "x86_64": capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64),
    "arm64": capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM),
}
#: What is left of an index that is out of range: nothing. Arm's hint makes later accesses wait for the selection.
INDEX_MASK = {"x86_64": r"sbb (\w+), \1$", "arm64": r"csdb|hint #0x14"}
#: The sign of a difference, over all bits.
LENGTH_MASK = r"sar \w+, 0x3f$"
#: Where a number that another names becomes an address: how often in each file. A place that loses its bound is missed.
INDICES = {"kernel/core/capability.c": 4, "kernel/dev/device_calls.c": 1, "kernel/ipc/channel_calls.c": 3}
LENGTHS = {"kernel/include/keuos/batch.h": 1, "kernel/include/keuos/ring.h": 5}
#: Programs that between them inline each use of the rings' headers.
RINGS = ("ring_self", "ring_stream", "ring_ping", "ring_pong", "net", "netd")


def uses(function: str, files: str) -> Counter[tuple[str, int]]:
    """How often the sources call it in which file and line."""
    call = re.compile(rf"\b{function}\((?!u?int)")
    found: Counter[tuple[str, int]] = Counter()
    for path in TREE.glob(files):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found[str(path.relative_to(TREE)), number] += len(call.findall(line))
    return +found


def by_file(found: Counter[tuple[str, int]]) -> Counter[str]:
    """The same by file."""
    made: Counter[str] = Counter()
    for (file, _), count in found.items():
        made[file] += count
    return made


def masked(image: Path, architecture: str, function: str, mask: str) -> Iterator[tuple[str, int]]:
    """Calls of `function` that were inlined into an image with such an instruction: file and line."""
    with image.open("rb") as file:
        elf = ELFFile(file)
        text: Any = elf.get_section_by_name(".text")
        code, base = text.data(), text["sh_addr"]
        for call in inlined(elf.get_dwarf_info(), function):
            for start, end in call.ranges:
                found = MACHINES[architecture].disasm(code[start - base : end - base], start)
                if any(re.search(mask, f"{one.mnemonic} {one.op_str}") for one in found):
                    yield call.file, call.line


@pytest.mark.parametrize("architecture", MACHINES)
def test_an_index_that_a_caller_names_is_bounded_without_a_branch(
    pytestconfig: pytest.Config, architecture: str
) -> None:
    (kernel,) = images(pytestconfig, architecture, ())
    wanted = uses("arch_bounded", "kernel/**/*.c")
    found = set(masked(kernel, architecture, "arch_bounded", INDEX_MASK[architecture]))
    assert by_file(wanted) == INDICES
    assert not wanted.keys() - found, f"no mask came of {sorted(wanted.keys() - found)}"


def test_a_length_that_a_peer_names_is_bounded_without_a_branch(pytestconfig: pytest.Config) -> None:
    """It is C, the same everywhere, and arm64's compiler forgets which line some of it came of."""
    wanted = uses("keuos_bounded", "kernel/include/keuos/*.h")
    found: set[tuple[str, int]] = set()
    for program in images(pytestconfig, "x86_64", RINGS)[1:]:
        found |= set(masked(program, "x86_64", "keuos_bounded", LENGTH_MASK))
    assert by_file(wanted) == LENGTHS
    assert not wanted.keys() - found, f"no mask came of {sorted(wanted.keys() - found)}"
