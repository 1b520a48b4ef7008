"""The oracle against what can be known without it: published vectors, another SipHash, and its own two halves.

Layouts come from a compiled object that includes the kernel's own header: nothing of them is typed here.
"""

from __future__ import annotations

import struct
from dataclasses import replace

import numpy as np
import pytest
import siphash24
from hypothesis import given, settings
from hypothesis import strategies as st

from keuos_hil.oracle import (
    BulkOracle,
    Channel,
    Descriptor,
    Sealed,
    Shadow,
    Template,
    check,
    notify,
    seal,
    siphash_2_4,
    tag,
)
from tests.gate_samples import KEY, PROOFS

#: Of the reference implementation, vectors_sip64: the bytes 0, 1, .. n-1 under the key 00 01 .. 0f.
VECTORS = {
    0: 0x726FDB47DD0E0E31,
    1: 0x74F839C593DC67FD,
    7: 0xAB0200F58B01D137,
    8: 0x93F5F5799A932462,
    15: 0xA129CA6149BE45E5,
    63: 0x958A324CEB064572,
}
DATA = 16384
INTERFACE = [Template(0x10, 0, 0, 8192, 64), Template(0x11, 0, 0, 100, 64), Template(0x12, 0, 7, 8192, 128)]
U32 = 0xFFFF_FFFF


@pytest.fixture(scope="module")
def channel(abi):
    return Channel.bound(abi, 7, 3, KEY, DATA, PROOFS, INTERFACE)


@pytest.fixture(scope="module")
def bulk(channel):
    return BulkOracle(channel)


# SipHash ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", VECTORS)
def test_both_siphashes_give_the_published_vectors(length):
    message = bytes(range(length))
    assert tag(KEY, message) == VECTORS[length]
    rows = np.frombuffer(message * 2, np.uint8).reshape(2, length)
    assert siphash_2_4(KEY, rows).tolist() == [VECTORS[length]] * 2


@given(st.binary(min_size=16, max_size=16), st.integers(0, 70), st.integers(0, 2**32))
def test_vectorised_siphash_is_that_of_the_package(key, length, seed):
    rows = np.random.default_rng(seed).integers(0, 256, (5, length), np.uint8)
    expected = [int.from_bytes(siphash24.siphash24(row.tobytes(), key=key).digest(), "little") for row in rows]
    assert siphash_2_4(key, rows).tolist() == expected


def test_vectorised_siphash_refuses_another_key_and_shape():
    with pytest.raises(ValueError, match="16 bytes"):
        siphash_2_4(b"short", np.zeros((1, 8), np.uint8))
    with pytest.raises(ValueError, match="shape"):
        siphash_2_4(KEY, np.zeros(8, np.uint8))


# Sealing ------------------------------------------------------------------------------------------------------------


def test_a_template_is_granted_within_the_interface_only(channel):
    assert sorted(channel.granted) == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "within"),
    [({}, True), ({"opcode": 9}, False), ({"flags": 2}, True), ({"flags": 8}, False), ({"flags": 7}, True),
     ({"max_length": 8193}, False), ({"max_length": 0}, True), ({"alignment": 64}, False), ({"alignment": 128}, True),
     ({"alignment": 192}, False), ({"alignment": 0}, False), ({"alignment": 1 << 31}, True), ({"reserved": 1}, False)],
)  # fmt: skip
def test_what_lies_within_an_interface_entry(change, within):
    assert replace(PROOFS[2], **change).lies_within([INTERFACE[2]], 64) is within


def test_a_tag_depends_on_every_sealed_field_and_on_the_key(abi):
    made = {seal(abi, KEY, 7, 3, 0, PROOFS[0]).tag, seal(abi, KEY[::-1], 7, 3, 0, PROOFS[0]).tag}
    made |= {seal(abi, KEY, 8, 3, 0, PROOFS[0]).tag, seal(abi, KEY, 7, 4, 0, PROOFS[0]).tag}
    made |= {seal(abi, KEY, 7, 3, 1, PROOFS[0]).tag}
    for field in ("opcode", "flags", "max_length", "alignment"):
        made.add(seal(abi, KEY, 7, 3, 0, replace(PROOFS[0], **{field: 77})).tag)
    assert len(made) == 9


def test_a_descriptor_survives_its_bytes(abi):
    descriptor = Descriptor(1, Sealed(2, 3, 4, 5, 6, 7, 8, 9), 10, 11, (12, 13))
    assert Descriptor.parse(abi, descriptor.packed(abi)) == descriptor
    with pytest.raises(struct.error):
        Descriptor.parse(abi, b"abc")
    with pytest.raises(struct.error):
        replace(descriptor, length=1 << 32).packed(abi)


# One descriptor -----------------------------------------------------------------------------------------------------


def _sealed(d, **changes):
    return replace(d, sealed=replace(d.sealed, **changes))


SHADOW = Shadow(head=5, data=1024)
#: A change of the valid descriptor, and the gate that objects.
CHANGES = {
    "nothing": (lambda d: d, "ok"),
    "cookies": (lambda d: replace(d, cookie=(1, 2)), "ok"),
    "bytes skipped": (lambda d: replace(d, offset=d.offset + 64), "ok"),
    "to the window's end": (lambda d: replace(d, offset=SHADOW.data + DATA - 128, length=128), "ok"),
    "no payload at the window's end": (lambda d: replace(d, offset=SHADOW.data + DATA, length=0), "ok"),
    "past the window": (lambda d: replace(d, offset=SHADOW.data + DATA - 64, length=65), "length"),
    "behind the shadow": (lambda d: replace(d, offset=SHADOW.data - 64), "length"),
    "longest": (lambda d: replace(d, length=8192), "ok"),
    "one longer": (lambda d: replace(d, length=8193), "length"),
    "replayed": (lambda d: replace(d, word=d.word - (1 << 32)), "sequence"),
    "of the last round": (lambda d: replace(d, word=(d.word - (64 << 32)) % 2**64), "sequence"),
    "off the line": (lambda d: replace(d, offset=d.offset + 1), "alignment"),
    "alignment claimed": (lambda d: _sealed(replace(d, offset=d.offset + 64), alignment=128), "alignment"),
    "alignment of 0": (lambda d: _sealed(d, alignment=0), "alignment"),
    "alignment of 0 at 0": (lambda d: _sealed(replace(d, offset=0), alignment=0), "tag"),
    "alignment lowered": (lambda d: _sealed(d, alignment=1), "tag"),
    "other channel": (lambda d: _sealed(d, channel=8, generation=2), "ownership"),
    "other generation": (lambda d: _sealed(replace(d, offset=1), generation=2), "state"),
    "no descriptor": (lambda d: replace(d, word=d.word & ~(1 << 16)), "template"),
    "word of another": (lambda d: replace(d, word=d.word ^ 1), "template"),
    "not granted": (lambda d: _sealed(replace(d, word=d.word | 3), template_index=3), "template"),
    "past the table": (lambda d: _sealed(replace(d, word=d.word | 128), template_index=128), "template"),
    "sibling": (lambda d: _sealed(replace(d, word=d.word | 1), template_index=1), "tag"),
    "tag": (lambda d: _sealed(d, tag=d.sealed.tag ^ 1 << 63), "tag"),
    "tag of 0": (lambda d: _sealed(d, tag=0), "tag"),
    "flags": (lambda d: _sealed(d, flags=1), "tag"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_the_gate_that_objects(abi, channel, bulk, name):
    change, verdict = CHANGES[name]
    descriptor = change(channel.valid(SHADOW, 100))
    assert check(channel, SHADOW, descriptor) == verdict
    row = np.frombuffer(descriptor.packed(abi), abi.descriptor)
    [number] = bulk.verdicts(row, np.full(1, SHADOW.head, np.uint32), np.full(1, SHADOW.data, np.uint32))
    assert abi.names[int(number)] == verdict


def test_a_descriptor_is_valid_at_the_counters_wrap(channel):
    shadow = Shadow(head=U32, data=2**32 - 64)
    descriptor = channel.valid(shadow, 100)
    assert check(channel, shadow, descriptor) == "ok"
    assert shadow.after(descriptor, 64) == Shadow(head=0, data=64)


def test_an_aligned_template_is_valid_from_anywhere(channel):
    shadow = Shadow(head=1, data=64)
    assert channel.valid(shadow, 100, template=2).offset == 256
    assert check(channel, shadow, channel.valid(shadow, 100, template=2)) == "ok"


def _near(*values):
    """A number near one of these, or any."""
    near = st.sampled_from(values).flatmap(lambda v: st.integers(v - 2, v + 2)).map(lambda v: v & U32)
    return st.one_of(st.sampled_from([v & U32 for v in values]), near, st.integers(0, U32))


@st.composite
def cases(draw):
    """A shadow, and a descriptor of which each field is either the valid one or something else."""
    shadow = Shadow(draw(_near(0, 5, U32, 1 << 31)), draw(_near(0, 1024, 2**32 - 64, 1 << 31)) & ~63)
    return shadow, draw(st.sampled_from([0, 1, 2])), draw(st.dictionaries(
        st.sampled_from(["sequence", "mark", "index", "channel", "generation", "template_index", "opcode", "flags",
                         "max_length", "alignment", "tag", "offset", "length"]), st.integers(0, 2**64 - 1), max_size=3,
    ))  # fmt: skip


def _spoilt(channel, shadow, template, changes):
    d = channel.valid(shadow, 24, template=template)
    sealed, fields = vars(d.sealed), vars(d)
    pool = [0, 1, 2, 3, 7, 64, 127, 128, 0xFFFF, 8192, 16384, shadow.data, shadow.head, U32]
    for name, number in changes.items():
        value = pool[number % len(pool)] if number & 1 << 20 else number
        if name in ("sequence", "mark", "index"):
            shift, bits = {"sequence": (32, 32), "mark": (16, 16), "index": (0, 16)}[name]
            mask = ((1 << bits) - 1) << shift
            fields = fields | {"word": fields["word"] & ~mask | value << shift & mask}
        elif name == "tag":
            sealed = sealed | {"tag": number}
        elif name in sealed:
            sealed = sealed | {name: value & (0xFFFF if name in ("template_index", "opcode") else U32)}
        else:
            fields = fields | {name: value & U32}
    return Descriptor(**fields | {"sealed": Sealed(**sealed)})


@settings(max_examples=300)
@given(st.lists(cases(), min_size=1, max_size=20))
def test_both_halves_of_the_oracle_agree(abi, channel, bulk, made):
    descriptors = [_spoilt(channel, *case) for case in made]
    rows = np.frombuffer(b"".join(d.packed(abi) for d in descriptors), abi.descriptor)
    heads = np.array([shadow.head for shadow, _, _ in made], np.uint32)
    datas = np.array([shadow.data for shadow, _, _ in made], np.uint32)
    numbers = bulk.verdicts(rows, heads, datas)
    expected = [check(channel, shadow, d) for (shadow, _, _), d in zip(made, descriptors, strict=True)]
    assert [abi.names[int(number)] for number in numbers] == expected
    after = [
        shadow.after(d, abi.line) if verdict == "ok" else shadow
        for (shadow, _, _), d, verdict in zip(made, descriptors, expected, strict=True)
    ]
    new_heads, new_datas = bulk.after(numbers, rows, heads, datas)
    assert new_heads.tolist() == [shadow.head for shadow in after]
    assert new_datas.tolist() == [shadow.data for shadow in after]


# A notification -----------------------------------------------------------------------------------------------------


def _stream(channel, shadow, spoilt=None):
    """What an honest producer has in its ring from the shadow on; `spoilt`: at that head comes a wrong tag."""
    made, at = {}, shadow
    for _ in range(70):
        made[at.head] = channel.valid(at, 64)
        at = at.after(made[at.head], 64)
    if spoilt is not None:
        made[spoilt] = _sealed(made[spoilt], tag=0)
    return made.__getitem__


def _said(outcome):
    return outcome.verdict, outcome.accepted, outcome.error, outcome.culprit


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"n": 1, "head": 10}, ("ok", 1, "", "")),
        ({"n": 5, "head": 10}, ("ok", 5, "", "")),
        ({"n": 6, "head": 10}, ("index", 0, "", "producer")),
        ({"n": 1, "head": 5}, ("index", 0, "", "producer")),
        ({"n": 1, "head": 4}, ("index", 0, "", "producer")),
        ({"n": 32, "head": 69}, ("ok", 32, "", "")),
        ({"n": 32, "head": 70}, ("index", 0, "", "producer")),
        ({"n": 0, "head": 10}, ("ok", 0, "einval", "")),
        ({"n": 33, "head": 69}, ("ok", 0, "einval", "")),
        ({"n": 0, "head": 10, "is_open": False}, ("ok", 0, "einval", "")),
        ({"n": 6, "head": 10, "is_open": False, "tail": (9, 0)}, ("state", 0, "eclosed", "")),
        ({"n": 6, "head": 10, "tail": (6, 0)}, ("tail", 0, "eclosed", "consumer")),
        ({"n": 1, "head": 10, "tail": (5, 321)}, ("tail", 0, "eclosed", "consumer")),
        ({"n": 1, "head": 10, "tail": (U32, 0)}, ("tail", 0, "eclosed", "consumer")),
        ({"n": 1, "head": 10, "tail": (5, 320)}, ("ok", 1, "", "")),
    ],
)
def test_gates_of_a_notification_in_their_order(channel, arguments, said):
    shadow = Shadow(head=5, data=320)
    assert _said(notify(channel, shadow, _stream(channel, shadow), **arguments)) == said


def test_mailbox_that_fills_up_takes_what_fits_and_then_nothing(channel):
    shadow = Shadow(head=60, data=0)
    slots = _stream(channel, shadow)
    first = notify(channel, shadow, slots, n=32, head=100)
    assert (_said(first), first.shadow.head) == (("ok", 4, "", ""), 64)
    assert _said(notify(channel, first.shadow, slots, n=1, head=100)) == ("again", 0, "eagain", "")
    room = notify(channel, first.shadow, slots, n=32, head=100, tail=(3, 0))
    assert (_said(room), room.shadow.tail) == (("ok", 3, "", ""), 3)


def test_what_came_before_the_bad_one_is_delivered(channel):
    shadow = Shadow(head=U32 - 2, tail=U32 - 2)
    outcome = notify(channel, shadow, _stream(channel, shadow, spoilt=1), n=8, head=10)
    assert _said(outcome) == ("tag", 4, "", "producer")
    assert outcome.shadow.head == 1


def test_no_descriptor_is_looked_at_behind_an_objection(channel):
    def unread(head):
        raise AssertionError(f"slot {head} was looked at")

    for arguments in ({"n": 9, "head": 8}, {"n": 0, "head": 8}, {"n": 1, "head": 8, "tail": (9, 9)}):
        notify(channel, Shadow(), unread, **arguments)
