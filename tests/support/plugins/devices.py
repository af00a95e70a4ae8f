"""Backends on a device of their own, made for the test: a thread that works through a queue, as a GPU does.

`run` only puts work into the queue. The device keeps a clock, has a cache that can be overwritten, and memory.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from convbench.backend import Arithmetic, Backend, DeviceClock, DeviceMemory, Instruments, Ready, Supports
from convbench.problem import ConvProblem

WORK_S, COLD_S, LAUNCH_S, FLUSH_S, SEND_S, FETCH_S = 0.001, 0.003, 0.002, 0.001, 0.003, 0.004
"""What a call takes on the device, warm and cold; what it takes to launch where that is slow; what else takes time."""


class Device:
    """A queue, and the thread that works through it."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.is_cold = False
        threading.Thread(target=self._work, daemon=True).start()

    def put(self, work: Callable[[], None]) -> None:
        self._queue.put(work)

    def sync(self) -> None:
        done = threading.Event()
        self.put(done.set)
        done.wait()

    def _work(self) -> None:
        while True:
            self._queue.get()()


@cache
def device() -> Device:
    return Device()


@dataclass
class Mark:
    at_s: float = 0.0


@dataclass
class Later:
    """An output that is there once the device has got to it."""

    values: list[Any] = field(default_factory=list)


class OnDevice(Backend):
    supports = Supports(dtypes={"float32"})
    arithmetic = Arithmetic("direct")
    device = "cuda"

    def __init__(
        self,
        name: str,
        *,
        clock: str | None = "own",
        launch_s: float = 0.0,
        bare: bool = False,
        waits: bool = True,
        fetch_s: float = 0.0,
    ) -> None:
        self.name, self.clock, self.launch_s, self.bare = name, clock, launch_s, bare
        self.waits, self.fetch_s = waits, fetch_s

    def unavailable(self) -> str | None:
        return None

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        answer = convolve(problem, x, w, b).astype(x.dtype)

        def run() -> Later:
            output = Later()

            def compute() -> None:
                _busy(COLD_S if device().is_cold else WORK_S)
                device().is_cold = False
                output.values.append(answer)

            time.sleep(self.launch_s)
            device().put(compute)
            return output

        def to_numpy(output: Later) -> np.ndarray:
            device().sync()
            if self.fetch_s and len(output.values) == 1:  # brought to the host once, and remembered
                _busy(self.fetch_s)
                output.values.append(output.values[0])
            return np.array(output.values[0])

        sync = device().sync if self.waits else lambda: None
        return Ready(run, sync, to_numpy, instruments=self._instruments())

    def _instruments(self) -> Instruments:
        if self.bare:
            return Instruments()
        clock = None if self.clock is None else DeviceClock(self._mark, lambda mark, later: later.at_s - mark.at_s)
        return Instruments(
            clock, _flush, lambda: device().put(lambda: _busy(SEND_S)), lambda run: DeviceMemory(1000, 3000)
        )

    def _mark(self) -> Mark:
        mark = Mark()

        def note() -> None:
            mark.at_s = time.perf_counter()

        if self.clock == "own":
            device().put(note)
        else:  # in another queue, where nothing is to be waited for
            note()
        return mark


class Lazy(OnDevice):
    """On the CPU, and computes nothing until it is asked for the answer."""

    device = "cpu"

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        from convbench.verification.reference import convolve

        def to_numpy(output: Later) -> np.ndarray:
            if not output.values:
                _busy(WORK_S)
                output.values.append(convolve(problem, x, w, b).astype(x.dtype))
            return np.array(output.values[0])

        return Ready(Later, to_numpy=to_numpy)


def _flush() -> None:
    def overwrite() -> None:
        _busy(FLUSH_S)
        device().is_cold = True

    device().put(overwrite)


def _busy(seconds: float) -> None:
    time.sleep(seconds)


BACKENDS = (
    OnDevice("by-its-clock"),
    OnDevice("by-the-host", clock=None),
    OnDevice("bare", bare=True),
    OnDevice("clock-elsewhere", clock="another queue's"),
    OnDevice("slow-to-launch", launch_s=LAUNCH_S),
    OnDevice("does-not-wait", bare=True, waits=False),
    OnDevice("slow-to-fetch", clock=None, fetch_s=FETCH_S),
    Lazy("lazy"),
)
