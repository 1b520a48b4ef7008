"""Rules on frames: whose each one is, by what the tables and the records show, against what the kernel has noted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .snapshot import PAGE, UPPER_HALF, Snapshot


@dataclass(frozen=True)
class Use:
    """Frames that something uses, each as often as it stands here.

    Attributes:
        kind: of enum frame_kind, that they should have; None: a mapping, which goes by the frame's kind.
        owner: pid that they should have; None: whoever paid when they were taken.
    """

    what: str
    numbers: NDArray[np.int64]
    kind: int | None
    owner: int | None


def _numbers(physical: Any) -> NDArray[np.int64]:
    return np.asarray(physical, dtype=np.uint64).astype(np.int64).ravel() // PAGE


def _uses(snapshot: Snapshot) -> list[Use]:
    """Everything that uses a frame. Worked out once for all the rules on them."""
    if "uses" not in snapshot.notes:
        limit = len(snapshot.frames)
        snapshot.notes["uses"] = [
            Use(use.what, use.numbers[(use.numbers >= 0) & (use.numbers < limit)], use.kind, use.owner)
            for use in _all_uses(snapshot)
        ]
    found: list[Use] = snapshot.notes["uses"]
    return found


def _all_uses(snapshot: Snapshot) -> Iterator[Use]:
    constant = snapshot.constant
    table, state, user, program = (constant(f"FRAME_{kind}") for kind in ("TABLE", "STATE", "USER", "PROGRAM"))
    kernel = snapshot.kernel
    yield Use("the kernel's tables", _numbers([*set(kernel.roots), *kernel.tables["physical"]]), table, 0)
    for index, space in snapshot.spaces.items():
        name, record = snapshot.process_name(index), snapshot.processes.records[index]
        pid = int(record["pid"])
        own = space.tables["physical"][space.tables["virtual"] < UPPER_HALF]
        yield Use(f"{name}'s tables", _numbers([space.roots[0], *own]), table, pid)
        lower = snapshot.lower[index]
        kinds = snapshot.kind_of(lower["physical"])
        private, shared = kinds == user, kinds == program
        yield Use(f"{name}'s private pages", _numbers(lower["physical"][private]), user, pid)
        yield Use(f"{name}'s code and constants", _numbers(lower["physical"][shared]), program, 0)
        yield Use(f"{name}'s mappings", _numbers(lower["physical"][~private & ~shared]), None, None)
        if record["extended_state_frame"]:
            yield Use(f"{name}'s registers", _numbers([record["extended_state_frame"]]), state, pid)
    for channel in snapshot.channels.records:
        frames = channel["frames"][channel["frames"] != 0]
        if len(frames):
            yield Use(f"channel {channel['id']}", _numbers(frames), constant("FRAME_CHANNEL"), None)
        if channel["sealed_frame"]:
            yield Use(
                f"channel {channel['id']}'s sealed table",
                _numbers([channel["sealed_frame"]]),
                constant("FRAME_SECRET"),
                0,
            )
    for number, record in enumerate(snapshot.objects.records):
        frames = record["frames"][record["frames"] != 0]
        if len(frames):
            yield Use(f"memory object {number}", _numbers(frames), constant("FRAME_MEMORY"), None)
    iommu = constant("FRAME_IOMMU")
    for index, domain in snapshot.domains.items():
        payer = snapshot.processes.index(int(snapshot.devices.records[index]["domain"]["payer"]))
        owner = int(snapshot.processes.records[payer]["pid"]) if payer is not None else 0
        yield Use(f"device {index + 1}'s tables", _numbers([*domain.roots, *domain.tables["physical"]]), iommu, owner)
        yield Use(f"device {index + 1}", _numbers(domain.pages()["physical"]), None, None)
    beside = snapshot.kernel_pages[~snapshot.in_direct_map]
    beside = beside[snapshot.kind_of(beside["physical"]) > constant("FRAME_RESERVED")]
    yield Use("the kernel's stacks", _numbers(beside["physical"]), constant("FRAME_KERNEL"), 0)


def _counted(snapshot: Snapshot) -> NDArray[np.int64]:
    found = np.zeros(len(snapshot.frames), dtype=np.int64)
    for use in _uses(snapshot):
        np.add.at(found, use.numbers, 1)
    return found


def _users(snapshot: Snapshot, number: int) -> str:
    return ", ".join(use.what for use in _uses(snapshot) for _ in range(int((use.numbers == number).sum()))) or "nobody"


def tables(snapshot: Snapshot) -> Iterator[str]:
    """Two places that led to the same table would share whatever is mapped below."""
    kind = snapshot.constant("FRAME_TABLE")
    used = [use for use in _uses(snapshot) if use.kind == kind]
    numbers, counts = np.unique(np.concatenate([use.numbers for use in used]), return_counts=True)
    for number in numbers[counts > 1].tolist():
        yield f"{snapshot.frame_name(number * PAGE)}: used by {_users(snapshot, number)}"


def tables_in_user_space(snapshot: Snapshot) -> Iterator[str]:
    """By the tables as they were found, whatever kind the kernel has noted for their frames."""
    places = [snapshot.kernel, *snapshot.spaces.values()]
    wanted = np.unique(np.concatenate([np.array(p.roots, dtype=np.uint64) for p in places] + [
        p.tables["physical"] for p in places
    ]))  # fmt: skip
    for index in snapshot.reachable:
        lower = snapshot.lower[index]
        for row in lower[np.isin(lower["physical"], wanted)]:
            yield (
                f"{snapshot.process_name(index)} {int(row['virtual']):#x}: mapped to the page table "
                f"{snapshot.frame_name(int(row['physical']))}"
            )


def kinds(snapshot: Snapshot) -> Iterator[str]:
    """What a frame is used for is what it was taken for."""
    names = snapshot.frame_kinds
    for use in _uses(snapshot):
        if use.kind is None:
            continue
        rows = snapshot.frames[use.numbers]
        wrong = rows["kind"] != use.kind
        if use.owner is not None:
            wrong |= rows["owner"] != use.owner & 0xFFFF
        for number in use.numbers[wrong].tolist():
            owner = "" if use.owner is None else f" of {use.owner}"
            yield f"{snapshot.frame_name(number * PAGE)}: used as {names[use.kind]}{owner} by {use.what}"


def references(snapshot: Snapshot) -> Iterator[str]:
    """Of every frame in use: too many is a leak, too few will free it under somebody."""
    found = _counted(snapshot)
    idle = np.isin(snapshot.frames["kind"], [snapshot.constant("FRAME_FREE"), snapshot.constant("FRAME_RESERVED")])
    # What the IOMMU was given at boot for good, its root and its queues, is known to it alone.
    boot = (snapshot.frames["kind"] == snapshot.constant("FRAME_IOMMU")) & (snapshot.frames["owner"] == 0)
    idle |= boot & (snapshot.frames["references"] == 1)
    for number in np.flatnonzero(~idle & (snapshot.frames["references"] != found)).tolist():
        yield f"{snapshot.frame_name(number * PAGE)}: {found[number]} found: {_users(snapshot, number)}"


def free(snapshot: Snapshot) -> Iterator[str]:
    """The list, its length, and the frames in it."""
    kind = snapshot.constant("FRAME_FREE")
    is_free = snapshot.frames["kind"] == kind
    found = _counted(snapshot)
    for number in np.flatnonzero(is_free & ((found > 0) | (snapshot.frames["references"] > 0))).tolist():
        yield f"{snapshot.frame_name(number * PAGE)}: used by {_users(snapshot, number)}"
    if not _is_one_list(snapshot, is_free):
        yield from _broken_list(snapshot, is_free)
    if snapshot.values["frames_free"] != is_free.sum():
        yield f"frames_free is {snapshot.values['frames_free']}, and {is_free.sum()} frames are free"


def _is_one_list(snapshot: Snapshot, is_free: NDArray[np.bool_]) -> bool:
    """Whether the free frames, and they alone, hang together from the head to the end. Worked out without a loop.

    No two of them lead to the same frame, one leads to none, and by doubling steps all come to the end: one path. It
    starts at the head, since no frame leads there.
    """
    free_numbers = np.flatnonzero(is_free)
    following = snapshot.frames["next"].astype(np.int64)
    if not len(free_numbers):
        return snapshot.values["free_head"] == 0
    after = following[free_numbers]
    if (after >= len(following)).any() or not (is_free[after] | (after == 0)).all():
        return False
    led_to = np.bincount(after, minlength=len(following))
    head = snapshot.values["free_head"]
    if (led_to > 1).any() or led_to[0] != 1 or not is_free[head] or led_to[head] != 0:
        return False
    jump = np.where(is_free, following, 0)
    for _ in range(len(free_numbers).bit_length()):
        jump = jump[jump]
    return not jump.any()


def _broken_list(snapshot: Snapshot, is_free: NDArray[np.bool_]) -> Iterator[str]:
    following = snapshot.frames["next"].tolist()
    listed: set[int] = set()
    at = snapshot.values["free_head"]
    while at != 0 and at < len(following) and at not in listed:
        listed.add(at)
        at = following[at]
    if at != 0:
        where = "comes back to" if at in listed else "leaves memory at"
        yield f"the free list {where} frame number {at:#x} after {len(listed)} frames"
    free_numbers = set(np.flatnonzero(is_free).tolist())
    for number in sorted(listed - free_numbers)[:8]:
        yield f"{snapshot.frame_name(number * PAGE)}: in the free list"
    for number in sorted(free_numbers - listed)[:8]:
        yield f"{snapshot.frame_name(number * PAGE)}: not in the free list"
