"""Two records that were each measured in several processes: a process is one observation.

Between-process variation is in all samples of a process alike, so the medians of processes are compared, on a
logarithmic scale: if both were sampled side by side, their ratios by Student's test, with the interval of `ratio`;
otherwise the two sets of medians by Welch's test (B. L. Welch, Biometrika 34, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, variance

import numpy as np

from convbench.analysis.paired_ratio import ratio
from convbench.stats.estimates import FEWEST_PROCESSES, student_quantile
from convbench.stats.ratio import Ratio
from convbench.stats.two_sample import TwoSample
from convbench.store.readings import Walls, paired_walls, table, walls_by_process
from convbench.store.schema import Record


def compare_processes(base: Record, new: Record) -> tuple[TwoSample, bool] | None:
    """The comparison, and whether it is paired; None unless both were measured in several processes."""
    if not all(table(record, "samples").get("process") for record in (base, new)):
        return None
    before, after = walls_by_process(base), walls_by_process(new)
    if min(len(before), len(after)) < 2:
        return None
    if base.get("session") is not None and (side_by_side := ratio(new, base)) is not None:
        logs = [math.log(np.median(later / earlier)) for later, earlier in paired_walls(new, base)]
        return TwoSample(side_by_side, _p_of_mean(logs) if side_by_side.covers else 1.0), True
    return _welch(_log_medians(before), _log_medians(after)), False


def _log_medians(walls: Walls) -> list[float]:
    return [math.log(median(by_round.values())) for by_round in walls.values()]


def _p_of_mean(values: Sequence[float]) -> float:
    """The two-sided p value of Student's test that the mean is 0."""
    if len(values) < FEWEST_PROCESSES:
        return 1.0
    return _p(fmean(values), math.sqrt(variance(values) / len(values)), len(values) - 1)


def _welch(before: Sequence[float], after: Sequence[float]) -> TwoSample:
    centre = fmean(after) - fmean(before)
    if min(len(before), len(after)) < FEWEST_PROCESSES:
        low, high = min(after) - max(before), max(after) - min(before)
        return TwoSample(Ratio.of_logs(centre, low, high, covers=False), 1.0)
    variances = [variance(values) / len(values) for values in (before, after)]
    squares = [v**2 / (len(values) - 1) for v, values in zip(variances, (before, after), strict=True)]
    degrees = sum(variances) ** 2 / sum(squares) if sum(squares) > 0 else len(before) + len(after) - 2
    error = math.sqrt(sum(variances))
    half = student_quantile(int(degrees)) * error  # rounded down, to the wider side
    return TwoSample(Ratio.of_logs(centre, centre - half, centre + half), _p(centre, error, degrees))


def _p(centre: float, error: float, degrees: float) -> float:
    from scipy.special import stdtr

    if error == 0:
        return 0.0 if centre else 1.0
    return float(2 * stdtr(degrees, -abs(centre) / error))
