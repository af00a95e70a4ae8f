"""One sample, taken in the worker: a batch of calls between two readings of the clocks, or a visit read call by call.

A visit follows a switch from another worker. Caches, TLB, allocator and clock frequency need some calls until they are
as this worker leaves them, and how many is a matter of the pair and the machine. A visit therefore returns every
reading from the first call on; what to discard is decided from all visits (`convbench.stats.plateau`).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import fmean
from time import perf_counter, process_time  # before a backend that replaces those in `time` is imported
from typing import Any, Protocol

from convbench.measurement.machine.energy import Meter

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


_ONE_DISCARDED = 4  # samples
_MOST_CALLS = 2**20  # in a batch of `warm_up`, which then ends even if the clock stands still


@dataclass(frozen=True)
class Reading:
    """All clocks at one moment. `cpu_s` and `system_s` cover all threads of this process."""

    wall_s: float
    cpu_s: float
    system_s: float = 0.0
    minor_faults: int = 0


class Clock(Protocol):
    def __call__(self, ends: bool = False) -> Reading:
        """Read at the start of the timed calls, or where they end (`ends`)."""


def system_clock(ends: bool = False) -> Reading:
    """This process's clocks, the wall clock closest to the timed calls: right after a convolution, which leaves little
    else in the caches, reading the others takes 30 to 40 microseconds (`evaluation/overhead/reading_the_clocks.py`)."""
    wall_s, cpu_s = perf_counter(), process_time()
    usage = resource.getrusage(resource.RUSAGE_SELF) if resource else None
    if not ends:
        cpu_s = process_time()
        wall_s = perf_counter()
    return Reading(wall_s, cpu_s) if usage is None else Reading(wall_s, cpu_s, usage.ru_stime, usage.ru_minflt)


@dataclass(frozen=True)
class Sample:
    """A batch of `calls` calls: seconds and joules are per call, faults of the whole batch. `energy_j` is of the CPU
    packages. On a device, `wall_s` comes from its own clock if it has one, `host_s` from the host's, waiting included,
    and `launch_s` is the host's time to launch a call. `sm_mhz` is a GPU's clock right after the batch, and `slowed`
    NVML's bits for what held it back."""

    calls: int
    wall_s: float
    cpu_s: float
    system_s: float
    minor_faults: int
    energy_j: float | None = None
    host_s: float | None = None
    launch_s: float | None = None
    sm_mhz: int | None = None
    slowed: int | None = None

    @classmethod
    def between(cls, start: Reading, end: Reading, calls: int, used_j: float | None = None) -> Sample:
        """The sample of `calls` calls between two readings, which used `used_j` joules."""
        return cls(
            calls,
            (end.wall_s - start.wall_s) / calls,
            (end.cpu_s - start.cpu_s) / calls,
            (end.system_s - start.system_s) / calls,
            end.minor_faults - start.minor_faults,
            None if used_j is None else used_j / calls,
        )


@dataclass(frozen=True)
class SamplingPlan:
    """How one backend is sampled on one case: the calls of a sample, and the calls discarded after each switch to it.
    With `flush_bytes` each call is timed by itself: before it, untimed, so much other memory passes through the caches.
    A device overwrites its own cache, whatever the size."""

    calls: int
    discarded: int
    flush_bytes: int = 0
    as_in_pass: bool = False
    """Whether the input is written again after the flush, as by the layer before in a model."""
    calls_per_reading: int = 1
    """Calls between two readings of the wall clock within a visit; `calls` and `discarded` are multiples of it."""

    @property
    def all_calls(self) -> int:
        return self.calls + self.discarded


def calibrate(call_s: float, sample_s: float) -> SamplingPlan:
    """Enough calls for a sample to last `sample_s`, and up to 10 discarded calls that last no longer than a sample; at
    least one unless a call is longer than four samples. After a switch of processes, the first call took 1.2 times as
    long and calls were steady after 3 to 8; the first call of 6 ms still took 2 % longer."""
    per_call_s = max(call_s, 1e-9)
    calls = max(1, round(sample_s / per_call_s))
    at_least = 1 if call_s <= _ONE_DISCARDED * sample_s else 0
    return SamplingPlan(calls, min(10, max(at_least, int(sample_s / per_call_s))))


def take_sample(
    run: Callable[[], Any],
    sync: Callable[[], None],
    plan: SamplingPlan,
    clock: Clock = system_clock,
    meter: Meter | None = None,
) -> tuple[Sample, Any]:
    """Make the discarded calls, then time `plan.calls` calls; returns the sample and its last output. Others are
    dropped before the next call, or else two outputs would take turns in the caches."""
    for _ in range(plan.discarded):
        run()
    sync()
    all_but_last = range(plan.calls - 1)
    before_uj = meter.read() if meter else None
    start = clock()
    for _ in all_but_last:
        run()
    output = run()
    sync()
    end = clock(ends=True)
    used_j = meter.joules(before_uj, meter.read()) if meter else None
    return Sample.between(start, end, plan.calls, used_j), output


def take_apart(
    run: Callable[[], Any],
    sync: Callable[[], None],
    plan: SamplingPlan,
    before_call: Callable[[], Any],
    clock: Clock = system_clock,
    meter: Meter | None = None,
) -> tuple[Sample, tuple[float, ...], Any]:
    """Time each call of `plan` by itself, after an untimed `before_call` that brings the caches into their state. The
    sample has the means of the calls that are not discarded; returned as well are the seconds of every call, discarded
    ones included, and the last output. Others are dropped before `before_call`."""
    parts: list[Sample] = []
    output = None
    for _ in range(plan.all_calls):
        output = None
        before_call()
        before_uj = meter.read() if meter else None
        start = clock()
        output = run()
        sync()
        end = clock(ends=True)
        parts.append(Sample.between(start, end, 1, meter.joules(before_uj, meter.read()) if meter else None))
    timed = parts[plan.discarded :]
    sample = Sample(
        plan.calls,
        fmean(part.wall_s for part in timed),
        fmean(part.cpu_s for part in timed),
        fmean(part.system_s for part in timed),
        sum(part.minor_faults for part in timed),
        _mean_of_known([part.energy_j for part in timed]),
    )
    return sample, tuple(part.wall_s for part in parts), output


def _mean_of_known(values: list[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if len(known) == len(values) else None


def warm_up(run: Callable[[], Any], sync: Callable[[], None], limit_s: float, clock: Clock = system_clock) -> float:
    """Call until the time of a call has not fallen twice in succession, or `limit_s` has passed; returns seconds per
    call. Twice, because a time that falls slowly, like that of the first calls of a process, pauses now and then.
    Batches double, so that the clock is fine enough for calls of microseconds."""
    begin = clock().wall_s
    calls, fastest_s, stood = 1, math.inf, 0
    while True:
        sample, _ = take_sample(run, sync, SamplingPlan(calls, 0), clock)
        improved = sample.wall_s < 0.9 * fastest_s
        fastest_s = min(fastest_s, sample.wall_s)
        spent_s = clock().wall_s - begin
        long_enough = sample.wall_s * calls >= limit_s / 8
        stood = stood + 1 if long_enough and not improved else 0
        if spent_s >= limit_s or calls >= _MOST_CALLS or stood == 2:
            return fastest_s
        if not long_enough:
            calls *= 2


READING_S = 50e-6  # a reading lasts at least so long: reading the wall clock takes some 0.05 us, a thousandth of it
MOST_READINGS = 256


def calls_per_reading(call_s: float, visit_s: float) -> int:
    """How many calls of about `call_s` seconds each reading takes in a visit of `visit_s`: one, unless calls are too
    short for the clock or too many to keep."""
    shortest_s = max(READING_S, visit_s / MOST_READINGS)
    return max(1, math.ceil(shortest_s / max(call_s, 1e-9)))


def take_visit(
    run: Callable[[], Any], sync: Callable[[], None], plan: SamplingPlan, meter: Meter | None = None
) -> tuple[Sample, tuple[float, ...], Any]:
    """Make the discarded and the sampled calls of `plan`; returns the sample, the seconds per call of each reading
    since the switch, those before the sample included, and the last output, others being dropped as by `take_sample`.
    Each reading waits for its last call. The sample's wall time is the mean of its readings, as that of a loop is; its
    other figures are totals over its calls."""
    per_reading = plan.calls_per_reading
    readings: list[float] = []

    def read(count: int) -> Any:
        output = None
        for _ in range(count):
            start = perf_counter()
            output = None  # dropping it is part of a loop's time
            for _ in range(per_reading - 1):
                run()
            output = run()
            sync()
            readings.append((perf_counter() - start) / per_reading)
        return output

    read(plan.discarded // per_reading)
    discarded = len(readings)
    before_uj = meter.read() if meter else None
    start = system_clock()
    output = read(plan.calls // per_reading)
    end = system_clock(ends=True)
    used_j = meter.joules(before_uj, meter.read()) if meter else None
    sample = replace(Sample.between(start, end, plan.calls, used_j), wall_s=fmean(readings[discarded:]))
    return sample, tuple(readings), output
