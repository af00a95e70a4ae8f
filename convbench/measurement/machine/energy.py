"""The energy that the machine's CPU packages used, by the counters in them (RAPL) that Linux hands on.

A counter is of a whole package: all of its cores, caches and memory controllers, whoever they work for. It moves about
once in a millisecond, so of one sample the figure is coarse, and of all samples of a backend it is not. Since Linux
5.10 only root may read the counters, because what they tell gives secrets of other processes away (CVE-2020-8694).

Source: the kernel's documentation, power/powercap; the names of zones, and that `package-N` holds its sub-zones.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from convbench.measurement.machine.sysfs import ROOT, number, text

_ZONES = "sys/class/powercap"
_JOULES = 1e-6  # in a counter's unit


@dataclass(frozen=True)
class Meter:
    """The counters of all packages: each one's file, and where it starts again at 0."""

    root: Path
    counters: tuple[tuple[str, int], ...]

    def read(self) -> tuple[int, ...] | None:
        """The counters as they stand, in microjoules; None where one cannot be read any more."""
        found = tuple(number(self.root, path) for path, _ in self.counters)
        return None if None in found else tuple(one for one in found if one is not None)

    def joules(self, before: tuple[int, ...] | None, after: tuple[int, ...] | None) -> float | None:
        """What all packages used between two readings, each of which may have started again once."""
        if before is None or after is None:
            return None
        turns = (after_uj - before_uj for before_uj, after_uj in zip(before, after, strict=True))
        return _JOULES * sum(
            used if used >= 0 else used + most + 1 for used, (_, most) in zip(turns, self.counters, strict=True)
        )


def energy_meter(root: Path = ROOT) -> Meter | None:
    """The machine's; None where there is none that this process may read."""
    counters = []
    for zone in _packages(root):
        most = number(root, f"{zone}/max_energy_range_uj")
        if number(root, f"{zone}/energy_uj") is None or most is None:
            return None  # a sum over some of the packages is no figure
        counters.append((f"{zone}/energy_uj", most))
    return Meter(root, tuple(counters)) if counters else None


def why_not_metered(root: Path = ROOT) -> str | None:
    """Why the energy cannot be read, and what to do about that; None where it can."""
    if energy_meter(root) is not None:
        return None
    if _packages(root):
        return (
            "energy is not recorded: its counters may be read by root alone; to allow it until the next start, "
            "sudo chmod a+r /sys/class/powercap/*/energy_uj"
        )
    return "energy is not recorded: the system shows no counters of it, as in most virtual machines"


def _packages(root: Path) -> list[str]:
    """The zones that are packages; the kernel names those of AMD's CPUs intel-rapl, too."""
    try:
        zones = sorted(path.name for path in (root / _ZONES).iterdir())
    except OSError:
        return []
    return [f"{_ZONES}/{zone}" for zone in zones if (text(root, f"{_ZONES}/{zone}/name") or "").startswith("package")]
