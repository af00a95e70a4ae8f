"""Hazards of the machine: its settings, what happened on it, its clocks. Pure: `machine/` reads the system."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

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
    hazards = [*_of_settings(state, threads), *(() if activity is None else _of_activity(activity))]
    if other_runs:
        hazards.append(Hazard(Kind.OVERLAP, {"processes": ", ".join(map(str, other_runs))}))
    return in_order(hazards)


def _of_settings(s: MachineState, threads: int) -> Iterator[Hazard]:
    if s.quota_cpus is not None and s.quota_cpus < threads:
        figures = {"quota_cpus": s.quota_cpus, "threads": threads, "enough": max(1, int(s.quota_cpus))}
        yield Hazard(Kind.QUOTA, figures)
    if s.usable_cpus < threads:
        yield Hazard(Kind.CPUSET, {"usable_cpus": s.usable_cpus, "threads": threads})
    elif s.cores is not None and s.cores < threads:
        yield Hazard(Kind.SIBLINGS, {"threads": threads, "cores": s.cores})
    if s.on_battery:
        yield Hazard(Kind.BATTERY)
    varying = [governor for governor in s.governors if governor not in ("performance", "userspace")]
    if varying and not s.fixed_frequency:
        yield Hazard(Kind.GOVERNOR, {"governor": ", ".join(varying)})
    if s.boost:
        yield Hazard(Kind.BOOST, {"boost_off": s.boost_off})
    if s.huge_pages == "never":
        yield Hazard(Kind.HUGE_PAGES)


def _of_activity(activity: MachineActivity) -> Iterator[Hazard]:
    a = activity
    if a.quota_stops:
        yield Hazard(Kind.QUOTA_STOPS, {"quota_stops": a.quota_stops, "quota_stopped_s": a.quota_stopped_s or 0.0})
    cpus = a.cpus or 1
    if a.others_cpus is not None and a.others_cpus > max(BUSY_CPUS, BUSY_SHARE * cpus):
        yield Hazard(Kind.BUSY, {"others_cpus": a.others_cpus, "cpus": cpus})
    if a.steal_share is not None and a.steal_share > STOLEN:
        yield Hazard(Kind.STEAL, {"steal_share": a.steal_share})
    if a.heat_stops:
        yield Hazard(Kind.HEAT, {"heat_stops": a.heat_stops})
    if a.swapped_pages:
        yield Hazard(Kind.SWAP, {"swapped_pages": a.swapped_pages})


def hazards_of_timers(timers: Iterable[Timer], sample_s: float) -> list[Hazard]:
    """Clocks that are too coarse for samples of `sample_s` seconds."""
    hazards = []
    for timer in timers:
        step_s = LONGEST_S if timer.step_s is None else timer.step_s
        if (share := step_s / sample_s) > CLOCK_SHARE:
            figures = {"clock": timer.name, "step_us": step_s * 1e6, "sample_ms": sample_s * 1e3, "share": share}
            hazards.append(Hazard(Kind.CLOCK, figures))
    return hazards
