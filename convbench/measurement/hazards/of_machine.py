"""Hazards of the machine: its settings, what happened on it, its clocks. Pure: `machine/` reads the system."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.machine.clocks import LONGEST_S, Timer
from convbench.measurement.machine.state import MachineActivity, MachineState

BUSY_CPUS, BUSY_SHARE = 0.2, 0.02  # of one CPU, of all of them; an idle system's own work stays below
STOLEN = 0.01  # a difference that people want to detect
CLOCK_SHARE = 1e-3  # of a sample


def hazards_of_machine(
    state: MachineState,
    activity: MachineActivity | None = None,
    threads: int = 1,
    other_runs: Sequence[int] = (),
) -> list[Hazard]:
    """Hazards in the machine's settings, and in its activity while `threads` threads were measured."""
    s = state
    hazards = []
    if s.quota_cpus is not None and s.quota_cpus < threads:
        figures = {"quota_cpus": s.quota_cpus, "threads": threads, "enough": max(1, int(s.quota_cpus))}
        hazards.append(Hazard(Kind.QUOTA, figures))
    if s.usable_cpus < threads:
        hazards.append(Hazard(Kind.CPUSET, {"usable_cpus": s.usable_cpus, "threads": threads}))
    elif s.cores is not None and s.cores < threads:
        hazards.append(Hazard(Kind.SIBLINGS, {"threads": threads, "cores": s.cores}))
    if other_runs:
        hazards.append(Hazard(Kind.OVERLAP, {"processes": ", ".join(map(str, other_runs))}))
    if s.on_battery:
        hazards.append(Hazard(Kind.BATTERY))
    varying = [governor for governor in s.governors if governor not in ("performance", "userspace")]
    if varying and not s.fixed_frequency:
        hazards.append(Hazard(Kind.GOVERNOR, {"governor": ", ".join(varying)}))
    if s.boost:
        hazards.append(Hazard(Kind.BOOST, {"boost_off": s.boost_off}))
    if s.huge_pages == "never":
        hazards.append(Hazard(Kind.HUGE_PAGES))
    return in_order(hazards if activity is None else [*hazards, *_hazards_of_activity(activity)])


def _hazards_of_activity(activity: MachineActivity) -> list[Hazard]:
    hazards = []
    if activity.quota_stops:
        stopped_s = activity.quota_stopped_s or 0.0
        hazards.append(Hazard(Kind.QUOTA_STOPS, {"quota_stops": activity.quota_stops, "quota_stopped_s": stopped_s}))
    others, cpus = activity.others_cpus, activity.cpus or 1
    if others is not None and others > max(BUSY_CPUS, BUSY_SHARE * cpus):
        hazards.append(Hazard(Kind.BUSY, {"others_cpus": others, "cpus": cpus}))
    if activity.steal_share is not None and activity.steal_share > STOLEN:
        hazards.append(Hazard(Kind.STEAL, {"steal_share": activity.steal_share}))
    if activity.heat_stops:
        hazards.append(Hazard(Kind.HEAT, {"heat_stops": activity.heat_stops}))
    if activity.swapped_pages:
        hazards.append(Hazard(Kind.SWAP, {"swapped_pages": activity.swapped_pages}))
    return hazards


def hazards_of_timers(timers: Iterable[Timer], sample_s: float) -> list[Hazard]:
    """Clocks that are too coarse for samples of `sample_s` seconds."""
    hazards = []
    for timer in timers:
        step_s = LONGEST_S if timer.step_s is None else timer.step_s
        if step_s / sample_s > CLOCK_SHARE:
            figures = {"clock": timer.name, "step_us": step_s * 1e6, "sample_ms": sample_s * 1e3}
            hazards.append(Hazard(Kind.CLOCK, figures | {"share": step_s / sample_s}))
    return hazards
