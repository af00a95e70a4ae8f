"""Change points of series of positive values: where they step, by how much, and how sure that is.

Without a change all orders of the points are taken as equally likely. Slow runs do not break this, however many;
autocorrelation does, so it is estimated over many series and allowed for. Drift shows as steps, marked `gradual` if a
straight line fits better.

k points against n - k cannot have a p value below 2 / (n choose k): the newest 2 of 40 are never a step; the newest 3
are one if few series are tested or many step alike, and the newest 5 even among thousands.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike

from convbench.stats.estimates import MAD_TO_SIGMA, NORMAL_QUANTILE
from convbench.stats.rank_sum import Floats, Shift, ranks_of, shift_between
from convbench.stats.ratio import Ratio
from convbench.stats.segmentation import Cuts, Observed, cuts_of_all

FALSE_DISCOVERY_RATE = 0.05
FEWEST_IN_SEGMENT = 3


@dataclass(frozen=True)
class ChangePoint:
    """A step at `index`, up to the next change. `before` and `after` are the medians of the two segments; `ratio` is
    the median of all ratios of a value after to one before, which is steadier than the ratio of the medians."""

    index: int
    before: float
    after: float
    ratio: Ratio
    p_value: float
    """The chance of a change as clear as this somewhere in its window, if there were none."""
    q_value: float
    """The smallest false discovery rate, over everything tested along with it, at which it counts."""
    gradual: bool
    """Whether a straight line through both segments fits better than the step."""


def change_points_of_all(
    series: Sequence[ArrayLike],
    intervals: Sequence[ArrayLike | None] | None = None,
    groups: Sequence[Hashable] | None = None,
    *,
    min_segment: int = FEWEST_IN_SEGMENT,
    min_magnitude: float = 0.0,
    rate: float = FALSE_DISCOVERY_RATE,
) -> list[tuple[ChangePoint, ...]]:
    """The change points of every series, in order, with a false discovery rate of at most `rate` over all of them.

    series: (n,) positive values each. intervals: for each the (n, 2) lows and highs of its points, 95 %, or NaN; a
    point with a wide interval counts less. groups: for each its group of equal autocorrelation, such as its machine.
    `min_segment`: points between two changes, before the first and from the last on. `min_magnitude`: 0.03 leaves out
    steps of less than 3 %. Raises `ValueError` for values that are not positive numbers, intervals of another length, a
    `min_segment` below 1 or a `min_magnitude` below 0.
    """
    if min_segment < 1 or min_magnitude < 0:
        raise ValueError(f"min_segment is {min_segment}, at least 1; min_magnitude is {min_magnitude}, at least 0")
    all_intervals = intervals if intervals is not None else [None] * len(series)
    logs = list(map(_logs, series))
    errors = [_standard_errors(pairs, one.size) for one, pairs in zip(logs, all_intervals, strict=True)]
    observed = list(map(Observed, logs, errors))
    cuts = cuts_of_all(observed, min_segment, rate)
    allowing = _allowing_for_autocorrelation(observed, cuts, groups if groups is not None else [None] * len(series))
    if allowing != observed:
        cuts = cuts_of_all(allowing, min_segment, rate)
    return [_steps(one.values, places, min_magnitude) for one, places in zip(observed, cuts, strict=True)]


def noise_of(values: ArrayLike, changes: Sequence[ChangePoint] = ()) -> float:
    """The spread of single points about their segment's level, as a standard deviation of logarithms (0.03 is 3 %):
    from the median absolute deviation, which slow runs hardly move."""
    logs = _logs(values)
    edges = [0, *(change.index for change in changes), logs.size]
    parts = [logs[a:b] for a, b in pairwise(edges)]
    return float(MAD_TO_SIGMA * np.median(np.abs(np.concatenate([part - np.median(part) for part in parts]))))


def _allowing_for_autocorrelation(
    series: Sequence[Observed], cuts: Sequence[Cuts], groups: Sequence[Hashable]
) -> list[Observed]:
    members: dict[Hashable, list[int]] = {}
    for which, group in enumerate(groups):
        members.setdefault(group, []).append(which)
    allowing = list(series)
    for alike in members.values():
        inflation = variance_inflation([series[which].values for which in alike], [cuts[which] for which in alike])
        if inflation > 1:
            for which in alike:
                allowing[which] = replace(series[which], inflation=inflation)
    return allowing


def _logs(values: ArrayLike) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not (np.isfinite(array) & (array > 0)).all():
        raise ValueError(f"a series is one row of positive numbers, not an array of shape {array.shape}: {array}")
    return np.log(array)


def _standard_errors(intervals: ArrayLike | None, points: int) -> Floats | None:
    """Standard errors of the logarithms. A point without an interval gets the median of the others."""
    if intervals is None:
        return None
    pairs = np.asarray(intervals, dtype=np.float64)
    if pairs.shape != (points, 2):
        raise ValueError(f"{points} points have intervals of shape ({points}, 2), not {pairs.shape}")
    with np.errstate(divide="ignore", invalid="ignore"):
        errors = np.log(pairs[:, 1] / pairs[:, 0]) / (2 * NORMAL_QUANTILE)
    known = np.isfinite(errors) & (errors >= 0)
    return np.where(known, errors, np.median(errors[known])) if known.any() else None


def _steps(logs: Floats, cuts: Cuts, min_magnitude: float) -> tuple[ChangePoint, ...]:
    """The cuts as steps. Too small ones are removed, the smallest first, and the segments beside them merged."""
    places = sorted(cuts)
    while places:
        parts = [logs[a:b] for a, b in pairwise([0, *places, logs.size])]
        shifts = [shift_between(old, new) for old, new in pairwise(parts)]
        smallest = min(range(len(places)), key=lambda which: abs(shifts[which].value))
        if abs(shifts[smallest].value) > math.log1p(min_magnitude):
            steps = zip(places, pairwise(parts), shifts, strict=True)
            return tuple(_step(place, *sides, shift, *cuts[place]) for place, sides, shift in steps)
        del places[smallest]
    return ()


def _step(place: int, old: Floats, new: Floats, shift: Shift, p_value: float, q_value: float) -> ChangePoint:
    before, after = float(np.median(old)), float(np.median(new))
    gradual = _off_line(np.concatenate([old, new])) < np.abs(old - before).sum() + np.abs(new - after).sum()
    return ChangePoint(place, math.exp(before), math.exp(after), Ratio.of_logs(*shift), p_value, q_value, bool(gradual))


def _off_line(logs: Floats) -> float:
    """Sum of the distances from a line whose slope is the median slope between points half a series apart."""
    half = logs.size // 2
    slope = np.median(logs[half:] - logs[: logs.size - half]) / half
    off = logs - slope * np.arange(logs.size)
    return float(np.abs(off - np.median(off)).sum())


_FEWEST_POINTS = 6
_BEYOND_DOUBT = 1.645  # standard errors: 95 %, one-sided
_MOST = 0.9


def variance_inflation(series: Sequence[Floats], cuts: Sequence[Iterable[int]]) -> float:
    """By how much the variance of a mean exceeds that of independent points: (1 + r) / (1 - r) (G. E. P. Box and
    others, Time Series Analysis, on first-order autoregression). r is the correlation of neighbours' ranks within the
    segments that `cuts` makes of each series, as far as it is beyond doubt over all of them, or 0."""
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
