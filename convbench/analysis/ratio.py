"""Ratios between two backends, paired by round, with intervals: no difference is claimed without one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.measurement.statistics import FEWEST_FOR_INTERVAL, estimate_median
from convbench.store.journal import Record

_RESAMPLES = 2000


@dataclass(frozen=True)
class Ratio:
    """How many times slower the first is than the second; `covers` says whether [low, high] is a 95 % interval, or,
    with too few samples for one, the range seen."""

    value: float
    low: float
    high: float
    covers: bool = True

    @property
    def includes_one(self) -> bool:
        """Whether the two may be level: then no difference is claimed."""
        return self.low <= 1 <= self.high


def ratio(slower: Record, faster: Record) -> Ratio | None:
    """The ratio of two records of one case, from the rounds in which both were sampled; None when there are none.

    The median of the rounds' ratios, with the interval of a median.
    """
    logs = _paired_logs(slower, faster)
    if not logs.size:
        return None
    estimate = estimate_median(np.exp(logs).tolist())
    return Ratio(estimate.median, estimate.low, estimate.high, estimate.covers)


def geometric_mean_ratio(pairs: Sequence[tuple[Record, Record]], seed: int = 0) -> Ratio | None:
    """The geometric mean over cases of (slower, faster) ratios, with a bootstrap interval over rounds within cases.

    The cases are those that were asked for, not a sample of others, so they are not resampled. None when no case has
    rounds in common.
    """
    if len(pairs) == 1:
        return ratio(*pairs[0])
    cases = [logs for slower, faster in pairs if (logs := _paired_logs(slower, faster)).size]
    if not cases:
        return None
    rng = np.random.default_rng(seed)
    means = np.zeros(_RESAMPLES)
    for logs in cases:
        drawn = logs[rng.integers(0, logs.size, (_RESAMPLES, logs.size))]
        means += np.median(drawn, axis=1) / len(cases)
    value = float(np.mean([np.median(logs) for logs in cases]))
    low, high = np.quantile(means, (0.025, 0.975))
    covers = all(logs.size >= FEWEST_FOR_INTERVAL for logs in cases)
    return Ratio(math.exp(value), math.exp(min(low, value)), math.exp(max(high, value)), covers)


def _paired_logs(slower: Record, faster: Record) -> NDArray[np.float64]:
    if slower.get("session") != faster.get("session"):
        return np.empty(0)  # one was measured when the run was resumed: their rounds have only the numbers in common
    one, other = _by_round(slower), _by_round(faster)
    shared = sorted(one.keys() & other.keys())
    return np.array([math.log(one[r] / other[r]) for r in shared])


def _by_round(record: Record) -> dict[Any, float]:
    samples = record.get("samples") or {}
    rounds, walls = samples.get("round", []), samples.get("wall_s", [])
    return {r: wall_s for r, wall_s in zip(rounds, walls, strict=False) if wall_s and wall_s > 0}
