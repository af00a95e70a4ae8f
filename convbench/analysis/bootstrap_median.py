"""Medians of bootstrap samples, drawn from their distribution: no sample is drawn and sorted for each.

A bootstrap sample takes n of n values, with replacement. Its middle elements are elements of the sorted values, at
ranks whose distribution depends on n alone. Of an odd number n = 2k + 1, the middle one has rank r or less with
probability I_{(r + 1)/n}(k + 1, k + 1), the regularized incomplete beta function (H. A. David and H. N. Nagaraja, Order
Statistics, 3rd ed., 2003, section 2.1). Of an even number there are two; their joint distribution is made of powers.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

_CELLS = 2**16  # in which probabilities are counted
_LARGEST_TABLE = 500  # values; for more, ranks are drawn from beta distributions


def bootstrap_medians(values: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """The medians of `count` bootstrap samples of `values` (n,), each in its distribution to within 2^-16."""
    ordered = np.sort(values)
    if values.size > _LARGEST_TABLE:
        below, above = _drawn_ranks(values.size, count, rng)
        return np.asarray((ordered[below] + ordered[above]) / 2)
    below, above, cells = _ranks(values.size)
    medians = (ordered[below] + ordered[above]) / 2
    return np.asarray(medians[cells[rng.integers(0, _CELLS, count, dtype=np.uint16)]])


@lru_cache(maxsize=256)
def _ranks(n: int) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.uint16]]:
    """The pairs of ranks that the middle elements may have, and for each of `_CELLS` equal shares of probability the
    pair that it belongs to."""
    joint = _of_one_rank(n) if n % 2 else _of_two_ranks(n)
    below, above = np.nonzero(np.triu(joint))
    edges = np.rint(_CELLS * joint[below, above].cumsum()).astype(np.int64)
    shares = np.diff(np.minimum(edges, _CELLS), prepend=0)
    shares[np.argmax(shares)] += _CELLS - shares.sum()
    kept = shares > 0
    pairs = np.arange(np.count_nonzero(kept), dtype=np.uint16)
    return below[kept], above[kept], np.repeat(pairs, shares[kept])


def _of_one_rank(n: int) -> NDArray[np.float64]:
    """The probability of each rank of the middle element, on the diagonal: (n, n)."""
    from scipy.special import betainc

    k = n // 2
    return np.diag(np.diff(betainc(k + 1, k + 1, np.arange(n + 1) / n)))


def _of_two_ranks(n: int) -> NDArray[np.float64]:
    """The probability that the middle elements have ranks i and j, at [i, j]: (n, n).

    Where i < j, half of the sample is at i or below, some of it at i, and half is at j or above, some of it at j. What
    the lower one's own distribution leaves is for i = j.
    """
    from scipy.special import betainc, comb

    k, places = n // 2, np.arange(n + 1) / n
    at_or_below = np.diff(places**k)
    of_lower = np.diff(betainc(k, k + 1, places))
    joint = np.triu(comb(n, k) * np.outer(at_or_below, at_or_below[::-1]), 1)
    return np.asarray(joint + np.diag(np.maximum(0.0, of_lower - joint.sum(1))))


def _drawn_ranks(n: int, count: int, rng: np.random.Generator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Ranks of the middle elements of `count` samples: order statistics of n uniform numbers, n times."""
    k = (n + 1) // 2
    lower = rng.beta(k, n - k + 1, count)
    # Of the n - k numbers above it, evenly spread up to 1, the least.
    upper = lower if n % 2 else 1 - (1 - lower) * rng.random(count) ** (1 / k)
    below, above = (np.minimum((n * middle).astype(np.intp), n - 1) for middle in (lower, upper))
    return below, above
