"""Hazards of the machine: of how it is set, of what happened on it, of its clocks. Pure: `vitals` and `timers` read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.machine.clocks import LONGEST_S, Timer
from convbench.measurement.machine.state import MachineActivity, MachineState

BUSY_CPUS, BUSY_SHARE = 0.2, 0.02  # of one CPU, of all of them: what an idle system does by itself stays below
STOLEN = 0.01  # a difference that people ask for
CLOCK_SHARE = 1e-3  # of a sample


def hazards_of_machine(
    machine_state: MachineState,
    activity: MachineActivity | None = None,
    threads: int = 1,
    other_runs: Sequence[int] = (),
) -> list[Hazard]:
    """What is wrong with how this machine is set, and with what happened on it, for `threads` threads."""
    s = machine_state
    found = []
    if s.quota_cpus is not None and s.quota_cpus < threads:
        figures = {"quota_cpus": s.quota_cpus, "threads": threads, "enough": max(1, int(s.quota_cpus))}
        found.append(Hazard(Kind.QUOTA, figures))
    if s.usable_cpus < threads:
        found.append(Hazard(Kind.CPUSET, {"usable_cpus": s.usable_cpus, "threads": threads}))
    elif s.cores is not None and s.cores < threads:
        found.append(Hazard(Kind.SIBLINGS, {"threads": threads, "cores": s.cores}))
    if other_runs:
        found.append(Hazard(Kind.OVERLAP, {"processes": ", ".join(map(str, other_runs))}))
    if s.on_battery:
        found.append(Hazard(Kind.BATTERY))
    moving = [governor for governor in s.governors if governor not in ("performance", "userspace")]
    if moving and not s.fixed_frequency:
        found.append(Hazard(Kind.GOVERNOR, {"governor": ", ".join(moving)}))
    if s.boost:
        found.append(Hazard(Kind.BOOST, {"boost_off": s.boost_off}))
    if s.huge_pages == "never":
        found.append(Hazard(Kind.HUGE_PAGES))
    return in_order(found if activity is None else [*found, *_hazards_of_activity(activity)])


def _hazards_of_activity(activity: MachineActivity) -> list[Hazard]:
    found = []
    if activity.quota_stops:
        stopped_s = activity.quota_stopped_s or 0.0
        found.append(Hazard(Kind.QUOTA_STOPS, {"quota_stops": activity.quota_stops, "quota_stopped_s": stopped_s}))
    others, cpus = activity.others_cpus, activity.cpus or 1
    if others is not None and others > max(BUSY_CPUS, BUSY_SHARE * cpus):
        found.append(Hazard(Kind.BUSY, {"others_cpus": others, "cpus": cpus}))
    if activity.steal_share is not None and activity.steal_share > STOLEN:
        found.append(Hazard(Kind.STEAL, {"steal_share": activity.steal_share}))
    if activity.heat_stops:
        found.append(Hazard(Kind.HEAT, {"heat_stops": activity.heat_stops}))
    if activity.swapped_pages:
        found.append(Hazard(Kind.SWAP, {"swapped_pages": activity.swapped_pages}))
    return found


def hazards_of_timers(timers: Iterable[Timer], sample_s: float) -> list[Hazard]:
    """Whether a clock is too coarse for samples of `sample_s` seconds."""
    found = []
    for timer in timers:
        step_s = LONGEST_S if timer.step_s is None else timer.step_s
        if step_s / sample_s > CLOCK_SHARE:
            figures = {"clock": timer.name, "step_us": step_s * 1e6, "sample_ms": sample_s * 1e3}
            found.append(Hazard(Kind.CLOCK, figures | {"share": step_s / sample_s}))
    return found
