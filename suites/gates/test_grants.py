"""Grants: a copy has no more rights than its source, and revoking takes it back though its giver is gone by then."""

from __future__ import annotations

import itertools
from contextlib import ExitStack

import pytest

from keuos_hil.agent import Agent

from .puppet import Puppet
from .test_page_tables import ALL_RIGHTS, GRANT, READ, WRITE, share

pytestmark = pytest.mark.needs("agent", "channels")

#: enum keuos_right, beside those of test_page_tables.
BIND = 2


def holds_memory(puppet: Puppet, capability: int) -> bool:
    """Whether the puppet can still map the memory object at that index."""
    answer = puppet.do("syscall", capability, 0, number=puppet.constant("KEUOS_SYS_MEMORY_MAP"))
    if answer.value < 0:
        assert answer.value == -puppet.constant("KEUOS_EBADCAP"), f"error {-answer.value}"
        return False
    puppet.call("memory_unmap", capability)
    return True


def pass_on(agent: Agent, giver: Puppet, taker: Puppet, capability: int) -> int:
    """A copy for another puppet; its index there."""
    return giver.call("cap_grant", agent.grant(giver.process, taker.process, ALL_RIGHTS), capability, READ | GRANT)


@pytest.mark.parametrize("way", ["drops", "dies"])
def test_a_copy_of_a_copy_is_taken_back_after_the_one_in_between_lets_go(agent: Agent, way: str) -> None:
    """Else an accomplice could make any grant permanent: hand it on, and leave."""
    with Puppet(agent) as owner, Puppet(agent) as between, Puppet(agent, core=agent.info().cores - 1) as last:
        memory, granted = share(agent, owner, between, 1, READ | GRANT)
        kept = pass_on(agent, between, last, granted)
        assert holds_memory(last, kept)
        if way == "dies":
            between.process.kill()
            between.process.wait_exit()
        else:
            between.call("cap_drop", granted)
        assert holds_memory(last, kept), "letting go of a copy takes nothing from others"
        owner.call("cap_revoke", memory)
        assert not holds_memory(last, kept)


@pytest.mark.parametrize("way", ["drops", "dies"])
def test_a_chain_of_copies_within_one_process_hides_nothing(agent: Agent, way: str) -> None:
    """The accomplice copies to itself first, and passes on the last of several."""
    with Puppet(agent) as owner, Puppet(agent) as between, Puppet(agent) as last:
        memory, granted = share(agent, owner, between, 1, READ | GRANT)
        chain = [granted]
        for _ in range(3):
            chain.append(between.call("cap_grant", 0, chain[-1], READ | GRANT))
        kept = pass_on(agent, between, last, chain[-1])
        if way == "dies":
            between.process.kill()
            between.process.wait_exit()
        else:
            for capability in chain[1:2] + chain[:1] + chain[2:]:
                between.call("cap_drop", capability)
        assert holds_memory(last, kept)
        owner.call("cap_revoke", memory)
        assert not holds_memory(last, kept)


@pytest.mark.parametrize("order", list(itertools.permutations(("owner", "between", "last"))), ids="-".join)
def test_copies_of_copies_are_taken_back_wherever_their_holders_stand(agent: Agent, order: tuple[str, ...]) -> None:
    """The kernel looks through its records from the first to the last: who was made when must not matter."""
    with ExitStack() as stack:
        one = {name: stack.enter_context(Puppet(agent)) for name in order}
        memory, granted = share(agent, one["owner"], one["between"], 1, READ | GRANT)
        kept = pass_on(agent, one["between"], one["last"], granted)
        one["owner"].call("cap_revoke", memory)
        assert not holds_memory(one["between"], granted)
        assert not holds_memory(one["last"], kept)


def test_who_stands_in_between_can_not_take_back_what_it_has_let_go_of(agent: Agent) -> None:
    """Its place in the table is given away again: revoking there is about the new one."""
    with Puppet(agent) as owner, Puppet(agent) as between, Puppet(agent) as last:
        _, granted = share(agent, owner, between, 1, READ | GRANT)
        kept = pass_on(agent, between, last, granted)
        between.call("cap_drop", granted)
        assert between.call("memory_create", 1) == granted, "the place is not the same: nothing is shown"
        between.call("cap_revoke", granted)
        assert holds_memory(last, kept)


@pytest.mark.parametrize("asked", [READ | WRITE, ALL_RIGHTS, GRANT | READ | BIND])
def test_a_copy_never_gets_a_right_that_its_source_lacks(agent: Agent, asked: int) -> None:
    """Refused as a whole, and what the copy may really do is what its own rights say."""
    with Puppet(agent) as owner, Puppet(agent) as peer:
        _, granted = share(agent, owner, peer, 1, READ | GRANT)
        answer = peer.do("syscall", 0, granted, asked, number=peer.constant("KEUOS_SYS_CAP_GRANT"))
        assert answer.value == -peer.constant("KEUOS_EPERM")
        copy = peer.call("cap_grant", 0, granted, READ)
        for capability in (granted, copy):
            written = peer.do("syscall", capability, 1, number=peer.constant("KEUOS_SYS_MEMORY_MAP"))
            assert written.value == -peer.constant("KEUOS_EPERM"), "it maps for writing what it may only read"
        again = peer.do("syscall", 0, copy, READ, number=peer.constant("KEUOS_SYS_CAP_GRANT"))
        assert again.value == -peer.constant("KEUOS_EPERM"), "a copy without the right to is granted on"


@pytest.mark.parametrize("pages", [1, 2, 256])
def test_a_memory_object_that_is_given_back_is_paid_back_whole(agent: Agent, pages: int) -> None:
    with Puppet(agent) as puppet:
        before = puppet.process.info().pages
        memory = puppet.call("memory_create", pages)
        assert puppet.process.info().pages == before + pages
        puppet.call("cap_drop", memory)
        assert puppet.process.info().pages == before


def test_a_capability_does_nothing_that_its_rights_leave_out(agent: Agent) -> None:
    """Copies of one process and of one memory object, each with every right but the one that a call asks for."""
    control = agent.image.constant("KEUOS_RIGHT_CONTROL")
    with Puppet(agent) as holder, Puppet(agent) as victim:
        memory = holder.call("memory_create", 1)
        scratch = holder.address("scratch")

        def process(lacks: int) -> int:
            return agent.grant(holder.process, victim.process, ALL_RIGHTS & ~lacks)

        def object_(lacks: int) -> int:
            return holder.call("cap_grant", 0, memory, (READ | WRITE | GRANT) & ~lacks)

        attempts = {
            "kill": ("process_kill", (process(control),)),
            "start": ("process_start", (process(control),)),
            "read": ("process_read", (process(control), victim.address("scratch"), scratch, 8)),
            "write": ("process_write", (process(control), victim.address("scratch"), scratch, 8)),
            "give": ("cap_grant", (process(control), memory, READ)),
            "ask": ("process_info", (process(READ), scratch)),
            "bind from": ("channel_bind", (process(BIND), 0, scratch)),
            "bind to": ("channel_bind", (0, process(BIND), scratch)),
            "pass a process on": ("cap_grant", (0, process(GRANT), READ)),
            "map": ("memory_map", (object_(READ), 0)),
            "map writable": ("memory_map", (object_(WRITE), 1)),
            "pass memory on": ("cap_grant", (0, object_(GRANT), READ)),
        }
        answers = {
            name: holder.do("syscall", *arguments, number=holder.constant(f"KEUOS_SYS_{call.upper()}")).value
            for name, (call, arguments) in attempts.items()
        }
        assert set(answers.values()) == {-holder.constant("KEUOS_EPERM")}, answers
        assert not victim.process.info().exit_reason
