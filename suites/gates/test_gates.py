"""Each gate: the predicted verdict, the culprit killed, the peer told, the record kept, the kernel alive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import pytest

from keuos_hil.agent import Agent
from keuos_hil.image import Image
from keuos_hil.oracle import Descriptor, Shadow, Template, after_good, check, notify, seal
from keuos_hil.record import Recorder
from keuos_hil.rig import LiveTarget

from .pair import Pair, key_of, make_pair

pytestmark = pytest.mark.needs("agent", "channels", "debug")

GOOD = 3
LENGTH = 200


@dataclass(frozen=True)
class Case:
    """One misbehaviour of a sender.

    Attributes:
        verdict: the gate that must object; an enum keuos_verdict without prefix.
        spoil: makes the bad descriptor of the valid one.
        length: payload of the valid descriptors before it.
    """

    verdict: str
    spoil: Callable[[Pair, Shadow, Descriptor], Descriptor]
    length: int = LENGTH


def _sealed(**changes: int) -> Callable[[Pair, Shadow, Descriptor], Descriptor]:
    return lambda pair, shadow, d: replace(d, sealed=replace(d.sealed, **changes))


def _flip_tag(bit: int) -> Callable[[Pair, Shadow, Descriptor], Descriptor]:
    return lambda pair, shadow, d: replace(d, sealed=replace(d.sealed, tag=d.sealed.tag ^ 1 << bit))


def _forged(index: int, template: Template) -> Callable[[Pair, Shadow, Descriptor], Descriptor]:
    """With a tag that is right for what it claims: as if the sender held the key."""

    def spoil(pair: Pair, shadow: Shadow, d: Descriptor) -> Descriptor:
        f = pair.facts
        word = d.word & ~0xFFFF | index
        return replace(d, word=word, sealed=seal(f.abi, f.key, f.channel, f.generation, index, template))

    return spoil


def _older_generation(pair: Pair, shadow: Shadow, d: Descriptor) -> Descriptor:
    f = pair.facts
    template = Template(d.sealed.opcode, 0, d.sealed.flags, d.sealed.max_length, d.sealed.alignment)
    return replace(d, sealed=seal(f.abi, f.key, f.channel, f.generation - 1, d.sealed.template_index, template))


def _replayed(pair: Pair, shadow: Shadow, d: Descriptor) -> Descriptor:
    earlier = after_good(GOOD - 1, d.length)
    return pair.valid(earlier, d.length)


CASES = {
    "tag_lowest_bit": Case("tag", _flip_tag(0)),
    "tag_bit_31": Case("tag", _flip_tag(31)),
    "tag_bit_32": Case("tag", _flip_tag(32)),
    "tag_highest_bit": Case("tag", _flip_tag(63)),
    "tag_zero": Case("tag", _sealed(tag=0)),
    "opcode_of_another_operation": Case("tag", _sealed(opcode=0x77)),
    "flags_added": Case("tag", _sealed(flags=1)),
    "max_length_raised": Case("tag", _sealed(max_length=1 << 20)),
    "alignment_lowered_to_one": Case("tag", _sealed(alignment=1)),
    "offset_off_the_line": Case("alignment", lambda p, s, d: replace(d, offset=d.offset + 8)),
    "offset_off_the_template": Case(
        "alignment", lambda p, s, d: p.valid(Shadow(s.head, s.data), 100, template=2, offset=s.data + 64), length=192
    ),
    "template_past_the_table": Case("template", _forged(200, Template(0x10, 0, 0, 8192, 64))),
    "template_not_granted": Case("template", _forged(3, Template(0x13, 0, 0, 8192, 64))),
    "template_of_no_call_site": Case("template", _forged(100, Template(0x10, 0, 0, 8192, 64))),
    "word_names_another_template": Case("template", lambda p, s, d: replace(d, word=d.word ^ 1)),
    "word_marks_no_descriptor": Case("template", lambda p, s, d: replace(d, word=d.word & ~(1 << 16))),
    "longer_than_the_template": Case("length", lambda p, s, d: p.valid(s, 25, template=1)),
    "past_the_window": Case("length", lambda p, s, d: replace(d, offset=s.data + 16320, length=128)),
    "behind_the_window": Case("length", lambda p, s, d: replace(d, offset=(s.data - 64) % 2**32)),
    "offset_and_length_overflow": Case("length", lambda p, s, d: replace(d, offset=(s.data - 64) % 2**32, length=8192)),
    "length_4_gib": Case("length", lambda p, s, d: replace(d, length=0xFFFF_FFFF)),
    "another_channel": Case(
        "ownership", lambda p, s, d: replace(d, sealed=replace(d.sealed, channel=d.sealed.channel + 1))
    ),
    "older_generation": Case("state", _older_generation),
    "replay": Case("length", _replayed),
    "replay_without_payload": Case("sequence", _replayed, length=0),
    "sequence_skipped": Case("sequence", lambda p, s, d: replace(d, word=d.word + (1 << 32))),
    "sequence_of_last_round": Case("sequence", lambda p, s, d: replace(d, word=(d.word - (64 << 32)) % 2**64)),
}


def _expect_kill(pair: Pair, verdict: str, *, received: int, descriptor: bytes | None) -> None:
    """The sender was killed for it, the receiver told, the event recorded, and the kernel lives."""
    sender, receiver = pair.run()
    code = pair.constant("KEUOS_VERDICT_" + verdict.upper())
    assert (sender.name, sender.detail) == ("gate", code), f"expected the gate {verdict} to kill the sender: {sender}"
    assert not pair.sender.read_struct("results").survived
    assert receiver.ok, f"the receiver did not learn of the end: {receiver}"
    told = pair.receiver.read_struct("results")
    assert told.error == pair.constant("KEUOS_RING_CLOSED"), f"the receiver's own view: {told}"
    assert told.reason == pair.constant("KEUOS_CLOSE_VIOLATION")
    assert told.verdict == code
    assert told.received == received, f"the receiver got {told.received} messages, expected {received}"
    events = pair.events("gate")
    assert len(events) == 1, f"expected one record of the gate, found {len(events)}"
    event = events[0]
    assert (event.verdict, event.pid, event.peer) == (code, pair.sender.pid, pair.receiver.pid)
    if descriptor is not None:
        assert bytes(event.descriptor) == descriptor, "the record's descriptor is not what the sender wrote"
    pair.agent.ping()


@pytest.mark.parametrize("name", CASES)
def test_spoilt_descriptor_kills_its_sender(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder, name: str
) -> None:
    case = CASES[name]
    record.gate(case.verdict)
    pair = make_pair(target, agent, image)
    shadow = after_good(GOOD, case.length)
    bad = case.spoil(pair, shadow, pair.valid(shadow, case.length))
    assert check(pair.facts, shadow, bad) == case.verdict, "the oracle disagrees with the case"
    pair.sender.write_struct(
        "params", good=GOOD, length=case.length, action=pair.constant("GATE_LITERAL"), descriptor=pair.literal(bad)
    )
    pair.receiver.write_struct("params", drain=GOOD + 1)
    _expect_kill(pair, case.verdict, received=GOOD, descriptor=bad.packed(pair.facts.abi))


def test_descriptor_of_the_oracle_is_accepted(target: LiveTarget, agent: Agent, image: Image, record: Recorder) -> None:
    """The tags page holds what SipHash-2-4 gives, and a descriptor made in Python from the key alone passes."""
    record.gate("ok")
    pair = make_pair(target, agent, image)
    shadow = after_good(GOOD, LENGTH)
    made = [pair.valid(shadow, LENGTH)]
    pair.sender.write_struct(
        "params", good=GOOD, length=LENGTH, action=pair.constant("GATE_LITERAL"), descriptor=pair.literal(made[0])
    )
    pair.receiver.write_struct("params", drain=GOOD + 1, leave=1)
    sender, receiver = pair.run()
    assert sender.ok, sender
    assert receiver.ok, receiver
    assert pair.sender.read_struct("results").result == 1
    mail = pair.receiver.read_array("received", GOOD + 1)
    assert bytes(mail[GOOD].tobytes()) == made[0].packed(pair.facts.abi), (
        "the mailbox holds something else than was sent"
    )
    for at in range(GOOD):
        arrived = Descriptor.parse(pair.facts.abi, mail[at].tobytes())
        assert arrived.sealed == pair.facts.granted[0], f"message {at} was sealed otherwise than SipHash-2-4 says"
    assert not pair.events("gate")


def test_each_channel_has_a_key_and_tags_of_its_own(target: LiveTarget, agent: Agent, image: Image) -> None:
    one, other = make_pair(target, agent, image), make_pair(target, agent, image)
    assert one.facts.key != other.facts.key
    assert {s.tag for s in one.facts.granted.values()}.isdisjoint(s.tag for s in other.facts.granted.values())
    shadow = after_good(GOOD, LENGTH)
    for spoilt, verdict in (
        (replace(one.valid(shadow, LENGTH), sealed=other.facts.granted[0]), "ownership"),
        (
            replace(one.valid(shadow, LENGTH), sealed=replace(one.facts.granted[0], tag=other.facts.granted[0].tag)),
            "tag",
        ),
    ):
        assert check(one.facts, shadow, spoilt) == verdict
    borrowed = replace(one.valid(shadow, LENGTH), sealed=other.facts.granted[0])
    one.sender.write_struct(
        "params", good=GOOD, length=LENGTH, action=one.constant("GATE_LITERAL"), descriptor=one.literal(borrowed)
    )
    one.receiver.write_struct("params", drain=GOOD + 1)
    _expect_kill(one, "ownership", received=GOOD, descriptor=borrowed.packed(one.facts.abi))


def test_key_changes_when_a_channel_record_is_used_again(target: LiveTarget, agent: Agent, image: Image) -> None:
    first = make_pair(target, agent, image)
    for process in (first.sender, first.receiver):
        process.close()
    first.handle.drop()
    second = make_pair(target, agent, image)
    assert second.facts.channel == first.facts.channel, "the record was not used again: nothing is shown"
    assert second.facts.generation == first.facts.generation + 1
    assert second.facts.key != first.facts.key
    assert key_of(target.kernel.read_element("channels", second.facts.channel - 1).key) == second.facts.key


@pytest.mark.parametrize(
    ("head_slots", "n"), [(-1, 1), (-2, 1), (64, 1), (65, 1), (1 << 30, 1), (0, 2), (0, 32), (-(GOOD + 1), 1)]
)
def test_impossible_head_kills_its_producer(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder, head_slots: int, n: int
) -> None:
    record.gate("index")
    pair = make_pair(target, agent, image)
    shadow = after_good(GOOD, LENGTH)
    valid = pair.valid(shadow, LENGTH)
    expected = notify(pair.facts, shadow, lambda at: valid, n=n, head=(GOOD + 1 + head_slots) % 2**32)
    assert (expected.verdict, expected.accepted, expected.culprit) == ("index", 0, "producer")
    pair.sender.write_struct(
        "params",
        good=GOOD,
        length=LENGTH,
        action=pair.constant("GATE_LITERAL"),
        descriptor=pair.literal(valid),
        head_slots=head_slots,
        n=n,
    )
    pair.receiver.write_struct("params", drain=GOOD + 1)
    _expect_kill(pair, "index", received=GOOD, descriptor=None)


def test_good_descriptors_ahead_of_a_bad_one_arrive(target: LiveTarget, agent: Agent, image: Image) -> None:
    """A notification of eight, the sixth spoilt: five arrive, and those behind it do not."""
    pair = make_pair(target, agent, image)
    shadow = after_good(GOOD + 5, LENGTH)
    bad = _flip_tag(5)(pair, shadow, pair.valid(shadow, LENGTH))
    pair.sender.write_struct(
        "params",
        good=GOOD,
        length=LENGTH,
        action=pair.constant("GATE_LITERAL"),
        descriptor=pair.literal(bad),
        before=5,
        after=2,
    )
    pair.receiver.write_struct("params", drain=GOOD + 6)
    _expect_kill(pair, "tag", received=GOOD + 5, descriptor=bad.packed(pair.facts.abi))


def test_full_mailbox_gives_again_and_punishes_nobody(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder
) -> None:
    record.gate("again")
    pair = make_pair(target, agent, image)
    slots = pair.constant("KEUOS_SLOTS")
    shadow = after_good(slots, 64)
    pair.sender.write_struct(
        "params",
        good=slots,
        length=64,
        action=pair.constant("GATE_LITERAL"),
        descriptor=pair.literal(pair.valid(shadow, 64)),
    )
    pair.receiver.write_struct("params", drain=0)
    sender, receiver = pair.run()
    assert sender.ok, sender
    results = pair.sender.read_struct("results")
    assert (results.sent, results.result) == (slots, -pair.constant("KEUOS_EAGAIN"))
    told = pair.receiver.read_struct("results")
    assert receiver.ok, receiver
    assert (told.received, told.reason) == (0, pair.constant("KEUOS_CLOSE_PRODUCER_DIED")), told
    assert not pair.events("gate")


@pytest.mark.parametrize(
    ("tail_slots", "tail_data"), [(1, 0), (-(GOOD + 1), 0), (1 << 30, 0), (0, 64), (0, -1024), (0, 1 << 30)]
)
def test_impossible_tail_kills_its_consumer_and_not_the_producer(
    target: LiveTarget, agent: Agent, image: Image, record: Recorder, tail_slots: int, tail_data: int
) -> None:
    record.gate("tail")
    pair = make_pair(target, agent, image)
    shadow = after_good(GOOD, LENGTH)
    pair.sender.write_struct(
        "params",
        good=GOOD,
        length=LENGTH,
        wait=1,
        action=pair.constant("GATE_LITERAL"),
        descriptor=pair.literal(pair.valid(shadow, LENGTH)),
    )
    pair.receiver.write_struct("params", drain=GOOD, lie=1, tail_slots=tail_slots, tail_data=tail_data, doorbell=1)
    sender, receiver = pair.run()
    code = pair.constant("KEUOS_VERDICT_TAIL")
    assert (receiver.name, receiver.detail) == ("gate", code), f"expected the consumer to be killed: {receiver}"
    assert sender.ok, f"the producer did nothing wrong: {sender}"
    results = pair.sender.read_struct("results")
    assert results.survived
    assert results.result == -pair.constant("KEUOS_ECLOSED")
    [event] = pair.events("gate")
    assert (event.verdict, event.pid, event.peer) == (code, pair.receiver.pid, pair.sender.pid)


@pytest.mark.parametrize(
    ("n", "capability", "error"),
    [(33, 0, "EINVAL"), (1, 90, "EBADCAP"), (1, 1 << 20, "EBADCAP"), (0xFFFFFFFF, 0, "EINVAL")],
)
def test_bad_arguments_of_notify_are_errors(
    target: LiveTarget, agent: Agent, image: Image, n: int, capability: int, error: str
) -> None:
    pair = make_pair(target, agent, image)
    pair.sender.write_struct(
        "params", good=GOOD, length=LENGTH, action=pair.constant("GATE_NOTIFY"), n=n, capability=capability
    )
    pair.receiver.write_struct("params", drain=GOOD, leave=1)
    sender, receiver = pair.run()
    assert sender.ok, sender
    assert receiver.ok, receiver
    assert pair.sender.read_struct("results").result == -pair.constant("KEUOS_" + error)
