"""The median of samples with an interval for it that assumes nothing of their distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

CONFIDENCE = 0.95
FEWEST_FOR_INTERVAL = 6


@dataclass(frozen=True)
class Estimate:
    """A median, and an interval [low, high] that covers the true one with at least 95 % confidence.

    With fewer than 6 samples there is no such interval; low and high are then the range seen, and `covers` is false.
    """

    median: float
    low: float
    high: float
    covers: bool

    @property
    def relative_half_width(self) -> float:
        return (self.high - self.low) / 2 / self.median if self.median > 0 else math.inf


def estimate_median(samples: Sequence[float]) -> Estimate:
    """The median and the narrowest pair of order statistics around it that covers it, by the binomial distribution
    (David and Nagaraja, Order Statistics, 3rd ed., section 7.1). Raises `ValueError` without samples."""
    if not samples:
        raise ValueError("no samples to estimate a median from")
    ordered = sorted(samples)
    n = len(ordered)
    rank = _covering_rank(n)
    return Estimate(median(ordered), ordered[rank], ordered[n - 1 - rank], n >= FEWEST_FOR_INTERVAL)


def _covering_rank(n: int) -> int:
    """The largest r with P(r < B < n - r) >= 95 %, B binomial(n, 1/2): how many samples to leave out at either end."""
    outcomes, rank = 0, 0  # of 2^n, so that no n is too large for a float
    for r in range(n // 2):
        outcomes += math.comb(n, r)
        if 2 * outcomes / 2**n > 1 - CONFIDENCE:
            break
        rank = r
    return rank
