"""Mann-Whitney's statistic: its two-sided p values, exact where that matters, and what they are worth as the smallest
of many.

Without a change every order of the points is equally likely, whatever their distribution, so a slow run shifts no p
value.

Sources: H. B. Mann and D. R. Whitney, Ann. Math. Stat. 18 (1947), for U and its counts, the coefficients of a Gaussian
binomial; K. J. Worsley, Biometrika 69 (1982), for the improved Bonferroni bound on the largest of neighbours.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Counted up to these; beyond them U is taken as normal, whose tails are heavier than its own: p errs to the large side.
_COUNTED_POINTS = 64
_COUNTED_SMALLER_SIDE = 12
_LEVEL = 0.05
_WORTH_A_LOOK = math.log(0.5)
_LEAST = 1e-300  # the smallest p value
_NODES, _WEIGHTS = np.polynomial.laguerre.laggauss(24)


def ranks_of(values: Floats) -> Floats:
    """1 to n; equal values share the mean of theirs."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]


def smaller_u(rank_sums: Floats, sizes: Integers, points: int) -> Floats:
    """U of `sizes` points whose ranks among all `points` add up to `rank_sums`, or the others' if smaller."""
    u = rank_sums - sizes * (sizes + 1) / 2
    return np.minimum(u, sizes * (points - sizes) - u)


def log_p(points: int, sizes: Integers, u: Floats) -> Floats:
    """The logarithm of the chance, if nothing changed, that U of `sizes` of `points` is as far out as `u`, either way.
    `u` is the smaller of the two U, as `smaller_u` gives it; with ties it may be a half, and is taken up to the next.
    """
    from scipy.special import log_ndtr

    table = _table(points)
    smaller = np.minimum(sizes, points - sizes)
    counted = smaller < table.shape[0]
    logs = np.empty(u.shape)
    logs[counted] = table[smaller[counted], np.ceil(u[counted]).astype(np.int64)]
    if not counted.all():
        pairs = (smaller * (points - smaller))[~counted]
        z = (u[~counted] + 0.5 - pairs / 2) / np.sqrt(pairs * (points + 1) / 12)
        logs[~counted] = np.minimum(0, math.log(2) + log_ndtr(z))
    return logs


def p_of_difference(before: Floats, after: Floats) -> float:
    """Mann-Whitney's two-sided p value for two sets of numbers."""
    points = before.size + after.size
    sums = ranks_of(np.concatenate([before, after]))[: before.size].sum(keepdims=True)
    size = np.array([before.size])
    return math.exp(log_p(points, size, smaller_u(sums, size, points))[0])


def p_of_best_split(points: int, fewest: int, best: float, inflation: float = 1.0) -> float:
    """The chance, if nothing changed, that a split of `points` in two parts of at least `fewest` has a p value whose
    logarithm is as low as `best`: an estimate that errs to the large side, the more so the more points. `inflation`:
    how much more rank sums vary than those of independent points."""
    if _inflated(best, inflation) > _WORTH_A_LOOK:
        return 1.0
    sizes = np.arange(fewest, points - fewest + 1)
    chances = _chances(points, sizes, best, inflation)
    return min(1.0, float(chances[0] + _further(points, sizes, chances, _inflated(best, inflation)).sum()))


def p_of_best_stretch(points: int, fewest: int, best: float, inflation: float = 1.0) -> float:
    """Likewise that one of the stretches within `points` has, against all the rest, a p value as low as `best` says. A
    stretch and what is before and behind it are of at least `fewest` points each."""
    sizes = np.arange(fewest, points - 2 * fewest + 1)
    if not sizes.size or _inflated(best, inflation) > _WORTH_A_LOOK:
        return 1.0
    # A stretch differs from one shorter by a point as a split does from the one before it.
    places = points - sizes - 2 * fewest + 1
    chances = _chances(points, sizes, best, inflation)
    further = _further(points, sizes, chances, _inflated(best, inflation))
    return min(1.0, float(places[0] * chances[0] + places[1:] @ further))


class Shift(NamedTuple):
    """How far one set of points lies above another, and [low, high], which holds the true shift with 95 % confidence;
    with too few points for that `covers` is false and it is the range."""

    value: float
    low: float
    high: float
    covers: bool


def shift_between(before: Floats, after: Floats) -> Shift:
    """The median of all differences of a point after and one before, with the shifts that the test does not rule out.
    (J. L. Hodges and E. L. Lehmann, Ann. Math. Stat. 34, 1963.)"""
    differences = np.sort(np.subtract.outer(after, before), axis=None)
    value = float(np.median(differences))
    u = np.arange(differences.size // 2 + 1, dtype=np.float64)
    sizes = np.full(u.shape, before.size)
    ruled_out = int(np.searchsorted(log_p(before.size + after.size, sizes, u), math.log(_LEVEL), side="right"))
    rank = min(max(0, ruled_out - 1), (differences.size - 1) // 2)
    return Shift(value, float(differences[rank]), float(differences[-1 - rank]), ruled_out > 0)


@lru_cache(maxsize=128)
def _table(points: int) -> Floats:
    """The logarithms of two-sided p by the size of the smaller side and by U up to the middle; 0 beyond."""
    most = points // 2 if points <= _COUNTED_POINTS else _COUNTED_SMALLER_SIDE
    length = most * (points - most) // 2 + 2  # one more: half a U is taken up to the next
    table = np.zeros((most + 1, length))
    counts = np.zeros(length)
    counts[0] = 1
    for size in range(1, most + 1):
        # The Gaussian binomial of `size` is that of `size - 1` times (1 - q^(points - size + 1)) / (1 - q^size).
        away = points - size + 1
        times = counts.copy()
        times[away:] -= counts[: max(0, length - away)]
        rows = np.pad(times, (0, -length % size)).reshape(-1, size)
        counts = np.cumsum(rows, axis=0).reshape(-1)[:length]
        middle = size * (points - size) // 2 + 1
        table[size, :middle] = np.minimum(0, np.log(2 * np.cumsum(counts[:middle]) / math.comb(points, size)))
    return table


def _inflated(log: float, inflation: float) -> float:
    """The logarithm of a two-sided p value as it is when the statistic varies that much more."""
    from scipy.special import log_ndtr, ndtri_exp

    if inflation == 1 or log > _WORTH_A_LOOK:
        return log
    return min(0.0, float(math.log(2) + log_ndtr(ndtri_exp(log - math.log(2)) / math.sqrt(inflation))))


def _chances(points: int, sizes: Integers, best: float, inflation: float) -> Floats:
    """For each size the largest p that can occur and is not above exp(`best`): 0 where so few cannot say so much."""
    table = _table(points)
    chances = np.full(sizes.shape, math.exp(_inflated(best, inflation)))
    for place, size in enumerate(np.minimum(sizes, points - sizes)):
        if size < table.shape[0]:
            row = table[size, : size * (points - size) // 2 + 1]
            within = np.searchsorted(row, best, side="right")
            chances[place] = math.exp(_inflated(row[within - 1], inflation)) if within else 0.0
    return chances


def _further(points: int, sizes: Integers, chances: Floats, best: float) -> Floats:
    """The chance that a statistic is this far out while its neighbour, of one point less, is not: of two normal
    variables with the correlation of neighbouring rank sums, integrated by Gauss and Laguerre. Where the neighbour
    cannot be so far out, and never more than, the chance that the statistic is."""
    from scipy.special import ndtr, ndtri

    size = sizes[:-1]
    bound = -ndtri(max(math.exp(best), _LEAST) / 2)
    correlation = np.sqrt(size * (points - size - 1) / ((size + 1) * (points - size)))[:, None]
    z = bound + _NODES / bound
    weights = 2 * _WEIGHTS / bound * np.exp(_NODES - z * z / 2) / math.sqrt(2 * math.pi)
    spread = np.sqrt(1 - correlation**2)
    inside = ndtr((bound - correlation * z) / spread) - ndtr((-bound - correlation * z) / spread)
    return np.minimum(np.where(chances[:-1] > 0, inside @ weights, 1.0), chances[1:])


def q_values(p_values: Sequence[float]) -> list[float]:
    """For each p value the smallest rate of false discoveries at which it is one.

    Y. Benjamini and Y. Hochberg, J. R. Stat. Soc. B 57 (1995). (SciPy's takes most of a second to import.)
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p)[::-1]
    smallest = np.minimum.accumulate((p[order] * p.size) / np.arange(p.size, 0, -1))
    q = np.empty(p.size)
    q[order] = np.minimum(smallest, 1)
    return q.tolist()
