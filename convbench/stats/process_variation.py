"""What two processes of the same code differ by, which no number of rounds within them lessens.

Where a process's memory lies makes it a little faster or slower for as long as it lives. A run with one process for
each backend sees that only between the backend that it times against itself and its twin. What is expected before is
what repeated pairs of fresh processes showed (`evaluation/accuracy/self_agreement.py`: 0.3 % in the median, which is 0.43 % as a
standard deviation); it weighs as much as six pairs do, and the run's own pair adds what it saw. A few times as much
there so widens all intervals of the case. With that many observations the factor of the 95 % interval is Student's.

On a machine whose host is busy there is more, in that one process is hit by what its neighbours do and another is not.
It shows in how far the rounds' ratios lie apart. So these do not average out for ever: however many there are, they are
worth 60 at most. Two copies of a convolution in NumPy were 0.84 % apart there in the median of 40 trials, and 3.3 % at
worst; so 95 % of the intervals hold 1 (`evaluation/statistics/power.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from convbench.stats.estimates import NORMAL_QUANTILE, student_quantile
from convbench.store.journal import Record

EXPECTED = 0.0043
"""The standard deviation of the logarithm of two processes' ratio, as expected before any is seen."""
_WORTH = 6
_MOST_ROUNDS = 60


def half_width_of_process_variation(records: Iterable[Record], spread: float = 0.0) -> float:
    """Half of the 95 % interval for the logarithm of a ratio of two processes of equal speed, each of one backend.
    `spread` is what their rounds' ratios lie apart by, as a standard deviation of logarithms."""
    seen = {}
    for record in records:
        of_itself = record.get("self_ratio")
        value = of_itself.get("value") if isinstance(of_itself, Mapping) else None
        if isinstance(value, float) and 0 < value < math.inf:
            seen[record.get("session"), record.get("case")] = math.log(value)
    degrees = _WORTH + len(seen)
    variance = (_WORTH * EXPECTED**2 + sum(log**2 for log in seen.values())) / degrees
    return math.hypot(
        student_quantile(degrees) * math.sqrt(variance), NORMAL_QUANTILE * spread / math.sqrt(_MOST_ROUNDS)
    )
