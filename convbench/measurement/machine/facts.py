"""Facts of this machine and interpreter that a reader of a measurement needs, and this machine's name."""

from __future__ import annotations

import functools
import os
import platform
import re
from pathlib import Path
from typing import Any

import psutil


@functools.cache
def machine_facts() -> dict[str, Any]:
    """Plain values, in asv's words where asv has one (machine, os, arch, cpu, num_cpu, ram)."""
    return {
        "machine": machine_name(),
        "os": f"{platform.system()} {platform.release()}",
        "arch": platform.machine(),
        "cpu": _cpu_model(),
        "num_cpu": os.cpu_count() or 1,
        "usable_cpus": usable_cpus(),
        "physical_cores": psutil.cpu_count(logical=False),
        "ram": str(psutil.virtual_memory().total),
        "memory_limit_bytes": memory_limit_bytes(),
        "caches_bytes": _caches_bytes(),
        "vector_isa": _vector_isa(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "libc": " ".join(platform.libc_ver()).strip(),
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
    }


def machine_name() -> str:
    """The name this machine's results are kept under: asv's, where asv knows one, else the host's."""
    name = os.environ.get("CONVBENCH_MACHINE") or platform.node() or "unknown-machine"
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "unknown-machine"


def usable_cpus() -> int:
    """CPUs that this process may run on, which containers and task sets make fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_limit_bytes() -> int:
    """Memory this process may use: the machine's, or the container's where that is less."""
    limits = [int(psutil.virtual_memory().total)]
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        text = _read(path)
        if text and text.isdigit():
            limits.append(int(text))
    return min(limits)


def load_average() -> float:
    """Processes running or waiting for a CPU, averaged over the last minute; 0 where the system does not tell."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _cpu_model() -> str:
    match = re.search(r"^model name\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return match[1].strip() if match else platform.processor() or platform.machine()


def cpu_flags() -> frozenset[str]:
    """What the CPU can do, in the words of Linux (`avx2`, `asimd`); nothing where the system does not tell it so."""
    match = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", _read("/proc/cpuinfo") or "", re.MULTILINE)
    return frozenset(match[1].split()) if match else frozenset()


def _vector_isa() -> str | None:
    flags = cpu_flags()
    for isa, flag in (("AVX-512", "avx512f"), ("AVX2", "avx2"), ("SVE", "sve"), ("NEON", "asimd")):
        if flag in flags:
            return isa
    return None


def _caches_bytes() -> dict[str, int]:
    found: dict[str, int] = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        match = re.fullmatch(r"(\d+)([KM])", size or "")
        if level and match and kind != "Instruction":
            found[f"L{level}"] = int(match[1]) * {"K": 2**10, "M": 2**20}[match[2]]
    return found


def _read(path: str | Path) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
