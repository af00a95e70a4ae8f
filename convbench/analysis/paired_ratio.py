"""Ratios between two backends, paired by round, and between two runs in several processes, with intervals.

Several processes of each backend are independent draws: the n-th of one has nothing in common with the n-th of the
other but the rounds, which all of them share. So the rounds are taken out of every process, and what is left of a
process is one observation, and the interval is that for two independent groups (`stats.two_sample.of_groups`). To pair
the n-th processes would throw away half of the degrees of freedom: Student's factor is 4.3 for three pairs, and 2.8 for
three and three.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import starmap
from statistics import fmean, median

import numpy as np

from convbench.analysis.bootstrap_median import bootstrap_medians
from convbench.stats.estimates import FEWEST_FOR_INTERVAL, estimate_median
from convbench.stats.ragged import normal_spread
from convbench.stats.ratio import Ratio
from convbench.stats.two_sample import TwoSample, of_groups
from convbench.store.readings import (
    half_width_between_processes,
    paired_log_ratios,
    table,
    walls_by_process,
)
from convbench.store.schema import Record

_RESAMPLES = 2000


def ratio(slower: Record, faster: Record) -> Ratio | None:
    """The ratio of two records of one case, from the rounds in which both were sampled; None if they share no round.

    It is the median of the rounds' ratios with its interval, widened by between-process variation
    (`stats.process_variation`). With several processes of both, the interval is over processes.
    """
    if levels := _levels_side_by_side(slower, faster):
        return of_groups(levels[1], levels[0]).ratio
    processes = paired_log_ratios(slower, faster)
    if not processes:
        return None
    paired = Ratio.of(estimate_median(np.exp(processes[0]).tolist()))
    spread = float(normal_spread(processes[0]))
    return paired.widened(half_width_between_processes((slower, faster), spread))


def _levels_side_by_side(slower: Record, faster: Record) -> tuple[list[float], list[float]] | None:
    """For each process of both records, the logarithm of its time over what all of them took in the same round: the
    median over the rounds that all were sampled in. None where a record has one process, or no round is shared."""
    if slower.get("session") != faster.get("session"):
        return None
    sides = [list(walls_by_process(record).values()) for record in (slower, faster)]
    if min(map(len, sides)) < 2:
        return None
    shared = sorted(set[int].intersection(*(set(walls) for side in sides for walls in side)))
    if not shared:
        return None
    logs = np.log([[walls[number] for number in shared] for side in sides for walls in side])
    levels = np.median(logs - np.median(logs, axis=0), axis=1).tolist()
    return levels[: len(sides[0])], levels[len(sides[0]) :]


def geometric_mean_ratio(pairs: Sequence[tuple[Record, Record]], seed: int = 0) -> Ratio | None:
    """The geometric mean over cases of (slower, faster) ratios, with a bootstrap interval over rounds within cases,
    which are chosen and so not resampled; over processes if all were measured in several. None when no case has rounds
    in common."""
    if len(pairs) == 1:
        return ratio(*pairs[0])
    by_process = [processes for pair in pairs if (processes := paired_log_ratios(*pair))]
    if not by_process:
        return None
    if min(map(len, by_process)) > 1 and (levels := list(filter(None, starmap(_levels_side_by_side, pairs)))):
        # A process computes all cases, one after the other, so its variation is in all of them alike.
        slower, faster = (_means_over_cases([sides[place] for sides in levels]) for place in range(2))
        return of_groups(faster, slower).ratio
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


def _means_over_cases(cases: Sequence[Sequence[float]]) -> list[float]:
    """The mean level of each process over cases, of those that are in all of them."""
    return [fmean(levels) for levels in zip(*cases, strict=False)]


def compare_processes(base: Record, new: Record) -> tuple[TwoSample, bool] | None:
    """The comparison of two records that were each measured in several processes, and whether they were sampled side by
    side; None for others. A process is one observation. Side by side, what happened in the rounds is taken out."""
    if not all(table(record, "samples").get("process") for record in (base, new)):
        return None
    if min(len(walls_by_process(record)) for record in (base, new)) < 2:
        return None
    if base.get("session") is not None and (levels := _levels_side_by_side(new, base)):
        return of_groups(levels[1], levels[0]), True
    medians = ([math.log(median(walls.values())) for walls in walls_by_process(r).values()] for r in (base, new))
    return of_groups(*medians), False
