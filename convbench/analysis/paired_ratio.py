"""Ratios between two backends, paired by round, and between two runs in several processes, with intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, variance

import numpy as np

from convbench.analysis.bootstrap_median import bootstrap_medians
from convbench.stats.estimates import FEWEST_FOR_INTERVAL, FEWEST_PROCESSES, estimate_over_processes, student_quantile
from convbench.stats.ragged import normal_spread
from convbench.stats.ratio import Ratio
from convbench.stats.two_sample import TwoSample
from convbench.store.readings import (
    half_width_between_processes,
    paired_log_ratios,
    paired_walls,
    table,
    walls_by_process,
)
from convbench.store.schema import Record

_RESAMPLES = 2000


def ratio(slower: Record, faster: Record) -> Ratio | None:
    """The ratio of two records of one case, from the rounds in which both were sampled; None if they share no round.

    It is the median of the rounds' ratios with its interval, widened by between-process variation
    (`stats.process_variation`). With several processes each is paired with its like, and the interval is over these
    pairs.
    """
    processes = paired_log_ratios(slower, faster)
    if not processes:
        return None
    paired = Ratio.of(estimate_over_processes([np.exp(logs).tolist() for logs in processes]))
    if len(processes) > 1:
        return paired
    spread = float(normal_spread(processes[0]))
    return paired.widened(half_width_between_processes((slower, faster), spread))


def geometric_mean_ratio(pairs: Sequence[tuple[Record, Record]], seed: int = 0) -> Ratio | None:
    """The geometric mean over cases of (slower, faster) ratios, with a bootstrap interval over rounds within cases,
    which are chosen and so not resampled; over processes if all were measured in several. None when no case has rounds
    in common."""
    if len(pairs) == 1:
        return ratio(*pairs[0])
    by_process = [processes for pair in pairs if (processes := paired_log_ratios(*pair))]
    if not by_process:
        return None
    if (count := min(map(len, by_process))) > 1:
        # A process computes all cases, one after the other, so its variation is in all of them alike.
        means = [float(np.mean([np.median(case[p]) for case in by_process])) for p in range(count)]
        return Ratio.of(estimate_over_processes([[math.exp(mean)] for mean in means]))
    cases = [np.concatenate(processes) for processes in by_process]
    rng = np.random.default_rng(seed)
    means_drawn = np.zeros(_RESAMPLES)
    for logs in cases:
        means_drawn += bootstrap_medians(logs, _RESAMPLES, rng) / len(cases)
    value = float(np.mean([np.median(logs) for logs in cases]))
    low, high = np.quantile(means_drawn, (0.025, 0.975))
    covers = all(logs.size >= FEWEST_FOR_INTERVAL for logs in cases)
    over_cases = Ratio.of_logs(value, min(low, value), max(high, value), covers)
    # A process computes all cases, so its variation is not taken to average out over them.
    spread = math.sqrt(np.mean([normal_spread(logs) ** 2 for logs in cases]))
    records = [record for pair in pairs for record in pair]
    return over_cases.widened(half_width_between_processes(records, spread))


def compare_processes(base: Record, new: Record) -> tuple[TwoSample, bool] | None:
    """The comparison of two records that were each measured in several processes, and whether it is paired; None for
    others.

    A process is one observation: the logarithms of the processes' medians are compared. If both records were sampled
    side by side, their ratios are tested by Student's test, with the interval of `ratio`; otherwise the two sets of
    medians by Welch's (B. L. Welch, Biometrika 34, 1947).
    """
    if not all(table(record, "samples").get("process") for record in (base, new)):
        return None
    before, after = walls_by_process(base), walls_by_process(new)
    if min(len(before), len(after)) < 2:
        return None
    if base.get("session") is not None and (side_by_side := ratio(new, base)) is not None:
        logs = [math.log(np.median(later / earlier)) for later, earlier in paired_walls(new, base)]
        return TwoSample(side_by_side, _p_of_mean(logs) if side_by_side.covers else 1.0), True
    medians = ([math.log(median(walls.values())) for walls in side.values()] for side in (before, after))
    return _welch(*medians), False


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
