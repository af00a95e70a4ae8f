"""CPUs, the cores they belong to, and their caches, as Linux describes them. Elsewhere nothing is known of them."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable
from pathlib import Path

from convbench.measurement.machine.sysfs import ROOT, cpu_list, names, number, text

CPUS = "sys/devices/system/cpu"
_LOOK_S = 0.2


def siblings(cpu: int, root: Path = ROOT) -> frozenset[int]:
    """The CPUs of the core that `cpu` belongs to; empty if unknown."""
    return cpu_list(text(root, f"{CPUS}/cpu{cpu}/topology/thread_siblings_list"))


def core_count(cpus: Iterable[int], root: Path = ROOT) -> int | None:
    """How many physical cores `cpus` belong to; None if one of them is unknown."""
    cores = [siblings(cpu, root) for cpu in cpus]
    return len(set(cores)) if cores and all(cores) else None


def caches(cpus: Iterable[int], root: Path = ROOT) -> dict[str, int]:
    """Bytes of each level of cache of `cpus` together, by name, the innermost level first. A cache that several of the
    CPUs share counts once, instruction caches not at all."""
    sizes: dict[int, dict[str, int]] = {}
    for cpu in cpus:
        for name in names(root, f"{CPUS}/cpu{cpu}/cache"):
            cache = f"{CPUS}/cpu{cpu}/cache/{name}"
            level, kind = number(root, f"{cache}/level"), text(root, f"{cache}/type")
            size = re.fullmatch(r"(\d+)([KM])", text(root, f"{cache}/size") or "")
            if level and size and kind != "Instruction":
                shared = text(root, f"{cache}/shared_cpu_list") or str(cpu)
                sizes.setdefault(level, {})[shared] = int(size[1]) * {"K": 2**10, "M": 2**20}[size[2]]
    return {f"L{level}": sum(by_owner.values()) for level, by_owner in sorted(sizes.items())}


def fastest_cpus(count: int, root: Path = ROOT) -> tuple[int, ...] | None:
    """So many of the CPUs that this process may use: one CPU of each core before any second one, the fastest cores
    first, and of equal ones the least busy. None where a thread cannot be kept on a CPU."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    import psutil  # a worker in another environment need not have it

    allowed: Collection[int] = os.sched_getaffinity(0)
    busy = psutil.cpu_percent(_LOOK_S, percpu=True)

    def order(cpu: int) -> tuple[bool, int, float, int]:
        is_second = any(other < cpu for other in siblings(cpu, root) & frozenset(allowed))
        frequency = number(root, f"{CPUS}/cpu{cpu}/cpufreq/cpuinfo_max_freq") or 0
        return is_second, -frequency, busy[cpu] if cpu < len(busy) else 0.0, cpu

    return tuple(sorted(allowed, key=order)[:count])
