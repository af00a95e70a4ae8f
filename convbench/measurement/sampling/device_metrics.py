"""What a worker reads of its backend's device besides samples: its clock's kind, memory, transfers and energy."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median
from typing import Any, Literal

from convbench.backend import Ready
from convbench.measurement.machine.gpu import Gpu, joules_per_call

Timer = Literal["host", "device"]
"""By whose clock wall seconds are."""

_TRANSFERS, _TRANSFERS_S = 7, 0.2


def after_first_call(ready: Ready) -> dict[str, Any]:
    """By whose clock it will be timed, and whether it can be timed with cold caches."""
    timer: Timer = "host" if ready.instruments.clock is None else "device"
    return {"timer": timer, "flushes": ready.instruments.flush is not None}


def after_last_sample(ready: Ready, output: Any, gpu: Gpu | None, energy_s: float) -> dict[str, Any]:
    """Seconds that the input takes to the device and the output back, where the backend can send its input again; and
    joules a call over `energy_s` seconds, where the GPU counts them."""
    found: dict[str, Any] = {}
    if (send := ready.instruments.send) is not None:

        def arrive() -> None:
            send()
            ready.sync()

        found["send_s"] = _seconds(arrive)
        found["fetch_s"] = _seconds(lambda: ready.to_numpy(output))
    if gpu is not None and energy_s > 0:
        found["energy_j"] = joules_per_call(ready.run, ready.sync, gpu.energy_j, energy_s)
    return found


def on_device(ready: Ready) -> dict[str, int | None]:
    """The bytes that it holds on the device between calls, and at most during one, when no output is kept besides."""
    if ready.instruments.memory is None:
        return {}
    memory = ready.instruments.memory(ready.run)
    return {"held_bytes": memory.held, "peak_on_device_bytes": memory.peak}


def _seconds(act: Callable[[], Any], clock: Callable[[], float] = time.perf_counter) -> float:
    """The median of a few, after one that is not counted."""
    act()
    took: list[float] = []
    begin = clock()
    while len(took) < _TRANSFERS and (not took or clock() - begin < _TRANSFERS_S):
        start = clock()
        act()
        took.append(clock() - start)
    return median(took)
