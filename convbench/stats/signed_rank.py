"""Wilcoxon's signed-rank test of many rows of differences at once.

The statistic is the number of averages of two differences, or of one with itself, that are above 0 (Tukey); a half for
each that is 0. Without a change every difference is as likely to be of either sign, and the statistic's distribution is
that of the sum of those of the ranks 1 to n that a fair coin picks (F. Wilcoxon, Biometrics Bulletin 1, 1945).
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_COUNTED = 64  # differences; beyond so many the statistic is taken as normal


def p_values(differences: Floats) -> Floats:
    """The two-sided p value of each row. A statistic that is no whole number, as with ties, counts as the next one
    nearer to the middle, so that p errs to the large side."""
    size = differences.shape[1]
    first, second = np.triu_indices(size)
    sums = differences[:, first] + differences[:, second]
    above = (sums > 0).sum(axis=1) + (sums == 0).sum(axis=1) / 2
    smaller = np.minimum(above, sums.shape[1] - above)
    if size <= _COUNTED:
        exact: Floats = _table(size)[np.ceil(smaller).astype(np.int64)]
        return exact
    from scipy.special import ndtr

    spread = math.sqrt(size * (size + 1) * (2 * size + 1) / 24)
    tails: Floats = ndtr((smaller + 0.5 - size * (size + 1) / 4) / spread)
    return np.minimum(1, 2 * tails)


@lru_cache(maxsize=128)
def _table(size: int) -> Floats:
    """The two-sided p value of each value up to the middle of the statistic of `size` differences."""
    counts = np.zeros(size * (size + 1) // 2 + 1)
    counts[0] = 1
    for rank in range(1, size + 1):
        counts[rank:] += counts[:-rank].copy()
    return np.minimum(1, 2 * np.cumsum(counts) / 2.0**size)
