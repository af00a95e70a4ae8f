"""Which CPUs to measure on, and the caches that they have: as Linux tells it; elsewhere nothing is known of either.

Imports nothing heavy: a process holds itself to its CPUs before libraries start threads of their own.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from pathlib import Path

import psutil

_CPUS = Path("/sys/devices/system/cpu")
_LOOK_S = 0.2


def choose_cpus(threads: int, root: Path = _CPUS) -> tuple[int, ...] | None:
    """That many of the CPUs this process may use: of each core one before another's second, the fastest cores first,
    and of like ones the idlest. None where a thread cannot be held to a CPU."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    allowed = os.sched_getaffinity(0)
    busy = psutil.cpu_percent(_LOOK_S, percpu=True)

    def order(cpu: int) -> tuple[bool, int, float, int]:
        speed = _number(root / f"cpu{cpu}" / "cpufreq" / "cpuinfo_max_freq")
        return _is_second_of_core(cpu, allowed, root), -speed, busy[cpu] if cpu < len(busy) else 0.0, cpu

    return tuple(sorted(allowed, key=order)[:threads])


def caches(cpus: Iterable[int], root: Path = _CPUS) -> list[tuple[str, int]]:
    """The caches of `cpus`, innermost first: name, and bytes of all of that level together. A cache that several of the
    CPUs share counts once."""
    found: dict[int, dict[str, int]] = {}
    for cpu in cpus:
        for index in sorted((root / f"cpu{cpu}" / "cache").glob("index*")):
            level, kind, shared = _number(index / "level"), _text(index / "type"), _text(index / "shared_cpu_list")
            size = re.fullmatch(r"(\d+)([KM])", _text(index / "size"))
            if level and size and kind != "Instruction":
                found.setdefault(level, {})[shared or str(cpu)] = int(size[1]) * {"K": 2**10, "M": 2**20}[size[2]]
    return [(f"L{level}", sum(sizes.values())) for level, sizes in sorted(found.items())]


def _is_second_of_core(cpu: int, allowed: Iterable[int], root: Path) -> bool:
    siblings = cpu_list(_text(root / f"cpu{cpu}" / "topology" / "thread_siblings_list"))
    return any(other < cpu for other in siblings & set(allowed))


def cpu_list(text: str) -> set[int]:
    """The CPUs that a list in the kernel's words names: `0-2,8` is 0, 1, 2 and 8."""
    found: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", text):
        found |= set(range(int(first), int(last or first) + 1))
    return found


def _number(path: Path) -> int:
    text = _text(path)
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
