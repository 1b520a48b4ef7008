"""The MMU gate from outside: every process's tables, walked on a machine that stands still, against what should be.

The rules and their sentences are in keuos_hil.auditor.rules; each situation here must be found clean. That each rule
can fail is shown by test_page_table_faults.py.
"""

from __future__ import annotations

import itertools
import random

import pytest

from keuos_hil.agent import Agent
from keuos_hil.auditor.snapshot import UPPER_HALF
from keuos_hil.fuzz import Generator
from keuos_hil.image import Image
from keuos_hil.oracle import Template
from keuos_hil.page_tables import Rights
from keuos_hil.rig import LiveTarget

from ..boot.test_storm import Storm
from .bulk import STILL, make_bench
from .moments import Auditor, protections_of, space_of
from .puppet import Puppet

pytestmark = pytest.mark.needs("agent", "channels", "debug", "registers", "pause", "entropy")

MODES = ("polled", "polled_proof", "verified")
READ, WRITE, GRANT = 4, 8, 16
ALL_RIGHTS = 31


@pytest.fixture
def auditor(target: LiveTarget, agent: Agent) -> Auditor:
    return Auditor(target, protections_of(agent))


def test_an_idle_machine_is_as_it_should_be(auditor: Auditor) -> None:
    snapshot = auditor.check()
    assert {"nx", "smep", "smap", "umip", "wp"} >= auditor.protections
    assert len(snapshot.spaces) == 1, "the first process is alone"
    assert len(snapshot.kernel) > 5


def test_channels_of_every_kind_are_mapped_as_their_layout_says(auditor: Auditor, agent: Agent, image: Image) -> None:
    one = agent.spawn("gate_sender", core=agent.info().cores - 1, suspended=True, channels=20)
    other = agent.spawn("gate_receiver", suspended=True)
    order_max = image.constant("KEUOS_DATA_ORDER_MAX")
    for mode, order in itertools.product(MODES, (None, 0, order_max)):
        agent.bind(one, other, mode, order=order)
    agent.bind(other, one, "verified", order=1)
    agent.bind(one, one, "verified", order=0)
    snapshot = auditor.check()
    for process in (one, other):
        windows = {m.virtual >> 20 for m in space_of(snapshot, process.pid) if m.virtual >> 44 == 1}
        assert len(windows) >= 10, "each end has a window of its own"


def test_closed_revoked_and_half_unmapped_channels_leave_what_is_still_held(auditor: Auditor, agent: Agent) -> None:
    with Puppet(agent, channels=8) as one, Puppet(agent, core=agent.info().cores - 1) as other:
        handles = [agent.bind(one.process, other.process, mode, order=1) for mode in MODES * 2]
        handles[0].close()
        handles[1].revoke()
        for _ in range(2):
            one.call("channel_unmap", one.accept().capability)
        auditor.check()
        for handle in handles[:4]:
            handle.drop()
        auditor.check()


@pytest.mark.needs("hil")
def test_a_hil_build_at_its_own_work_is_as_a_release_is(target: LiveTarget, agent: Agent, image: Image) -> None:
    """The bulk gate judges by a copy of a channel's record: that is one more reader, and nobody's page."""
    auditor = Auditor(target, protections_of(agent))
    bench = make_bench(target, agent, image)
    proofs = [Template.of(template) for template in image.templates("gate_bulk")]
    bench.gate.ask(Generator(bench.channel, bench.other, proofs, 1).batch(500), [STILL])
    assert len(bench.gate.take().verdicts) == 500
    auditor.check()


def share(agent: Agent, owner: Puppet, peer: Puppet, pages: int, rights: int) -> tuple[int, int]:
    """A memory object, granted: its capability in the owner and in the peer."""
    to = agent.grant(owner.process, peer.process, ALL_RIGHTS)
    memory = owner.call("memory_create", pages)
    return memory, owner.call("cap_grant", to, memory, rights)


def test_memory_objects_are_mapped_by_right_and_taken_back_whole(auditor: Auditor, agent: Agent) -> None:
    last = agent.info().cores - 1
    with Puppet(agent) as owner, Puppet(agent, core=last) as peer, Puppet(agent, core=last) as third:
        memory, granted = share(agent, owner, peer, 5, READ | WRITE | GRANT)
        owner.call("memory_map", memory, 1)
        peer.call("memory_map", granted, 1)
        auditor.check()
        again = peer.call("cap_grant", agent.grant(peer.process, third.process, ALL_RIGHTS), granted, READ)
        third.call("memory_map", again, 0)
        auditor.check()
        peer.call("memory_unmap", granted)
        peer.call("memory_map", granted, 0)
        auditor.check()
        owner.call("cap_revoke", memory)
        snapshot = auditor.check()
        for process in (peer, third):
            assert not [m for m in space_of(snapshot, process.pid) if m.virtual >> 45 == 1]
        owner.call("cap_drop", memory)
        auditor.check()


def test_the_dead_keep_their_pages_and_nothing_else(auditor: Auditor, agent: Agent) -> None:
    with Puppet(agent) as owner, Puppet(agent, core=agent.info().cores - 1) as peer:
        _, granted = share(agent, owner, peer, 3, READ | WRITE)
        peer.call("memory_map", granted, 1)
        agent.bind(peer.process, owner.process, "verified", order=1)
        peer.process.kill()
        peer.process.wait_exit()
        space = space_of(auditor.check(), peer.pid)
        assert not [m for m in space if 1 << 44 <= m.virtual < 1 << 46], "windows of the dead are empty"
        assert len([m for m in space if m.virtual < 1 << 63]) > 5


def test_processes_of_one_program_share_its_code_and_constants_and_nothing_else(auditor: Auditor, agent: Agent) -> None:
    with Puppet(agent) as one, Puppet(agent, core=agent.info().cores - 1) as other:
        snapshot = auditor.check()
        spaces = [space_of(snapshot, puppet.pid) for puppet in (one, other)]
        pages = [
            {int(at): (int(frame), bool(rights & Rights.USER_WRITE)) for at, frame, rights, _ in space.pages().tolist()}
            for space in spaces
        ]
        own = [{at: page for at, page in some.items() if at < UPPER_HALF} for some in pages]
        assert own[0].keys() == own[1].keys()
        for at, (frame, writable) in own[0].items():
            assert (own[1][at][0] == frame) != writable, f"{at:#x}"
        one.process.close()
        auditor.check()
        with Puppet(agent) as third:
            again = space_of(auditor.check(), third.pid)
            assert again.translate(third.address("main")) == spaces[1].translate(other.address("main"))


def test_an_orphaned_object_is_paid_for_by_the_parent_and_stays_with_its_holders(
    auditor: Auditor, agent: Agent
) -> None:
    with Puppet(agent) as peer:
        with Puppet(agent) as owner:
            _, granted = share(agent, owner, peer, 3, READ)
            peer.call("memory_map", granted, 0)
        auditor.check()


def test_at_random_moments_of_a_storm_the_tables_are_sound(auditor: Auditor, agent: Agent, seed: int) -> None:
    _storm(auditor, agent, seed, steps=60)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(20))
def test_at_many_random_moments_of_storms_the_tables_are_sound(
    auditor: Auditor, agent: Agent, seed: int, number: int
) -> None:
    _storm(auditor, agent, seed + number, steps=600)


def _storm(auditor: Auditor, agent: Agent, seed: int, steps: int) -> None:
    storm, when = Storm(agent, seed), random.Random(seed)
    for _ in range(steps):
        storm.step()
        if when.random() < 0.15:
            snapshot = auditor.any_moment()
            found = auditor.audit(snapshot)
            assert not found, "\n".join(str(violation) for violation in found)
    auditor.check()
