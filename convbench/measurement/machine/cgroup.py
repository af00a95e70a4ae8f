"""What a container may use of the CPUs, and how often it was stopped for having used it up: Linux cgroups, v1 and v2.

Every group on the way up limits, so the least quota holds. In a container the path that `/proc/self/cgroup` names may
be the host's, which is not there to be seen; the mount's own root is then what counts, and is looked at in any case.
Sources: the kernel's documentation, admin-guide/cgroup-v2.rst ("CPU Interface Files") and scheduler/sched-bwc.rst.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from convbench.measurement.machine.sysfs import ROOT, fields, number, text, whole

_MOUNT = "sys/fs/cgroup"


@dataclass(frozen=True)
class CpuShare:
    """`quota_cpus`: CPU seconds a second that are allowed, None without a limit. Of all groups together since they were
    made: how often they were stopped (`stops`) and for how many seconds; None where that is not told."""

    quota_cpus: float | None = None
    stops: int | None = None
    stopped_s: float | None = None


def cpu_share(root: Path = ROOT) -> CpuShare:
    """The share of this process's group and all above it."""
    groups = list(_groups(root))
    quotas = [quota for group in groups if (quota := _quota(root, group)) is not None]
    stats = [fields(text(root, f"{group}/cpu.stat")) for group in groups]
    told = [stat for stat in stats if "nr_throttled" in stat]
    if not told:
        return CpuShare(min(quotas, default=None))
    stopped_s = sum(s.get("throttled_usec", 0) / 1e6 + s.get("throttled_time", 0) / 1e9 for s in told)
    return CpuShare(min(quotas, default=None), sum(stat["nr_throttled"] for stat in told), stopped_s)


def _quota(root: Path, group: str) -> float | None:
    words = (text(root, f"{group}/cpu.max") or "").split()
    if len(words) == 2:
        quota, period = whole(words[0]), whole(words[1])
    else:
        quota, period = number(root, f"{group}/cpu.cfs_quota_us"), number(root, f"{group}/cpu.cfs_period_us")
    return quota / period if quota and period and quota > 0 and period > 0 else None


def _groups(root: Path) -> Iterator[str]:
    """The folders, relative to `root`, of this process's CPU groups and of all above them, each once."""
    seen: set[Path] = set()
    for line in (text(root, "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if not path.startswith("/"):
            continue
        if controllers == "":
            mounts = [_MOUNT, f"{_MOUNT}/unified"]
        elif "cpu" in controllers.split(","):
            mounts = [f"{_MOUNT}/cpu", f"{_MOUNT}/cpu,cpuacct"]
        else:
            continue
        for mount in mounts:
            for group in _upwards(mount, path):
                place = (root / group).resolve()
                if place not in seen and place.is_dir():
                    seen.add(place)
                    yield group


def _upwards(mount: str, path: str) -> Iterator[str]:
    parts = PurePosixPath(path).parts[1:]
    if ".." in parts:  # outside of what this container's namespace shows
        parts = ()
    for depth in range(len(parts), -1, -1):
        yield "/".join((mount, *parts[:depth]))
