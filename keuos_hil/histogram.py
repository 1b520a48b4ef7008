"""Distributions of samples over a logarithmic axis: counts for a plot, and a line of blocks for a terminal. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

_BLOCKS = " ▁▂▃▄▅▆▇█"


def edges(low: float, high: float, bins: int) -> NDArray[np.float64]:
    """`bins` + 1 edges, evenly apart by ratio, from `low` to `high`. Raises ValueError unless 0 < low <= high."""
    if not 0 < low <= high or not math.isfinite(high):
        raise ValueError(f"a logarithmic axis from {low} to {high}")
    if high < low * 1.01:
        low, high = low / 1.1, high * 1.1
    return np.geomspace(low, high, bins + 1)


def counts(samples: ArrayLike, axis: NDArray[np.float64]) -> NDArray[np.int64]:
    """How many samples lie in each bin; what lies outside the axis counts at its ends, so that none is left out."""
    inside = np.clip(np.asarray(samples, dtype=np.float64).ravel(), axis[0], axis[-1])
    at = np.clip(np.searchsorted(axis, inside, side="right") - 1, 0, len(axis) - 2)
    return np.bincount(at, minlength=len(axis) - 1)


def line(samples: ArrayLike, axis: NDArray[np.float64]) -> str:
    """A block for each bin; its height goes with the logarithm of its count, so that a tail of few samples is seen."""
    found = counts(samples, axis)
    top = math.log1p(float(found.max())) if found.any() else 1.0
    heights = [math.ceil(math.log1p(float(count)) / top * (len(_BLOCKS) - 1)) for count in found]
    return "".join(_BLOCKS[height] for height in heights)


def common_axis(rows: Mapping[str, ArrayLike], bins: int) -> NDArray[np.float64]:
    """One axis for several rows: from the least sample above zero to the largest 99.9th percentile.

    Raises ValueError if no row has a sample above zero.
    """
    arrays = [np.asarray(samples, dtype=np.float64).ravel() for samples in rows.values()]
    above = [samples[samples > 0] for samples in arrays]
    above = [samples for samples in above if len(samples)]
    if not above:
        raise ValueError("no sample above zero")
    low = min(float(samples.min()) for samples in above)
    return edges(low, max(float(np.quantile(samples, 0.999)) for samples in above), bins)
