"""Statistics against what is known by other means: exact binomials, and simulation of what an interval promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keuos_hil import measure

FINITE = st.floats(-1e9, 1e9)


@given(st.lists(FINITE, min_size=1, max_size=200))
def test_percentiles_are_samples_in_order(samples):
    summary = measure.summarise(samples)
    figures = [summary.min, summary.p50, summary.p90, summary.p99, summary.p999, summary.max]
    assert figures == sorted(figures)
    assert set(figures) <= set(map(float, samples))
    assert sum(x <= summary.p50 for x in samples) >= len(samples) / 2


def test_percentiles_of_a_thousand_are_nearest_ranks():
    summary = measure.summarise(range(1, 1001))
    assert (summary.p50, summary.p90, summary.p99, summary.p999, summary.max) == (500, 900, 990, 999, 1000)


@pytest.mark.parametrize("n", [*range(1, 60), 101, 1000, 1001])
def test_the_median_s_ranks_are_the_narrowest_that_keep_their_promise(n):
    def misses(k):
        return 2 * sum(math.comb(n, i) for i in range(k + 1)) / 2**n

    ranks = measure.median_ranks(n)
    if ranks is None:
        assert misses(0) > 0.05
    else:
        assert misses(ranks[0]) <= 0.05 < misses(ranks[0] + 1)
        assert ranks[0] + ranks[1] == n - 1


def test_the_ranks_of_a_million_samples_are_those_of_the_normal_approximation():
    ranks = measure.median_ranks(1_000_000)
    assert ranks is not None
    low, high = ranks
    assert abs((high - low) / 2 - 1.96 * 500) < 3


def test_the_interval_holds_the_median_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(1000):
        summary = measure.summarise(generator.exponential(size=51))
        assert summary.ci95 is not None
        hits += summary.ci95[0] <= math.log(2) <= summary.ci95[1]
    assert hits >= 930


def test_too_few_samples_have_no_interval_and_none_at_all_no_summary():
    assert measure.summarise([1, 2, 3, 4, 5]).ci95 is None
    assert measure.summarise([1, 2, 3, 4, 5, 6]).ci95 == (1, 6)
    with pytest.raises(ValueError, match="no samples"):
        measure.summarise([])
    with pytest.raises(ValueError, match="finite"):
        measure.summarise([1.0, math.nan])


def test_the_calibrated_cost_is_taken_off_each_sample():
    assert list(measure.subtract([30, 40], [9, 10, 11])) == [20, 30]
