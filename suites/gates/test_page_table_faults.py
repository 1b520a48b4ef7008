"""That the auditor can find fault: each way in which tables or records go wrong, made from outside, and named.

The machine stands still in one rich moment. One thing is changed in its memory, the moment is audited, and the change
is undone. The rules that object must be exactly those that the change breaks, and name the place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from keuos_hil.agent import Agent
from keuos_hil.auditor import DEVICE_RULES, RULES, Snapshot
from keuos_hil.page_tables import Caching, Rights, Step, path
from keuos_hil.rig import LiveTarget

from .moments import Auditor, protections_of
from .puppet import Puppet

pytestmark = pytest.mark.needs("agent", "channels", "debug", "registers", "pause", "entropy", "smp")

PAGE, LARGE_PAGE = 4096, 1 << 21
USER_R = Rights.USER_READ | Rights.KERNEL_READ
READ, WRITE_RIGHT, ALL_RIGHTS = 4, 8, 31


def _field(dtype: np.dtype[Any], name: str) -> tuple[np.dtype[Any], int]:
    """The layout and the offset of a structure's field."""
    assert dtype.fields is not None
    found: Any = dtype.fields[name]
    return found[0], int(found[1])


@dataclass
class Stage:
    """Two processes that share channels and memory objects, standing still; and how to damage what they stand on.

    Attributes:
        shared: memory capabilities: the owner's, the peer's.
        written: what was there before a change, by physical address.
    """

    target: LiveTarget
    owner: Puppet
    peer: Puppet
    shared: tuple[int, int]
    snapshot: Snapshot
    written: dict[int, bytes] = field(default_factory=dict)

    def index(self, puppet: Puppet) -> int:
        """The index of its process's record."""
        pids = self.snapshot.processes.records["pid"].tolist()
        return int(pids.index(puppet.pid))

    def path(self, puppet: Puppet | None, address: int) -> list[Step]:
        """The entries on the way to an address of a process, or of the kernel's own space."""
        snapshot = self.snapshot
        roots = snapshot.kernel.roots if puppet is None else snapshot.spaces[self.index(puppet)].roots
        return path(snapshot.format, self.target.debug.read_physical, roots, address)

    def write(self, physical: int, value: int, size: int = 8) -> None:
        """Change memory, once and for this damage."""
        self.written.setdefault(physical, self.target.debug.read_physical(physical, size))
        self.target.debug.write_physical(physical, value.to_bytes(size, "little"))

    def flip(self, puppet: Puppet | None, address: int, what: str, level: int = 1) -> None:
        """Change a property of the entry of that level; of the last one if the page is larger. See CpuFormat.flag."""
        step = self._step(puppet, address, level)
        self.write(step.where, step.entry ^ self.snapshot.format.flag(what, step.entry, leaf=step.leaf))

    def divert(self, puppet: Puppet | None, address: int, bits: int, level: int = 1) -> None:
        """Exclusive-or into the address that the entry of that level leads to."""
        step = self._step(puppet, address, level)
        self.write(step.where, step.entry ^ bits)

    def _step(self, puppet: Puppet | None, address: int, level: int) -> Step:
        steps = self.path(puppet, address)
        step = next((step for step in steps if step.level == level), steps[-1])
        assert step.present
        return step

    def map(self, puppet: Puppet | None, address: int, physical: int, rights: Rights = USER_R) -> None:
        """Map a page where nothing is mapped; the tables above must be there."""
        step = self.path(puppet, address)[-1]
        assert step.level == 1, f"{address:#x} has no table"
        self.write(step.where, self.snapshot.format.page(physical, rights))

    def record(self, variable: str, index: int, *fields: str | int, change: Callable[[int], int]) -> None:
        """Change a field of a kernel record."""
        kernel = self.target.kernel
        dtype = kernel.elf.layouts.variable(variable)
        address, at = kernel.address(variable), dtype.base
        address += index * at.itemsize
        for name in fields:
            if isinstance(name, int):
                at, address = at.base, address + name * at.base.itemsize
            else:
                at, offset = _field(at, name)
                address += offset
        physical, size = kernel.physical(address), at.itemsize
        old = int.from_bytes(self.target.debug.read_physical(physical, size), "little")
        self.write(physical, change(old) % (1 << 8 * size), size)

    def frame(self, physical: int, name: str, change: Callable[[int], int]) -> None:
        """Change a field of a frame's record."""
        dtype = self.snapshot.frames.dtype
        at, offset = _field(dtype, name)
        base = self.snapshot.values["frames"] - self.snapshot.direct_map
        where = base + physical // PAGE * dtype.itemsize + offset
        old = int.from_bytes(self.target.debug.read_physical(where, at.itemsize), "little")
        self.write(where, change(old) % (1 << 8 * at.itemsize), at.itemsize)

    def flip_byte(self, physical: int) -> None:
        """Turn all bits of a byte over."""
        self.write(physical, self.target.debug.read_physical(physical, 1)[0] ^ 0xFF, 1)

    def undo(self) -> None:
        """Everything as it was."""
        for physical, data in self.written.items():
            self.target.debug.write_physical(physical, data)
        self.written.clear()

    # Places ----------------------------------------------------------------------------------------------------

    def frame_at(self, puppet: Puppet | None, address: int) -> int:
        """The frame that is mapped there."""
        return self.path(puppet, address)[-1].target

    def channel(self, puppet: Puppet, name: str) -> int:
        """The address of a page of the verified channel."""
        snapshot = self.snapshot
        [record] = [c for c in snapshot.channels.records if c["mode"] == snapshot.constant("KEUOS_VERIFIED")]
        side = record["producer" if puppet is self.peer else "consumer"]
        offset = -PAGE if name == "guard" else snapshot.constant(f"KEUOS_OFFSET_{name.upper()}")
        return int(side["base"]) + offset

    def memory(self, puppet: Puppet) -> int:
        """The address of the shared memory object."""
        number = self.shared[puppet is self.peer]
        return self.snapshot.values["memory_window"] + number * self.snapshot.values["memory_window_bytes"]

    def data(self, puppet: Puppet) -> int:
        """A page of the program's own data."""
        return puppet.address("scratch") & -PAGE

    def text(self, puppet: Puppet) -> int:
        """A page of the program's code."""
        return puppet.address("main") & -PAGE

    def large_page(self) -> int:
        """The address of a large page in the midst of the direct map."""
        large = max((m for m in self.snapshot.kernel if m.level == 2), key=lambda m: m.size)
        return large.virtual + large.size // 2 & -LARGE_PAGE

    def device(self) -> int:
        """The physical address of some device's registers."""
        return next(m.physical for m in self.snapshot.kernel if m.caching in (Caching.DEVICE, Caching.UNCACHED))

    def free_frame(self) -> int:
        """A frame that nobody uses."""
        return self.snapshot.values["free_head"] * PAGE

    def first(self, kind: str) -> int:
        """A frame of that kind."""
        kinds = self.snapshot.frames["kind"].tolist()
        return int(kinds.index(self.snapshot.constant(f"FRAME_{kind}"))) * PAGE


@dataclass(frozen=True)
class Damage:
    """One thing gone wrong.

    Attributes:
        rules: the names of those that must object, and no others.
        names: what one of the objections must contain.
        shared: the same where the kernel's half has a root of its own; None: it can't be done there.
    """

    rules: str
    make: Callable[[Stage], object]
    names: Callable[[Stage], str] = lambda stage: ""
    shared: str | None = ""

    def objecting(self, stage: Stage) -> set[str] | None:
        """The names of the rules on this architecture; None if it can't be done."""
        if not stage.snapshot.format.shares_kernel_root or self.shared == "":
            return set(self.rules.split())
        return None if self.shared is None else set(self.shared.split())


def _both(*deeds: Callable[[], object]) -> None:
    for deed in deeds:
        deed()


def _instead_of(page: Callable[[Stage], int], physical: Callable[[Stage], int]) -> Callable[[Stage], None]:
    """A page of the owner leads to another frame."""

    def make(s: Stage) -> None:
        s.divert(s.owner, page(s), s.frame_at(s.owner, page(s)) ^ physical(s))

    return make


_instead_of_data = partial(_instead_of, lambda s: s.data(s.owner))
_instead_of_text = partial(_instead_of, lambda s: s.text(s.owner))


def _shared_table(s: Stage) -> None:
    """The peer's tables of its memory windows are the owner's."""
    mine, theirs = s.path(s.owner, s.memory(s.owner))[0], s.path(s.peer, s.memory(s.peer))[0]
    s.write(theirs.where, mine.entry)


def _in_data(s: Stage) -> str:
    return f"{s.data(s.owner):#x}"


CONSUMER_READS = ("slots", "head", "status", "tags", "mailbox", "data")
PRODUCER_READS = ("tail", "status", "tags")


def _writable(who: str, page: str) -> Damage:
    """A page of the channel that this side may read; the owner consumes and the peer produces."""

    def make(s: Stage) -> None:
        puppet = getattr(s, who)
        s.flip(puppet, s.channel(puppet, page), "write")

    side = "consumer" if who == "owner" else "producer"
    return Damage("channel-rights", make, lambda s: f"{page} page, {side}'s side")


DAMAGES: dict[str, Damage] = {
    # tables
    "data_page_executable": Damage(
        "w^x w^x-alias program-rights", lambda s: s.flip(s.owner, s.data(s.owner), "execute"), _in_data
    ),
    "code_page_writable": Damage(
        "w^x w^x-alias program-rights",
        lambda s: s.flip(s.owner, s.text(s.owner), "write"),
        lambda s: f"{s.text(s.owner):#x}",
    ),
    "code_writable_elsewhere": Damage(
        "w^x-alias program-rights references", _instead_of_data(lambda s: s.frame_at(s.peer, s.text(s.peer))), _in_data
    ),
    "code_of_another_program": Damage(
        "program-constants references",
        _instead_of_text(lambda s: s.first("PROGRAM")),
        lambda s: f"[{s.owner.pid} puppet] {s.text(s.owner) >> 12:#x}",
    ),
    "code_that_is_private": Damage(
        "w^x-alias program-rights references frame-kinds",
        _instead_of_text(lambda s: s.frame_at(s.peer, s.data(s.peer))),
        lambda s: "expected one of its program's",
    ),
    "code_changed_for_all": Damage(
        "program-constants",
        lambda s: s.flip_byte(s.frame_at(s.owner, s.text(s.owner)) + 8),
        lambda s: f"[{s.peer.pid} puppet] {s.text(s.peer) + 8:#x}",
    ),
    "stack_executable": Damage(
        "w^x w^x-alias program-rights",
        lambda s: s.flip(s.peer, s.snapshot.values["process_stack_top"] - PAGE, "execute"),
        lambda s: f"{s.snapshot.values['process_stack_top'] - PAGE:#x}",
    ),
    "ring_page_executable": Damage(
        "w^x-alias ring-nx channel-rights",
        lambda s: s.flip(s.owner, s.channel(s.owner, "slots"), "execute"),
        lambda s: f"{s.channel(s.owner, 'slots'):#x}",
    ),
    "mailbox_executable": Damage(
        "ring-nx channel-rights",
        lambda s: s.flip(s.owner, s.channel(s.owner, "mailbox"), "execute"),
        lambda s: f"{s.channel(s.owner, 'mailbox'):#x}",
    ),
    **{f"consumer_may_write_{page}": _writable("owner", page) for page in CONSUMER_READS},
    **{f"producer_may_write_{page}": _writable("peer", page) for page in PRODUCER_READS},
    "producer_has_the_mailbox": Damage(
        "guards references",
        lambda s: s.map(
            s.peer,
            s.channel(s.peer, "mailbox"),
            s.frame_at(s.owner, s.channel(s.owner, "mailbox")),
        ),
        lambda s: f"{s.channel(s.peer, 'mailbox'):#x}",
    ),
    "channel_guard_mapped": Damage(
        "guards references",
        lambda s: s.map(s.peer, s.channel(s.peer, "guard"), s.frame_at(s.peer, s.channel(s.peer, "data"))),
        lambda s: f"{s.channel(s.peer, 'guard'):#x}",
    ),
    "ring_page_missing": Damage(
        "channel-rights references",
        lambda s: s.flip(s.peer, s.channel(s.peer, "tags"), "present"),
        lambda s: "tags page, producer's side): not mapped",
    ),
    "ring_pages_swapped": Damage(
        "channel-rights references",
        lambda s: s.divert(
            s.peer,
            s.channel(s.peer, "slots"),
            s.frame_at(s.peer, s.channel(s.peer, "slots")) ^ s.frame_at(s.peer, s.channel(s.peer, "data")),
        ),
        lambda s: "slots page, producer's side",
    ),
    "stack_guard_mapped": Damage(
        "guards references quotas",
        lambda s: s.map(
            s.owner,
            s.snapshot.values["process_stack_top"] - 17 * PAGE,
            s.frame_at(s.owner, s.data(s.owner)),
            USER_R | Rights.USER_WRITE | Rights.KERNEL_WRITE,
        ),
        lambda s: "the guard below the stack",
    ),
    "kernel_stack_guard_mapped": Damage(
        "kernel-stacks kernel-accounted frame-kinds references",
        lambda s: s.map(
            None,
            s.snapshot.stacks[0].bottom - PAGE,
            s.frame_at(s.owner, s.data(s.owner)),
            Rights.KERNEL_READ | Rights.KERNEL_WRITE,
        ),
        lambda s: f"the guard at {s.snapshot.stacks[0].bottom - PAGE:#x}",
    ),
    "private_page_of_another": Damage(
        "program-rights references frame-kinds",
        _instead_of_data(lambda s: s.frame_at(s.peer, s.data(s.peer))),
        _in_data,
    ),
    "page_nobody_accounts_for": Damage(
        "accounted references quotas",
        lambda s: s.map(s.owner, 0x5F_F000, s.frame_at(s.owner, s.data(s.owner))),
        lambda s: "0x5ff000",
    ),
    "page_table_in_user_space": Damage(
        "table-reach kernel-frames program-rights references quotas",
        _instead_of_data(lambda s: s.snapshot.spaces[s.index(s.owner)].roots[0]),
        _in_data,
    ),
    "sealed_table_in_user_space": Damage(
        "kernel-frames program-rights references quotas", _instead_of_data(lambda s: s.first("SECRET")), _in_data
    ),
    "registers_in_user_space": Damage(
        "kernel-frames program-rights references quotas", _instead_of_data(lambda s: s.first("STATE")), _in_data
    ),
    "kernel_stack_in_user_space": Damage(
        "kernel-frames program-rights references quotas", _instead_of_data(lambda s: s.first("KERNEL")), _in_data
    ),
    "free_frame_in_user_space": Damage(
        "kernel-frames program-rights free-frames references quotas", _instead_of_data(Stage.free_frame), _in_data
    ),
    "kernel_image_in_user_space": Damage(
        "kernel-frames program-rights w^x-alias references quotas",
        _instead_of_data(lambda s: s.target.kernel.physical(s.snapshot.values["kernel_start"])),
        _in_data,
    ),
    "device_in_user_space": Damage(
        "kernel-frames caching program-rights references quotas", _instead_of_data(Stage.device), _in_data
    ),
    "kernel_page_with_user_bit": Damage(
        "user-bit",
        lambda s: s.flip(None, s.snapshot.values["kernel_start"], "user"),
        lambda s: f"{s.snapshot.values['kernel_start']:#x}",
    ),
    "kernel_table_with_user_bit": Damage(
        "user-bit",
        lambda s: s.flip(None, s.snapshot.values["kernel_start"], "user", level=s.snapshot.format.denying_levels[-1]),
        lambda s: f"level {s.snapshot.format.denying_levels[-1] - 1} table",
    ),
    "kernel_page_in_reach": Damage(
        "user-bit kernel-half",
        lambda s: _both(
            *(
                lambda level=level: s.flip(s.owner, s.snapshot.values["kernel_start"], "user", level=level)
                for level in (1, *s.snapshot.format.denying_levels)
            )
        ),
        lambda s: f"{s.snapshot.values['kernel_start']:#x}",
        shared="user-bit kernel-image",
    ),
    "kernel_data_executable": Damage(
        "w^x w^x-alias kernel-image",
        lambda s: s.flip(None, s.target.kernel.address("processes"), "execute"),
        lambda s: f"{s.target.kernel.address('processes') & -PAGE:#x}",
    ),
    "kernel_text_writable": Damage(
        "w^x w^x-alias kernel-image",
        lambda s: s.flip(None, s.snapshot.values["kernel_start"], "write"),
        lambda s: f"{s.snapshot.values['kernel_start']:#x}",
    ),
    "kernel_text_writable_in_the_direct_map": Damage(
        "w^x-alias",
        lambda s: s.flip(
            None,
            s.snapshot.direct_map + s.target.kernel.physical(s.snapshot.values["kernel_start"]),
            "write",
        ),
        lambda s: "the kernel may execute and may write",
    ),
    "direct_map_executable": Damage(
        "w^x w^x-alias direct-map kernel-image ring-nx",
        lambda s: s.flip(None, s.snapshot.direct_map + s.frame_at(s.peer, s.channel(s.peer, "data")), "execute"),
    ),
    "direct_map_crooked": Damage(
        "direct-map",
        lambda s: s.divert(None, s.large_page(), LARGE_PAGE),
        lambda s: f"{s.large_page():#x}",
    ),
    "memory_writable_without_the_right": Damage(
        "memory-rights",
        lambda s: s.flip(s.peer, s.memory(s.peer), "write"),
        lambda s: f"{s.memory(s.peer):#x}",
    ),
    "memory_with_a_hole": Damage(
        "memory-rights references",
        lambda s: s.flip(s.peer, s.memory(s.peer) + PAGE, "present"),
        lambda s: "not mapped",
    ),
    "memory_beyond_its_end": Damage(
        "guards references",
        lambda s: s.map(s.peer, s.memory(s.peer) + 3 * PAGE, s.frame_at(s.peer, s.memory(s.peer))),
        lambda s: f"{s.memory(s.peer) + 3 * PAGE:#x}",
    ),
    "reserved_bits": Damage(
        "well-formed",
        lambda s: s.flip(None, s.large_page(), "reserved"),
        lambda s: "reserved bits",
    ),
    "table_outside_memory": Damage(
        "well-formed references",
        lambda s: s.divert(s.owner, s.memory(s.owner), 1 << 44, level=2),
        lambda s: "not in memory",
    ),
    "global_page_of_a_process": Damage("user-half", lambda s: s.flip(s.owner, s.data(s.owner), "global"), _in_data),
    "kernel_page_in_the_lower_half": Damage(
        "user-half program-rights", lambda s: s.flip(s.owner, s.data(s.owner), "user"), _in_data
    ),
    "memory_uncached": Damage("caching", lambda s: s.flip(s.owner, s.data(s.owner), "caching"), _in_data),
    "table_of_another_process": Damage("tables guards references frame-kinds", _shared_table, lambda s: "'s tables"),
    "kernel_half_of_its_own": Damage(
        "kernel-half",
        lambda s: s.flip(s.owner, s.snapshot.stacks[0].bottom, "present", level=4),
        lambda s: "differs",
        shared=None,
    ),
    "kernel_space_with_a_lower_half": Damage(
        "kernel-half w^x-alias kernel-image kernel-accounted tables frame-kinds references",
        lambda s: s.write(s.snapshot.kernel.roots[0], s.path(s.owner, s.data(s.owner))[0].entry),
        lambda s: "the kernel's own space maps something in the lower half",
        shared="kernel-half user-bit kernel-image kernel-accounted tables frame-kinds references",
    ),
    # records
    "frame_counted_too_often": Damage(
        "references",
        lambda s: s.frame(s.frame_at(s.peer, s.memory(s.peer)), "references", lambda old: old + 1),
        lambda s: "memory object",
    ),
    "frame_counted_too_seldom": Damage(
        "references",
        lambda s: s.frame(s.frame_at(s.peer, s.channel(s.peer, "tags")), "references", lambda old: old - 1),
        lambda s: "channel",
    ),
    "frame_of_another_owner": Damage(
        "frame-kinds program-rights",
        lambda s: s.frame(s.frame_at(s.peer, s.data(s.peer)), "owner", lambda old: old + 1),
        lambda s: "private pages",
    ),
    "frame_freed_under_a_process": Damage(
        "free-frames kernel-frames program-rights quotas",
        lambda s: s.frame(s.frame_at(s.peer, s.data(s.peer)), "kind", lambda old: s.snapshot.constant("FRAME_FREE")),
        lambda s: f"{s.data(s.peer):#x}",
    ),
    "free_list_that_bites_its_tail": Damage(
        "free-frames",
        lambda s: s.frame(s.free_frame(), "next", lambda old: s.snapshot.values["free_head"]),
        lambda s: "comes back to",
    ),
    "free_list_cut_short": Damage(
        "free-frames", lambda s: s.frame(s.free_frame(), "next", lambda old: 0), lambda s: "not in the free list"
    ),
    "frame_in_use_in_the_free_list": Damage(
        "free-frames",
        lambda s: s.frame(s.free_frame(), "next", lambda old: s.frame_at(s.peer, s.data(s.peer)) // PAGE),
        lambda s: "in the free list",
    ),
    "capability_gone_mapping_left": Damage(
        "guards capabilities",
        lambda s: s.record("processes", s.index(s.peer), "capabilities", s.shared[1], "type", change=lambda old: 0),
        lambda s: f"{s.memory(s.peer):#x}",
    ),
    "right_gone_mapping_left": Damage(
        "memory-rights",
        lambda s: s.record(
            "processes", s.index(s.owner), "capabilities", s.shared[0], "rights", change=lambda old: old & ~WRITE_RIGHT
        ),
        lambda s: f"{s.memory(s.owner):#x}",
    ),
    "object_counted_wrong": Damage(
        "capabilities",
        lambda s: s.record("memory_objects", 0, "references", change=lambda old: old + 1),
        lambda s: "memory object 0 counts",
    ),
    "quota_charged_wrong": Damage(
        "quotas",
        lambda s: s.record("processes", s.index(s.peer), "pages", change=lambda old: old - 1),
        lambda s: "is charged for",
    ),
    "side_that_names_another": Damage(
        "capabilities",
        lambda s: s.record("channels", 0, "producer", "capability", change=lambda old: old + 1),
        lambda s: "channel 1",
    ),
    "core_with_a_space_that_lives_elsewhere": Damage(
        "cores",
        lambda s: s.record("processes", s.index(s.peer), "core", change=lambda old: 0),
        lambda s: "lives on core 0",
    ),
    "core_that_believes_otherwise": Damage(
        "cores",
        lambda s: s.record("cpus", 1, "space", change=lambda old: old + 64),
        lambda s: "believes",
    ),
}


def test_whatever_is_wrong_in_tables_or_records_is_found_and_named(
    target: LiveTarget, agent: Agent, subtests: pytest.Subtests
) -> None:
    auditor = Auditor(target, protections_of(agent))
    with Puppet(agent) as owner, Puppet(agent, core=1) as peer:
        to = agent.grant(owner.process, peer.process, ALL_RIGHTS)
        memory = owner.call("memory_create", 3)
        granted = owner.call("cap_grant", to, memory, READ)
        owner.call("memory_map", memory, 1)
        peer.call("memory_map", granted, 0)
        agent.bind(peer.process, owner.process, "verified", order=1)
        peer.begin("read_on", peer.address("scratch"), 0)  # its space is loaded, whenever one looks
        peer.wait_until_it_loops()

        def damage_all(snapshot: Snapshot) -> None:
            stage = Stage(target, owner, peer, (memory, granted), snapshot)
            assert auditor.audit(snapshot) == []
            for name, damage in DAMAGES.items():
                wanted = damage.objecting(stage)
                if wanted is None:
                    continue
                with subtests.test(name):
                    _damage_and_audit(auditor, stage, damage, wanted)
            assert auditor.audit(auditor.take()) == [], "all is undone"

        auditor.quiet_moment(damage_all)


def _damage_and_audit(auditor: Auditor, stage: Stage, damage: Damage, wanted: set[str]) -> None:
    try:
        damage.make(stage)
        found = auditor.audit(auditor.take())
    finally:
        stage.undo()
    said = "\n".join(str(violation) for violation in found)
    assert {violation.rule for violation in found} == wanted, said
    assert damage.names(stage) in said, said


def test_every_rule_has_a_damage_that_it_finds() -> None:
    """Those on devices have theirs where there is a device: suites/net/test_dma_audit.py."""
    shown = {rule for damage in DAMAGES.values() for rule in damage.rules.split()}
    assert {rule.name for rule in RULES} - {rule.name for rule in DEVICE_RULES} == shown


def test_a_protection_that_is_off_is_named(target: LiveTarget, agent: Agent) -> None:
    auditor = Auditor(target, protections_of(agent))
    snapshot = auditor.quiet_moment()
    core = snapshot.cores[1]
    for control in snapshot.format.controls:
        changed = {**core.registers, control.register: core.registers[control.register] ^ 1 << control.bit}
        cores = (snapshot.cores[0], dataclasses.replace(core, registers=changed))
        [found] = auditor.audit(dataclasses.replace(snapshot, cores=cores))
        assert found.rule == "protections"
        assert found.text.startswith(f"core 1: {control.name} is off")
