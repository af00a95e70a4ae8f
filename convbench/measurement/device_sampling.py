"""One sample of work on a device that has a queue of its own, by the device's clock where the backend hands one out.

The host only launches: it is ahead of the device, whose queue stays filled, so that neither the wait for the first
launch nor that for the last result is in a sample. Where launching takes as long as the work does, the queue runs
empty; the time is then the host's, and `launch_s` shows it. With cold caches each call has marks of its own, and before
it the device overwrites its last-level cache, during which the host launches the call.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from convbench.backend import DeviceClock, Ready
from convbench.measurement.sampling import Clock, Plan, Sample, system_clock, take_sample

COLD_CALLS = 20
"""Calls in a sample with cold caches, each with marks of its own."""
_AHEAD = 2
"""Calls in the queue before the first mark, so that the device has something to do while the host comes to the next."""
# So an honest clock shows a third of what the host waited for, or more. A little is waited for in any case.
_MOST_TIMES_WAITED, _ALWAYS_WAITED_S = 4.0, 1e-3


class DeviceClockError(RuntimeError):
    """A clock that shows less than has passed: its marks are not in the queue that the work is in."""


def take_device_sample(ready: Ready, plan: Plan, clock: Clock = system_clock) -> tuple[Sample, Any]:
    """A sample of `ready`, and the output of its last call. `wall_s` is elapsed time by the device's clock, by the
    host's where there is none. `launch_s` is what the host needed to launch a call, unless caches are cold.

    Raises `DeviceClockError` where the device's clock shows far less than the host waited.
    """
    flush = ready.instruments.flush if plan.flush_bytes else None
    if ready.instruments.clock is None:
        return take_sample(ready.run, ready.sync, plan, clock, flush)
    if flush is not None:
        return _cold(ready, ready.instruments.clock, flush, plan, clock)
    ahead = min(_AHEAD, plan.discarded)
    for _ in range(plan.discarded - ahead):
        ready.run()
    ready.sync()  # the first of them may be slow, on a device that had slept
    for _ in range(ahead):
        ready.run()
    return _warm(ready, ready.instruments.clock, plan, clock)


def _warm(ready: Ready, device: DeviceClock, plan: Plan, clock: Clock) -> tuple[Sample, Any]:
    all_but_last = range(plan.calls - 1)
    first, start = device.mark(), clock()
    for _ in all_but_last:
        ready.run()
    output = ready.run()
    launched, last = clock(), device.mark()
    ready.sync()
    end = clock()
    took_s = device.between_s(first, last)
    waited_s = end.wall_s - launched.wall_s
    if waited_s > _MOST_TIMES_WAITED * took_s + _ALWAYS_WAITED_S:
        raise DeviceClockError(
            f"the device's clock shows {took_s * 1e3:.3g} ms for {plan.calls} calls, and the host waited for "
            f"{waited_s * 1e3:.3g} ms after it had launched them: its marks are not in the queue that run works in"
        )
    sample = Sample.between(start, end, plan.calls)
    launch_s = (launched.wall_s - start.wall_s) / plan.calls
    return replace(sample, wall_s=took_s / plan.calls, launch_s=launch_s), output


def _cold(ready: Ready, device: DeviceClock, flush: Callable[[], Any], plan: Plan, clock: Clock) -> tuple[Sample, Any]:
    marks = []
    start = clock()
    for _ in range(plan.calls):
        flush()
        before = device.mark()
        output = ready.run()
        marks.append((before, device.mark()))
    ready.sync()
    took_s = sum(device.between_s(before, after) for before, after in marks)
    return replace(Sample.between(start, clock(), plan.calls), wall_s=took_s / plan.calls), output
