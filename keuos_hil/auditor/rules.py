"""The rules: each a name, the sentence that must hold, and a predicate that returns what speaks against it.

What lives here: what a rule is, the list of all, and running them. The predicates are in :mod:`.spaces` (what tables
permit), :mod:`.frames` (whose each frame is), :mod:`.records` (what the kernel's records say of each other) and
:mod:`.devices` (what the IOMMU permits).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from . import devices, frames, records, spaces
from .snapshot import Snapshot

Check = Callable[[Snapshot], Iterator[str]]


@dataclass(frozen=True)
class Rule:
    """One thing that must hold.

    Attributes:
        always: at any moment; the others are looked at only in quiet snapshots.
    """

    name: str
    sentence: str
    check: Check
    always: bool = False


@dataclass(frozen=True)
class Violation:
    """What speaks against a rule, in words."""

    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.text}"


DEVICE_RULES = (
    Rule(
        "dma-reach", "a device reaches what its driver shows it of its own, with no more than its right", devices.reach
    ),
    Rule("dma-contexts", "each function is in its driver's domain, or in none", devices.contexts),
    Rule(
        "interrupt-table",
        "an interrupt can be raised by the device that it is bound to, for its driver",
        devices.interrupts,
    ),
)
RULES = (
    Rule("well-formed", "no entry has reserved bits set or leads out of memory", spaces.malformed, always=True),
    Rule("w^x", "no page is writable and executable, for user mode or the kernel", spaces.writable_code, always=True),
    Rule(
        "w^x-alias",
        "no frame is executable through one mapping and writable through another",
        spaces.writable_alias_of_code,
        always=True,
    ),
    Rule("user-bit", "no path above the user range permits anything to user mode", spaces.user_above, always=True),
    Rule(
        "kernel-frames",
        "no space gives user mode a frame that is the kernel's, free, or no memory",
        spaces.kernel_frames_in_user_reach,
        always=True,
    ),
    Rule("kernel-half", "every space has the kernel's own upper half, and nothing else", spaces.kernel_half),
    Rule("user-half", "whatever is mapped in the lower half is user mode's, and not global", spaces.user_half, True),
    Rule("kernel-image", "text is r-x, constants r--, data rw-, at their linked addresses", spaces.kernel_image),
    Rule("direct-map", "the direct map maps memory one to one, cached, never executable", spaces.direct_map),
    Rule("caching", "memory is mapped cached, devices uncached", spaces.caching),
    Rule("ring-nx", "no page of a channel can be executed through any mapping", spaces.ring_pages_executable, True),
    Rule(
        "channel-rights",
        "both sides of a channel have its pages with exactly the rights of keuos/channel.h",
        spaces.channel_rights,
    ),
    Rule(
        "memory-rights",
        "memory objects are mapped whole, with no more than the right; of a device its driver has registers only",
        spaces.memory_rights,
    ),
    Rule("program-rights", "programs and stacks are mapped as their ELF says", spaces.program_rights),
    Rule("program-constants", "code and constants are what the program's file has", spaces.program_constants),
    Rule("guards", "around channels, memory objects and stacks nothing is mapped", spaces.guards),
    Rule("accounted", "whatever user mode can reach is accounted for", spaces.accounted),
    Rule("kernel-stacks", "each kernel stack is whole, above an unmapped page", spaces.kernel_stacks),
    Rule(
        "kernel-accounted",
        "beside image, stacks and devices the kernel maps memory one to one",
        spaces.kernel_accounted,
    ),
    Rule("tables", "each table serves one place of one space", frames.tables),
    Rule("table-reach", "page tables are mapped in no user space", frames.tables_in_user_space, always=True),
    Rule("frame-kinds", "each frame is of the kind and the owner that its use shows", frames.kinds),
    Rule("references", "each frame is counted as often as it is used", frames.references),
    Rule("free-frames", "a free frame is used nowhere and is in the free list once", frames.free),
    Rule("capabilities", "capabilities, channels' sides and their counts agree", records.capabilities),
    Rule("quotas", "each process is charged for what it has, and no more", records.quotas),
    Rule("cores", "a core has loaded a live process that lives on it, or the kernel", records.cores),
    *DEVICE_RULES,
)


def audit(
    snapshot: Snapshot, *, only: Iterable[str] = (), protections: frozenset[str] = frozenset()
) -> list[Violation]:
    """What is wrong at that moment; empty if nothing is.

    Args:
        only: names of the rules to look at; all by default.
        protections: what the CPU has and each core must have switched on, by the format's names: "smep", "nx" ...

    Raises:
        KeyError: there is no rule of that name.
    """
    by_name = {rule.name: rule for rule in RULES}
    chosen = [by_name[name] for name in only] or list(RULES)
    found = [
        Violation(rule.name, text) for rule in chosen if rule.always or snapshot.quiet for text in rule.check(snapshot)
    ]
    for core in snapshot.cores:
        faults = snapshot.format.core_faults(core.registers, protections)
        found += [Violation("protections", f"core {core.index}: {fault}") for fault in faults]
    return found
