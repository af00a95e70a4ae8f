"""A GPU's clock, what holds it back, and its energy, from NVIDIA's management library (NVML).

Without such a GPU nothing is reported, and a value that a GPU does not report is None: data centre cards report
everything, others less, those lent to virtual machines little. Sources: the NVML API reference, "Device Queries"; for
the energy counter, which moves only every 20 to 100 ms: Yang, Adamek and Armour, Part-time Power Measurements, SC24
(arXiv:2312.02741).
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any, TypeVar

from convbench.cuda_driver import cuda_driver

_GPU_IDLE, _BY_SETTING = 0x1, 0x2  # bits of NVML that are harmless: an idle GPU, and a clock that its user has set
SLOWED_BY = {
    0x4: "its power limit",
    0x8: "heat or power (hardware)",
    0x10: "the other GPUs that it is synchronised with",
    0x20: "heat (driver)",
    0x40: "heat (hardware)",
    0x80: "the power supply",
    0x100: "the display's clock",
}
"""What holds the clock of a GPU back, by NVML's bit for it."""

_MOST_CALLS = 4096  # between two looks at the energy counter
_LOOK_EVERY_S = 0.005

_Value = TypeVar("_Value")


class Gpu:
    """CUDA's first GPU under this process's CUDA_VISIBLE_DEVICES. See `first_gpu`."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle

    def facts(self) -> dict[str, Any]:
        """Its name, driver, memory, highest clock and power limit, without those that it does not report."""
        n, handle = self._nvml, self._handle
        values = {
            "name": self._ask(n.nvmlDeviceGetName, handle),
            "driver": self._ask(n.nvmlSystemGetDriverVersion),
            "memory_bytes": self._ask(lambda: int(n.nvmlDeviceGetMemoryInfo(handle).total)),
            "most_sm_mhz": self._ask(n.nvmlDeviceGetMaxClockInfo, handle, n.NVML_CLOCK_SM),
            "power_limit_w": self._ask(lambda: n.nvmlDeviceGetPowerManagementLimit(handle) / 1e3),
        }
        return {name: value for name, value in values.items() if value is not None}

    def state(self) -> dict[str, Any]:
        """`sm_mhz`, its clock, and `slowed`, NVML's bits for what holds it back: to be read right after the work."""
        n = self._nvml
        bits = self._ask(n.nvmlDeviceGetCurrentClocksThrottleReasons, self._handle)
        sm_mhz = self._ask(n.nvmlDeviceGetClockInfo, self._handle, n.NVML_CLOCK_SM)
        return {"sm_mhz": sm_mhz, "slowed": None if bits is None else bits & ~(_GPU_IDLE | _BY_SETTING)}

    def energy_j(self) -> float | None:
        """Joules that the board has used since its driver was loaded."""
        millijoules = self._ask(self._nvml.nvmlDeviceGetTotalEnergyConsumption, self._handle)
        return None if millijoules is None else millijoules / 1e3

    def _ask(self, question: Callable[..., _Value], *words: Any) -> _Value | None:
        try:
            return question(*words)
        except self._nvml.NVMLError:
            return None


def first_gpu() -> Gpu | None:
    """The GPU that CUDA programs started from here use; None without a GPU or without NVML."""
    bus_id = _bus_id_of_first()
    if bus_id is None:
        return None
    import pynvml

    try:
        pynvml.nvmlInit()
        return Gpu(pynvml, pynvml.nvmlDeviceGetHandleByPciBusId(bus_id))
    except pynvml.NVMLError:
        return None


def _bus_id_of_first() -> bytes | None:
    """The PCI bus id of CUDA's first device, because NVML counts devices differently."""
    driver = cuda_driver()
    if driver is None:
        return None
    device, text = ctypes.c_int(), ctypes.create_string_buffer(32)
    if driver.cuDeviceGet(ctypes.byref(device), 0) != 0 or driver.cuDeviceGetPCIBusId(text, len(text), device) != 0:
        return None
    return text.value


def joules_per_call(
    run: Callable[[], Any],
    sync: Callable[[], Any],
    energy_j: Callable[[], float | None],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float | None:
    """Joules per call, over at least `seconds` of calls without a pause; None if the counter is unreadable or stands
    still. One step of the counter spans many calls, so calls are counted from one of its steps to another."""
    begin = clock()
    before_j = energy_j()
    start_j: float | None = None
    calls, batch = 0, 1
    while before_j is not None:
        look_s = clock()
        for _ in range(batch):
            run()
        sync()
        calls += batch
        now_j = energy_j()
        if now_j is None:
            return None
        if now_j != before_j:
            if start_j is None:
                start_j, calls, begin = now_j, 0, clock()
            elif clock() - begin >= seconds:
                return (now_j - start_j) / calls
            before_j = now_j
        elif clock() - begin > 2 * seconds:
            return None
        if clock() - look_s < _LOOK_EVERY_S:
            batch = min(2 * batch, _MOST_CALLS)
    return None
