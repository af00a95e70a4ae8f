"""Two records that were each measured in several processes against each other: a process is one observation.

Its luck, such as where its memory lies, is in all of its samples alike, and an interval over samples knows nothing of
it. So the medians of processes are compared, on a logarithmic scale: by Student's test of their ratios where both
records were sampled side by side (ratio and interval are those of `ratio`), else by Welch's test of the two sets of
medians (B. L. Welch, Biometrika 34, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, variance
from typing import Any

from convbench.analysis.paired_ratio import ratio
from convbench.stats.estimates import FEWEST_PROCESSES, student_quantile
from convbench.stats.ratio import Ratio
from convbench.stats.two_sample import Contrast
from convbench.store.journal import Record

_Walls = dict[Any, dict[Any, float]]
"""Seconds by process and round."""


def contrast_of_processes(base: Record, new: Record) -> tuple[Contrast, bool] | None:
    """The contrast, and whether it is paired; None unless both were measured in several processes."""
    before, after = _by_process(base), _by_process(new)
    if min(len(before), len(after)) < 2:
        return None
    if base.get("session") is not None and (side_by_side := ratio(new, base)) is not None:
        p_value = _p_of_mean(_log_ratios(before, after)) if side_by_side.covers else 1.0
        return Contrast(side_by_side, p_value), True
    return _welch(_log_medians(before), _log_medians(after)), False


def _by_process(record: Record) -> _Walls:
    samples = record.get("samples") or {}
    found: _Walls = {}
    for process, number, wall_s in zip(
        samples.get("process") or (), samples.get("round") or (), samples.get("wall_s") or (), strict=False
    ):
        found.setdefault(process, {})[number] = wall_s
    return found


def _log_medians(walls: _Walls) -> list[float]:
    return [math.log(median(of_one.values())) for of_one in walls.values()]


def _log_ratios(before: _Walls, after: _Walls) -> list[float]:
    """Of each process that both have, the logarithm of the median of the ratios of the rounds that both have."""
    found = []
    for process in before.keys() & after.keys():
        one, other = before[process], after[process]
        if rounds := one.keys() & other.keys():
            found.append(math.log(median(other[number] / one[number] for number in rounds)))
    return found


def _p_of_mean(values: Sequence[float]) -> float:
    """The two-sided p value of Student's test that the mean is 0."""
    if len(values) < FEWEST_PROCESSES:
        return 1.0
    return _p(fmean(values), math.sqrt(variance(values) / len(values)), len(values) - 1)


def _welch(before: Sequence[float], after: Sequence[float]) -> Contrast:
    centre = fmean(after) - fmean(before)
    spreads = [variance(values) / len(values) for values in (before, after)]
    if min(len(before), len(after)) < FEWEST_PROCESSES:
        low, high = min(after) - max(before), max(after) - min(before)
        return Contrast(Ratio(math.exp(centre), math.exp(low), math.exp(high), covers=False), 1.0)
    squares = [s**2 / (len(values) - 1) for s, values in zip(spreads, (before, after), strict=True)]
    degrees = sum(spreads) ** 2 / sum(squares) if sum(squares) > 0 else len(before) + len(after) - 2
    error = math.sqrt(sum(spreads))
    half = student_quantile(int(degrees)) * error  # rounded down, to the wider side
    ends = (math.exp(centre - half), math.exp(centre + half))
    return Contrast(Ratio(math.exp(centre), *ends), _p(centre, error, degrees))


def _p(centre: float, error: float, degrees: float) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if centre else 1.0
    return float(2 * stdtr(degrees, -abs(centre) / error))
