"""The MMU gate from inside: a process reads, writes and executes wherever its page map has an edge, and elsewhere.

One child of the program page_probe is held still and audited; the others are made like it. What each access must come
to is predicted from that map alone: it survives, or the process dies of exactly that access at exactly that address.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from keuos_hil.agent import Agent
from keuos_hil.dwarf import Record
from keuos_hil.errors import WaitTimeout
from keuos_hil.page_tables import Caching, PageMap, Rights, format_for
from keuos_hil.rig import LiveTarget

from .moments import Auditor, space_of

pytestmark = pytest.mark.needs("agent", "channels", "debug", "registers", "pause", "entropy", "nx")

PAGE = 4096
TOP = 1 << 64
RIGHT = {
    "read": Rights.USER_READ,
    "write": Rights.USER_WRITE,
    "execute": Rights.USER_EXECUTE,
    "read_8": Rights.USER_READ,
}


@dataclass(frozen=True)
class Probe:
    """One access."""

    address: int
    access: str

    def __str__(self) -> str:
        return f"{self.access} at {self.address:#x}"


@dataclass(frozen=True)
class Outcome:
    """What became of it: an enum keuos_exit_reason without prefix, "none" for survived, and the address of a fault."""

    name: str
    address: int = 0


class Prober:
    """The program page_probe, started, with the map of one of its children.

    Attributes:
        space: what each child has mapped.
    """

    def __init__(self, target: LiveTarget, agent: Agent) -> None:
        self._target, self._agent = target, agent
        core = agent.info().cores - 1
        self._process = agent.spawn("page_probe", core=core, pages=4000, channels=12, processes=4)
        layouts = self._process.elf.layouts
        self._request, self._answer = layouts.struct("page_probe_request"), layouts.struct("page_probe_answer")
        self._probe, self._outcome = layouts.struct("page_probe"), layouts.struct("page_outcome")
        self.limit = layouts.constant("PAGE_PROBES")
        self._accesses = {name: layouts.constant(f"PAGE_PROBE_{name.upper()}") for name in RIGHT}
        self._accesses_end = format_for(target.image.kernel.machine).accesses
        self._turn = 0
        at = space_of(Auditor(target).quiet_moment(), self._process.pid).translate(
            self._process.elf.symbol("answer").address
        )
        assert at is not None
        self._answer_at = at
        answer = self._ask(hold=1)
        snapshot = Auditor(target).check()
        self.space: PageMap = space_of(snapshot, answer.child)
        #: What is not the kernel's memory, but means something to the machine: physical addresses.
        self.devices = sorted({m.physical for m in snapshot.kernel if m.caching in (Caching.DEVICE, Caching.UNCACHED)})
        self.devices += [edge for start, end in snapshot.ranges for edge in (start, end)]
        self._returns = self._places_that_return()

    def _ask(self, **request: int) -> Any:
        self._turn += 1
        record = Record.of(self._request)
        for name, value in {**request, "turn": self._turn}.items():
            setattr(record, name, value)
        self._process.write(self._process.elf.symbol("request").address, bytes(record))
        deadline = self._agent.console.clock() + 120
        # From outside: a host that kept asking the kernel would keep the supervisor from its lock.
        while (answer := self._look()).turn != self._turn:
            if self._agent.console.clock() >= deadline:
                raise WaitTimeout(f"page_probe does not finish: {answer}, {self._process.info()}")
            time.sleep(0.002)
        assert answer.error == 0, f"the supervisor was refused: error {-answer.error}"
        return answer

    def _look(self) -> Any:
        return Record.of(self._answer, self._target.debug.read_physical(self._answer_at, self._answer.itemsize))

    def run(self, probes: list[Probe]) -> list[Outcome]:
        """What became of each."""
        found: list[Outcome] = []
        names = self._target.image.enumerators("keuos_exit_reason", "KEUOS_EXIT_")
        for at in range(0, len(probes), self.limit):
            part = probes[at : at + self.limit]
            data = np.array([(probe.address, self._accesses[probe.access]) for probe in part], dtype=self._probe)
            self._process.write(self._process.elf.symbol("probes").address, data.tobytes())
            self._ask(count=len(part))
            rows = self._process.read_array("outcomes", len(part))
            for row in rows:
                name = names[int(row["reason"])]
                found.append(Outcome(name, int(row["detail"]) if name.startswith("fault_") else 0))
        return found

    def predict(self, probe: Probe) -> Outcome:
        """By the map, and what is the architecture's own."""
        needed, accesses = RIGHT[probe.access], self._accesses_end
        if probe.access == "write" and accesses.update_reads_first:
            read = self.predict(Probe(probe.address, "read"))
            if read.name != "none":
                return read
        for address in (probe.address, probe.address + 7) if probe.access == "read_8" else (probe.address,):
            exists = address < TOP and self.space.format.offset(address) is not None
            if not exists and not accesses.beyond_is_fault:
                return Outcome("illegal")
            if not self.space.rights(address) & needed:
                # Of two pages it is the first byte of the one that is missing.
                where = probe.address if address == probe.address else address & -PAGE
                return Outcome("fault_" + probe.access.removesuffix("_8"), where)
        return Outcome("none")

    def probe_at(self, address: int, access: str) -> Probe:
        """The probe, moved to where a call comes back if it would execute what is code, or to an instruction's place.

        What comes first between them, QEMU 7.2 and the Arm ARM don't agree on.
        """
        if access == "execute" and self.space.rights(address) & Rights.USER_EXECUTE:
            here = [place for place in self._returns if place & -PAGE == address & -PAGE]
            if not here:
                return Probe(address, "read")
            return Probe(min(here, key=lambda place: abs(place - address)), access)
        if access == "execute":
            address &= -self._accesses_end.step
        return Probe(address, access)

    def _places_that_return(self) -> list[int]:
        code, step = self._accesses_end.returns, self._accesses_end.step
        places = []
        for mapping in self.space:
            if mapping.rights & Rights.USER_EXECUTE:
                data = self._target.debug.read_physical(mapping.physical, mapping.size)
                places += [mapping.virtual + i for i in range(0, mapping.size, step) if data[i : i + len(code)] == code]
        return places

    def edges(self) -> list[int]:
        """The first and the last byte of every mapping, and those beside it."""
        found: set[int] = set()
        mappings = list(self.space)
        for before, mapping in zip([None, *mappings], mappings, strict=False):
            if before is not None and before.end == mapping.virtual and before.rights == mapping.rights:
                found -= {before.end - 1, before.end}  # one to whoever looks from inside
            else:
                found |= {mapping.virtual, (mapping.virtual - 1) % TOP}
            found |= {mapping.end - 1, mapping.end % TOP}
        return sorted(found)

    def check(self, probes: list[Probe]) -> None:
        """Fail unless all comes as predicted."""
        wrong = [
            f"{probe}: {outcome}, predicted {expected}; there: {self.space.find(probe.address)}"
            for probe, outcome in zip(probes, self.run(probes), strict=True)
            if outcome != (expected := self.predict(probe))
        ]
        assert not wrong, "\n".join(wrong)


@pytest.fixture
def prober(target: LiveTarget, agent: Agent) -> Prober:
    return Prober(target, agent)


def test_at_every_edge_of_every_mapping_an_access_comes_out_as_the_map_says(prober: Prober) -> None:
    user = [edge for edge in prober.edges() if edge < TOP // 2]
    kernel = [edge for edge in prober.edges() if edge >= TOP // 2]
    probes = [prober.probe_at(edge, access) for edge in user for access in ("read", "write", "execute")]
    probes += [prober.probe_at(edge, access) for edge in kernel[::7] for access in ("read", "write", "execute")]
    prober.check(probes)
    survived = [probe for probe in probes if prober.predict(probe) == Outcome("none")]
    assert {probe.access for probe in survived} == {"read", "write", "execute"}
    assert len(survived) < len(probes) / 2, "most edges have a side that is out of reach"


def test_over_the_edge_of_a_page_the_missing_one_is_named(prober: Prober) -> None:
    starts = [edge for edge in prober.edges() if edge < TOP // 2 and edge % PAGE == 0]
    prober.check([Probe(start - distance, "read_8") for start in starts for distance in (4, 8) if start > 8])


def test_null_devices_and_addresses_that_do_not_exist_are_out_of_reach(prober: Prober) -> None:
    direct = next(m.virtual for m in prober.space if m.virtual >= TOP // 2)
    places = [0, 1, PAGE - 1, 1 << 47, (1 << 47) - 1, TOP - (1 << 47) - 1, TOP - 1, TOP // 2, 1 << 52, *prober.devices]
    places += [direct + device for device in prober.devices]
    prober.check([prober.probe_at(place, access) for place in places for access in ("read", "write", "execute")])


def test_at_random_addresses_an_access_comes_out_as_the_map_says(prober: Prober) -> None:
    edges = prober.edges()
    near = st.builds(lambda edge, away: (edge + away) % TOP, st.sampled_from(edges), st.integers(-3 * PAGE, 3 * PAGE))
    within = st.sampled_from(list(prober.space)).flatmap(lambda m: st.integers(m.virtual, m.end - 1))
    anywhere = st.integers(0, TOP - 1)
    flipped = st.builds(lambda edge, bit: edge ^ 1 << bit, st.sampled_from(edges), st.integers(0, 63))
    address = near | within | flipped | anywhere
    probe = st.builds(prober.probe_at, address, st.sampled_from(sorted(RIGHT)))

    @settings(max_examples=5, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(probe, min_size=24, max_size=40))
    def check(probes: list[Probe]) -> None:
        prober.check(probes)

    check()
