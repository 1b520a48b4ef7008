"""What is taken away is out of reach at once: no core's TLB keeps a way to a frame that has become somebody else's.

A peer reads or writes a page over and over on another core, or has read it and sleeps. Its owner takes the page back, a
stranger gets the very same frames and writes a pattern of its own. The peer must die of its next access, and
neither have seen the pattern nor changed it. That the frames are the same is seen from outside, in two audited moments.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from keuos_hil.agent import Agent
from keuos_hil.auditor import Snapshot
from keuos_hil.errors import Refused
from keuos_hil.rig import LiveTarget

from .moments import Auditor, space_of
from .puppet import Puppet, fill_words

pytestmark = pytest.mark.needs("agent", "channels", "debug", "registers", "pause", "entropy", "smp")

PAGE = 4096
READ, WRITE, ALL_RIGHTS = 4, 8, 31
OLD, NEW, MARK = 0x0101_0101_0101_0101, 0x2222_3333_4444_5555, 0xDEAD_BEEF_DEAD_BEEF
PAGES = 4
#: A stranger takes more than was freed, so that it surely gets that.
STRANGER_PAGES = 64
HOW = ("reads", "writes", "sleeps")


def keep_at_it(peer: Puppet, how: str, address: int) -> None:
    """The peer has touched the page, and will do so again whatever happens."""
    if how == "reads":
        peer.begin("read_on", address, OLD)
    elif how == "writes":
        peer.begin("write_on", address, MARK)
    else:
        peer.begin("sleep_read", address, OLD)
    peer.wait_until_it_loops()


def frames_of(snapshot: Snapshot, pid: int, low: int, high: int) -> set[int]:
    """The frames that a process has mapped at some addresses."""
    pages = space_of(snapshot, pid).pages()
    inside = (pages["virtual"] >= low) & (pages["virtual"] < high)
    return {int(physical) for physical in pages["physical"][inside]}


def taken_back(
    target: LiveTarget, peer: Puppet, stranger: Puppet, how: str, address: int, bytes_: int, take: Callable[[], None]
) -> None:
    """The story of this module, for a peer that is at `address` now; `take` takes it away."""
    auditor = Auditor(target)
    before = frames_of(auditor.check(), peer.pid, address, address + bytes_)
    assert len(before) == bytes_ // PAGE
    take()
    memory = stranger.call("memory_create", STRANGER_PAGES)
    window = stranger.call("memory_map", memory, 1)
    stranger.do("fill", window, STRANGER_PAGES * PAGE, NEW)
    if how == "sleeps":
        peer.agent.bind(peer.process, stranger.process, "polled")  # wakes it
    end = peer.ends()
    after = auditor.check()
    assert end.name == ("fault_write" if how == "writes" else "fault_read"), f"{end}; {peer.answer()}"
    assert end.detail == address
    assert peer.answer().strange == 0, "the peer has read what was not there when it was its own"
    assert stranger.do("compare", window, STRANGER_PAGES * PAGE, NEW).value == 0, "the stranger's words were changed"
    own = frames_of(after, stranger.pid, window, window + STRANGER_PAGES * PAGE)
    assert before <= own, "the frames were not used again, so this shows nothing"
    pattern = np.frombuffer(fill_words(STRANGER_PAGES * PAGE // 8, NEW), dtype="<u8").reshape(STRANGER_PAGES, -1)
    space = space_of(after, stranger.pid)
    for page, words in enumerate(pattern):
        physical = space.translate(window + page * PAGE)
        assert physical is not None
        assert target.debug.read_physical(physical, PAGE) == words.tobytes(), f"page {page}, seen from outside"


@pytest.mark.parametrize("how", HOW)
def test_a_revoked_memory_object_is_out_of_reach(target: LiveTarget, agent: Agent, how: str) -> None:
    with Puppet(agent) as owner, Puppet(agent, core=1) as peer, Puppet(agent) as stranger:
        to = agent.grant(owner.process, peer.process, ALL_RIGHTS)
        memory = owner.call("memory_create", PAGES)
        granted = owner.call("cap_grant", to, memory, READ | WRITE)
        window = owner.call("memory_map", memory, 1)
        owner.do("fill", window, PAGES * PAGE, OLD)
        address = peer.call("memory_map", granted, 1)
        keep_at_it(peer, how, address)

        def take() -> None:
            owner.call("cap_revoke", memory)
            owner.call("cap_drop", memory)

        taken_back(target, peer, stranger, how, address, PAGES * PAGE, take)


@pytest.mark.parametrize("how", HOW)
def test_a_revoked_channel_is_out_of_reach(target: LiveTarget, agent: Agent, how: str) -> None:
    with Puppet(agent) as owner, Puppet(agent, core=1) as peer, Puppet(agent) as stranger:
        handle = agent.bind(peer.process, owner.process, "polled", order=2)
        end = peer.accept()
        address = int(end.base) + target.image.constant("KEUOS_OFFSET_DATA")
        peer.do("fill", address, PAGES * PAGE, OLD)
        keep_at_it(peer, how, address)
        taken_back(target, peer, stranger, how, address, PAGES * PAGE, handle.revoke)


@pytest.mark.parametrize("kept", ["producer", "consumer"])
def test_the_side_that_keeps_a_revoked_channel_has_it_alone_until_it_lets_go(
    target: LiveTarget, agent: Agent, kept: str
) -> None:
    auditor, before = Auditor(target), agent.counts()
    with Puppet(agent) as producer, Puppet(agent, core=1) as consumer:
        handle = agent.bind(producer.process, consumer.process, "polled", order=2, kept=kept)
        sides = {"producer": (producer, producer.accept()), "consumer": (consumer, consumer.accept())}
        assert {name: int(end.kept) for name, (_, end) in sides.items()} == {
            name: int(name == kept) for name in sides
        }, "each is told what it has"
        holder, end = sides.pop(kept)
        ((other, lost),) = sides.values()
        data = target.image.constant("KEUOS_OFFSET_DATA")
        producer.do("fill", int((end if kept == "producer" else lost).base) + data, PAGES * PAGE, OLD)
        keep_at_it(other, "reads", int(lost.base) + data)
        for _ in range(2):  # the second time there is nothing left to take
            handle.revoke()
        assert other.ends().name == "fault_read"
        assert holder.do("compare", int(end.base) + data, PAGES * PAGE, OLD).value == 0
        auditor.check()
        holder.call("channel_unmap", int(end.capability))
        auditor.check()
        handle.drop()
    assert agent.counts().channels == before.channels


def test_a_channel_is_kept_by_one_of_its_sides_or_by_none(agent: Agent) -> None:
    both = agent.image.constant("KEUOS_KEPT_BY_PRODUCER") | agent.image.constant("KEUOS_KEPT_BY_CONSUMER")
    with Puppet(agent) as one, Puppet(agent) as other, pytest.raises(Refused, match="einval"):
        agent.request("bind", producer=one.pid, consumer=other.pid, mode=0, kept=both)


def test_a_killed_process_writes_into_nobody_elses_frames(target: LiveTarget, agent: Agent) -> None:
    """Killed and dropped while it writes on another core: it must have stopped before its frames are anybody's."""
    auditor = Auditor(target)
    with Puppet(agent) as stranger:
        alone = agent.counts().processes
        for _ in range(3):
            with Puppet(agent, core=1) as peer:
                address = peer.address("scratch")
                peer.begin("write_on", address, MARK)
                peer.wait_until_it_loops()
                before = frames_of(auditor.check(), peer.pid, address & -PAGE, address + 1)
            while agent.counts().processes > alone:
                agent.ping()
            memory = stranger.call("memory_create", STRANGER_PAGES)
            window = stranger.call("memory_map", memory, 1)
            stranger.do("fill", window, STRANGER_PAGES * PAGE, NEW)
            assert stranger.do("compare", window, STRANGER_PAGES * PAGE, NEW).value == 0
            own = frames_of(auditor.check(), stranger.pid, window, window + STRANGER_PAGES * PAGE)
            assert before <= own, "the frame was not used again, so this shows nothing"
            stranger.call("cap_drop", memory)


@pytest.mark.parametrize("what", ["memory", "channel"])
def test_what_a_process_unmaps_itself_it_can_not_reach_again(agent: Agent, what: str) -> None:
    """Not even in the very next instruction, while its core may still hold the translation."""
    with Puppet(agent, core=1) as puppet:
        if what == "memory":
            capability = puppet.call("memory_create", 1)
            address = puppet.call("memory_map", capability, 1)
            puppet.do("fill", address, PAGE, OLD)
        else:
            agent.bind(puppet.process, puppet.process, "polled", order=0)
            end = puppet.accept()
            capability, address = int(end.capability), int(end.base)
            puppet.do("fill", address, 64, OLD)
        unmap = puppet.constant("KEUOS_SYS_MEMORY_UNMAP" if what == "memory" else "KEUOS_SYS_CHANNEL_UNMAP")
        puppet.begin("call_read_on", address, OLD, capability, number=unmap)
        end_ = puppet.ends()
        assert (end_.name, end_.detail) == ("fault_read", address)


def test_a_page_that_is_mapped_again_without_the_right_to_write_can_not_be_written(agent: Agent) -> None:
    with Puppet(agent, core=1) as puppet:
        memory = puppet.call("memory_create", 1)
        address = puppet.call("memory_map", memory, 1)
        puppet.do("fill", address, PAGE, OLD)
        puppet.call("memory_unmap", memory)
        assert puppet.call("memory_map", memory, 0) == address
        assert puppet.do("compare", address, PAGE, OLD).value == 0
        puppet.begin("write_on", address, MARK)
        end = puppet.ends()
        assert (end.name, end.detail) == ("fault_write", address)
