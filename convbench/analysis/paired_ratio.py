"""Ratios between two backends, paired by round, with intervals: no difference is claimed without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.stats.estimates import FEWEST_FOR_INTERVAL, estimate_over_processes
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ragged import normal_spread
from convbench.stats.ratio import Ratio
from convbench.store.journal import Record

_RESAMPLES = 2000


def ratio(slower: Record, faster: Record) -> Ratio | None:
    """The ratio of two records of one case, from the rounds in which both were sampled; None when there are none.

    The median of the rounds' ratios, with the interval of a median, widened by between-process variation
    (`convbench.stats.process_variation`). With several processes each is paired with its like, and the interval is over
    these pairs, because their spread includes that variation already.
    """
    processes = _paired_logs_by_process(slower, faster)
    if not processes:
        return None
    estimate = estimate_over_processes([np.exp(logs).tolist() for logs in processes])
    found = Ratio(estimate.median, estimate.low, estimate.high, estimate.covers)
    if len(processes) > 1:
        return found
    return found.widened(half_width_of_process_variation((slower, faster), float(normal_spread(processes[0]))))


def geometric_mean_ratio(pairs: Sequence[tuple[Record, Record]], seed: int = 0) -> Ratio | None:
    """The geometric mean over cases of (slower, faster) ratios, with a bootstrap interval over rounds within cases.

    The cases are those that were asked for, not a sample of others, so they are not resampled. None when no case has
    rounds in common. Where all were measured in several processes, these are what the interval is over.
    """
    if len(pairs) == 1:
        return ratio(*pairs[0])
    by_process = [found for pair in pairs if (found := _paired_logs_by_process(*pair))]
    if not by_process:
        return None
    if (processes := min(map(len, by_process))) > 1:
        # A process computes all cases, one after the other, and takes much of its luck along.
        means = [float(np.mean([np.median(case[p]) for case in by_process])) for p in range(processes)]
        estimate = estimate_over_processes([[math.exp(mean)] for mean in means])
        return Ratio(estimate.median, estimate.low, estimate.high, estimate.covers)
    cases = [np.concatenate(found) for found in by_process]
    rng = np.random.default_rng(seed)
    drawn_means = np.zeros(_RESAMPLES)
    for logs in cases:
        drawn = logs[rng.integers(0, logs.size, (_RESAMPLES, logs.size))]
        drawn_means += np.median(drawn, axis=1) / len(cases)
    value = float(np.mean([np.median(logs) for logs in cases]))
    low, high = np.quantile(drawn_means, (0.025, 0.975))
    covers = all(logs.size >= FEWEST_FOR_INTERVAL for logs in cases)
    over_cases = Ratio(math.exp(value), math.exp(min(low, value)), math.exp(max(high, value)), covers)
    # A process computes all cases: its luck is not taken to average out over them.
    spread = math.sqrt(np.mean([normal_spread(logs) ** 2 for logs in cases]))
    return over_cases.widened(half_width_of_process_variation((record for pair in pairs for record in pair), spread))


def _paired_logs_by_process(slower: Record, faster: Record) -> list[NDArray[np.float64]]:
    """Of each process that both have, the logarithms of the ratios of the rounds that both have; none is empty."""
    if slower.get("session") != faster.get("session"):
        return []  # one was measured when the run was resumed: their rounds have only the numbers in common
    one, other = _by_round(slower), _by_round(faster)
    found: dict[Any, list[float]] = {}
    for process, number in sorted(one.keys() & other.keys()):
        found.setdefault(process, []).append(math.log(one[process, number] / other[process, number]))
    return [np.array(logs) for logs in found.values()]


def _by_round(record: Record) -> dict[tuple[Any, Any], float]:
    """Wall seconds by process and round."""
    samples = record.get("samples") or {}
    rounds, walls = samples.get("round", []), samples.get("wall_s", [])
    processes = samples.get("process") or [0] * len(rounds)
    return {(p, r): wall for p, r, wall in zip(processes, rounds, walls, strict=False) if wall and wall > 0}
