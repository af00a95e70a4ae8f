"""What a worker reads of its backend's device besides samples: memory, transfers and energy."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any, Literal

from convbench.backend import Ready
from convbench.measurement.machine.gpu import Gpu, joules_per_call

Timer = Literal["host", "device"]
"""Whose clock measures wall seconds."""

_TRANSFERS, _TRANSFERS_S = 7, 0.2


@dataclass(frozen=True, kw_only=True)
class DeviceMetrics:
    """None where the library or driver does not report it."""

    held_bytes: int | None = None
    """On the device between calls: operands and packed or set-aside copies."""
    peak_bytes: int | None = None
    """The most at once during a call, output and workspace included."""
    send_s: float | None = None
    fetch_s: float | None = None
    """Seconds to bring the input to the device, and the output back as NCHW; part of no call's time."""
    energy_j: float | None = None
    """Joules per call of the whole board."""


def transfers(ready: Ready, output: Any) -> tuple[float | None, float | None]:
    """Seconds to send the input and to fetch `output`; None where the backend cannot send its input again."""
    send = ready.instruments.send
    if send is None:
        return None, None

    def arrive() -> None:
        send()
        ready.sync()

    return _median_s(arrive), _median_s(lambda: ready.to_numpy(output))


def device_memory(ready: Ready) -> tuple[int | None, int | None]:
    """Bytes held between calls, and the most during a call, provided that no output is kept meanwhile."""
    if ready.instruments.memory is None:
        return None, None
    memory = ready.instruments.memory(ready.run)
    return memory.held, memory.peak


def energy_per_call(ready: Ready, gpu: Gpu | None, energy_s: float) -> float | None:
    """Joules per call over `energy_s` seconds of calls; None where the GPU does not count them."""
    return joules_per_call(ready.run, ready.sync, gpu.energy_j, energy_s) if gpu is not None and energy_s > 0 else None


def _median_s(act: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """The median of a few, after one that does not count."""
    act()
    taken_s: list[float] = []
    begin = clock()
    while len(taken_s) < _TRANSFERS and (not taken_s or clock() - begin < _TRANSFERS_S):
        start = clock()
        act()
        taken_s.append(clock() - start)
    return median(taken_s)
