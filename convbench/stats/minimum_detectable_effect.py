"""The smallest difference between two programs that can be told from none, by how the same one differs from itself.

The model: in round i of a pair of worker processes the logarithm of the two times' ratio is

    d_i = difference + luck of the pair + noise of the round,

all independent. A pair's answer is the median of its rounds, and a run's the mean over its pairs. The answer of n
rounds shared out among m pairs then has the standard error

    se(n, m) = sqrt(luck^2 / m + noise^2 / n),

where `noise` is that of a median, as it is for one round. In an A/A test the difference is known to be none, so the
mean square of k pairs' answers estimates the variance of an answer with k degrees of freedom (the mean is not lost).
A difference is called one when |answer| > t se, t the 97.5 % quantile of Student's distribution with k degrees, which
is wrong in 5 % of the cases at most where there is none; the smallest detectable difference is the one that is called
so in 80 % of the cases: se times the noncentrality that gives that power.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean as mean
from statistics import median

from scipy.special import nctdtrinc, stdtrit

from convbench.stats.estimates import CONFIDENCE, FEWEST_FOR_INTERVAL

POWER = 0.80
_LARGEST_LOG = 700.0  # so that its exponential is still a number


@dataclass(frozen=True)
class Spread:
    """How far the same program differs from itself, as logarithms of ratios (0.01 is 1 %).

    `noise` is of one round, scaled as a median's, `luck` the standard deviation from pair to pair of fresh processes,
    beyond what noise explains; `pairs` were looked at.
    """

    noise: float
    luck: float
    pairs: int

    def standard_error(self, rounds: int, processes: int = 1) -> float:
        """Of the answer of `rounds` rounds in all, shared out among `processes` pairs of worker processes."""
        return math.hypot(self.luck / math.sqrt(processes), self.noise / math.sqrt(rounds))

    def tells_apart(self, answer: float, rounds: int, processes: int = 1) -> bool:
        """Whether `answer`, the logarithm of a ratio, is a difference at 95 % confidence."""
        return abs(answer) > _quantile(self.pairs) * self.standard_error(rounds, processes)

    def smallest_difference(self, rounds: int, processes: int = 1) -> float | None:
        """The share by which one must be slower to be told apart in 80 % of the cases; None with too few rounds for an
        interval in each pair."""
        if rounds < FEWEST_FOR_INTERVAL * processes:
            return None
        noncentrality = float(nctdtrinc(self.pairs, 1 - POWER, _quantile(self.pairs)))
        return math.expm1(min(_LARGEST_LOG, noncentrality * self.standard_error(rounds, processes)))

    def share_of_luck(self, rounds: int, processes: int = 1) -> float:
        """The share of the answer's variance that more rounds do not lessen."""
        variance = self.standard_error(rounds, processes) ** 2
        return self.luck**2 / processes / variance if variance else 0.0


def spread_of(pairs: Sequence[Sequence[float]]) -> Spread:
    """The spread seen in pairs of fresh processes: of each, the logarithms of its rounds' ratios.

    The noise is the standard error of a median by McKean and Schrader (1984, Commun. Stat. Simul. Comput. 13: 751),
    from order statistics around the middle, which a few stalls do not move; the mean square over the pairs. Raises
    `ValueError` where a pair has fewer rounds than an interval needs.
    """
    if not pairs or any(len(pair) < FEWEST_FOR_INTERVAL for pair in pairs):
        raise ValueError(f"each pair should have {FEWEST_FOR_INTERVAL} rounds or more")
    noise = math.sqrt(mean(_error_of_median(pair) ** 2 * len(pair) for pair in pairs))
    explained = mean(noise**2 / len(pair) for pair in pairs)
    seen = mean(median(pair) ** 2 for pair in pairs)
    return Spread(noise, math.sqrt(max(0.0, seen - explained)), len(pairs))


def _error_of_median(rounds: Sequence[float]) -> float:
    ordered = sorted(rounds)
    n = len(ordered)
    z = 2.5758  # the 99.5 % quantile of the normal distribution: the authors' choice
    rank = max(1, round((n + 1) / 2 - z * math.sqrt(n / 4)))
    return (ordered[n - rank] - ordered[rank - 1]) / (2 * z)


def _quantile(degrees: int) -> float:
    return float(stdtrit(degrees, (1 + CONFIDENCE) / 2))
