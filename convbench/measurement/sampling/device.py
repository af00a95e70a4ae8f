"""Samples of work on a device with its own queue, and what is read of the device besides: memory, transfers, energy.

The device's clock measures, if the backend provides it. The host only launches. It stays ahead of the device, whose
queue stays filled, so that a sample contains neither the wait for the first launch nor that for the last result. If
launching takes as long as the work, the queue runs empty; then the time is the host's, as `launch_s` shows. With cold
caches each call has marks of its own, and before it the device overwrites its last-level cache, while the host launches
the call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from time import perf_counter
from typing import Any, Literal

from convbench.backend import DeviceClock, Ready
from convbench.measurement.machine.gpu import Gpu, joules_per_call
from convbench.measurement.sampling.sample import Clock, Sample, SamplingPlan, system_clock, take_apart, take_sample

COLD_CALLS = 20  # calls in a sample with cold caches, each with marks of its own
_AHEAD = 2  # calls in the queue before the first mark, which keep the device busy until the host launches the next
_MOST_BESIDE = 0.5  # how much longer than by the device's clock a batch may take by the host's, without the calls ahead


class DeviceClockError(RuntimeError):
    """A clock shows less time than has passed, because its marks are not in the queue of the work."""


def take_device_sample(ready: Ready, plan: SamplingPlan, clock: Clock = system_clock) -> tuple[Sample, Any]:
    """A sample of `ready`, and the output of its last call. `wall_s` comes from the device's clock, if it has
    one, else from the host's. `launch_s` is the host's time to launch a call, unless caches are cold."""
    flush = ready.instruments.flush if plan.flush_bytes else None
    if flush is not None:
        if ready.instruments.clock is not None:
            return _cold(ready, ready.instruments.clock, flush, plan, clock)

        def empty() -> None:
            flush()
            ready.sync()

        sample, _, output = take_apart(ready.run, ready.sync, plan, empty, clock)
        return sample, output
    if ready.instruments.clock is None:
        return take_sample(ready.run, ready.sync, plan, clock)
    ahead = min(_AHEAD, plan.discarded)
    for _ in range(plan.discarded - ahead):
        ready.run()
    ready.sync()  # the first may be slow on a device that was asleep
    for _ in range(ahead):
        ready.run()
    return _warm(ready, ready.instruments.clock, plan, clock)


def _warm(ready: Ready, device: DeviceClock, plan: SamplingPlan, clock: Clock) -> tuple[Sample, Any]:
    all_but_last = range(plan.calls - 1)
    first, start = device.mark(), clock()
    for _ in all_but_last:
        ready.run()
    output = ready.run()
    last, launched = device.mark(), clock(ends=True)
    ready.sync()
    by_host = Sample.between(start, clock(ends=True), plan.calls)
    elapsed_s = device.between_s(first, last)
    launch_s = (launched.wall_s - start.wall_s) / plan.calls
    return replace(by_host, wall_s=elapsed_s / plan.calls, host_s=by_host.wall_s, launch_s=launch_s), output


def _cold(
    ready: Ready, device: DeviceClock, flush: Callable[[], Any], plan: SamplingPlan, clock: Clock
) -> tuple[Sample, Any]:
    marks = []
    start = clock()
    for _ in range(plan.calls):
        flush()
        before = device.mark()
        output = ready.run()
        marks.append((before, device.mark()))
    ready.sync()
    elapsed_s = sum(device.between_s(before, after) for before, after in marks)
    return replace(Sample.between(start, clock(ends=True), plan.calls), wall_s=elapsed_s / plan.calls), output


def refuse_wrong_clock(samples: Sequence[Sample]) -> None:
    """Raise `DeviceClockError` if, in the median of the samples, the host spent far more time on a batch than the
    device's clock shows. A batch begins with the calls ahead in the queue and ends when `sync` returns."""
    known = [(s.host_s, s.wall_s, s.calls) for s in samples if s.host_s is not None]
    if not known:
        return
    beside = median(host_s - wall_s * (1 + _AHEAD / calls) for host_s, wall_s, calls in known)
    wall_s = median(wall_s for _, wall_s, _ in known)
    if beside > _MOST_BESIDE * wall_s:
        host_s = median(host_s for host_s, _, _ in known)
        raise DeviceClockError(
            f"the device's clock shows {wall_s * 1e3:.3g} ms a call, and the host saw {host_s * 1e3:.3g} ms go by: its "
            "marks are not in the queue that run works in, where DeviceClock.mark should put them"
        )


Timer = Literal["host", "device"]  # whose clock measures wall seconds

_TRANSFERS, _TRANSFERS_S = 7, 0.2


@dataclass(frozen=True, kw_only=True)
class DeviceMetrics:
    """None where the library or driver does not report it."""

    held_bytes: int | None = None  # on the device between calls: operands and packed or set-aside copies
    peak_bytes: int | None = None  # the most at once during a call, output and workspace included
    send_s: float | None = None
    fetch_s: float | None = None
    """Seconds to bring the input to the device, and the output back as NCHW; part of no call's time."""
    energy_j: float | None = None  # joules per call of the whole board


def transfers(ready: Ready, output: Any) -> tuple[float | None, float | None]:
    """Seconds to send the input and to fetch `output`; None where the backend cannot send its input again."""
    send = ready.instruments.send
    if send is None:
        return None, None

    def arrive() -> None:
        send()
        ready.sync()

    return _median_s(arrive), _median_s(lambda: ready.to_numpy(output))


def memory_use(ready: Ready) -> tuple[int | None, int | None]:
    """Bytes held between calls, and the most during a call, provided that no output is kept meanwhile."""
    if ready.instruments.memory is None:
        return None, None
    memory = ready.instruments.memory(ready.run)
    return memory.held, memory.peak


def energy_per_call(ready: Ready, gpu: Gpu | None, energy_s: float) -> float | None:
    """Joules per call over `energy_s` seconds of calls; None where the GPU does not count them."""
    return joules_per_call(ready.run, ready.sync, gpu.energy_j, energy_s) if gpu is not None and energy_s > 0 else None


def _median_s(act: Callable[[], Any]) -> float:
    """The median of a few, after one that does not count."""
    act()
    taken_s: list[float] = []
    begin = perf_counter()
    while len(taken_s) < _TRANSFERS and (not taken_s or perf_counter() - begin < _TRANSFERS_S):
        start = perf_counter()
        act()
        taken_s.append(perf_counter() - start)
    return median(taken_s)
