"""One visit to a worker: calls after a switch to it, each read on the wall clock, and the sample of those it ends with.

Another worker had the core before. Caches, TLB, allocator and clock frequency need some calls until they are as this
worker leaves them, and how many is a matter of the pair and the machine. A visit therefore returns every reading from
the first call on; what to discard is decided from the readings of all visits (`convbench.stats.plateau`).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from convbench.measurement.machine.energy import Meter
from convbench.measurement.sampling.sample import Clock, Sample, SamplingPlan, system_clock
from convbench.stats.plateau import midmean

READING_S = 50e-6
"""A reading lasts at least so long: reading the wall clock takes some 0.05 us, a thousandth of it."""
MOST_READINGS = 256


@dataclass(frozen=True)
class Visit:
    """A sample, and the seconds per call of each reading since the switch, those before the sample included."""

    sample: Sample
    readings: tuple[float, ...]


def calls_per_reading(call_s: float, visit_s: float) -> int:
    """How many calls of about `call_s` seconds each reading takes in a visit of `visit_s`: one, unless calls are too
    short for the clock or too many to keep."""
    shortest_s = max(READING_S, visit_s / MOST_READINGS)
    return max(1, math.ceil(shortest_s / max(call_s, 1e-9)))


def take_visit(
    run: Callable[[], Any],
    sync: Callable[[], None],
    plan: SamplingPlan,
    clock: Clock = system_clock,
    tick: Callable[[], float] = time.perf_counter,
    meter: Meter | None = None,
) -> tuple[Visit, Any]:
    """Make the discarded and the sampled calls of `plan`; returns the visit and the output of its last call.

    The sample's wall time is the midmean of its readings; its other figures are totals over its calls. Each reading
    waits for its last call. Every output but the last is dropped before the next call, as in other timers; otherwise
    two outputs would take turns in the caches.
    """
    per_reading = plan.calls_per_reading
    readings: list[float] = []
    _read(run, sync, plan.discarded // per_reading, per_reading, tick, readings)
    discarded = len(readings)
    before_uj = meter.read() if meter else None
    start = clock()
    output = _read(run, sync, plan.calls // per_reading, per_reading, tick, readings)
    end = clock(ends=True)
    used_j = meter.joules(before_uj, meter.read()) if meter else None
    sample = Sample.between(start, end, plan.calls, used_j)
    return Visit(replace(sample, wall_s=midmean(readings[discarded:])), tuple(readings)), output


def _read(
    run: Callable[[], Any],
    sync: Callable[[], None],
    count: int,
    per_reading: int,
    tick: Callable[[], float],
    readings: list[float],
) -> Any:
    """Take `count` readings of so many calls each; returns the last output."""
    output = None
    for _ in range(count):
        output = None
        start = tick()
        for _ in range(per_reading - 1):
            run()
        output = run()
        sync()
        readings.append((tick() - start) / per_reading)
    return output
