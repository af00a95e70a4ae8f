"""Sequential tests, after every round of a race, of whether one backend is slower than another.

`sign_test_e_value` may be looked at after every round: if the median of the rounds' ratios is 1 or less it is a
supermartingale, and the chance that it ever reaches 1 / a is at most a (Ville, Etude critique de la notion de
collectif, 1939; Robbins, Ann. Math. Stat. 41, 1970; for quantiles Howard and Ramdas, Bernoulli 28, 2022). It takes
rounds as independent, assumes nothing about the distribution, and needs nine rounds at a = 0.01. `sequential_t_test`
spends its chance of error on the first looks (Lan and DeMets, Biometrika 70, 1983): it detects a difference that is
large beside the noise after four rounds; a long tail of slow samples delays it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, stdev

_FIRST_LOOK, _LAST_LOOK = 4, 12
_LEAST_SPREAD = 1e-4  # of the logarithm of a ratio: clocks tick


def sign_test_e_value(slower: int, faster: int) -> float:
    """How much more likely these numbers of slower and faster rounds are if it is slower more often than not (all
    shares of rounds from a half to 1 equally likely) than if both are level."""
    rounds = slower + faster
    # The integral of p^slower (1 - p)^faster over p from 1/2 to 1 is a tail of the binomial distribution over a
    # binomial coefficient, which whole numbers give without rounding.
    tail = sum(math.comb(rounds + 1, k) for k in range(faster + 1, rounds + 2))
    return tail / ((rounds + 1) * math.comb(rounds, slower))


def sequential_t_test(logs: Sequence[float], error_rate: float) -> bool:
    """Whether the mean of `logs`, the logarithms of the rounds' ratios, is above 0 by Student's test. The n-th look
    errs with a chance of `error_rate` / 2^n, and all looks together with `error_rate`."""
    rounds = len(logs)
    if not _FIRST_LOOK <= rounds <= _LAST_LOOK:
        return False
    from scipy.special import stdtrit

    look = rounds - _FIRST_LOOK + 1
    factor = float(stdtrit(rounds - 1, 1 - error_rate / 2**look))
    return fmean(logs) > factor * max(stdev(logs), _LEAST_SPREAD) / math.sqrt(rounds)
