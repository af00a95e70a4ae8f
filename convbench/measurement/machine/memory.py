"""The memory of this process: how much it can have, a limit on it, and how much of it a case takes.

Resident memory shows only part of that. The allocator of workers keeps freed memory resident, and the next case can use
it without a trace. glibc reports how much it keeps (mallinfo2), which shows what is in use at the end. A peak within
the kept memory remains invisible.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from convbench.measurement.machine.cgroup import groups_of_this_process
from convbench.measurement.machine.sysfs import ROOT, number, numbers, text, write


@dataclass(frozen=True)
class Available:
    """Bytes that this process can still take, and what limits them, in words."""

    bytes: int
    limit: str


def available_memory(root: Path = ROOT) -> Available:
    """The least of what the machine, the groups that a container is in, and limits of this process leave free."""
    import psutil

    free = [Available(int(psutil.virtual_memory().available), "the memory of this machine")]
    groups = (_left_in_group(root, group) for group in groups_of_this_process(root, "memory", ("memory",)))
    free += [Available(left, "the limit of this container or group") for left in groups if left is not None]
    free += [Available(left, f"this process's limit, ulimit {option}") for option, left in _left_of_limits()]
    return min(free, key=lambda available: available.bytes)


def _left_in_group(root: Path, group: str) -> int | None:
    """Bytes that a group's limit leaves, with the files that the kernel drops when memory is short; None without one.
    Sources: admin-guide/cgroup-v2.rst ("Memory Interface Files") and cgroup-v1/memory.rst of the kernel."""
    for limit_file, used_file, dropped in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        limit, used = number(root, f"{group}/{limit_file}"), number(root, f"{group}/{used_file}")
        if limit is not None and used is not None:
            return max(0, limit - used + numbers(text(root, f"{group}/memory.stat")).get(dropped, 0))
    return None


def _left_of_limits() -> Iterator[tuple[str, int]]:
    if sys.platform == "linux":
        import resource

        for kind, option, field in ((resource.RLIMIT_AS, "-v", "VmSize"), (resource.RLIMIT_DATA, "-d", "VmData")):
            limit, used = resource.getrlimit(kind)[0], _status_bytes(field)
            if limit != resource.RLIM_INFINITY and used is not None:
                yield option, max(0, limit - used)


class MemoryWatch:
    """The memory that a case takes from now on. Bytes are None where the system does not report them."""

    def __init__(self) -> None:
        write(ROOT, "proc/self/clear_refs", "5")  # resets the peak
        self.before_bytes = _status_bytes("VmRSS")
        self._kept_before = kept_by_allocator()

    def at_the_end(self) -> dict[str, int | None]:
        """`steady_bytes`: resident now, as if the allocator kept as much free memory as at the start. `peak_bytes`: the
        most that was resident at once, and at least `steady_bytes`."""
        steady_bytes = _status_bytes("VmRSS")
        if steady_bytes is not None:
            steady_bytes += self._kept_before - kept_by_allocator()
        peaks = [peak for peak in (_status_bytes("VmHWM"), steady_bytes) if peak is not None]
        return {"peak_bytes": max(peaks, default=None), "steady_bytes": steady_bytes}


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3). `fordblks`: bytes that all arenas keep free."""

    _names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = tuple((name, ctypes.c_size_t) for name in _names.split())


def kept_by_allocator() -> int:
    """Free bytes that glibc keeps; 0 with another allocator, or glibc before 2.33."""
    if sys.platform == "linux":
        with contextlib.suppress(AttributeError, OSError):
            mallinfo2 = ctypes.CDLL(None).mallinfo2
            mallinfo2.restype = _Mallinfo2
            return int(mallinfo2().fordblks)
    return 0


def limit_memory(limit_bytes: int | None) -> None:
    """Make allocations beyond `limit_bytes` fail in this process, before the system kills one. Linux only."""
    if limit_bytes and sys.platform == "linux":
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def be_killed_first() -> None:
    """If memory runs out all the same, let the system end this process and not the run."""
    write(ROOT, "proc/self/oom_score_adj", "1000")


def _status_bytes(field: str) -> int | None:
    kibibytes = numbers(text(ROOT, "proc/self/status")).get(field)
    return None if kibibytes is None else kibibytes * 1024
