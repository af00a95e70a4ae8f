"""The environment that worker processes start in: how many threads libraries may use, and a steady allocator.

Libraries read their thread limits when they are imported, so the limits are set before the worker's interpreter starts.
OpenMP's wait policy is left alone: passive waiting made two-thread convolutions up to 15 times slower.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from convbench.installation import CHECKOUT

Allocator = Literal["steady", "system"]

_THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
    "NPROC",  # XLA's thread pool
)

# glibc gives a large block back to the system when it is freed and faults it in again when it is next wanted: the same
# convolution then takes 1.1 or 2.1 ms, by the luck of what else is allocated. Kept, and in huge pages, it is steady.
_STEADY_GLIBC = ":".join(
    (
        "glibc.malloc.hugetlb=1",
        "glibc.malloc.trim_threshold=10000000000",
        "glibc.malloc.mmap_threshold=10000000000",
    )
)

_OF_THIS_PYTHON = ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")

START = Path(__file__).with_name("bootstrap.py")
"""The script by which another environment's interpreter runs a module of convbench."""


def worker_environment(
    threads: int, allocator: Allocator, inherited: Mapping[str, str] | None = None, *, elsewhere: bool = False
) -> dict[str, str]:
    """The whole environment of a worker, from the one inherited (by default this process's); `elsewhere` says that it
    is run by the interpreter of another environment."""
    environment = apart(inherited) if elsewhere else dict(os.environ if inherited is None else inherited)
    environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if allocator == "steady" and platform.libc_ver()[0] == "glibc":
        environment["GLIBC_TUNABLES"] = _STEADY_GLIBC
    if not elsewhere and CHECKOUT is not None:
        # Run from a checkout that is not installed, the worker has to find convbench, too.
        before = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = f"{CHECKOUT}{os.pathsep}{before}" if before else str(CHECKOUT)
    return environment


def apart(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of another environment's interpreter: nothing in it leads to the libraries of this one."""
    whole = os.environ if inherited is None else inherited
    return {name: value for name, value in whole.items() if name not in _OF_THIS_PYTHON}
