"""How long threads waited for a CPU while they could have run, as the scheduler counts it: Linux's run-queue delay.

Sleeping is no part of it. Source: `proc/PID/task/TID/schedstat`, whose second number is nanoseconds of waiting
(Documentation/scheduler/sched-stats of the Linux kernel). No other system tells.
"""

from __future__ import annotations

from collections.abc import Mapping

from convbench.measurement.machine.sysfs import ROOT, names, text


def thread_queued_s() -> float | None:
    """Seconds that the calling thread has waited for a CPU since it began; None where the system does not tell."""
    return _queued_s("proc/thread-self/schedstat")


def queued_s(process: int) -> dict[int, float]:
    """The same of each thread of `process`, by its id; empty where the system does not tell."""
    folder = f"proc/{process}/task"
    waits = {int(name): _queued_s(f"{folder}/{name}/schedstat") for name in names(ROOT, folder) if name.isdecimal()}
    return {thread: wait_s for thread, wait_s in waits.items() if wait_s is not None}


def queued_between(before_s: Mapping[int, float], after_s: Mapping[int, float]) -> float:
    """Seconds that all threads together waited between two readings of `queued_s`."""
    return sum(max(0.0, wait_s - before_s.get(thread, 0.0)) for thread, wait_s in after_s.items())


def _queued_s(file: str) -> float | None:
    words = (text(ROOT, file) or "").split()
    counts = [int(word) for word in words if word.isdigit()]
    # A kernel that does not count shows three zeros; a thread that reads this has run at least once.
    return counts[1] * 1e-9 if len(counts) == 3 and counts[2] else None
