"""Rules on what tables permit: rights, reach, guards, aliases. Each predicate yields its violations in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from keuos_hil.page_tables import Caching, PageMap, Rights

from .expected import Difference, Kind, channel_layout, constant_pages, differences, registers_of
from .snapshot import PAGE, UPPER_HALF, Snapshot

_WRITE = int(Rights.USER_WRITE | Rights.KERNEL_WRITE)
_EXECUTE = int(Rights.USER_EXECUTE | Rights.KERNEL_EXECUTE)
_USER = int(Rights.USER)


def _every(snapshot: Snapshot) -> Iterator[tuple[str, PageMap]]:
    """Every space that can be loaded, the kernel's own first, with what to call it."""
    yield "kernel", snapshot.kernel
    for index, space in snapshot.reachable.items():
        yield snapshot.process_name(index), space


def malformed(snapshot: Snapshot) -> Iterator[str]:
    """Entries that no processor takes, or takes for something else."""
    for name, space in _every(snapshot):
        yield from (f"{name} {text}" for text in space.malformed)


def writable_code(snapshot: Snapshot) -> Iterator[str]:
    """Within one mapping."""
    for name, space in _every(snapshot):
        rights = space.mappings["rights"]
        for mapping in space.where((rights & _WRITE != 0) & (rights & _EXECUTE != 0)):
            yield f"{name} {mapping}"


def writable_alias_of_code(snapshot: Snapshot) -> Iterator[str]:
    """Across mappings and spaces.

    One alias is by design: the direct map, through which the kernel, and only it, loads programs. Code of the kernel
    itself is read-only there, too.
    """
    pages = snapshot.kernel_pages
    direct = snapshot.in_direct_map
    user = [snapshot.lower[index] for index in snapshot.reachable]
    users = np.concatenate(user) if user else pages[:0]

    def frames(rows: NDArray[Any], right: Rights) -> NDArray[np.bool_]:
        """Which frames of memory these pages give that right to."""
        numbers = rows["physical"][rows["rights"] & int(right) != 0] // np.uint64(PAGE)
        marks = np.zeros(len(snapshot.frames), dtype=np.bool_)
        marks[numbers[numbers < len(marks)].astype(np.intp)] = True
        return marks

    aliased = (
        ("user mode may execute and user mode may write", users, Rights.USER_EXECUTE, users, Rights.USER_WRITE),
        (
            "user mode may execute and the kernel may write beside the direct map",
            users,
            Rights.USER_EXECUTE,
            pages[~direct],
            Rights.KERNEL_WRITE,
        ),
        ("the kernel may execute and may write", pages, Rights.KERNEL_EXECUTE, pages, Rights.KERNEL_WRITE),
        ("the kernel may execute and user mode may write", pages, Rights.KERNEL_EXECUTE, users, Rights.USER_WRITE),
    )
    for words, code, execute, data, write in aliased:
        for number in np.flatnonzero(frames(code, execute) & frames(data, write)).tolist():
            yield f"{snapshot.frame_name(number * PAGE)}: {words}; mapped at {_where(snapshot, number * PAGE)}"


def _where(snapshot: Snapshot, physical: int) -> str:
    """Every place at which a frame is mapped."""
    places = []
    for name, space in _every(snapshot):
        rows = space.mappings
        if name != "kernel":
            rows = rows[rows["virtual"] < UPPER_HALF]
        inside = (rows["physical"] <= physical) & (np.uint64(physical) - rows["physical"] < rows["size"])
        for row in rows[inside]:
            at = int(row["virtual"]) + physical - int(row["physical"])
            places.append(f"{name} {at:#x} ({Rights(int(row['rights']))})")
    return ", ".join(places)


def user_above(snapshot: Snapshot) -> Iterator[str]:
    """The user bit on any entry of a path, not only on all of it: a leaf below may get it by mistake."""
    low, end = snapshot.values["arch_user_base"], snapshot.values["arch_user_end"]
    for name, space in _every(snapshot):
        rows = space.mappings
        outside = (rows["virtual"] < low) | (rows["virtual"] + rows["size"] > end) | (rows["virtual"] >= UPPER_HALF)
        for mapping in space.where(outside & (rows["rights"] & _USER != 0)):
            yield f"{name} {mapping}"
        stray = outside & (rows["rights"] & _USER == 0) & (rows["own"] & _USER != 0)
        for mapping in space.where(stray):
            yield f"{name} {mapping}; its last entry has the user bit"
        denying = np.isin(space.tables["level"] + 1, snapshot.format.denying_levels)
        tables = space.tables[denying & (space.tables["virtual"] >= UPPER_HALF) & (space.tables["rights"] & _USER != 0)]
        for table in tables:
            yield (
                f"{name} {int(table['virtual']):#x}: the entry that leads to its level {table['level']} table at "
                f"{int(table['physical']):#x} has the user bit"
            )


def kernel_frames_in_user_reach(snapshot: Snapshot) -> Iterator[str]:
    """Tables, sealed templates, register areas, kernel stacks, firmware, the image, free frames, device registers."""
    good = [snapshot.constant(f"FRAME_{kind}") for kind in ("USER", "PROGRAM", "CHANNEL", "MEMORY")]
    for index in snapshot.reachable:
        lower = snapshot.lower[index]
        bad = ~np.isin(snapshot.kind_of(lower["physical"]), good)
        if bad.any():
            bad &= ~np.isin(lower["physical"], _registers(snapshot, index))
        for row in lower[bad]:
            yield (
                f"{snapshot.process_name(index)} {int(row['virtual']):#x}: mapped to "
                f"{snapshot.frame_name(int(row['physical']))}, {Rights(int(row['rights']))}"
            )


def _registers(snapshot: Snapshot, index: int) -> list[int]:
    """Where the registers of the devices lie that a process drives, as far as it may have them."""
    device = snapshot.constant("KEUOS_CAP_DEVICE")
    return [
        page.physical
        for number, capability in enumerate(snapshot.processes.records[index]["capabilities"])
        if capability["type"] == device
        for _, page in registers_of(snapshot, index, number, capability)
        if page.physical is not None
    ]


def kernel_half(snapshot: Snapshot) -> Iterator[str]:
    """Compared mapping by mapping."""
    own = snapshot.kernel.mappings
    if (own["virtual"] < UPPER_HALF).any():
        yield "the kernel's own space maps something in the lower half"
    for index, space in snapshot.spaces.items():
        upper = space.mappings[space.mappings["virtual"] >= UPPER_HALF]
        if np.array_equal(upper, own):
            continue
        for row in upper[~np.isin(upper, own)]:
            yield f"{snapshot.process_name(index)} {int(row['virtual']):#x}: not as in the kernel's own space"
        for row in own[~np.isin(own, upper)]:
            yield f"{snapshot.process_name(index)} {int(row['virtual']):#x}: differs from the kernel's own space"


def user_half(snapshot: Snapshot) -> Iterator[str]:
    """The kernel has no business below; a global entry would outlive the process in the TLB."""
    for index, space in snapshot.reachable.items():
        rows = space.mappings
        bad = (rows["virtual"] < UPPER_HALF) & ((rows["rights"] & int(Rights.USER_READ) == 0) | rows["global"])
        for mapping in space.where(bad):
            yield f"{snapshot.process_name(index)} {mapping}"


def kernel_image(snapshot: Snapshot) -> Iterator[str]:
    """By the linker's own edges."""
    values = snapshot.values
    parts = (
        ("text", "kernel_start", "kernel_text_end", Rights.KERNEL_READ | Rights.KERNEL_EXECUTE),
        ("constants", "kernel_text_end", "kernel_rodata_end", Rights.KERNEL_READ),
        ("data", "kernel_rodata_end", "kernel_end", Rights.KERNEL_READ | Rights.KERNEL_WRITE),
    )
    pages = snapshot.kernel_pages
    for name, start, end, rights in parts:
        low, high = values[start] & -PAGE, -(-values[end] // PAGE) * PAGE
        inside = pages[(pages["virtual"] >= low) & (pages["virtual"] < high)]
        if len(inside) != (high - low) // PAGE:
            yield f"{name} from {low:#x} to {high:#x}: {len(inside)} of {(high - low) // PAGE} pages are mapped"
        for row in inside[inside["rights"] != int(rights)]:
            yield f"{name} at {int(row['virtual']):#x}: {Rights(int(row['rights']))}; expected {rights}"
        wrong = inside["virtual"] - inside["physical"] != inside["virtual"][:1] - inside["physical"][:1]
        for row in inside[wrong]:
            yield f"{name} at {int(row['virtual']):#x}: mapped to {snapshot.frame_name(int(row['physical']))}"
    code = pages[pages["rights"] & _EXECUTE != 0]
    outside = code[(code["virtual"] < values["kernel_start"]) | (code["virtual"] >= values["kernel_text_end"])]
    for row in outside:
        yield f"{int(row['virtual']):#x}: the kernel may execute it, and it is not of its text"


def direct_map(snapshot: Snapshot) -> Iterator[str]:
    """The kernel's view of all memory."""
    rows = snapshot.kernel_pages[snapshot.in_direct_map]
    misplaced = rows["virtual"] - rows["physical"] != np.uint64(snapshot.direct_map)
    for row in rows[misplaced]:
        yield f"{int(row['virtual']):#x}: mapped to {snapshot.frame_name(int(row['physical']))}"
    for row in rows[rows["rights"] & (_EXECUTE | _USER) != 0]:
        yield f"{int(row['virtual']):#x}: {Rights(int(row['rights']))}"


def caching(snapshot: Snapshot) -> Iterator[str]:
    """Beside the direct map, which is checked to be one to one: what it maps where no memory is, nobody uses."""
    spaces = [(snapshot.process_name(i), rows) for i, rows in snapshot.lower.items()]
    spaces.append(("kernel", snapshot.kernel_pages[~snapshot.in_direct_map]))
    for name, rows in spaces:
        memory = snapshot.kind_of(rows["physical"]) >= 0
        cached = rows["caching"] == Caching.WRITE_BACK
        for row, is_memory in zip(rows[memory != cached], memory[memory != cached].tolist(), strict=True):
            how = Caching(int(row["caching"])).name.lower()
            what = "memory" if is_memory else "no memory"
            yield f"{name} {int(row['virtual']):#x} -> {int(row['physical']):#x}: {how}, and it is {what}"
    direct = snapshot.kernel_pages[snapshot.in_direct_map]
    for row in direct[direct["caching"] != Caching.WRITE_BACK]:
        yield f"direct map {int(row['virtual']):#x}: {Caching(int(row['caching'])).name.lower()}"


def ring_pages_executable(snapshot: Snapshot) -> Iterator[str]:
    """By frame, wherever it is mapped: through the kernel's half, too."""
    frames: dict[int, str] = {}
    for channel in snapshot.channels.records:
        if channel["state"] == snapshot.constant("KEUOS_CHANNEL_FREE"):
            continue
        for _, name, frame in channel_layout(snapshot, channel):
            if frame:
                frames[frame] = f"channel {channel['id']}'s {name} page"
    wanted = np.array(list(frames), dtype=np.uint64)
    spaces = [(snapshot.process_name(i), snapshot.lower[i]) for i in snapshot.reachable]
    for name, rows in [("kernel", snapshot.kernel_pages), *spaces]:
        code = rows[rows["rights"] & _EXECUTE != 0]
        for row in code[np.isin(code["physical"], wanted)]:
            yield f"{name} {int(row['virtual']):#x}: {frames[int(row['physical'])]}, {Rights(int(row['rights']))}"


def _differences(snapshot: Snapshot) -> list[Difference]:
    """Worked out once for all the rules on them."""
    if "differences" not in snapshot.notes:
        snapshot.notes["differences"] = [d for index in snapshot.spaces for d in differences(snapshot, index)]
    found: list[Difference] = snapshot.notes["differences"]
    return found


def _wrong(snapshot: Snapshot, *kinds: Kind) -> Iterator[str]:
    return (found.text for found in _differences(snapshot) if not found.extra and found.kind in kinds)


def channel_rights(snapshot: Snapshot) -> Iterator[str]:
    """Page by page, on both sides of every channel, in every process."""
    return _wrong(snapshot, Kind.CHANNEL)


def memory_rights(snapshot: Snapshot) -> Iterator[str]:
    """In every process that holds a capability to one, or drives a device."""
    return _wrong(snapshot, Kind.MEMORY, Kind.DEVICE)


def program_rights(snapshot: Snapshot) -> Iterator[str]:
    """Code, constants, data and stack."""
    return _wrong(snapshot, Kind.PROGRAM, Kind.STACK)


def program_constants(snapshot: Snapshot) -> Iterator[str]:
    """Processes of one program share these pages, so whoever could change one, or got another's, would show here."""
    for index in snapshot.spaces:
        lower = snapshot.lower[index]
        there = dict(zip(lower["virtual"].tolist(), lower["physical"].tolist(), strict=True))
        for virtual, wanted in constant_pages(snapshot, index):
            found = snapshot.program_frames.get(there.get(virtual, 0))
            if found is not None and found != wanted:
                at = next(i for i, (a, b) in enumerate(zip(found, wanted, strict=True)) if a != b)
                yield (
                    f"{snapshot.process_name(index)} {virtual + at:#x}: {found[at]:#04x} in "
                    f"{snapshot.frame_name(there[virtual])}; its file has {wanted[at]:#04x}"
                )


def guards(snapshot: Snapshot) -> Iterator[str]:
    """Pages in a window that its capability does not account for, beside a stack, or at null."""
    return (found.text for found in _differences(snapshot) if found.extra and found.kind == Kind.GUARD)


def accounted(snapshot: Snapshot) -> Iterator[str]:
    """Anything else that is mapped."""
    return (found.text for found in _differences(snapshot) if found.extra and found.kind != Kind.GUARD)


def kernel_stacks(snapshot: Snapshot) -> Iterator[str]:
    """By the tops that the cores' own records give."""
    kind = snapshot.constant("FRAME_KERNEL")
    used: dict[int, str] = {}
    for stack in snapshot.stacks:
        for at in range(stack.bottom, stack.top, PAGE):
            physical = snapshot.kernel.translate(at)
            rights = snapshot.kernel.rights(at)
            if physical is None:
                yield f"{stack.name}: {at:#x} is not mapped"
                continue
            if rights != Rights.KERNEL_READ | Rights.KERNEL_WRITE or snapshot.frames[physical // PAGE]["kind"] != kind:
                yield f"{stack.name}: {at:#x} is {snapshot.frame_name(physical)}, {rights}"
            if physical in used:
                yield f"{stack.name}: {at:#x} is the same frame as one of {used[physical]}"
            used[physical] = stack.name
        guard = snapshot.kernel.translate(stack.bottom - PAGE)
        if guard is not None:
            yield f"{stack.name}: the guard at {stack.bottom - PAGE:#x} is mapped to {snapshot.frame_name(guard)}"


def kernel_accounted(snapshot: Snapshot) -> Iterator[str]:
    """What is left of its half after the direct map, the image and the stacks is no memory: device registers."""
    rows = snapshot.kernel_pages[~snapshot.in_direct_map]
    rows = rows[snapshot.kind_of(rows["physical"]) >= 0]
    image = (rows["virtual"] >= snapshot.values["kernel_start"] & -PAGE) & (
        rows["virtual"] < snapshot.values["kernel_end"]
    )
    stacks = np.zeros(len(rows), dtype=np.bool_)
    for stack in snapshot.stacks:
        stacks |= (rows["virtual"] >= stack.bottom) & (rows["virtual"] < stack.top)
    for row in rows[~image & ~stacks]:
        yield (
            f"{int(row['virtual']):#x}: mapped to {snapshot.frame_name(int(row['physical']))}, "
            f"{Rights(int(row['rights']))}"
        )
