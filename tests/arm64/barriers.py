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
ACQUIRE = frozenset({"ldar", "ldarh", "ldapr", "ldaprh", "ldaxr"})
#: Stores before and loads behind it too, among all cores: `ishld` and `ishst` order less.
FENCE = frozenset({"dmb ish", "dmb sy"})
PLAIN_STORES = frozenset({"str", "stur", "stp", "strb", "strh"})

#: The images: the kernel, and programs that between them inline every function of the headers below.
KERNEL, RINGS, DRIVER = ("keuos",), ("ring_self", "ring_stream", "ring_ping", "ring_pong"), ("netd",)


@dataclass(frozen=True)
class Access:
    """What a line of the sources must become.

    Attributes:
        file: its path below kernel/.
        function: the one that it is in; "" if `text` is a macro of the assembler, every use of which is meant.
        text: how the line's access begins.
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


def _fence(file: str, function: str, images: tuple[str, ...]) -> Access:
    return Access(file, function, "__atomic_thread_fence(", images, FENCE)


_RING, _SLEEP, _QUEUE = "include/keuos/ring.h", "include/keuos/ring_sleep.h", "user/lib/virtio_queue.c"
_TRAPS = "arch/arm64/traps.S"

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
    _load("include/keuos/batch.h", "keuos_open_batch", "slot->word", RINGS),
    _fence(_SLEEP, "keuos_ring_sleeping", RINGS),
    _fence(_SLEEP, "keuos_ring_peer_sleeps", RINGS),
    # The kernel's end of a verified channel: head and word in, word out, the tail, the end of the channel.
    _load("ipc/channel_calls.c", "pass_gates", "channel->head->slots", KERNEL),
    _load("ipc/gate.c", "copy_once", "words[i]", KERNEL),
    _store("ipc/gate.c", "deliver", "to[0]", KERNEL),
    _load("include/kernel/channel.h", "gate_take_tail", "channel->tail->slots", KERNEL),
    _store("ipc/channel.c", "channel_close", "channel->status->state", KERNEL),
    # The lock behind which the kernel's objects lie, in C and by the assembly's short ways, and the cores' arrival.
    _load("core/lock.c", "wait_for_turn", "kernel_lock.owner", KERNEL),
    _store("include/kernel/lock.h", "kernel_lock_release", "kernel_lock.owner", KERNEL),
    Access(_TRAPS, "", "TAKE_KERNEL_LOCK", KERNEL, ACQUIRE),
    Access(_TRAPS, "", "RELEASE_KERNEL_LOCK", KERNEL, RELEASE),
    _load("arch/arm64/core.c", "core_came", "cores_started", KERNEL),
    _store("arch/arm64/core.c", "arch_start_secondary", "cores_started", KERNEL),
    # A driver and its device.
    _store(_QUEUE, "virtio_queue_publish", "queue->available->index", DRIVER),
    _fence(_QUEUE, "virtio_queue_publish", DRIVER),
    _load(_QUEUE, "virtio_queue_take", "queue->used->index", DRIVER),
    _fence(_QUEUE, "virtio_queue_arm", DRIVER),
    _load(_QUEUE, "virtio_queue_arm", "queue->used->index", DRIVER),
)


def lines_of(sources: Path, access: Access) -> list[int]:
    """The numbers of the lines where the access begins. `sources`: the folder kernel/."""
    lines = (sources / access.file).read_text().splitlines()
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
    assert found, f"{access}: there is no such line"
    return found


def origin(sources: Path, access: Access) -> Collection[int]:
    """The numbers of the lines that make it what it is: a macro's are where it is defined."""
    if access.function:
        return lines_of(sources, access)
    lines = (sources / access.file).read_text().splitlines()
    start = lines.index(f".macro {access.text}")
    return range(start + 1, lines.index(".endm", start) + 1)


def _instructions(elf: ELFFile, files: Collection[str]) -> Iterator[tuple[str, int, str]]:
    """(file, line, instruction) of every instruction that came of these files below kernel/.

    An instruction is told by its mnemonic, a barrier's with its operand.
    """
    text: Any = elf.get_section_by_name(".text")
    code, base = text.data(), text["sh_addr"]
    machine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    wanted = {f"kernel/{file}" for file in files}
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
            if before is not None and names[before.file] in wanted:
                file = names[before.file].removeprefix("kernel/")
                for found in machine.disasm(code[before.address - base : state.address - base], before.address):
                    what = f"{found.mnemonic} {found.op_str}" if found.mnemonic == "dmb" else found.mnemonic
                    yield file, before.line, what
            before = None if state.end_sequence else state


def faults(sources: Path, images: Collection[Path], accesses: Collection[Access] = ACCESSES) -> dict[Access, str]:
    """What is wrong with the instructions of which accesses.

    Args:
        sources: the folder kernel/ that the images were built from.
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
        for line in lines_of(sources, access):
            found = [what for image in access.images for what in seen.get((image, access.file, line), [])]
            if not access.ordered & set(found):
                wrong[access] = f"line {line}: expected one of {sorted(access.ordered)}, found {found}"
            elif access.plain & set(found) and access.function:
                wrong[access] = f"line {line}: an access without order among {found}"
    return wrong
