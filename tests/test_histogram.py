"""Histograms over a logarithmic axis: no sample is lost, and a few far out are seen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keuos_hil import histogram

AXIS = histogram.edges(10, 1_000, 20)


@given(st.lists(st.floats(-1e6, 1e6), max_size=50))
def test_every_sample_is_in_one_bin(samples):
    assert histogram.counts(samples, AXIS).sum() == len(samples)


def test_bins_are_even_by_ratio_and_what_lies_outside_counts_at_the_ends():
    axis = histogram.edges(1, 1_000, 3)
    assert axis == pytest.approx([1, 10, 100, 1_000])
    assert histogram.counts([0.5, 1, 9.9, 10, 999, 1_000, 5_000], axis).tolist() == [3, 1, 3]


def test_a_single_sample_among_ten_thousand_is_seen():
    drawn = histogram.line([20.0] * 10_000 + [900.0], AXIS)
    assert len(drawn) == 20
    assert drawn.strip(" ")[0] == "█"
    assert drawn[-1] != " "
    assert set(histogram.line([], AXIS)) == {" "}


def test_the_common_axis_holds_all_rows_but_their_rarest_outliers():
    axis = histogram.common_axis({"a": np.full(10_000, 50.0), "b": [400.0, 500.0], "c": [-1.0]}, 8)
    assert axis[0] == 50
    assert axis[-1] == pytest.approx(500, abs=1)
    with pytest.raises(ValueError, match="no sample above zero"):
        histogram.common_axis({"a": [-1.0]}, 8)
    with pytest.raises(ValueError, match="logarithmic axis"):
        histogram.edges(0, 1, 3)


def test_an_axis_of_equal_samples_has_a_width():
    axis = histogram.common_axis({"a": [5.0, 5.0]}, 4)
    assert axis[0] < 5 < axis[-1]
