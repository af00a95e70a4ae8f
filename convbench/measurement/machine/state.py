"""The machine's state while it measures: its settings, and counters that are read before and after a measurement.

Everything comes from the kernel's files under a root that tests replace, and is None where the system does not say.
Sources: proc(5); the kernel's documentation, admin-guide/pm/cpufreq.rst and ABI/testing/sysfs-devices-system-cpu.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Collection
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from convbench.measurement.machine.cgroup import cpu_share
from convbench.measurement.machine.facts import usable_cpus
from convbench.measurement.machine.sysfs import ROOT, first_match, names, number, numbers, text, whole
from convbench.measurement.machine.topology import CPUS, core_count
from convbench.measurement.workers.process_environment import WORKER

_NO_TURBO = f"{CPUS}/intel_pstate/no_turbo"
_BOOST = f"{CPUS}/cpufreq/boost"
_HUGE_PAGES = "sys/kernel/mm/transparent_hugepage/enabled"

_Count = TypeVar("_Count", int, float)


@dataclass(frozen=True, kw_only=True)
class MachineState:
    """The settings of the machine, which stay until they are changed."""

    usable_cpus: int
    cores: int | None = None  # physical cores among the usable CPUs
    governors: tuple[str, ...] = ()  # the distinct governors of the usable CPUs
    fixed_frequency: bool = False  # whether the lowest and the highest allowed frequency are equal on every usable CPU
    frequencies_mhz: tuple[float, ...] = ()  # of each usable CPU, now
    boost: bool | None = None
    boost_off: str | None = None  # the command that turns boost off
    quota_cpus: float | None = None
    on_battery: bool | None = None
    virtual: bool = False  # whether there is a hypervisor that shows itself
    huge_pages: str | None = None  # `always`, `madvise` or `never`


@dataclass(frozen=True, kw_only=True)
class _Events:
    """What is counted, since the machine started or between two readings; None if unknown."""

    cpus: int | None = None
    heat_stops: int | None = None  # how often the CPUs slowed down because of heat
    quota_stops: int | None = None
    quota_stopped_s: float | None = None
    swapped_pages: int | None = None


@dataclass(frozen=True, kw_only=True)
class Counters(_Events):
    """Numbers that only grow, at one moment. CPU seconds are those of all CPUs together since the machine started."""

    at_s: float
    own_s: float  # CPU seconds of this process and of its children that have ended
    busy_s: float | None = None
    steal_s: float | None = None


@dataclass(frozen=True, kw_only=True)
class MachineActivity(_Events):
    """What happened on the machine between two readings of the counters; None if unknown."""

    seconds: float
    others_cpus: float | None = None  # how many CPUs other work kept busy, besides this process and its children
    steal_share: float | None = None
    """The share of the CPU time needed by anything on this machine that its host gave to other guests."""


def machine_state(root: Path = ROOT, cpus: Collection[int] | None = None) -> MachineState:
    """The machine's settings, for `cpus` or else for the CPUs that this process may use."""
    if cpus is None:
        cpus = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(usable_cpus())
    scaling = [f"{CPUS}/cpu{cpu}/cpufreq" for cpu in sorted(cpus)]
    governors = [governor for folder in scaling if (governor := text(root, f"{folder}/scaling_governor"))]
    limits = [(number(root, f"{f}/scaling_min_freq"), number(root, f"{f}/scaling_max_freq")) for f in scaling]
    now_khz = [khz for folder in scaling if (khz := number(root, f"{folder}/scaling_cur_freq"))]
    boost, boost_off = _boost(root)
    return MachineState(
        usable_cpus=len(cpus),
        cores=core_count(cpus, root),
        governors=tuple(dict.fromkeys(governors)),
        fixed_frequency=bool(limits) and all(low is not None and low == high for low, high in limits),
        frequencies_mhz=tuple(khz / 1e3 for khz in now_khz),
        boost=boost,
        boost_off=boost_off,
        quota_cpus=cpu_share(root).quota_cpus,
        on_battery=_on_battery(root),
        virtual=first_match(root, "proc/cpuinfo", r"^flags\s*:.*\b(hypervisor)\b") is not None,
        huge_pages=first_match(root, _HUGE_PAGES, r"\[(always|madvise|never)\]"),
    )


def counters(root: Path = ROOT) -> Counters:
    used, share = os.times(), cpu_share(root)
    cpus, busy_s, steal_s = _cpu_times(text(root, "proc/stat"))
    swapped = numbers(text(root, "proc/vmstat"))
    return Counters(
        at_s=time.monotonic(),
        own_s=used.user + used.system + used.children_user + used.children_system,
        cpus=cpus,
        busy_s=busy_s,
        steal_s=steal_s,
        heat_stops=_heat_stops(root),
        quota_stops=share.stops,
        quota_stopped_s=share.stopped_s,
        swapped_pages=swapped["pswpin"] + swapped["pswpout"] if {"pswpin", "pswpout"} <= swapped.keys() else None,
    )


def machine_activity(before: Counters, after: Counters) -> MachineActivity:
    seconds = after.at_s - before.at_s
    busy_s, steal_s = _grown(before.busy_s, after.busy_s), _grown(before.steal_s, after.steal_s)
    others_cpus = steal_share = None
    if busy_s is not None and seconds > 0:
        others_cpus = max(0.0, busy_s - (after.own_s - before.own_s)) / seconds
    if busy_s is not None and steal_s is not None:
        steal_share = steal_s / (busy_s + steal_s) if steal_s else 0.0
    events: dict[str, Any] = {f.name: _grown(getattr(before, f.name), getattr(after, f.name)) for f in fields(_Events)}
    return MachineActivity(
        seconds=seconds, others_cpus=others_cpus, steal_share=steal_share, **events | {"cpus": after.cpus}
    )


def other_runs() -> tuple[int, ...]:
    """The processes, besides this one, that have workers of convbench running on this machine now; of workers whose
    run has ended and left them to another process, such as init, the workers themselves."""
    import psutil

    runs: set[int] = set()
    for process in psutil.process_iter(["pid", "ppid", "cmdline", "status"]):
        words = process.info["cmdline"] or []
        if WORKER in words[1:4] and process.info["status"] != psutil.STATUS_ZOMBIE:
            parent = process.info["ppid"]
            runs.add(parent if parent == os.getpid() or _runs_python(parent) else process.info["pid"])
    return tuple(sorted(runs - {os.getpid()}))


def _runs_python(pid: int | None) -> bool:
    """Whether a process can be a run: it is Python, under whatever name. True if that is not known."""
    import psutil

    try:
        words = psutil.Process(pid).cmdline() if pid else []
    except psutil.Error:
        return pid != 1
    return any("python" in Path(word).name.lower() or "convbench" in word for word in words[:2])


def _grown(before: _Count | None, after: _Count | None) -> _Count | None:
    # A counter that fell was reset, as when a container moved. Nothing is known then.
    return after - before if before is not None and after is not None and after >= before else None


def _boost(root: Path) -> tuple[bool | None, str | None]:
    if (off := number(root, _NO_TURBO)) is not None:
        return off == 0, f"echo 1 | sudo tee /{_NO_TURBO}"
    if (on := number(root, _BOOST)) is not None:
        return on == 1, f"echo 0 | sudo tee /{_BOOST}"
    return None, None


def _on_battery(root: Path) -> bool | None:
    """Whether a battery is discharging; None without a battery."""
    folders = [f"sys/class/power_supply/{name}" for name in names(root, "sys/class/power_supply")]
    if not folders:
        import psutil

        battery = psutil.sensors_battery() if root == ROOT and hasattr(psutil, "sensors_battery") else None
        return None if battery is None or battery.power_plugged is None else not battery.power_plugged
    # A mouse also has a battery, with the scope "Device".
    own = [f for f in folders if text(root, f"{f}/type") == "Battery" and text(root, f"{f}/scope") != "Device"]
    batteries = [text(root, f"{folder}/status") for folder in own]
    return "Discharging" in batteries if batteries else None


def _cpu_times(stat: str | None) -> tuple[int | None, float | None, float | None]:
    """The number of CPUs, and their busy and stolen seconds, from /proc/stat."""
    lines = [line.split() for line in (stat or "").splitlines() if line.startswith("cpu")]
    cpus = sum(re.fullmatch(r"cpu\d+", words[0]) is not None for words in lines)
    ticks = [whole(word) for word in lines[0][1:9]] if lines and lines[0][0] == "cpu" else []
    if not cpus or len(ticks) < 4 or None in ticks:
        return None, None, None
    user, nice, system, _idle, _wait, hard, soft, steal = (*(t or 0 for t in ticks), 0, 0, 0, 0)[:8]
    per_second = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    return cpus, (user + nice + system + hard + soft) / per_second, steal / per_second if len(ticks) == 8 else None


def _heat_stops(root: Path) -> int | None:
    paths = root.glob(f"{CPUS}/cpu[0-9]*/thermal_throttle/*_throttle_count")
    counts = [count for path in paths if (count := number(root, str(path.relative_to(root)))) is not None]
    return sum(counts) if counts else None
