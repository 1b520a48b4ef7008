"""Statistics of samples. Pure: numbers in, numbers out. docs/measuring.md says how they are to be read."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}
_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Summary:
    """What is said of a set of samples, in their own unit. Percentiles are samples that occurred (nearest rank).

    `ci95` is a distribution-free interval for the median: two order statistics between which it lies with a
    probability of at least 95 %; None where there are too few samples for that (fewer than six).
    """

    n: int
    min: float
    p50: float
    p90: float
    p99: float
    p999: float
    max: float
    ci95: tuple[float, float] | None


def summarise(samples: ArrayLike) -> Summary:
    """The Summary of one or more samples. Raises ValueError for none, or for one that is not finite."""
    ordered = np.sort(np.asarray(samples, dtype=np.float64).ravel())
    n = len(ordered)
    if not n:
        raise ValueError("no samples")
    if not np.isfinite(ordered).all():
        raise ValueError("a sample is not a finite number")
    ranks = median_ranks(n)
    return Summary(
        n=n,
        min=float(ordered[0]),
        max=float(ordered[-1]),
        ci95=None if ranks is None else (float(ordered[ranks[0]]), float(ordered[ranks[1]])),
        **{name: float(ordered[max(math.ceil(q * n) - 1, 0)]) for name, q in PERCENTILES.items()},
    )


def median_ranks(n: int, confidence: float = _CONFIDENCE) -> tuple[int, int] | None:
    """Indices, from 0, of the order statistics that enclose the median with `confidence`, or None if n is too small.

    The number of samples below the median is binomial(n, 1/2); the interval [k, n-1-k] misses it with probability
    2 P(X <= k). David and Nagaraja, Order Statistics, section 7.1.
    """
    tail = (1 - confidence) / 2
    log_half = -n * math.log(2)
    below, k = 0.0, -1
    # P(X <= k) is negligible far from the middle; start where it is not.
    start = max(0, int(n / 2 - 20 * math.sqrt(n) / 2) - 1)
    for i in range(start, n // 2):
        below += math.exp(math.lgamma(n + 1) - math.lgamma(i + 1) - math.lgamma(n - i + 1) + log_half)
        if below > tail:
            break
        k = i
    return None if k < 0 else (k, n - 1 - k)


def subtract(samples: ArrayLike, calibration: ArrayLike) -> NDArray[np.float64]:
    """Samples less the median cost of taking one: `calibration` is the empty operation, same run, same clock."""
    return np.asarray(samples, dtype=np.float64) - summarise(calibration).p50
