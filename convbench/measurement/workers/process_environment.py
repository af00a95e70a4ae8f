"""How processes are started that run a module of convbench: with which thread limits, and with a steady allocator.

Libraries read their thread limits when they are imported, so the limits are set before the worker's interpreter starts.
OpenMP's wait policy stays as it is, because passive waiting made two-thread convolutions up to 15 times slower.
"""

from __future__ import annotations

import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from convbench.installation import CHECKOUT

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


class ChildProcess:
    """A module of convbench as a process, in this interpreter or in the `python` of another environment. With
    `own_session` a Ctrl-C in the terminal does not reach it."""

    def __init__(
        self,
        module: str,
        python: str | None,
        environment: Mapping[str, str] | None,
        folder: Path | None = None,
        own_session: bool = False,
    ) -> None:
        bootstrap = str(Path(__file__).with_name("bootstrap.py"))
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
        self._process = subprocess.Popen(
            [sys.executable, "-m", module] if python is None else [python, bootstrap, module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            env=environment,
            cwd=folder,
            start_new_session=own_session,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout

    def _stderr_tail(self, size: int = 4000) -> str:
        self._stderr.flush()
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - size))
        return self._stderr.read().decode(errors="replace")

    @staticmethod
    def _signal_name(number: int) -> str:
        return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def worker_environment(
    threads: int, allocator: Allocator, inherited: Mapping[str, str] | None = None, *, elsewhere: bool = False
) -> dict[str, str]:
    """All environment variables of a worker, from those `inherited` (default: this process's). `elsewhere`: the
    interpreter of another environment runs it."""
    environment = apart(inherited) if elsewhere else dict(os.environ if inherited is None else inherited)
    environment |= dict.fromkeys(_THREAD_VARIABLES, str(threads))
    if allocator == "steady" and platform.libc_ver()[0] == "glibc":
        environment["GLIBC_TUNABLES"] = _STEADY_GLIBC
    if not elsewhere and CHECKOUT is not None:
        # The worker has to find convbench in a checkout that is not installed, too.
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (CHECKOUT, environment.get("PYTHONPATH"))))
    return environment


def apart(inherited: Mapping[str, str] | None = None) -> dict[str, str]:
    """Environment variables for another environment's interpreter: none leads it to the libraries of this one."""
    variables = os.environ if inherited is None else inherited
    return {name: value for name, value in variables.items() if name not in _PYTHON_VARIABLES}
