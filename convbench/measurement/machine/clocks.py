"""The two clocks of samples: the cost of reading each, and its smallest observed step."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_BATCHES, _READS = 20, 500
_STEPS = 1000
LONGEST_S = 0.1  # of waiting for a step


@dataclass(frozen=True)
class Timer:
    """A clock by Python's name for it. `step_s` is None if it did not move within `LONGEST_S`."""

    name: str
    cost_s: float
    step_s: float | None


def timers() -> tuple[Timer, Timer]:
    """The wall clock and the CPU clock of this process, in that order."""
    return timer("perf_counter", time.perf_counter), timer("process_time", time.process_time)


def timer(name: str, read: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> Timer:
    """The clock `read`, timed by `clock`: the least cost of several batches, and the smallest of many steps."""
    costs = []
    for _ in range(_BATCHES):
        start = clock()
        for _ in range(_READS):
            read()
        costs.append((clock() - start) / _READS)
    smallest_s = math.inf
    end, last = clock() + LONGEST_S, read()
    steps = 0
    while steps < _STEPS and clock() < end:
        for _ in range(_READS):
            now = read()
            if now > last:
                smallest_s, steps = min(smallest_s, now - last), steps + 1
            last = now
    return Timer(name, min(costs), smallest_s if steps else None)
