"""A container's CPU quota, and how often it was stopped because the quota was used up: Linux cgroups, v1 and v2.

Each group up to the root may set a limit, so the smallest quota applies. In a container, `/proc/self/cgroup` may name a
path of the host that is not visible inside; then the root of the mount counts, which is always read as well.
Sources: the kernel's documentation, admin-guide/cgroup-v2.rst ("CPU Interface Files") and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from convbench.measurement.machine.sysfs import ROOT, number, numbers, text, whole

_MOUNT = "sys/fs/cgroup"


@dataclass(frozen=True)
class CpuShare:
    """`quota_cpus`: CPU seconds allowed per second, None without a limit. `stops`, `stopped_s`: how often, and for how
    many seconds, all groups together were stopped since they were created; None if unknown."""

    quota_cpus: float | None = None
    stops: int | None = None
    stopped_s: float | None = None


def cpu_share(root: Path = ROOT) -> CpuShare:
    """The share of this process's group and of all groups above it."""
    groups = list(groups_of_this_process(root, "cpu", ("cpu", "cpu,cpuacct")))
    quotas = [quota for group in groups if (quota := _quota(root, group)) is not None]
    stats = [numbers(text(root, f"{group}/cpu.stat")) for group in groups]
    throttled = [stat for stat in stats if "nr_throttled" in stat]
    if not throttled:
        return CpuShare(min(quotas, default=None))
    stopped_s = sum(s.get("throttled_usec", 0) / 1e6 + s.get("throttled_time", 0) / 1e9 for s in throttled)
    return CpuShare(min(quotas, default=None), sum(stat["nr_throttled"] for stat in throttled), stopped_s)


def _quota(root: Path, group: str) -> float | None:
    words = (text(root, f"{group}/cpu.max") or "").split()
    if len(words) == 2:
        quota, period = whole(words[0]), whole(words[1])
    else:
        quota, period = number(root, f"{group}/cpu.cfs_quota_us"), number(root, f"{group}/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 and period > 0 else None


def groups_of_this_process(root: Path, controller: str, mounts_of_v1: Sequence[str]) -> Iterator[str]:
    """The folders, relative to `root`, of this process's groups of `controller` and of all above them, each once."""
    seen: set[Path] = set()
    for line in (text(root, "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if controllers == "":
            mounts = [_MOUNT, f"{_MOUNT}/unified"]
        elif controller in controllers.split(","):
            mounts = [f"{_MOUNT}/{mount}" for mount in mounts_of_v1]
        else:
            continue
        for mount in mounts:
            for group in _upwards(mount, path):
                folder = (root / group).resolve()
                if folder not in seen and folder.is_dir():
                    seen.add(folder)
                    yield group


def _upwards(mount: str, path: str) -> Iterator[str]:
    parts = PurePosixPath(path).parts[1:]
    if ".." in parts:  # outside this container's namespace
        parts = ()
    for depth in range(len(parts), -1, -1):
        yield "/".join((mount, *parts[:depth]))
