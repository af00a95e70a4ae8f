"""A task in several threads at once, each held to a CPU, timed call by call: the rate of all of them together.

The threads run without waiting for one another between samples, so what is timed in one has the others at work beside
it. Each reads the clock of its own CPU time, which stands still while another process has the CPU: a ceiling is what
the machine can do, not what others left of it.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

_SAMPLE_S = 0.005
_WARM_S = 0.05
_FEWEST = 10
_LONGEST = 5
"""How many times longer than asked sampling may last on a busy machine, before it ends with what there is."""


class WrongResultError(Exception):
    """A task computes something else than it should: its rate would be that of something else."""


@dataclass(frozen=True)
class Task:
    """Work to be timed: `run(n)` does it n times over in the thread that calls it, without the GIL; `work` is how much
    of it one time is, as in FLOP or bytes."""

    run: Callable[[int], object]
    work: float


@dataclass(frozen=True)
class Rates:
    """Work a second of all threads together, sample by sample, and the share of the time that they had a CPU."""

    samples: list[float]
    cpu_share: float


@dataclass(frozen=True)
class _Timed:
    rates: list[float]
    wall_s: float
    cpu_s: float


def rates(make: Callable[[], Task], cpus: Sequence[int | None], seconds: float) -> Rates:
    """Sample the task that `make` gives for `seconds`, in as many threads as there are `cpus`, a None of which is not
    held to any.

    `make` is called in each thread, which so is the first to touch the memory that it asks for; what it raises is
    raised here.
    """
    together = threading.Barrier(len(cpus))

    def timed(cpu: int | None) -> _Timed:
        try:
            if cpu is not None:
                os.sched_setaffinity(0, {cpu})
            task = make()
            times = _calibrated(task)
            together.wait()
        except BaseException:
            together.abort()
            raise
        return _timed(task, times, seconds)

    with ThreadPoolExecutor(len(cpus)) as pool:
        futures = [pool.submit(timed, cpu) for cpu in cpus]
    # The thread that failed, and not those that then waited in vain, has the reason.
    for failed in (future.exception() for future in futures):
        if failed is not None and not isinstance(failed, threading.BrokenBarrierError):
            raise failed
    done = [future.result() for future in futures]
    together_s = [sum(each) for each in zip(*(one.rates for one in done), strict=False)]
    return Rates(together_s, sum(one.cpu_s for one in done) / sum(one.wall_s for one in done))


def _cpu_clock() -> Callable[[], float]:
    too_coarse = time.get_clock_info("thread_time").resolution > _SAMPLE_S / 1000
    return time.perf_counter if too_coarse else time.thread_time


_clock = _cpu_clock()


def _calibrated(task: Task) -> int:
    """How many times over make a sample."""
    times = 1
    while True:
        start = _clock()
        task.run(times)
        taken_s = _clock() - start
        if taken_s > _SAMPLE_S / 4:
            return max(1, round(times * _SAMPLE_S / taken_s))
        times *= 2


def _timed(task: Task, times: int, seconds: float) -> _Timed:
    warm = _clock() + min(_WARM_S, seconds)
    while _clock() < warm:
        task.run(times)
    found: list[float] = []
    measured_s = 0.0
    begin, cpu_begin = time.perf_counter(), _clock()
    while measured_s < seconds or len(found) < _FEWEST:
        start = _clock()
        task.run(times)
        sample_s = _clock() - start
        found.append(times * task.work / sample_s)
        measured_s += sample_s
        if time.perf_counter() - begin > _LONGEST * seconds:
            break
    return _Timed(found, time.perf_counter() - begin, _clock() - cpu_begin)
