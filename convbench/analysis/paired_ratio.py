"""Ratios between two backends, paired by round, with intervals: no difference is claimed without one."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convbench.stats.estimates import FEWEST_FOR_INTERVAL, estimate_over_processes
from convbench.stats.ragged import normal_spread
from convbench.stats.ratio import Ratio
from convbench.store.readings import half_width_between_processes, paired_log_ratios
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
    paired = _over_processes([np.exp(logs).tolist() for logs in processes])
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
        return _over_processes([[math.exp(mean)] for mean in means])
    cases = [np.concatenate(processes) for processes in by_process]
    rng = np.random.default_rng(seed)
    means_drawn = np.zeros(_RESAMPLES)
    for logs in cases:
        drawn = logs[rng.integers(0, logs.size, (_RESAMPLES, logs.size))]
        means_drawn += np.median(drawn, axis=1) / len(cases)
    value = float(np.mean([np.median(logs) for logs in cases]))
    low, high = np.quantile(means_drawn, (0.025, 0.975))
    covers = all(logs.size >= FEWEST_FOR_INTERVAL for logs in cases)
    over_cases = Ratio.of_logs(value, min(low, value), max(high, value), covers)
    # A process computes all cases, so its variation is not taken to average out over them.
    spread = math.sqrt(np.mean([normal_spread(logs) ** 2 for logs in cases]))
    records = [record for pair in pairs for record in pair]
    return over_cases.widened(half_width_between_processes(records, spread))


def _over_processes(ratios: Sequence[Sequence[float]]) -> Ratio:
    return Ratio.of(estimate_over_processes(ratios))
