"""The environment variables of processes that run backends: thread limits, and a steady allocator.

Libraries read their thread limits when they are imported, so the limits are set before the worker's interpreter starts.
OpenMP's wait policy stays as it is, because passive waiting made two-thread convolutions up to 15 times slower.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from convbench.isa import switched

Allocator = Literal["steady", "system"]

_LIBRARIES = "OMP_NUM MKL_NUM OPENBLAS_NUM BLIS_NUM VECLIB_MAXIMUM NUMBA_NUM".split()
_THREAD_VARIABLES = (*(f"{library}_THREADS" for library in _LIBRARIES), "NPROC")  # the last is XLA's

# glibc returns a large block to the system when it is freed, and the next use faults it in again: the same convolution
# then takes 1.1 or 2.1 ms, depending on what else is allocated. In huge pages that glibc keeps, the time is steady.
_KEPT_BYTES = 10**10
_STEADY_GLIBC = (
    f"glibc.malloc.hugetlb=1:glibc.malloc.trim_threshold={_KEPT_BYTES}:glibc.malloc.mmap_threshold={_KEPT_BYTES}"
)

_PYTHON_VARIABLES = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")

WORKER = "convbench.measurement.workers.worker"  # the module that a worker process runs; other runs are found by it


def worker_environment(
    threads: int,
    allocator: Allocator,
    inherited: Mapping[str, str] | None = None,
    *,
    elsewhere: bool = False,
    switches: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """All environment variables of a worker, from those `inherited` (default: this process's). `elsewhere`: the
    interpreter of another environment runs it. `switches` hold its library to an instruction set."""
    environment = apart(inherited) if elsewhere else dict(os.environ if inherited is None else inherited)
    environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if allocator == "steady" and platform.libc_ver()[0] == "glibc":
        environment["GLIBC_TUNABLES"] = _STEADY_GLIBC
    return environment | switched(environment, switches or {})


def kept_caches(variables: Sequence[str], isa: str | None = None) -> dict[str, str]:
    """A folder for each of these variables in this user's cache of convbench, where later runs find it; none if there
    can be none."""
    import platformdirs

    inside = Path(platformdirs.user_cache_dir("convbench", appauthor=False)) / "compiled"
    inside = inside if isa is None else inside / isa  # code that was compiled for another instruction set stays apart
    folders = {variable: inside / variable.lower() for variable in variables}
    try:
        for folder in folders.values():
            folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return {}
    return {variable: str(folder) for variable, folder in folders.items()}


def apart(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables for another environment's interpreter: none leads it to the libraries of this one."""
    variables = os.environ if inherited is None else inherited
    return {name: value for name, value in variables.items() if name not in _PYTHON_VARIABLES}
