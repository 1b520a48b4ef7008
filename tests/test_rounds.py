"""Statistics of rounds, against tables and against simulations of machines whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from keuos_hil import rounds
from keuos_hil.rounds import Strata, Visit

NEAR, FAR = 300.0, 1_350.0


def visits_of(generator, *, row="ring", truth=1.1, launches=1, count=40, between=0.0, within=0.02, floor=NEAR):
    """A machine that shifts each launch's ratio by `between`, and each visit by `within` (standard deviations)."""
    for launch in range(launches):
        ratio = truth * np.exp(generator.normal(0, between))
        for i in range(count):
            before, after = floor * np.exp(generator.normal(0, 0.01, 2))
            centre = ratio * floor * np.exp(generator.normal(0, within))
            yield Visit(row, launch, i, centre, before, after)


def floors_of(visits):
    return [visit.floor for visit in visits if not visit.rejected]


def test_the_trimmed_mean_is_finer_than_the_clock_and_deaf_to_outliers():
    generator = np.random.default_rng(1)
    exact = generator.normal(262, 30, 30_000)
    coarse = np.floor(exact / 26 + generator.random(30_000)) * 26
    coarse[:300] = 1e6
    assert rounds.trimmed_mean(coarse) == pytest.approx(262, abs=2)
    assert rounds.trimmed_mean([1, 2, 3]) == 2
    with pytest.raises(ValueError, match="no samples"):
        rounds.trimmed_mean([])


@pytest.mark.parametrize(
    ("confidence", "freedom", "quantile"),
    [(0.95, 1, 12.706), (0.95, 2, 4.303), (0.95, 4, 2.776), (0.95, 5, 2.571), (0.99, 9, 3.250), (0.95, 120, 1.980)],
)
def test_student_s_t_is_that_of_the_tables(confidence, freedom, quantile):
    assert rounds.student_t(confidence, freedom) == pytest.approx(quantile, abs=6e-4)


def test_student_s_t_wants_a_degree_of_freedom():
    with pytest.raises(ValueError, match="0 degrees"):
        rounds.student_t(0.95, 0)


@pytest.mark.parametrize(
    ("before", "after", "centre", "why"),
    [
        (300, 310, 330, ""),
        (310, 300, 330, ""),
        (300, 346, 330, "floors around it differ"),
        (346, 300, 330, "floors around it differ"),
        (None, 300, 330, "no floor beside it"),
        (300, None, 330, "no floor beside it"),
        (0, 300, 330, "floor not above the cost of measuring"),
        (float("nan"), 300, 330, "floor not above the cost of measuring"),
        (300, 300, -1, "not above the cost of measuring"),
        (300, 300, float("nan"), "not above the cost of measuring"),
    ],
)
def test_a_visit_counts_only_between_two_floors_that_agree(before, after, centre, why):
    assert Visit("ring", 0, 0, centre, before, after).rejected == why


def test_floors_near_and_far_fall_into_two_strata_and_a_spread_of_one_kind_into_one():
    generator = np.random.default_rng(2)
    near, far = generator.normal(NEAR, 20, 50), generator.normal(FAR, 60, 9)
    strata = Strata.of([*near, *far])
    assert {strata.name(x) for x in near} == {"near"}
    assert {strata.name(x) for x in far} == {"far"}
    assert Strata.of(near).name(NEAR) == "only"
    three = Strata.of([100, 101, 200, 201, 400])
    assert [three.name(x) for x in (100, 200, 400)] == ["1", "2", "3"]


def test_the_interval_of_one_launch_holds_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(3)
    hits = 0
    for _ in range(400):
        ratios = 1.1 * np.exp(generator.normal(0, 0.03, 31))
        low, high = rounds.bootstrap_median(ratios, generator, resamples=400)
        hits += low <= 1.1 <= high
    assert 0.91 <= hits / 400 <= 0.985


@pytest.mark.parametrize("launches", [3, 5, 8])
def test_the_interval_of_several_launches_holds_the_truth_though_they_differ_more_than_their_rounds(launches):
    generator = np.random.default_rng(4)
    hits = alone = 0
    for _ in range(400):
        by_launch = {
            launch: 1.1 * np.exp(shift + generator.normal(0, 0.01, 15))
            for launch, shift in enumerate(generator.normal(0, 0.04, launches))
        }
        found = rounds.pool(by_launch, generator)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= 1.1 <= found.high
        low, high = rounds.bootstrap_median(np.concatenate(list(by_launch.values())), generator, resamples=200)
        alone += low <= 1.1 <= high
    assert 0.92 <= hits / 400 <= 0.98
    assert alone / 400 < 0.9, "rounds pooled as if launches did not differ were as good: the case shows nothing"


def test_the_interval_of_one_launch_is_that_of_its_rounds():
    generator = np.random.default_rng(5)
    found = rounds.pool({0: generator.normal(2, 0.1, 101)}, generator)
    assert (found.rounds, found.launches) == (101, 1)
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.value < found.high
    assert found.high - found.low < 0.1
    with pytest.raises(ValueError, match="no launch"):
        rounds.pool({}, generator)


def test_a_tail_s_interval_is_that_of_its_rounds_and_not_of_its_samples():
    """Rounds that are disturbed as a whole: samples drawn one by one would promise far too much."""
    generator = np.random.default_rng(6)
    truth = np.quantile(np.concatenate([_disturbed(generator) for _ in range(8_000)]), 0.9)
    hits = by_samples = 0
    for _ in range(200):
        made = [_disturbed(generator) for _ in range(60)]
        found = rounds.bootstrap_quantile(made, 0.9, generator, resamples=200)
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
        alone = rounds.bootstrap_quantile(np.concatenate(made)[:, None], 0.9, generator, resamples=200)
        assert alone.low is not None
        assert alone.high is not None
        by_samples += alone.low <= truth <= alone.high
    assert hits / 200 >= 0.9
    assert by_samples / 200 < 0.6


def _disturbed(generator):
    return generator.exponential(10, 100) + (generator.exponential(50) if generator.random() < 0.3 else 0)


def test_a_quantile_is_a_sample_that_occurred_and_few_rounds_have_no_interval():
    generator = np.random.default_rng(7)
    found = rounds.bootstrap_quantile([range(1, 501), range(501, 1001)], 0.999, generator)
    assert (found.value, found.low, found.high, found.rounds) == (999, None, None, 2)
    one = rounds.bootstrap_quantile([[5.0]] * 6, 0.5, generator)
    assert (one.low, one.value, one.high) == (5, 5, 5)
    with pytest.raises(ValueError, match="no samples"):
        rounds.bootstrap_quantile([[], []], 0.5, generator)


def test_a_row_has_a_line_in_each_stratum_and_its_rejects_are_counted():
    generator = np.random.default_rng(8)
    visits = list(visits_of(generator, count=30)) + [
        Visit("ring", 0, 100 + i, visit.centre * 1.2, visit.before, visit.after)
        for i, visit in enumerate(visits_of(generator, count=20, floor=FAR))
    ]
    visits += [Visit("ring", 0, 200 + i, 330, 300, 400) for i in range(7)]
    near, far = rounds.judge(visits, Strata.of(floors_of(visits)), generator)
    assert (near.stratum, far.stratum) == ("near", "far")
    assert near.ratio is not None
    assert far.ratio is not None
    assert near.ratio.value == pytest.approx(1.1, rel=0.03)
    assert far.ratio.value == pytest.approx(1.32, rel=0.03)
    assert near.ratio.rounds + far.ratio.rounds + sum(near.rejected.values()) == len(visits)
    assert near.rejected["floors around it differ"] >= 7
    assert near.floor == pytest.approx(NEAR, rel=0.05)


def test_a_row_whose_rounds_were_all_rejected_is_missing_and_says_why():
    generator = np.random.default_rng(9)
    visits = [Visit("ring", 0, i, 330, 300, 400) for i in range(8)] + [Visit("ring", 0, 9, 330, 300, None)]
    [row] = rounds.judge(visits, Strata.of([300, 301]), generator)
    assert (row.ratio, row.centre, row.floor) == (None, None, None)
    assert row.missing == "all 9 rounds were rejected (floors around it differ: 8, no floor beside it: 1)"


def test_a_stratum_that_was_hardly_seen_is_counted_and_not_quoted():
    generator = np.random.default_rng(10)
    visits = list(visits_of(generator, count=20)) + [
        Visit("ring", 0, 50 + i, FAR * 1.1, FAR, FAR) for i in range(rounds.ROUNDS_MIN - 1)
    ]
    [row] = rounds.judge(visits, Strata.of(floors_of(visits)), generator)
    assert row.stratum == "near"
    assert row.rejected == {f"fewer than {rounds.ROUNDS_MIN} in its stratum": rounds.ROUNDS_MIN - 1}


def test_a_launch_that_hardly_saw_a_stratum_is_no_launch_of_it():
    generator = np.random.default_rng(11)
    few = [Visit("ring", 1, i, NEAR * 1.1, NEAR, NEAR) for i in range(2)]
    visits = list(visits_of(generator, count=20)) + few
    [row] = rounds.judge(visits, Strata.of(floors_of(visits)), generator)
    assert row.ratio is not None
    assert row.ratio.launches == 1


def test_pairs_are_of_one_round_and_of_one_stratum():
    old = [Visit("old", 0, i, 330, NEAR, NEAR) for i in range(12)]
    new = [Visit("new", 0, i, 363, NEAR, NEAR) for i in range(8)]
    new += [Visit("new", 0, 8, 1_500, FAR, FAR), Visit("new", 0, 9, 363, 300, 400)]
    new += [Visit("new", 0, 10, 363, NEAR, NEAR)]
    found = rounds.pairs([*old, *new], "old", "new", Strata.of([NEAR, FAR]))
    assert list(found.ratios) == ["near"]
    assert found.ratios["near"][0] == pytest.approx([1.1] * 9)
    assert found.rejected == {
        "the two lie in different strata": 1,
        "floors around it differ": 1,
        "only one of the two was measured": 1,
    }
