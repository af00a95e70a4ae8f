"""How many processes, and how many rounds of each, tell the most in a given time on the machine at hand.

A pilot shows what times vary by within a process and between processes, and what another process and another round
take. The rounds that make an interval over processes the narrowest follow from these (T. Kalibera, R. Jones, Rigorous
benchmarking in reasonable time, ISMM 2013: the square root of c2 / c1 times T1^2 / T2^2); the processes then fill the
time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, median

from convbench.stats.estimates import MAD_TO_SIGMA


@dataclass(frozen=True)
class Components:
    """Standard deviations of logarithms: of the rounds `within` a process, and `between` processes, beyond what their
    rounds explain. By median absolute deviations, so that one bad process is not taken for what is usual."""

    within: float
    between: float

    @classmethod
    def of(cls, processes: Sequence[Sequence[float]]) -> Components:
        """From the logarithms of each process's rounds."""
        centres = [median(rounds) for rounds in processes]
        apart = [abs(log - centre) for rounds, centre in zip(processes, centres, strict=True) for log in rounds]
        within = MAD_TO_SIGMA * median(apart)
        seen = MAD_TO_SIGMA * median(abs(centre - median(centres)) for centre in centres)
        # The variance of a median of normal noise is pi / 2 times that of a mean.
        explained = math.pi / 2 * within**2 * fmean(1 / len(rounds) for rounds in processes)
        return cls(within, math.sqrt(max(0.0, seen**2 - explained)))


@dataclass(frozen=True)
class Allocation:
    processes: int
    rounds: int


def allocation(
    found: Components, once_s: float, process_s: float, round_s: float, total_s: float, most_rounds: int = 30
) -> Allocation:
    """The allocation of `total_s` seconds, where `once_s` pass however many processes there are, each process takes
    `process_s` besides its rounds, and a round of it `round_s`."""
    rounds = most_rounds
    if found.between > 0:
        rounds = math.ceil(math.sqrt(process_s / round_s * math.pi / 2) * found.within / found.between)
    rounds = min(most_rounds, max(3, rounds))
    return Allocation(max(3, int((total_s - once_s) / (process_s + rounds * round_s))), rounds)
