"""The NVIDIA driver, called directly, so that asking for a CUDA device imports no library."""

from __future__ import annotations

import ctypes


def cuda_device_count() -> int:
    """The number of CUDA devices that the NVIDIA driver shows."""
    count = ctypes.c_int()
    if (driver := cuda_driver()) is not None and driver.cuDeviceGetCount(ctypes.byref(count)) == 0:
        return count.value
    return 0


def cuda_driver() -> ctypes.CDLL | None:
    """The NVIDIA driver's library, initialised; None without a driver, or without a device that it can serve."""
    for library in ("libcuda.so.1", "nvcuda.dll"):
        try:
            driver = ctypes.CDLL(library)
        except OSError:
            continue
        if driver.cuInit(0) == 0:
            return driver
    return None
