"""Fuzzing without a target: what is generated, how a failure shrinks, how it is kept; a faulty gate is caught."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from keuos_hil.errors import InfraError, UsageError
from keuos_hil.fuzz import (
    FIELDS,
    MUTATIONS,
    Budget,
    Corpus,
    Difference,
    Fuzzing,
    Generator,
    Matrix,
    difference_of,
    shrink,
)
from keuos_hil.fuzz.cases import field_of_each_bit
from keuos_hil.oracle import BulkOracle, Channel, Descriptor, Shadow, check
from tests.gate_samples import KEY, PROOFS

COUNT = 8192


@pytest.fixture(scope="module")
def channel(abi):
    return Channel.bound(abi, 7, 3, KEY, 16384, PROOFS, PROOFS[:3])


@pytest.fixture(scope="module")
def other(abi):
    return Channel.bound(abi, 8, 3, KEY[::-1], 16384, PROOFS, PROOFS[:3])


@pytest.fixture(scope="module")
def batch(channel, other):
    return Generator(channel, other, PROOFS, 1).batch(COUNT)


def _verdicts(channel, batch):
    return BulkOracle(channel).verdicts(batch.descriptors, batch.heads, batch.datas)


# What is generated --------------------------------------------------------------------------------------------------


def test_what_was_not_changed_is_valid(abi, channel, batch):
    valid = batch.fields == FIELDS.index("none")
    assert valid.sum() > COUNT / 20
    assert set(_verdicts(channel, batch)[valid]) == {abi.verdicts["ok"]}


def test_every_gate_is_met_and_the_last_by_a_fifth(abi, channel, batch):
    matrix = Matrix(abi)
    matrix.add(batch.fields, batch.mutations, _verdicts(channel, batch))
    per_descriptor = ["ok", "ownership", "state", "alignment", "template", "tag", "length", "sequence"]
    assert matrix.verdicts == per_descriptor
    assert matrix.cases == COUNT
    assert matrix.of("ok", "sequence") / COUNT > 0.2
    assert {row["mutation"] for row in matrix.rows()} == set(MUTATIONS)
    assert {row["field"] for row in matrix.rows()} == set(FIELDS) - {"head", "head_data", "n"}
    assert sum(sum(row["verdicts"].values()) for row in matrix.rows()) == COUNT


def test_each_bit_of_a_descriptor_is_turned_over(abi, channel, other):
    """By batches that are smaller than it has bits: the next goes on where the last one stopped."""
    generator = Generator(channel, other, PROOFS, 1)
    found = set()
    owners = field_of_each_bit(abi)
    for _ in range(12):
        batch = generator.batch(256)
        for i in np.flatnonzero(batch.mutations == MUTATIONS.index("bit")):
            shadow = Shadow(int(batch.heads[i]), int(batch.datas[i]))
            case = difference_of(channel, shadow, Descriptor.parse(abi, batch.descriptors[i].tobytes()))
            field = FIELDS[batch.fields[i]]
            if field not in ("cookie", "length", "offset"):
                assert case.bits[field].bit_count() == 1, f"{field}: {case}"
                found.add((field, case.bits[field]))
    expected = {
        (name, 1 << bit)
        for name in FIELDS
        if name not in ("cookie", "length", "offset")
        for bit in range(int((owners == FIELDS.index(name)).sum()))
    }
    assert found == expected


def test_bits_belong_to_the_fields_that_the_layout_gives_them(abi):
    owners = field_of_each_bit(abi)
    sizes = {name: int((owners == i).sum()) for i, name in enumerate(FIELDS) if (owners == i).any()}
    assert sizes == {
        "sequence": 32, "mark": 16, "template": 16, "channel": 32, "generation": 32, "template_index": 16, "opcode": 16,
        "flags": 32, "max_length": 32, "alignment": 32, "tag": 64, "offset": 32, "length": 32, "cookie": 128,
    }  # fmt: skip


def test_a_seed_repeats_the_cases_and_another_gives_others(channel, other, batch):
    again = Generator(channel, other, PROOFS, 1).batch(COUNT)
    assert again.descriptors.tobytes() == batch.descriptors.tobytes()
    assert again.heads.tobytes() == batch.heads.tobytes()
    assert Generator(channel, other, PROOFS, 2).batch(COUNT).descriptors.tobytes() != batch.descriptors.tobytes()


def test_both_halves_of_the_oracle_agree_on_what_is_generated(abi, channel, batch):
    verdicts = _verdicts(channel, batch)
    for i in range(0, COUNT, 3):
        shadow = Shadow(int(batch.heads[i]), int(batch.datas[i]))
        descriptor = Descriptor.parse(abi, batch.descriptors[i].tobytes())
        assert check(channel, shadow, descriptor) == abi.names[int(verdicts[i])]


# Differences --------------------------------------------------------------------------------------------------------


def test_a_difference_gives_the_case_back_also_from_its_file(abi, channel, batch):
    for i in range(0, COUNT, 5):
        shadow = Shadow(int(batch.heads[i]), int(batch.datas[i]))
        descriptor = Descriptor.parse(abi, batch.descriptors[i].tobytes())
        case = difference_of(channel, shadow, descriptor)
        assert case.descriptor(channel) == (shadow, descriptor)
        assert Difference.from_json(json.loads(json.dumps(case.as_json()))) == case


def test_a_difference_means_the_same_under_another_key(channel, other):
    shadow = Shadow(5, 1024)
    valid = channel.valid(shadow, 0)
    sibling = replace(valid, sealed=replace(valid.sealed, tag=channel.granted[1].tag))
    case = difference_of(channel, shadow, sibling)
    assert (case.bits, case.tag) == ({}, "of template 1")
    assert case.descriptor(other)[1].sealed.tag == other.granted[1].tag
    forged = Difference(5, 1024, 0, {"opcode": 1}, "of what is claimed")
    _, made = forged.descriptor(channel)
    assert difference_of(channel, shadow, made) == forged


def test_a_tag_of_zero_is_zero_under_another_key(channel, other):
    valid = channel.valid(Shadow(0, 0), 0, template=0)
    made = difference_of(channel, Shadow(0, 0), replace(valid, sealed=replace(valid.sealed, tag=0)))
    assert (made.tag, made.bits) == ("zero", {})
    assert made.descriptor(other)[1].sealed.tag == 0


def test_the_description_names_what_differs(channel):
    text = Difference(5, 1024, 0, {"tag": 1 << 40}).describe(channel)
    assert [line for line in text.splitlines() if "<- valid" in line and "tag" in line]
    assert text.count("<- valid") == 1


# Shrinking a faulty gate's case -------------------------------------------------------------------------------------


def _compares_tags_in_32_bits(channel, case):
    """A gate that looks at the lower half of a tag."""
    shadow, d = case.descriptor(channel)
    granted = channel.granted.get(d.sealed.template_index)
    if granted is not None and d.sealed.tag & 0xFFFF_FFFF == granted.tag & 0xFFFF_FFFF:
        d = replace(d, sealed=replace(d.sealed, tag=granted.tag))
    return check(channel, shadow, d)


def _accepts_one_byte_too_many(channel, case):
    """A gate that is off by one at the template's maximum."""
    shadow, d = case.descriptor(channel)
    return "ok" if d.length == 8193 and check(channel, shadow, replace(d, length=8192)) == "ok" else (
        check(channel, shadow, d))  # fmt: skip


def _fails(channel, gate):
    return lambda case: gate(channel, case) != check(channel, *case.descriptor(channel))


def _found(channel, batch, gate):
    """The cases that the faulty gate judges wrongly."""
    abi = channel.abi
    for i in range(COUNT):
        shadow = Shadow(int(batch.heads[i]), int(batch.datas[i]))
        case = difference_of(channel, shadow, Descriptor.parse(abi, batch.descriptors[i].tobytes()))
        if _fails(channel, gate)(case):
            yield case


def test_a_tag_compared_in_32_bits_is_found_and_shrunk_to_one_bit(channel, batch):
    found = list(_found(channel, batch, _compares_tags_in_32_bits))
    assert len(found) > 100
    for case in found[:10]:
        small = shrink(case, _fails(channel, _compares_tags_in_32_bits))
        assert (list(small.bits), small.tag, small.head, small.data) == (["tag"], "", 0, 0)
        assert small.bits["tag"].bit_count() == 1
        assert small.bits["tag"] >= 1 << 32


def test_a_length_off_by_one_is_found_and_shrunk_to_that_length(channel, batch):
    case = next(_found(channel, batch, _accepts_one_byte_too_many))
    small = shrink(case, _fails(channel, _accepts_one_byte_too_many))
    assert (small.bits, small.head, small.data) == ({"length": 8193}, 0, 0)


def test_what_does_not_fail_again_is_left_as_it_was():
    case = Difference(1, 64, 0, {"tag": 3})
    assert shrink(case, lambda one: False) is case


@pytest.mark.parametrize("need", [0, 1, 3])
@pytest.mark.parametrize("bits", [1, 0b1011, 1 << 63 | 1, 2**64 - 1, 0x123456789ABCDEF0])
def test_a_shrunk_case_fails_and_differs_in_no_other_bits(bits, need):
    case = Difference(9, 128, 0, {"tag": bits, "offset": 64})
    smaller = shrink(case, lambda one: one.bits.get("tag", 0).bit_count() > min(need, bits.bit_count() - 1))
    assert smaller.bits["tag"] & ~bits == 0
    assert "offset" not in smaller.bits
    assert smaller.bits["tag"].bit_count() > min(need, bits.bit_count() - 1)


# The corpus ---------------------------------------------------------------------------------------------------------

CASE = Difference(1, 64, 0, {"tag": 3}, "")


def test_a_case_is_kept_once_and_read_back(tmp_path):
    corpus = Corpus(tmp_path / "deep" / "corpus", Difference)
    assert corpus.cases() == []
    path = corpus.save(CASE, expected="tag", found="ok")
    assert corpus.save(CASE, expected="tag", found="ok") == path
    corpus.save(replace(CASE, head=2))
    assert {kept.case.head for kept in corpus.cases()} == {1, 2}
    assert json.loads(path.read_text())["about"] == {"expected": "tag", "found": "ok"}
    assert not list(path.parent.glob("*.partial"))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"schema": "else"}', '{"schema": "keuos-hil/gate-case/1"}',
                                  '{"schema": "keuos-hil/gate-case/1", "case": {"bits": 5}}'])  # fmt: skip
def test_a_file_that_is_no_case_is_named(tmp_path, text):
    (tmp_path / "bad.json").write_text(text)
    with pytest.raises(UsageError, match=r"bad\.json is no case of keuos-hil/gate-case/1"):
        Corpus(tmp_path, Difference).cases()


def test_a_folder_that_can_not_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InfraError, match="--fuzz-corpus"):
        Corpus(tmp_path / "file" / "corpus", Difference).save(CASE)


# Budgets ------------------------------------------------------------------------------------------------------------


def _fuzzing(count=None, seconds=None):
    return Fuzzing(1, count, seconds, Path("unused"))


@pytest.mark.parametrize(
    ("fuzzing", "cases", "seconds"),
    [(_fuzzing(), 500, None), (_fuzzing(count=1000), 100, None), (_fuzzing(seconds=5.0), None, 5.0),
     (_fuzzing(count=1000, seconds=5.0), 100, 5.0), (_fuzzing(count=0), 1, None)],
)  # fmt: skip
def test_a_count_replaces_the_default_and_a_time_alone_too(fuzzing, cases, seconds):
    budget = fuzzing.budget(500, 0.1)
    assert (budget.cases, budget.seconds) == (cases, seconds)


def test_a_budget_ends_by_what_comes_first():
    now = [0.0]
    budget = Budget(10, 5.0, lambda: now[0])
    assert budget.left(9)
    assert not budget.left(10)
    now[0] = 5.0
    assert not budget.left(0)
