"""Tags and templates that a sender has no right to: more than was granted, of another ring, of another time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from keuos_hil.agent import Agent
from keuos_hil.image import Image
from keuos_hil.oracle import Descriptor, Sealed, after_good, check
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .honest import honest_beside
from .hostile import hostile
from .pair import ORDER, Pair, bind_known, make_pair

pytestmark = pytest.mark.needs("agent", "channels")


def _sealed_by_kernel(target: LiveTarget, channel: int) -> list[Sealed]:
    """The kernel's own table of a channel, from its secret frame: what the gates compare with."""
    record = target.kernel.read_element("channels", channel - 1)
    dtype = target.image.struct("keuos_sealed")
    count = target.image.constant("KEUOS_TEMPLATES_MAX")
    table = target.debug.read_physical(int(record.sealed_frame), dtype.itemsize * count)
    page = int(record.frames[target.image.constant("KEUOS_OFFSET_TAGS") // target.image.constant("KEUOS_PAGE_BYTES")])
    assert target.debug.read_physical(page, len(table)) == table, "the tags page is another table than the kernel's"
    rows = np.frombuffer(table, dtype)
    return [Sealed(**{name: int(row[name]) for name in dtype.names or ()}) for row in rows]


@pytest.mark.needs("debug")
def test_no_template_beyond_the_interface_is_sealed(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder
) -> None:
    """One template for each way to ask for more (flags, length, alignment, opcode, reserved), among some that don't."""
    gate = record.gate("template")
    sender, receiver = (hostile(agent, "nothing") for _ in range(2))
    handle, facts = bind_known(target, agent, sender, receiver, order=ORDER)
    wanted = image.templates("hostile")
    table = _sealed_by_kernel(target, handle.number)
    kept = {index for index, sealed in enumerate(table) if sealed.channel}
    names = {s.address: n for n, s in sender.elf.symbols.items() if n.startswith("hostile_")}
    base = sender.elf.symbol("__keuos_proofs_start").address
    size = image.struct("keuos_template").itemsize
    by_name = {names[base + index * size]: index for index in range(len(wanted))}
    assert len(by_name) == len(wanted) > 20
    expected = {
        "hostile_message", "hostile_ring", "hostile_shorter", "hostile_empty", "hostile_stricter", "hostile_strictest",
        "hostile_aligned", "hostile_flags_granted", "hostile_flags_some", "hostile_of_the_other",
    }  # fmt: skip
    assert {name for name, index in by_name.items() if index in kept} == expected
    assert {index: table[index] for index in kept} == facts.granted
    assert all(not any(vars(sealed).values()) for index, sealed in enumerate(table) if index not in kept)
    [info] = [info for info in agent.channels() if info.channel == handle.number]
    assert (info.templates, info.granted) == (len(wanted), len(expected))
    gate.cases = len(wanted)


def _refused(pair: Pair, bad: Descriptor, verdict: str, good: int = 3, length: int = 200) -> None:
    assert check(pair.facts, after_good(good, length), bad) == verdict, "the oracle disagrees with the case"
    pair.sender.write_struct(
        "params", good=good, length=length, action=pair.constant("GATE_LITERAL"), descriptor=pair.literal(bad)
    )
    pair.receiver.write_struct("params", drain=good + 1)
    sender, receiver = pair.run()
    assert (sender.name, sender.detail) == ("gate", pair.constant("KEUOS_VERDICT_" + verdict.upper())), sender
    assert receiver.ok, receiver
    assert pair.receiver.read_struct("results").received == good


@pytest.mark.needs("debug")
@pytest.mark.parametrize(
    ("keep", "verdict"), [("everything", "state"), ("all_but_the_generation", "tag"), ("the_tag_alone", "tag")]
)
def test_a_tag_of_an_older_generation_is_worth_nothing(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder, keep: str, verdict: str
) -> None:
    """A real one, of the very record that is used again."""
    record.gate(verdict)
    with honest_beside(agent):
        first = make_pair(target, agent, image)
        old = first.facts.granted[0]
        for process in (first.sender, first.receiver):
            process.close()
        first.handle.drop()
        pair = make_pair(target, agent, image)
        assert pair.facts.channel == first.facts.channel, "the record was not used again: nothing is shown"
        valid = pair.valid(after_good(3, 200), 200)
        sealed = {
            "everything": old,
            "all_but_the_generation": replace(old, generation=pair.facts.generation),
            "the_tag_alone": replace(valid.sealed, tag=old.tag),
        }[keep]
        _refused(pair, replace(valid, sealed=sealed), verdict)


@pytest.mark.parametrize(("tag_alone", "verdict"), [(0, "ownership"), (1, "tag")])
def test_a_tag_of_one_ring_is_worth_nothing_on_another(
    target: LiveTarget, agent: Agent, record: Recorder, tag_alone: int, verdict: str
) -> None:
    """The sender holds both rings, to the same receiver, and so both tables of tags."""
    record.gate(verdict)
    with honest_beside(agent):
        first = agent.next_event()
        sender = hostile(agent, "others_tag", ends=2, count=5, length=64, access=tag_alone)
        receiver = hostile(agent, "nothing", core=0, ends=2)
        handles = [agent.bind(sender, receiver, "verified", order=ORDER) for _ in range(2)]
        receiver.start()
        sender.start()
        end = sender.wait_exit()
        code = agent.image.constant("KEUOS_VERDICT_" + verdict.upper())
        assert (end.name, end.detail) == ("gate", code), end
        assert sender.read_struct("results").turns == 5, "the good ones before it were refused"
        gate = agent.image.constant("KEUOS_EVENT_GATE")
        [event] = [event for event in agent.events(first) if event.kind == gate and event.pid == sender.pid]
        assert event.channel == handles[0].number
        agent.ping()
