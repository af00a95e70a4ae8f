"""The minimum detectable effect: the smallest difference between two programs that a test detects.

In round i of a pair of worker processes the logarithm of the ratio of the two times is modelled as the sum of the
difference, the variation of the pair and the noise of the round, all independent. A pair's result is the median of its
rounds, a run's the mean over its pairs: n rounds in m pairs have the standard error

se(n, m) = sqrt(between^2 / m + noise^2 / n).

In an A/A test the difference is 0, so the mean square of k pairs' results estimates the variance of a result with k
degrees of freedom. A difference is detected when |result| > t se, with t the 97.5 % quantile of Student's distribution
with k degrees. The minimum detectable effect is detected in 80 % of the cases: se times the noncentrality that gives
that power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, median
from statistics import fmean as mean

from scipy.special import nctdtrinc

from convbench.stats.estimates import FEWEST_FOR_INTERVAL, MAD_TO_SIGMA, student_quantile

POWER = 0.80
_LARGEST_LOG = 700.0  # so that its exponential is still a number


@dataclass(frozen=True)
class Spread:
    """How far a program differs from itself, as logarithms of ratios (0.01 is 1 %), in so many `pairs`: the `noise` of
    one round, scaled as a median's, and the standard deviation `between_processes` beyond what noise explains."""

    noise: float
    between_processes: float
    pairs: int

    def standard_error(self, rounds: int, processes: int = 1) -> float:
        """Of the result of `rounds` rounds in all, shared out among `processes` pairs of worker processes."""
        return math.hypot(self.between_processes / math.sqrt(processes), self.noise / math.sqrt(rounds))

    def is_detected(self, result: float, rounds: int, processes: int = 1) -> bool:
        """Whether `result`, the logarithm of a ratio, is a difference at 95 % confidence."""
        return abs(result) > student_quantile(self.pairs) * self.standard_error(rounds, processes)

    def minimum_detectable_effect(self, rounds: int, processes: int = 1) -> float | None:
        """The share that is detected in 80 % of the cases; None with too few rounds for an interval in each pair."""
        if rounds < FEWEST_FOR_INTERVAL * processes:
            return None
        noncentrality = float(nctdtrinc(self.pairs, 1 - POWER, student_quantile(self.pairs)))
        return math.expm1(min(_LARGEST_LOG, noncentrality * self.standard_error(rounds, processes)))

    def share_between_processes(self, rounds: int, processes: int = 1) -> float:
        """The share of the result's variance that more rounds do not reduce."""
        variance = self.standard_error(rounds, processes) ** 2
        return self.between_processes**2 / processes / variance if variance else 0.0


def detected_beyond(half_width: float, standard_error: float) -> float:
    """The share that is detected in 80 % of the cases by a rule that calls a result a difference when its logarithm is
    further than `half_width` from 0, for results of that standard error."""
    return math.expm1(min(_LARGEST_LOG, half_width + NormalDist().inv_cdf(POWER) * standard_error))


def spread_of(pairs: Sequence[Sequence[float]]) -> Spread:
    """The spread in pairs of fresh processes, each given as the logarithms of its rounds' ratios.

    The noise is the standard error of a median by McKean and Schrader (1984, Commun. Stat. Simul. Comput. 13: 751),
    from order statistics around the middle, which a few stalls do not move; the mean square over the pairs. Raises
    `ValueError` if a pair has fewer rounds than an interval needs.
    """
    _check(pairs)
    return _split(pairs, math.sqrt(mean(_error_of_median(pair) ** 2 * len(pair) for pair in pairs)))


def spread_of_few_rounds(pairs: Sequence[Sequence[float]]) -> Spread:
    """As `spread_of`, where pairs have so few rounds that order statistics reach to the most extreme ones: the noise is
    the median absolute deviation from the pairs' medians, over all rounds, scaled as a median's of normal noise."""
    _check(pairs)
    apart = [abs(log - centre) for pair in pairs for centre in [median(pair)] for log in pair]
    return _split(pairs, math.sqrt(math.pi / 2) * MAD_TO_SIGMA * median(apart))


def _check(pairs: Sequence[Sequence[float]]) -> None:
    if not pairs or any(len(pair) < FEWEST_FOR_INTERVAL for pair in pairs):
        raise ValueError(f"each pair should have {FEWEST_FOR_INTERVAL} rounds or more")


def _split(pairs: Sequence[Sequence[float]], noise: float) -> Spread:
    """The spread of pairs with that noise of a round."""
    explained = mean(noise**2 / len(pair) for pair in pairs)
    observed = mean(median(pair) ** 2 for pair in pairs)
    return Spread(noise, math.sqrt(max(0.0, observed - explained)), len(pairs))


def _error_of_median(rounds: Sequence[float]) -> float:
    ordered = sorted(rounds)
    n = len(ordered)
    z = 2.5758  # the 99.5 % quantile of the normal distribution: the authors' choice
    rank = max(1, round((n + 1) / 2 - z * math.sqrt(n / 4)))
    return (ordered[n - rank] - ordered[rank - 1]) / (2 * z)
