"""Interleaved timing of several models in this process: drift of the machine affects all, and ratios are by round."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

from convbench.measurement.sampling.sample import SamplingPlan, calibrate, take_sample
from convbench.stats.estimates import Estimate, estimate_median

FEWEST_ROUNDS, MOST_ROUNDS = 8, 60
_SAMPLE_S = 5e-3


def time_interleaved(
    calls: Mapping[str, Callable[[], Any]], limit_s: float, sync: Callable[[], None]
) -> dict[str, list[float]]:
    """Seconds per call of each of `calls`, an element per round. Rounds go on for `limit_s`; there are 8 to 60.

    No gradients are recorded, as in inference.
    """
    import torch

    walls_s: dict[str, list[float]] = {name: [] for name in calls}
    order, shuffle = list(calls), random.Random(0).shuffle
    with torch.no_grad():
        plans = {name: _sampling_plan(call, sync) for name, call in calls.items()}
        begin = time.perf_counter()
        for number in range(MOST_ROUNDS):
            if number >= FEWEST_ROUNDS and time.perf_counter() - begin > limit_s:
                break
            shuffle(order)
            for name in order:
                walls_s[name].append(take_sample(calls[name], sync, plans[name])[0].wall_s)
    return walls_s


def ratio_of_rounds(before: Sequence[float], after: Sequence[float]) -> Estimate:
    """The median over the rounds of `before` / `after`, with its interval."""
    return estimate_median([b / a for b, a in zip(before, after, strict=True)])


def _sampling_plan(call: Callable[[], Any], sync: Callable[[], None]) -> SamplingPlan:
    warm_up = [take_sample(call, sync, SamplingPlan(1, 0))[0].wall_s for _ in range(3)]
    calls = calibrate(median(warm_up), _SAMPLE_S).calls
    # One call to warm up: the call before was of another model, which left its weights in the caches.
    return SamplingPlan(calls, 1)
