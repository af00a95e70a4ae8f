"""Where series are best cut: circular binary segmentation by ranks, all series together, with honest p values.

A. B. Olshen and others, Biostatistics 5 (2004), do it by means. A window is cut where Mann-Whitney's test tells the two
sides apart best, or around the stretch that it tells best from the rest; the p value allows for every cut looked at.
Its parts are the next windows. Benjamini and Hochberg's control of the false discovery rate admits the cuts of all
series, level by level.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from convbench.stats.estimates import MAD_TO_SIGMA
from convbench.stats.rank_sum import Floats, log_p, p_of_best_split, p_of_best_stretch, q_values, ranks_of, smaller_u

FEWEST_POINTS = 8
"""Of fewer no order is rarer than 5 %, with the best cut allowed for."""

Cuts = dict[int, tuple[float, float]]
"""Where a series is cut, with the p and the q value that each cut was made by."""

# Of the chance of a false alarm in a window, the share that stretches may take from cuts.
_SHARE_OF_STRETCHES = 0.1
_PAIRS_AT_ONCE = 2**20
_MOST_PASSES = 5


@dataclass(frozen=True, eq=False)
class Observed:
    """A series, (n,) numbers; standard errors, (n,); how much more its means vary than those of independent points."""

    values: Floats
    errors: Floats | None = None
    inflation: float = 1.0

    def rank_sums(self, start: int, stop: int) -> Floats:
        """(stop - start + 1,): the sums of the ranks of the first 0, 1, ... points of a window."""
        x = self.values[start:stop]
        drawn = x if self.errors is None else _drawn_in(x, self.errors[start:stop])
        return np.concatenate([[0.0], np.cumsum(ranks_of(drawn))])


def cuts_of_all(series: Sequence[Observed], fewest: int, rate: float) -> list[Cuts]:
    """The cuts of every series, at least `fewest` points apart; of all of them a share of at most `rate` is false."""
    cuts: list[Cuts] = [{} for _ in series]
    windows = [(which, 0, one.values.size) for which, one in enumerate(series)]
    while windows:
        cut = [(window, best_cut(series[window[0]], *window[1:], fewest)) for window in windows]
        tested = [(window, best) for window, best in cut if best is not None]
        windows = []
        controlled = q_values([p for _, (p, _) in tested])
        for ((which, start, stop), (p, within)), q in zip(tested, controlled, strict=True):
            if q <= rate:
                places = [start + size for size in within]
                cuts[which] |= dict.fromkeys(places, (p, q))
                windows += [(which, a, b) for a, b in pairwise([start, *places, stop])]
    return [_adjusted(one, places, fewest, rate) for one, places in zip(series, cuts, strict=True)]


def best_cut(series: Observed, start: int, stop: int, fewest: int) -> tuple[float, tuple[int, ...]] | None:
    """The p value of a window, and after how many points it is best cut: once, or at both ends of a stretch. None for a
    window with too few points to say anything."""
    if stop - start < max(FEWEST_POINTS, 2 * fewest):
        return None
    sums = series.rank_sums(start, stop)
    split_p, split = _best_split(sums, fewest, series.inflation)
    stretch_p, stretch = _best_stretch(sums, fewest, series.inflation)
    split_p, stretch_p = split_p / (1 - _SHARE_OF_STRETCHES), stretch_p / _SHARE_OF_STRETCHES
    return (min(1.0, split_p), (split,)) if split_p <= stretch_p else (min(1.0, stretch_p), stretch)


def _adjusted(series: Observed, cuts: Cuts, fewest: int, level: float) -> Cuts:
    """The cuts, each looked at again between its neighbours, which were not all known when it was made: moved to where
    it now is best, and taken out where it no longer tells its sides apart."""
    places = sorted(cuts)
    known = dict(cuts)
    for _ in range(_MOST_PASSES):
        before, which = list(places), 0
        while which < len(places):
            start, *_, stop = [0, *places, series.values.size][which : which + 3]
            p, size = _best_split(series.rank_sums(start, stop), fewest, series.inflation)
            if p > level and stop - start >= FEWEST_POINTS:
                del places[which]
                continue
            known[start + size] = known[places[which]]
            places[which] = start + size
            which += 1
        if places == before:
            break
    return {place: known[place] for place in places}


def _drawn_in(series: Floats, errors: Floats) -> Floats:
    """Every point drawn toward the middle by the share that its own uncertainty has in how far points lie from it."""
    middle = np.median(series)
    variance = (MAD_TO_SIGMA * np.median(np.abs(series - middle))) ** 2
    if variance == 0:
        return series
    return np.asarray(middle + (series - middle) * variance / (variance + errors**2))


def _best_split(sums: Floats, fewest: int, inflation: float) -> tuple[float, int]:
    points = sums.size - 1
    sizes = np.arange(fewest, points - fewest + 1)
    logs = log_p(points, sizes, smaller_u(sums[sizes], sizes, points))
    best = int(logs.argmin())
    return p_of_best_split(points, fewest, float(logs[best]), inflation), int(sizes[best])


def _best_stretch(sums: Floats, fewest: int, inflation: float) -> tuple[float, tuple[int, int]]:
    points = sums.size - 1
    least, where = 0.0, (0, 0)
    starts = np.arange(fewest, points - 2 * fewest + 1)
    for some in np.array_split(starts, math.ceil(starts.size * points / _PAIRS_AT_ONCE)) if starts.size else ():
        first, last = (grid.ravel() for grid in np.meshgrid(some, np.arange(points - fewest + 1), indexing="ij"))
        long_enough = last - first >= fewest
        first, last = first[long_enough], last[long_enough]
        logs = log_p(points, last - first, smaller_u(sums[last] - sums[first], last - first, points))
        best = int(logs.argmin())
        if logs[best] < least:
            least, where = float(logs[best]), (int(first[best]), int(last[best]))
    return p_of_best_stretch(points, fewest, least, inflation), where
