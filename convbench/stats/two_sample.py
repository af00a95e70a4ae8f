"""Two-sample comparison of positive numbers, for many pairs of samples at once: ratio, interval and p value.

Paired samples: the median of the ratios with its interval, and Wilcoxon's signed-rank test. Independent samples: the
ratio of the medians, with Hodges and Lehmann's interval for a shift of logarithms, which holds what Mann and Whitney's
test does not rule out and is widened to hold the ratio. Both tests are exact, assume nothing about the distribution,
and are counted from differences of pairs of values, thousands of samples in one step. Few values, such as the levels of
few processes, are compared by B. L. Welch's test.

Sources: J. L. Hodges and E. L. Lehmann, Ann. Math. Stat. 34 (1963); J. W. Tukey's identity of the signed-rank statistic
with the number of positive averages of pairs, in M. Hollander, D. A. Wolfe, E. Chicken, Nonparametric Statistical
Methods, 3rd ed. (2014), chapters 3 and 4; F. Wilcoxon, Biometrics Bulletin 1 (1945).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import fmean, variance
from typing import NamedTuple

import numpy as np

from convbench.stats.estimates import (
    CONFIDENCE,
    FEWEST_FOR_INTERVAL,
    FEWEST_PROCESSES,
    estimate_median,
    student_quantile,
)
from convbench.stats.ragged import Floats, Ragged, normal_spread
from convbench.stats.rank_sum import log_p
from convbench.stats.ratio import Ratio

_MOST_SAMPLES = 500  # per side; of more, evenly spread ones are taken
_AT_ONCE = 1 << 22  # differences, 32 MiB


class TwoSample(NamedTuple):
    """How many times larger the second sample is than the first, the p value of their being alike, and the spread of
    the ratios of paired samples, as a standard deviation of logarithms (0 for independent ones)."""

    ratio: Ratio
    p_value: float
    spread: float = 0.0


def independent(first: Ragged, second: Ragged) -> list[TwoSample]:
    """Compare independent samples row by row; no row may be empty."""
    return _in_groups(first, second, _independent)


def paired(first: Ragged, second: Ragged) -> list[TwoSample]:
    """Compare paired samples row by row. No row may be empty, and both rows of a pair have one length."""
    return _in_groups(first, second, _paired)


def _in_groups(
    first: Ragged, second: Ragged, compare: Callable[[Floats, Floats], tuple[bool, list[Floats]]]
) -> list[TwoSample]:
    """`compare` all pairs of rows, those of the same lengths together."""
    if not len(first):
        return []
    first, second = first.thinned(_MOST_SAMPLES), second.thinned(_MOST_SAMPLES)
    lengths, members = np.unique(np.stack((first.sizes, second.sizes)), axis=1, return_inverse=True)
    order = np.argsort(members, kind="stable")
    groups = np.split(order, np.searchsorted(members[order], np.arange(1, lengths.shape[1])))
    results: list[TwoSample] = []
    for (size, other), group in zip(lengths.T.tolist(), groups, strict=True):
        for some in np.split(group, range(at := max(1, _AT_ONCE // (size * other)), len(group), at)):
            covers, columns = compare(first.matrix(some), second.matrix(some))
            for value, low, high, p_value, spread in zip(*(c.tolist() for c in columns), strict=True):
                results.append(TwoSample(Ratio(value, low, high, covers), p_value, spread))
    return [results[place] for place in np.argsort(order, kind="stable").tolist()]


def _independent(first: Floats, second: Floats) -> tuple[bool, list[Floats]]:
    """Whether there are intervals; and the ratios, their lows and highs, p values and spreads."""
    size, other = first.shape[1], second.shape[1]
    values = np.median(second, axis=1) / np.median(first, axis=1)
    differences = (np.log(second)[:, :, None] - np.log(first)[:, None, :]).reshape(len(first), -1)
    covers = min(size, other) >= FEWEST_FOR_INTERVAL
    # In float32, which keeps signs and seven digits, they are sorted twice as fast.
    low, high = _order_statistics(differences.astype(np.float32), _left_out(size, other) if covers else 0)
    u = (differences > 0).sum(axis=1) + (differences == 0).sum(axis=1) / 2
    smaller = np.minimum(np.minimum(u, size * other - u), size * other // 2)  # no half at the middle: p is 1 there
    p_values = np.exp(log_p(size + other, np.full(len(u), size), smaller)) if covers else np.ones(len(u))
    low, high = np.minimum(np.exp(low), values), np.maximum(np.exp(high), values)
    return covers, [values, low, high, p_values, np.zeros_like(values)]


def _paired(first: Floats, second: Floats) -> tuple[bool, list[Floats]]:
    ratios = second / first
    size = ratios.shape[1]
    covers = size >= FEWEST_FOR_INTERVAL
    # How many to leave out at either end is what the interval of 0, 1, ..., n - 1 begins with.
    low, high = _order_statistics(ratios, int(estimate_median(range(size)).low))
    p_values = signed_rank_p_values(np.log(ratios)) if covers else np.ones(len(ratios))
    return covers, [np.median(ratios, axis=1), low, high, p_values, normal_spread(np.log(ratios))]


def _left_out(size: int, other: int) -> int:
    """How many differences lie below the interval, and above it: one fewer than make the test reject equality."""
    u = np.arange(size * other // 2 + 1, dtype=np.float64)
    logs = log_p(size + other, np.full(u.shape, size), u)
    return int(np.searchsorted(logs, np.log(1 - CONFIDENCE), side="right")) - 1


def _order_statistics(rows: Floats, left_out: int) -> tuple[Floats, Floats]:
    """In each row the values with `left_out` others below, and above."""
    ordered = np.sort(rows, axis=1)  # which NumPy does faster than a partition
    return ordered[:, left_out], ordered[:, -1 - left_out]


_COUNTED_DIFFERENCES = 64  # differences; beyond so many the statistic is taken as normal


def signed_rank_p_values(differences: Floats) -> Floats:
    """The two-sided p value of each row. A statistic that is no whole number, as with ties, counts as the next one
    nearer to the middle, so that p errs to the large side."""
    size = differences.shape[1]
    first, second = np.triu_indices(size)
    sums = differences[:, first] + differences[:, second]
    above = (sums > 0).sum(axis=1) + (sums == 0).sum(axis=1) / 2
    smaller = np.minimum(above, sums.shape[1] - above)
    if size <= _COUNTED_DIFFERENCES:
        return np.asarray(_signed_rank_table(size)[np.ceil(smaller).astype(np.int64)])
    from scipy.special import ndtr

    spread = math.sqrt(size * (size + 1) * (2 * size + 1) / 24)
    tails: Floats = ndtr((smaller + 0.5 - size * (size + 1) / 4) / spread)
    return np.minimum(1, 2 * tails)


@lru_cache(maxsize=128)
def _signed_rank_table(size: int) -> Floats:
    """The two-sided p value of each value up to the middle of the statistic of `size` differences."""
    counts = np.zeros(size * (size + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, size + 1):
        counts[rank:] += counts[:-rank].copy()
    return np.minimum(1, 2 * np.cumsum(counts) / 2.0**size)


def of_groups(first: Sequence[float], second: Sequence[float]) -> TwoSample:
    """Compare two groups of logarithms, such as the levels of processes, of which one or two may be far off: by Hodges
    and Lehmann's estimate and interval and by Mann and Whitney's test. One bad process makes Welch's interval, which
    needs the variance of each group, so wide that no difference is left to be seen. It is for groups of fewer than 6,
    and for those of different sizes, which may vary differently; of fewer than 3 there is the range of all differences,
    with a p value of 1."""
    size, other = len(first), len(second)
    if size != other or size < FEWEST_FOR_INTERVAL:
        return _welch(first, second)
    differences = np.sort(np.subtract.outer(second, first), axis=None)
    out = _left_out(size, other)
    u = float((differences > 0).sum() + (differences == 0).sum() / 2)
    smaller = np.array([min(u, size * other - u, size * other // 2)])
    p_value = math.exp(log_p(size + other, np.array([size]), smaller)[0])
    centre, low, high = (float(value) for value in (np.median(differences), differences[out], differences[-1 - out]))
    return TwoSample(Ratio.of_logs(centre, low, high), p_value)


def _welch(first: Sequence[float], second: Sequence[float]) -> TwoSample:
    """Compare the means of two groups of logarithms that may vary differently (Welch, Biometrika 34, 1947)."""
    centre = fmean(second) - fmean(first)
    if min(len(first), len(second)) < FEWEST_PROCESSES:
        low, high = min(second) - max(first), max(second) - min(first)
        return TwoSample(Ratio.of_logs(centre, low, high, covers=False), 1.0)
    variances = [variance(values) / len(values) for values in (first, second)]
    squares = [v**2 / (len(values) - 1) for v, values in zip(variances, (first, second), strict=True)]
    degrees = sum(variances) ** 2 / sum(squares) if sum(squares) > 0 else len(first) + len(second) - 2
    error = math.sqrt(sum(variances))
    half = student_quantile(math.floor(10 * degrees) / 10) * error  # rounded down, to the wider side
    return TwoSample(Ratio.of_logs(centre, centre - half, centre + half), _p_of_student(centre, error, degrees))


def _p_of_student(centre: float, error: float, degrees: float) -> float:
    """The two-sided p value that the mean is 0."""
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if centre else 1.0
    return float(2 * stdtr(degrees, -abs(centre) / error))
