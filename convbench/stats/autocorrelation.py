"""How much neighbouring points of series resemble each other, over many series of one machine together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise

from convbench.stats.rank_sum import Floats, ranks_of

_FEWEST_POINTS = 6
_BEYOND_DOUBT = 1.645  # standard errors: 95 %, one-sided
_MOST = 0.9


def variance_inflation(series: Sequence[Floats], cuts: Sequence[Iterable[int]]) -> float:
    """By how much the variance of a mean is larger than that of independent points: (1 + r) / (1 - r) (G. E. P. Box and
    others, Time Series Analysis, on first-order autoregression). r is the correlation of neighbours' ranks within the
    segments that `cuts` makes of each series, as far as it is beyond doubt over all of them; without any the result is
    1."""
    products, pairs = 0.0, 0
    for values, places in zip(series, cuts, strict=True):
        for start, stop in pairwise([0, *sorted(places), values.size]):
            points = stop - start
            ranks = ranks_of(values[start:stop]) - (points + 1) / 2 if points >= _FEWEST_POINTS else None
            if ranks is not None and (variance := float(ranks @ ranks) / points) > 0:
                # Of points in any order the sum of the products is minus the variance, not 0.
                products += float(ranks[1:] @ ranks[:-1]) / variance + 1
                pairs += points - 1
    if not pairs:
        return 1.0
    correlation = min(_MOST, max(0.0, products / pairs - _BEYOND_DOUBT / math.sqrt(pairs)))
    return (1 + correlation) / (1 - correlation)
