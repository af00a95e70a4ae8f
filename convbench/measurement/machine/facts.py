"""Facts about this machine and interpreter that a reader of a measurement needs, and the machine's name."""

from __future__ import annotations

import functools
import os
import platform
import re
from typing import Any

import psutil

from convbench.measurement.machine.sysfs import ROOT, first_match, number, text
from convbench.measurement.machine.topology import CPUS, caches

_VECTOR_ISAS = (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("SVE", "sve"), ("NEON", "asimd"))


@functools.cache
def machine_facts() -> dict[str, Any]:
    """Plain values, under asv's names where asv has one (machine, os, arch, cpu, num_cpu, ram)."""
    cpu = first_match(ROOT, "proc/cpuinfo", r"^model name\s*:\s*(.+)$")
    return {
        "machine": machine_name(),
        "os": f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "cpu": cpu or platform.processor() or platform.machine(),
        "num_cpu": os.cpu_count() or 1,
        "usable_cpus": usable_cpus(),
        "physical_cores": psutil.cpu_count(logical=False),
        "ram": str(psutil.virtual_memory().total),
        "memory_limit_bytes": memory_limit_bytes(),
        "caches_bytes": caches([0]),
        "vector_isa": next((isa for isa, flag in _VECTOR_ISAS if flag in cpu_flags()), None),
        "governor": text(ROOT, f"{CPUS}/cpu0/cpufreq/scaling_governor"),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
    }


def machine_name() -> str:
    """The name of this machine in results: CONVBENCH_MACHINE if that is set, else the host's."""
    name = os.environ.get("CONVBENCH_MACHINE") or platform.node() or "unknown-machine"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "unknown-machine"


def usable_cpus() -> int:
    """CPUs that this process may run on; a container or task set may allow fewer than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def memory_limit_bytes() -> int:
    """Memory that this process may use: the machine's, or the container's if that is less."""
    files = ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory/memory.limit_in_bytes")
    limits = [limit for file in files if (limit := number(ROOT, file)) is not None and limit > 0]
    return min(int(psutil.virtual_memory().total), *limits)


def load_average() -> float:
    """Processes running or waiting for a CPU, averaged over the last minute; 0 if unknown."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def cpu_flags() -> frozenset[str]:
    """The CPU's features by their Linux names (`avx2`, `asimd`); empty if unknown."""
    return frozenset((first_match(ROOT, "proc/cpuinfo", r"^(?:flags|Features)\s*:\s*(.+)$") or "").split())
