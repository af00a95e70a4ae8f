"""A task in several threads at once, each pinned to a CPU and timed call by call: the rate of all of them together.

The threads do not wait for one another between samples, so each is timed while the others work. Each reads the clock of
its own CPU time, which stops while another process has the CPU: a ceiling is what the machine can do, not what other
processes leave.
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
"""How many times longer than requested sampling may last on a busy machine before it ends with fewer samples."""


class WrongResultError(Exception):
    """A task computes something else than it should, so its rate would mean nothing."""


@dataclass(frozen=True)
class Task:
    """Work to time: `run(n)` does it n times in the calling thread, without the GIL. `work` is FLOP or bytes of one."""

    run: Callable[[int], object]
    work: float


@dataclass(frozen=True)
class Rates:
    """Work per second of all threads together, by sample, and the share of the time that they had a CPU."""

    samples: list[float]
    cpu_share: float


def rates(make: Callable[[], Task], cpus: Sequence[int | None], seconds: float) -> Rates:
    """Sample the task that `make` returns for `seconds`, in one thread for each of `cpus`, which is pinned unless None.
    Each thread calls `make`, and so touches its memory first. What `make` raises is raised here."""
    together = threading.Barrier(len(cpus))

    def timed(cpu: int | None) -> tuple[list[float], float, float]:
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
    # The reason is that of the thread that failed, not of those that waited for it in vain.
    for failed in (future.exception() for future in futures):
        if failed is not None and not isinstance(failed, threading.BrokenBarrierError):
            raise failed
    samples, wall_s, cpu_s = zip(*(future.result() for future in futures), strict=True)
    return Rates([sum(each) for each in zip(*samples, strict=False)], sum(cpu_s) / sum(wall_s))


_is_coarse = time.get_clock_info("thread_time").resolution > _SAMPLE_S / 1000
_clock = time.perf_counter if _is_coarse else time.thread_time


def _calibrated(task: Task) -> int:
    times = 1
    while True:
        start = _clock()
        task.run(times)
        taken_s = _clock() - start
        if taken_s > _SAMPLE_S / 4:
            return max(1, round(times * _SAMPLE_S / taken_s))
        times *= 2


def _timed(task: Task, times: int, seconds: float) -> tuple[list[float], float, float]:
    """Rates by sample, and the seconds of wall and CPU time that they took."""
    warm = _clock() + min(_WARM_S, seconds)
    while _clock() < warm:
        task.run(times)
    per_s: list[float] = []
    measured_s = 0.0
    begin, cpu_begin = time.perf_counter(), _clock()
    while measured_s < seconds or len(per_s) < _FEWEST:
        start = _clock()
        task.run(times)
        sample_s = _clock() - start
        per_s.append(times * task.work / sample_s)
        measured_s += sample_s
        if time.perf_counter() - begin > _LONGEST * seconds:
            break
    return per_s, time.perf_counter() - begin, _clock() - cpu_begin
