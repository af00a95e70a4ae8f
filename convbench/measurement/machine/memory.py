"""The memory of this process: a limit to it, and how much of it a case takes.

What is resident tells only part of that. An allocator that keeps what was freed, as it does in workers, leaves it
resident, and what the next case takes of that is not seen. glibc tells how much it keeps (mallinfo2), so that what is
in use at the end can be told from it. A peak within what it keeps is seen by nobody.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
from functools import cache
from pathlib import Path
from typing import Any


class MemoryWatch:
    """What a case takes, from now on. All bytes are None where the system does not tell."""

    def __init__(self) -> None:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins anew
        self.before_bytes = _status_bytes("VmRSS")
        self._kept_before = kept_by_allocator()

    def at_the_end(self) -> dict[str, int | None]:
        """`steady_bytes`, what is resident now, as if the allocator kept as much free memory as in the beginning, and
        `peak_bytes`, the most that was resident at once, or that if it is more."""
        steady_bytes = _status_bytes("VmRSS")
        if steady_bytes is not None:
            steady_bytes += self._kept_before - kept_by_allocator()
        peaks = [one for one in (_status_bytes("VmHWM"), steady_bytes) if one is not None]
        return {"peak_bytes": max(peaks, default=None), "steady_bytes": steady_bytes}


class _Mallinfo2(ctypes.Structure):
    """mallinfo(3): `fordblks` are the bytes that all arenas keep free."""

    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    )  # fmt: skip


def kept_by_allocator() -> int:
    """Bytes that glibc keeps to give out again; 0 where there is another allocator, or glibc before 2.33."""
    mallinfo2 = _mallinfo2()
    return 0 if mallinfo2 is None else int(mallinfo2().fordblks)


@cache
def _mallinfo2() -> Any:
    if sys.platform != "linux":
        return None
    with contextlib.suppress(AttributeError, OSError):
        found = ctypes.CDLL(None).mallinfo2
        found.restype = _Mallinfo2
        return found
    return None


def limit_memory(limit_bytes: int | None) -> None:
    """Make an allocation beyond `limit_bytes` fail here, rather than the system kill something. Linux only."""
    if limit_bytes and sys.platform == "linux":
        import resource

        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_DATA, (limit_bytes, limit_bytes))


def be_killed_first() -> None:
    """Where memory runs out all the same, let the system end this process and not the run."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _status_bytes(field: str) -> int | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    return None
