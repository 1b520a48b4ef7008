"""Ordered instructions where another core or a device looks on, read in the arm64 images as they were built. Pure.

An emulator on x86 hides a missing barrier: its host orders almost everything. So the code is read instead. Each access
that a peer synchronises with has a line in the sources; the debug information tells which instructions came of it, and
capstone what they are.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import capstone
from elftools.elf.elffile import ELFFile

RELEASE = frozenset({"stlr", "stlrh"})
ACQUIRE = frozenset({"ldar", "ldarh", "ldarb", "ldapr", "ldaprh", "ldaprb", "ldaxr"})
#: Stores before and loads behind it too, among all cores: `ishld` and `ishst` order less.
FENCE = frozenset({"dmb ish", "dmb sy"})
#: What was stored before can be seen, or what was loaded before has come, when anything behind it begins.
STORES_DONE = frozenset({"dsb ishst", "dsb ish", "dsb st", "dsb sy"})
LOADS_DONE = frozenset({"dsb ishld", "dsb ish", "dsb ld", "dsb sy"})
ALL_DONE = frozenset({"dsb sy"})
#: A barrier that the architecture's part keeps in a function of its own.
CALL = frozenset({"blr"})
PLAIN_STORES = frozenset({"str", "stur", "stp", "strb", "strh"})

#: The images: the kernel, and programs that between them inline every function of the headers below.
KERNEL, RINGS, DRIVER = ("keuos",), ("ring_self", "ring_stream", "ring_ping", "ring_pong"), ("netd",)


@dataclass(frozen=True)
class Access:
    """What a line of the sources must become.

    Attributes:
        file: its path in the checkout.
        function: the one that it is in; "" if `text` is a macro of the assembler, every use of which is meant.
        text: how the line's access begins; of several lines with it in a function, the first is meant.
        images: those that hold it, one at least; no other is looked at.
        ordered: the instructions of which one must be among those of the line.
        plain: those of which none may be.
    """

    file: str
    function: str
    text: str
    images: tuple[str, ...]
    ordered: frozenset[str]
    plain: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{Path(self.file).name}, {self.function or 'anywhere'}: {self.text}"


def _store(file: str, function: str, target: str, images: tuple[str, ...]) -> Access:
    return Access(file, function, f"__atomic_store_n(&{target},", images, RELEASE, PLAIN_STORES)


def _load(file: str, function: str, target: str, images: tuple[str, ...]) -> Access:
    return Access(file, function, f"__atomic_load_n(&{target},", images, ACQUIRE)


def _dsb(file: str, function: str, text: str, ordered: frozenset[str] = STORES_DONE) -> Access:
    return Access(file, function, text, KERNEL, ordered)


def _fence(file: str, function: str, images: tuple[str, ...]) -> Access:
    return Access(file, function, "__atomic_thread_fence(", images, FENCE)


_RING, _SLEEP = "kernel/include/keuos/ring.h", "kernel/include/keuos/ring_sleep.h"
_QUEUE, _E1000E = "kernel/user/lib/virtio_queue.c", "netd/drivers/e1000e.c"
_TRAPS, _GIC, _ITS, _SMMU = (f"kernel/arch/arm64/{name}" for name in ("traps.S", "gic.c", "its.c", "smmu.c"))
_IOMMU_TABLES = "kernel/dev/iommu_tables.c"

ACCESSES = (
    # What produces and consumes: the word that releases a message, the counters that give room back, the sleep flags.
    _store(_RING, "keuos_send_inline", "first->word", RINGS),
    _store(_RING, "keuos_post_descriptor", "slot->word", RINGS),
    _store(_RING, "keuos_post_descriptor", "p->ring.own->slots", RINGS),
    _store(_RING, "keuos_consumer_publish", "c->ring.own->data", RINGS),
    _store(_RING, "keuos_consumer_publish", "c->ring.own->slots", RINGS),
    _load(_RING, "keuos_producer_refresh", "p->ring.peer->slots", RINGS),
    _load(_RING, "keuos_producer_refresh", "p->ring.peer->data", RINGS),
    _load(_RING, "keuos_idle", "c->ring.status->state", RINGS),
    _load(_RING, "keuos_receive_inline", "slot->word", RINGS),
    _load(_RING, "keuos_receive_verified", "slot->word", RINGS),
    _load(_RING, "keuos_receive_cookie", "slot->word", RINGS),
    _load("kernel/include/keuos/batch.h", "keuos_open_batch", "slot->word", RINGS),
    _fence(_SLEEP, "keuos_ring_sleeping", RINGS),
    _fence(_SLEEP, "keuos_ring_peer_sleeps", RINGS),
    # The kernel's end of a verified channel: head and word in, word out, the tail, the end of the channel.
    _load("kernel/ipc/channel_calls.c", "pass_gates", "channel->head->slots", KERNEL),
    _load("kernel/ipc/gate.c", "copy_once", "words[i]", KERNEL),
    _store("kernel/ipc/gate.c", "deliver", "to[0]", KERNEL),
    _load("kernel/include/kernel/channel.h", "gate_take_tail", "channel->tail->slots", KERNEL),
    _store("kernel/ipc/channel.c", "channel_close", "channel->status->state", KERNEL),
    # The lock behind which the kernel's objects lie, in C and by the assembly's short ways, and the cores' arrival.
    _load("kernel/core/lock.c", "wait_for_turn", "kernel_lock.owner", KERNEL),
    _store("kernel/include/kernel/lock.h", "kernel_lock_release", "kernel_lock.owner", KERNEL),
    Access(_TRAPS, "", "TAKE_KERNEL_LOCK", KERNEL, ACQUIRE),
    Access(_TRAPS, "", "RELEASE_KERNEL_LOCK", KERNEL, RELEASE),
    _load("kernel/arch/arm64/core.c", "core_came", "cores_started", KERNEL),
    _store("kernel/arch/arm64/core.c", "arch_start_secondary", "cores_started", KERNEL),
    # A driver and its device.
    _store(_QUEUE, "virtio_queue_publish", "queue->available->index", DRIVER),
    _fence(_QUEUE, "virtio_queue_publish", DRIVER),
    _load(_QUEUE, "virtio_queue_take", "queue->used->index", DRIVER),
    _fence(_QUEUE, "virtio_queue_arm", DRIVER),
    _load(_QUEUE, "virtio_queue_arm", "queue->used->index", DRIVER),
    _load(_E1000E, "is_done", "descriptor->status", DRIVER),
    _fence(_E1000E, "show", DRIVER),
    # The kernel and the IOMMU: tables before the index of the commands that are about them, events behind theirs.
    _dsb(_SMMU, "publish", "DSB("),
    _dsb(_SMMU, "finish", "DSB(ishst)"),
    _dsb(_SMMU, "finish", "DSB(ishld)", LOADS_DONE),
    _dsb(_SMMU, "smmu_interrupt", "DSB(", LOADS_DONE),
    Access(_SMMU, "smmu_interrupt", "DMB(", KERNEL, FENCE),
    _dsb(_SMMU, "arch_iommu_attach", "DSB("),
    *(
        _dsb(_IOMMU_TABLES, function, "iommu_tables.publish(", CALL)
        for function in ("iommu_page", "entry_of", "iommu_tables_map", "iommu_tables_unmap")
    ),
    # The kernel and the interrupt controller, with its translation service.
    _dsb(_ITS, "finish", "DSB("),
    _dsb(_ITS, "begin_core", "DSB("),
    _dsb(_GIC, "gic_send", "DSB("),
    _dsb(_GIC, "gic_broadcast", "DSB("),
    _dsb(_GIC, "gic_next", "DSB(", ALL_DONE),
)


def lines_of(tree: Path, access: Access) -> list[int]:
    """The numbers of the lines where the access begins; none: it is not there. `tree`: a checkout."""
    lines = (tree / access.file).read_text().splitlines()
    if not access.function:
        found = [i + 1 for i, line in enumerate(lines) if line.strip() == access.text]
    else:
        start = next(
            i
            for i, line in enumerate(lines)
            if re.search(rf"\b{access.function}\(", line) and line[0] not in "\t " and line[-1] != ";"
        )
        end = next(i for i in range(start, len(lines)) if lines[i] == "}")
        found = [i + 1 for i in range(start, end) if access.text in lines[i]][:1]
    return found


def origin(tree: Path, access: Access) -> Collection[int]:
    """The numbers of the lines that make it what it is: a macro's are where it is defined."""
    if access.function:
        return lines_of(tree, access)
    lines = (tree / access.file).read_text().splitlines()
    start = lines.index(f".macro {access.text}")
    return range(start + 1, lines.index(".endm", start) + 1)


def _instructions(elf: ELFFile, files: Collection[str]) -> Iterator[tuple[str, int, str]]:
    """(file, line, instruction) of every instruction that came of these files.

    An instruction is told by its mnemonic, a barrier's with its operand.
    """
    text: Any = elf.get_section_by_name(".text")
    code, base = text.data(), text["sh_addr"]
    machine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    dwarf = elf.get_dwarf_info()
    for unit in dwarf.iter_CUs():
        program: Any = dwarf.line_program_for_CU(unit)
        folders = [b".", *program["include_directory"]]
        names = [""] + [
            # Programs are compiled with kernel/user/../include.
            re.sub(r"^\./|[^/]+/\.\./", "", f"{folders[entry.dir_index].decode()}/{entry.name.decode()}")
            for entry in program["file_entry"]
        ]
        before = None
        for entry in program.get_entries():
            state = entry.state
            if state is None:
                continue
            if before is not None and names[before.file] in files:
                for found in machine.disasm(code[before.address - base : state.address - base], before.address):
                    is_barrier = found.mnemonic in ("dmb", "dsb")
                    what = f"{found.mnemonic} {found.op_str}" if is_barrier else found.mnemonic
                    yield names[before.file], before.line, what
            before = None if state.end_sequence else state


def faults(tree: Path, images: Collection[Path], accesses: Collection[Access] = ACCESSES) -> dict[Access, str]:
    """What is wrong with the instructions of which accesses.

    Args:
        tree: the checkout that the images were built from.
        images: ELF files with their debug information, called as an access's `images` are.
        accesses: those that are looked for.
    """
    seen: dict[tuple[str, str, int], list[str]] = {}
    for path in images:
        files = {access.file for access in accesses if path.stem in access.images}
        with path.open("rb") as image:
            for file, line, what in _instructions(ELFFile(image), files):
                seen.setdefault((path.stem, file, line), []).append(what)
    wrong = {}
    for access in accesses:
        lines = lines_of(tree, access)
        if not lines:
            wrong[access] = f"{access.file} has no such line"
        for line in lines:
            found = [what for image in access.images for what in seen.get((image, access.file, line), [])]
            if not access.ordered & set(found):
                wrong[access] = f"line {line}: expected one of {sorted(access.ordered)}, found {found}"
            elif access.plain & set(found) and access.function:
                wrong[access] = f"line {line}: an access without order among {found}"
    return wrong
