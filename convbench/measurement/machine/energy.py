"""The energy that the machine's CPU packages use, from their own counters (RAPL), which Linux exposes.

A counter covers a whole package: all its cores, caches and memory controllers, whatever they work for. It moves about
once a millisecond, so its figure is coarse for one sample but not for all samples of a backend. Since Linux 5.10 only
root may read the counters, because they leak secrets of other processes (CVE-2020-8694).
Source: the kernel's documentation, power/powercap; the names of zones, and that `package-N` holds its sub-zones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convbench.measurement.machine.sysfs import ROOT, names, number, text

_ZONES = "sys/class/powercap"


@dataclass(frozen=True)
class Meter:
    """The counters of all packages: the file of each, and the value after which it restarts at 0."""

    root: Path
    counters: tuple[tuple[str, int], ...]

    def read(self) -> tuple[int, ...] | None:
        """The counters in microjoules; None if one can no longer be read."""
        known = tuple(value for path, _ in self.counters if (value := number(self.root, path)) is not None)
        return known if len(known) == len(self.counters) else None

    def joules(self, before: tuple[int, ...] | None, after: tuple[int, ...] | None) -> float | None:
        """Joules that all packages used between two readings. Each counter may have restarted once."""
        if before is None or after is None:
            return None
        used_uj = (after_uj - before_uj for before_uj, after_uj in zip(before, after, strict=True))
        return 1e-6 * sum(
            used if used >= 0 else used + most + 1 for used, (_, most) in zip(used_uj, self.counters, strict=True)
        )


def energy_meter(root: Path = ROOT) -> Meter | None:
    """The meter of this machine; None if this process may not read one."""
    counters = []
    for zone in _packages(root):
        most = number(root, f"{zone}/max_energy_range_uj")
        if number(root, f"{zone}/energy_uj") is None or most is None:
            return None  # the sum over some of the packages says nothing
        counters.append((f"{zone}/energy_uj", most))
    return Meter(root, tuple(counters)) if counters else None


def why_not_metered(root: Path = ROOT) -> str | None:
    """Why the energy cannot be read, and what to do about it; None if it can."""
    if energy_meter(root) is not None:
        return None
    if _packages(root):
        return (
            "energy is not recorded: only root may read its counters; to allow all users until the next restart, type "
            "sudo chmod a+r /sys/class/powercap/*/energy_uj"
        )
    return "energy is not recorded: the system exposes no counters, like most virtual machines"


def _packages(root: Path) -> list[str]:
    """The zones that are packages. The kernel calls those of AMD's CPUs intel-rapl, too."""
    zones = names(root, _ZONES)
    return [f"{_ZONES}/{zone}" for zone in zones if (text(root, f"{_ZONES}/{zone}/name") or "").startswith("package")]
