"""Hazards that the samples of one record show by themselves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.machine.gpu import SLOWED_BY
from convbench.measurement.workers.process_environment import Allocator

SHORTEST_SAMPLE_S = 1e-3  # the call after a switch of processes takes 1.2 times as long: some 0.1 ms
WIDEST_SPREAD = 0.10  # as in pyperf
MEDIAN_OVER_MINIMUM = 1.5  # two threads that wait for a CPU: 0.65 ms became 16 or 32
# 78 faults a call cost a convolution 3 to 12 % of its time, and 556 cost half of it (docs/measured.md, "What the
# allocator does"). The loop around it causes a few.
FAULTS_PER_CALL, SYSTEM_SHARE = 10, 0.02
RAN_SHARE = 0.95  # on an idle machine 0.99 and more
MORE_CPUS = 0.25  # some libraries use two threads whatever the limit
FEWER_CPUS = 0.6
STOOD_STILL_S, STOOD_STILL_TIMES = 0.1, 10.0  # a scheduler slice lasts some ten ms at most
SLOWED_SHARE = 0.05
GPU_CLOCK_SPREAD = 0.03
LAUNCH_SHARE = 0.9
_FEWEST_LAUNCHED = 3
_LARGEST = 1e18  # a greater number is no measurement


def hazards_of_samples(
    samples: Mapping[str, Sequence[Any]],
    threads: int = 1,
    allocator: Allocator = "steady",
    device: str = "cpu",
) -> list[Hazard]:
    """Hazards in the samples of one record, by column as records have them: `calls`, `wall_s`, `cpu_s`, `system_s` (per
    call), `minor_faults`, and of a GPU `launch_s`, `sm_mhz` and `slowed`. A missing column is not judged. The
    CPU clock is ignored on a `device` other than the CPU."""
    wall = _numbers(samples, "wall_s")
    if not wall or median(wall) <= 0:
        return []

    def column(name: str) -> list[float]:
        return _numbers(samples, name, len(wall))

    hazards = [*_of_spread(wall)]
    calls = column("calls")
    if calls and min(calls) > 0:
        sample_s = median(each * n for each, n in zip(wall, calls, strict=True))
        if sample_s < SHORTEST_SAMPLE_S:
            hazards.append(Hazard(Kind.SHORT_SAMPLES, {"sample_ms": sample_s * 1e3}))
        if device == "cpu" and (cpu := column("cpu_s")) and sum(cpu) > 0:
            hazards += _of_running(wall, cpu, calls, threads)
            hazards += _of_faults(cpu, calls, column("system_s"), column("minor_faults"), allocator)
    hazards += _of_gpu_clock(column("sm_mhz"), column("slowed"))
    hazards += _of_launching(wall, calls, column("launch_s"))
    return in_order(hazards)


def _of_spread(wall: Sequence[float]) -> Iterator[Hazard]:
    middle = median(wall)
    if len(wall) >= 4:
        low, _, high = quantiles(wall, n=4, method="inclusive")
        if (high - low) / middle > WIDEST_SPREAD:
            yield Hazard(Kind.SPREAD, {"spread": (high - low) / middle})
    if min(wall) > 0 and middle / min(wall) > MEDIAN_OVER_MINIMUM:
        yield Hazard(Kind.STALLS, {"over_minimum": middle / min(wall)})


def _of_running(wall: Sequence[float], cpu: Sequence[float], calls: Sequence[float], threads: int) -> Iterator[Hazard]:
    still = [
        (wall_s - cpu_s) * n
        for wall_s, cpu_s, n in zip(wall, cpu, calls, strict=True)
        if wall_s > STOOD_STILL_TIMES * median(wall) and (wall_s - cpu_s) * n > STOOD_STILL_S
    ]
    if still:
        yield Hazard(Kind.STOOD_STILL, {"samples": len(still), "taken": len(wall), "longest_s": max(still)})
    used = median(cpu_s / wall_s for wall_s, cpu_s in zip(wall, cpu, strict=True) if wall_s > 0)
    if used > threads + MORE_CPUS:
        yield Hazard(Kind.MORE_THREADS, {"used": used, "threads": threads})
    elif threads == 1 and used < RAN_SHARE:
        yield Hazard(Kind.WAITING, {"ran": used})
    elif threads > 1 and used < FEWER_CPUS * threads:
        yield Hazard(Kind.FEWER_THREADS, {"used": used, "threads": threads})


def _of_faults(
    cpu: Sequence[float],
    calls: Sequence[float],
    system: Sequence[float],
    faults: Sequence[float],
    allocator: Allocator,
) -> Iterator[Hazard]:
    if not system or not faults:
        return
    per_call = sum(faults) / sum(calls)
    share = sum(s * n for s, n in zip(system, calls, strict=True)) / sum(c * n for c, n in zip(cpu, calls, strict=True))
    if per_call >= FAULTS_PER_CALL and share >= SYSTEM_SHARE:
        kind = Kind.PAGE_FAULTS if allocator == "system" else Kind.OWN_PAGE_FAULTS
        yield Hazard(kind, {"faults_per_call": per_call, "system_share": share})


def _of_gpu_clock(sm_mhz: Sequence[float], slowed: Sequence[float]) -> Iterator[Hazard]:
    held_back = [bits for bits in map(int, slowed) if any(bits & bit for bit in SLOWED_BY)]
    if slowed and len(held_back) > SLOWED_SHARE * len(slowed):
        why = " and ".join(cause for bit, cause in SLOWED_BY.items() if any(bits & bit for bits in held_back))
        yield Hazard(Kind.GPU_SLOWED, {"share": len(held_back) / len(slowed), "why": why})
    if sm_mhz and min(sm_mhz) < (1 - GPU_CLOCK_SPREAD) * max(sm_mhz):
        yield Hazard(Kind.GPU_CLOCK, {"low_mhz": min(sm_mhz), "high_mhz": max(sm_mhz)})


def _of_launching(wall: Sequence[float], calls: Sequence[float], launch: Sequence[float]) -> Iterator[Hazard]:
    # The queue ran empty if a batch's time was spent launching all but its last call. One or two calls do not show it.
    if launch and calls and min(calls) >= _FEWEST_LAUNCHED:
        call_s, launch_s, n = median(wall), median(launch), median(calls)
        if launch_s >= LAUNCH_SHARE * call_s * (1 - 1 / n):
            yield Hazard(Kind.LAUNCH_BOUND, {"launch_us": launch_s * 1e6, "share": min(launch_s / call_s, 1.0)})


def _numbers(samples: Mapping[str, Sequence[Any]], name: str, length: int | None = None) -> list[float]:
    """A column as numbers that are not negative; empty where it has other values, or not `length` of them."""
    column = samples.get(name)
    if not isinstance(column, (list, tuple)) or (length is not None and len(column) != length):
        return []
    usable = (isinstance(n, (int, float)) and not isinstance(n, bool) and 0 <= n < _LARGEST for n in column)
    return [float(n) for n in column] if all(usable) else []
