"""On which of two levels a noisy time lies, from ratios measured side by side; and when a ratio is beyond doubt.

Each run gives ratios with intervals. Those of one pair over several runs are pooled with weights by their precision.
Where runs differ by more than their intervals say, the pooled error grows by Birge's ratio (R. T. Birge, Phys. Rev. 40,
1932). The likelihood of a run has Student's tails, so that one spoilt run decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from convbench.stats.estimates import NORMAL_QUANTILE
from convbench.stats.ratio import Ratio

_BEYOND_DOUBT = 3.0
"""Standard errors from which a member is taken to lie between two levels."""
_DEGREES = 4
_MOST_OF_A_RUN = math.log(200)
_BETWEEN = 0.15
"""A member between two levels is by at least this share of their distance away from both."""
_LEAST_ERROR = 1e-6


class Decision(StrEnum):
    SLOWER = "slower"
    LEVEL = "level"
    UNDECIDED = "undecided"


class Pooled(NamedTuple):
    """The logarithm of a ratio, and its standard error; infinite without a run."""

    log: float
    error: float

    @property
    def ratio(self) -> Ratio | None:
        """With its interval; None where no run has one."""
        if math.isinf(self.error):
            return None
        half = NORMAL_QUANTILE * self.error
        return Ratio.of_logs(self.log, self.log - half, self.log + half)


def error_of(ratio: Ratio) -> float:
    """The standard error of its logarithm; infinite if there are too few samples for an interval."""
    if not ratio.covers:
        return math.inf
    return max(_LEAST_ERROR, math.log(ratio.high / ratio.low) / 2 / NORMAL_QUANTILE)


def pooled(ratios: Sequence[Ratio]) -> Pooled:
    """The ratios of one pair in several runs as one."""
    known = [(math.log(ratio.value), error_of(ratio)) for ratio in ratios if ratio.covers]
    if not known:
        return Pooled(0.0, math.inf)
    weights = [error**-2 for _, error in known]
    total = math.fsum(weights)
    centre = math.fsum(w * log for w, (log, _) in zip(weights, known, strict=True)) / total
    squares = math.fsum(w * (log - centre) ** 2 for w, (log, _) in zip(weights, known, strict=True))
    birge = max(1.0, squares / (len(known) - 1)) if len(known) > 1 else 1.0
    return Pooled(centre, math.sqrt(birge / total))


def decision(pair: Pooled, threshold: float) -> Decision:
    """Whether a pair whose ratio is 1 or at least 1 + `threshold` is slower: its 95 % interval lies on one side of the
    middle of the two, or it is undecided. That is a stricter test than one against 1: a pair that is level has to seem
    slower by its interval and half the threshold, and so errs less than the interval, however often it is looked at."""
    middle = math.log1p(threshold) / 2
    if pair.log - NORMAL_QUANTILE * pair.error > middle:
        return Decision.SLOWER
    return Decision.LEVEL if pair.log + NORMAL_QUANTILE * pair.error < middle else Decision.UNDECIDED


@dataclass(frozen=True)
class Observation:
    """One run of a member with both ends: how many times slower it was than each."""

    than_before: Ratio
    than_after: Ratio

    @property
    def covers(self) -> bool:
        return self.than_before.covers and self.than_after.covers


def evidence(observations: Sequence[Observation], level: float) -> float:
    """The logarithm of how much more likely the observations of a member are if it is as slow as the end after the step
    than if it is as fast as the end before. The ends' ratio has the logarithm `level`.

    The sum of both logarithms is +level after the step, and -level before it. The member's own error is in both
    ratios, which gives half of each variance as their covariance."""
    total = 0.0
    for seen in observations:
        if not seen.covers:
            continue
        log = math.log(seen.than_before.value) + math.log(seen.than_after.value)
        first, second = error_of(seen.than_before), error_of(seen.than_after)
        error = math.sqrt(first**2 + second**2 + first * second)
        ratio = _log_density((log - level) / error) - _log_density((log + level) / error)
        total += max(-_MOST_OF_A_RUN, min(_MOST_OF_A_RUN, ratio))
    return total


def lies_between(observations: Sequence[Observation], level: float) -> bool:
    """Whether a member is slower than the end before the step and faster than the end after it, both beyond doubt: then
    there are two steps at least."""
    if level <= 0:
        return False
    before = pooled([seen.than_before for seen in observations])
    after = pooled([seen.than_after for seen in observations])
    from_before = (before.log - _BEYOND_DOUBT * before.error) / level
    from_after = (-after.log - _BEYOND_DOUBT * after.error) / level
    return min(from_before, from_after) > _BETWEEN


def _log_density(value: float) -> float:
    """Student's, up to a constant."""
    return -(_DEGREES + 1) / 2 * math.log1p(value**2 / _DEGREES)
