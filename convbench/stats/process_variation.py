"""Between-process variation: how much two processes running the same code differ, which more rounds cannot reduce.

Where a process's memory lies makes it a little faster or slower for as long as it lives (levels of variation: Kalibera
and Jones, Rigorous benchmarking in reasonable time, ISMM 2013). A run with one process per backend sees this variation
only in its self-ratio, between two processes of one backend. The expected variation comes from repeated pairs of fresh
processes (`evaluation/accuracy/self_agreement.py`: 0.3 % in the median, which is 0.43 % as a standard deviation) and
weighs as much as six pairs do. A run's own self-ratios are added to it, so that a few times as much there widens all
intervals of the case. The factor of the 95 % interval is Student's, with that many degrees of freedom.

On a machine whose host is busy there is more variation, because neighbours disturb one process and not another. It
shows in the spread of the rounds' ratios. Rounds therefore do not average out for ever: however many there are, they
count as at most 60. On such a machine two copies of a convolution in NumPy were 0.84 % apart in the median of 40
trials, and 3.3 % at worst; with this rule 95 % of the intervals hold 1 (`evaluation/statistics/power.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from convbench.stats.estimates import NORMAL_QUANTILE, student_quantile

EXPECTED = 0.0043
"""The standard deviation of the logarithm of two processes' ratio, as expected before any is seen."""
_WORTH = 6
_MOST_ROUNDS = 60


def half_width_of_process_variation(self_log_ratios: Sequence[float], spread: float = 0.0) -> float:
    """Half of the 95 % interval for the logarithm of a ratio of two processes of equal speed.

    `self_log_ratios` are logarithms of ratios between two processes of one backend. `spread` is the spread of the
    rounds' ratios, as a standard deviation of logarithms.
    """
    degrees = _WORTH + len(self_log_ratios)
    variance = (_WORTH * EXPECTED**2 + sum(log**2 for log in self_log_ratios)) / degrees
    return math.hypot(
        student_quantile(degrees) * math.sqrt(variance), NORMAL_QUANTILE * spread / math.sqrt(_MOST_ROUNDS)
    )
