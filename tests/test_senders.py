"""What killed senders try, without a target: where cases of a whole notification stand, and what is carried over."""

from __future__ import annotations

from itertools import islice

import pytest

from keuos_hil.fuzz import FIELDS, Difference, Sender, carried, senders
from keuos_hil.fuzz.senders import BY_SHADOW, NOTIFICATIONS
from keuos_hil.oracle import Channel
from tests.gate_samples import KEY, PROOFS

WAVE, COUNT = 14, 4096
OF_A_NOTIFICATION = ("head", "head_data", "n")


@pytest.fixture(scope="module")
def made(abi):
    one, other = (Channel.bound(abi, number, 1, KEY, 4096, PROOFS, PROOFS[:3]) for number in (1, 2))
    return list(islice(senders(one, other, PROOFS, 5), COUNT))


def test_cases_of_a_whole_notification_stand_at_every_place_of_a_wave(made):
    wrong = [i for i, case in enumerate(made) if FIELDS[case.field] in OF_A_NOTIFICATION]
    assert {i % WAVE for i in wrong} == set(range(WAVE))
    assert COUNT / NOTIFICATIONS / 2 < len(wrong) < COUNT / NOTIFICATIONS


@pytest.mark.parametrize(("field", "changed"), [("head_data", "head_data"), ("head", "head_slots"), ("n", "n")])
def test_both_counters_of_the_head_and_the_count_are_fuzzed(made, field, changed):
    values = {getattr(case, changed) for case in made if FIELDS[case.field] == field}
    assert len(values - {0}) >= 5
    assert all(getattr(case, changed) == 0 for case in made if FIELDS[case.field] != field)


def test_a_smaller_descriptor_is_tried_in_the_same_notification():
    case = Sender(Difference(3, 384, 0, {"length": 5}), 1, 64, 2, after=2, head_slots=-1, head_data=7, n=9)
    smaller = Difference(3, 384, 0, {"length": 1})
    again = carried(smaller, case)
    assert (again.difference, again.good, again.before, again.after, again.head_slots, again.head_data, again.n) == (
        smaller, 1, 2, 2, -1, 7, 9,
    )  # fmt: skip
    fresh = carried(Difference(0, 0, 0, {"length": 1}), case)
    assert (fresh.good, fresh.before, fresh.after, fresh.n) == (*BY_SHADOW[0, 0][::2], 2, 9)


def test_a_case_that_no_history_leads_to_is_tried_on_a_fresh_ring():
    case = carried(Difference(77, 64, 1, {"tag": 1}))
    assert (case.difference.head, case.difference.data, case.difference.bits) == (0, 0, {"tag": 1})
