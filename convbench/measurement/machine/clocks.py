"""The two clocks that samples are read on: what reading one costs, and the smallest step it was seen to make."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

_BATCHES, _READS = 20, 500
_STEPS = 1000
LONGEST_S = 0.1  # to wait for a step


@dataclass(frozen=True)
class Timer:
    """A clock by Python's name. `step_s` is None where it stood still for as long as was waited."""

    name: str
    cost_s: float
    step_s: float | None


def timers() -> tuple[Timer, Timer]:
    """The wall clock and the CPU clock of this process, in this order."""
    return timer("perf_counter", time.perf_counter), timer("process_time", time.process_time)


def timer(name: str, read: Callable[[], float], clock: Callable[[], float] = time.perf_counter) -> Timer:
    """The clock `read`, timed by `clock`: the cheapest of several batches of readings, the smallest of many steps."""
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
