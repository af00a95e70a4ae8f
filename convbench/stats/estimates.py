"""The time of a call from samples, with an interval: of one process, and of several processes.

Within a process it is the median, with an interval that assumes nothing of the distribution. Of several, a process is
one observation, because its variation (where its memory lies) is in all of its samples alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from statistics import fmean, median, stdev

CONFIDENCE = 0.95
NORMAL_QUANTILE = 1.96
"""Standard errors that a 95 % interval of what is normal reaches to either side."""
MAD_TO_SIGMA = 1.4826
"""The standard deviation of normal values over the median of how far they lie from their median."""
FEWEST_FOR_INTERVAL = 6
FEWEST_PROCESSES = 3
"""For an interval over processes: Student's factor for two is 12.7."""


@dataclass(frozen=True)
class Estimate:
    """A median, and an interval [low, high] that covers the true one with at least 95 % confidence. With fewer than 6
    samples, or of two processes, low and high are the range seen and `covers` is false. Of several `processes`,
    `median` is the geometric mean of their medians."""

    median: float
    low: float
    high: float
    covers: bool
    processes: int = 1

    @property
    def interval(self) -> str:
        if not self.covers:
            return "range"
        return "median, 95 %" if self.processes == 1 else "process medians, Student's t, 95 %"

    @property
    def relative_half_width(self) -> float:
        return (self.high - self.low) / 2 / self.median if self.median > 0 else math.inf

    def widened(self, half_width: float) -> Estimate:
        """The same with an interval that includes an independent error, whose own 95 % interval is `half_width` to
        either side on a logarithmic scale: half-widths of independent errors add up as their squares do."""
        if self.low <= 0:
            return self
        below, above = math.log(self.median / self.low), math.log(self.high / self.median)
        low = self.median * math.exp(-math.hypot(below, half_width))
        return replace(self, low=low, high=self.median * math.exp(math.hypot(above, half_width)))


def estimate_median(samples: Sequence[float]) -> Estimate:
    """The median and the narrowest pair of order statistics around it that covers it, by the binomial distribution
    (David and Nagaraja, Order Statistics, 3rd ed., section 7.1). Raises `ValueError` without samples."""
    if not samples:
        raise ValueError("no samples to estimate a median from")
    ordered = sorted(samples)
    n = len(ordered)
    rank = _covering_rank(n)
    return Estimate(median(ordered), ordered[rank], ordered[n - 1 - rank], n >= FEWEST_FOR_INTERVAL)


def estimate_over_processes(processes: Sequence[Sequence[float]]) -> Estimate:
    """The time of a call from the samples (positive) of each process.

    Of one process, its median. Of 3 or more the geometric mean of their medians, with Student's interval: the spread of
    the medians holds both the variation between processes and the noise within (Kalibera and Jones, Rigorous
    benchmarking in reasonable time, ISMM 2013: the interval comes from the highest level that is repeated). Of two the
    same mean, with the range of their intervals. Raises `ValueError` without samples.
    """
    estimates = [estimate_median(samples) for samples in processes]
    if len(estimates) == 1:
        return estimates[0]
    medians = [estimate.median for estimate in estimates]
    if not medians or min(medians) <= 0:
        return estimate_median(medians)
    logs = [math.log(value) for value in medians]
    centre, m = fmean(logs), len(logs)
    if m < FEWEST_PROCESSES:
        low, high = min(e.low for e in estimates), max(e.high for e in estimates)
        return Estimate(math.exp(centre), low, high, False, m)
    half = student_quantile(m - 1) * stdev(logs) / math.sqrt(m)
    return Estimate(math.exp(centre), math.exp(centre - half), math.exp(centre + half), True, m)


@cache
def student_quantile(degrees: float) -> float:
    """The factor of Student's two-sided 95 % interval."""
    from scipy.special import stdtrit

    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))


def _covering_rank(n: int) -> int:
    """The largest r with P(r < B < n - r) >= 95 %, B binomial(n, 1/2): how many samples to leave out at either end."""
    outcomes, rank = 0, 0  # of 2^n, so that no n is too large for a float
    for r in range(n // 2):
        outcomes += math.comb(n, r)
        if 2 * outcomes / 2**n > 1 - CONFIDENCE:
            break
        rank = r
    return rank
