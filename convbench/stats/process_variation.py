"""Between-process variation: how much two processes running the same code differ, which more rounds cannot reduce.

Where a process's memory lies makes it a little faster or slower for as long as it lives (Kalibera and Jones, Rigorous
benchmarking in reasonable time, ISMM 2013). How much depends on the machine, its allocator and the size of the
operands, so it is learned from pairs of processes that ran the same backend, in this run and earlier ones. Until then
it is that of repeated pairs on one machine (`evaluation/accuracy/self_agreement.py`: 0.3 % in the median, 0.43 % as a
standard deviation), which weighs as much as one pair.

How it is learned, with heavy tails allowed for, is in `convbench.stats.learned_scale`.

On a busy host neighbours disturb one process and not another. That shows in the spread of the rounds' ratios, so rounds
count as at most 60. There two copies of a convolution in NumPy were 0.84 % apart in the median of 40 trials, and 3.3 %
at worst; with this rule 95 % of the intervals hold 1 (`evaluation/statistics/power.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from convbench.stats.estimates import FEWEST_PROCESSES, NORMAL_QUANTILE, student_quantile
from convbench.stats.learned_scale import LearnedScale, scale_at

EXPECTED = 0.0043
"""The scale of the logarithm of two processes' ratio, as expected before any is seen."""
_MOST_ROUNDS = 60
ENOUGH_PAIRS = 6
"""With fewer, a run does not take several processes because of what they show."""
FEW_PROCESSES, MANY_PROCESSES = 5, 10
"""The most that a run takes by itself, unasked and where a precision was asked for. Each holds a library's memory."""
_SURE = 1000


@dataclass(frozen=True)
class ProcessVariation(LearnedScale):
    """The `scale` of the logarithm of the ratio of two processes that run the same code, learned from so many pairs."""

    scale: float = EXPECTED
    pairs: float = 0


def variation_at(size: float, pairs: Sequence[tuple[float, float]]) -> ProcessVariation:
    """The variation for operands of `size` from pairs of (size, logarithm of the ratio), as by `scale_at`."""
    return scale_at(ProcessVariation(), size, pairs)


def processes_needed(log_ratios: Sequence[float], precision: float, most: int = FEW_PROCESSES) -> int:
    """How many processes of each backend, `most` at most, a 95 % interval of `precision` to either side takes, where
    processes differ as these pairs did, or as is expected where too few pairs are known: 1 where they differ by less,
    else so many that Student's interval over them is narrow enough. Over three it is hardly narrower than what one
    process has, because their own spread is hardly known."""
    are_enough = len(log_ratios) >= ENOUGH_PAIRS
    variation = ProcessVariation().learned_from(log_ratios) if are_enough else ProcessVariation(pairs=_SURE)
    if variation.half_width_of_time <= precision:
        return 1
    scale_of_one = variation.scale / math.sqrt(2)
    counts = range(FEWEST_PROCESSES, most)
    narrow = (n for n in counts if student_quantile(n - 1) * scale_of_one / math.sqrt(n) <= precision)
    return next(narrow, most)


def half_width_of_process_variation(
    self_log_ratios: Sequence[float], spread: float = 0.0, known: ProcessVariation | None = None
) -> float:
    """Half of the 95 % interval for the logarithm of a ratio of two processes of equal speed. `self_log_ratios` are
    those of pairs seen besides what is `known` of the machine; `spread` is that of the rounds' ratios, as a standard
    deviation of logarithms."""
    variation = (known or ProcessVariation()).learned_from(self_log_ratios)
    return math.hypot(variation.half_width_of_ratio, NORMAL_QUANTILE * spread / math.sqrt(_MOST_ROUNDS))
