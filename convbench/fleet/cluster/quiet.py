"""Dask's settings for a worker that leaves its machine alone while something is timed there.

By its defaults an idle worker wakes some 150 times a second: to profile, to watch its memory, and to see whether its
event loop is on time. `evaluation/overhead/idle_dask_worker.py` measures what that takes of a core.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RESOURCE = "convbench"
"""What a Dask worker announces that convbench may use: one unit, because one thing is timed at a time."""


GPU_RESOURCE = "convbench-gpu"
"""One unit for each GPU of the machine."""


def resource_of(machine: str) -> str:
    """What a worker may announce as well: Dask then sends the tasks of a machine to a worker that took the place of one
    that died."""
    return f"{RESOURCE}:{machine}"


QUIET: Mapping[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.worker.memory.monitor-interval": "60s",
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.target": False,
    "distributed.admin.tick.interval": "30s",
    "distributed.admin.tick.cycle": "60s",
    "distributed.admin.tick.limit": "1h",
    "distributed.admin.system-monitor.interval": "60s",
    "distributed.admin.system-monitor.disk": False,
    "distributed.admin.system-monitor.gil.enabled": False,
    "distributed.diagnostics.nvml": False,
    "distributed.worker.http.routes": [],
}
"""Memory is left to the system: convbench's own processes hold it, which Dask does not know of."""


def as_environment(settings: Mapping[str, Any] = QUIET) -> dict[str, str]:
    """The settings as environment variables, as Dask reads them: `DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False`."""
    return {_variable(name): str(value) for name, value in settings.items()}


def _variable(name: str) -> str:
    return "DASK_" + name.upper().replace(".", "__").replace("-", "_")
