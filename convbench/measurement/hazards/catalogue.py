"""Everything that makes a measurement less trustworthy: one enumeration, each with what was seen and what to do.

A hazard is no verdict: the measurement stands, and its reader knows. They are found by `machine_hazards` and
`sample_hazards`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The word for a hazard, as it is in records. Those that weigh most come first."""

    QUOTA_STOPS = "quota stops"
    QUOTA = "quota"
    CPUSET = "cpuset"
    OVERLAP = "overlap"
    BUSY = "busy"
    LOAD = "load"
    STEAL = "steal"
    HEAT = "heat"
    SWAP = "swap"
    BATTERY = "battery"
    SIBLINGS = "siblings"
    GOVERNOR = "governor"
    BOOST = "boost"
    HUGE_PAGES = "huge pages"
    CLOCK = "clock"
    GPU_SLOWED = "gpu slowed"
    GPU_CLOCK = "gpu clock"
    LAUNCH_BOUND = "launch bound"
    PROCESS_LUCK = "process luck"
    STOOD_STILL = "stood still"
    WAITING = "waiting"
    STALLS = "stalls"
    SPREAD = "spread"
    SETTLING = "settling"
    SHORT_SAMPLES = "short samples"
    PAGE_FAULTS = "page faults"
    OWN_PAGE_FAULTS = "own page faults"
    MORE_THREADS = "more threads"
    FEWER_THREADS = "fewer threads"


_TOLD: dict[Kind, tuple[str, str]] = {
    Kind.QUOTA_STOPS: (
        "the container used up its CPU quota {quota_stops} times and stood still for {quota_stopped_s:.2g} s in all",
        "Give the container more CPUs (docker run --cpus), or pin it to whole ones (--cpuset-cpus) and set no quota.",
    ),
    Kind.QUOTA: (
        "the container may use {quota_cpus:.3g} CPUs, and {threads} threads are asked for",
        "Ask for --threads {enough}, or give the container more CPUs (docker run --cpus={threads}).",
    ),
    Kind.CPUSET: (
        "more threads are asked for ({threads}) than this process may use CPUs ({usable_cpus})",
        "Ask for --threads {usable_cpus}, or widen what it may use (taskset, docker run --cpuset-cpus).",
    ),
    Kind.OVERLAP: (
        "convbench is at work elsewhere on this machine, too (process {processes})",
        "Wait until that has ended.",
    ),
    Kind.BUSY: (
        "other work keeps {others_cpus:.1f} of {cpus} CPUs busy",
        "End it (top shows it), or go by the CPU clock, which does not count waiting.",
    ),
    Kind.LOAD: (
        "the load was {load:.1f} where the run alone makes {threads}",
        "End other work (top shows it) and measure again, or compare CPU seconds, which do not count waiting.",
    ),
    Kind.STEAL: (
        "the host of this virtual machine gave {steal_share:.1%} of the CPU time wanted here to others",
        "Measure at a quieter hour, or on a machine whose CPUs are not shared.",
    ),
    Kind.HEAT: (
        "the CPU slowed itself {heat_stops} times because of heat",
        "Let it cool, ask for fewer --threads, or hold it lower: sudo cpupower frequency-set --max FREQUENCY.",
    ),
    Kind.SWAP: (
        "{swapped_pages} pages moved between memory and swap",
        "Close what fills the memory, or turn swap off while measuring: sudo swapoff -a.",
    ),
    Kind.BATTERY: (
        "the machine runs on its battery, and saves it by lower frequencies",
        "Plug it in.",
    ),
    Kind.SIBLINGS: (
        "more threads are asked for ({threads}) than there are cores ({cores}): some share one, now these, now those",
        "Ask for --threads {cores}, or let each core run one: echo off | sudo tee /sys/devices/system/cpu/smt/control.",
    ),
    Kind.GOVERNOR: (
        "the governor {governor} changes the CPU's frequency with the load",
        "Hold it high while measuring: sudo cpupower frequency-set --governor performance.",
    ),
    Kind.BOOST: (
        "the CPU may go above its base frequency, by as much as heat and its other cores leave",
        "Turn boost off while measuring: {boost_off}.",
    ),
    Kind.HUGE_PAGES: (
        "huge pages are off, so where a process's memory lies is luck that the steady allocator cannot take out",
        "Let programs ask for them: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled.",
    ),
    Kind.CLOCK: (
        "{clock} moves in steps of {step_us:.0f} µs, {share:.1%} of a sample of {sample_ms:g} ms",
        "Do not go by smaller differences on it; the other clock may be finer.",
    ),
    Kind.GPU_SLOWED: (
        "the GPU's clock was held back in {share:.0%} of the samples, by {why}",
        "Hold it at what it can keep (sudo nvidia-smi -lgc MHZ) and cool it; nvidia-smi -q -d PERFORMANCE says more.",
    ),
    Kind.GPU_CLOCK: (
        "the GPU's clock went from {low_mhz:.0f} to {high_mhz:.0f} MHz while this was sampled",
        "Hold it still while measuring: sudo nvidia-smi -lgc MHZ.",
    ),
    Kind.LAUNCH_BOUND: (
        "a call takes {launch_us:.0f} µs to launch, {share:.0%} of its time: the GPU waits for the CPU",
        "It is the launching that is measured. A backend that replays a graph shows what the GPU itself takes, and "
        "larger problems or batches keep it busy.",
    ),
    Kind.PROCESS_LUCK: (
        "fresh processes that run the same work differ by {luck:.1%} (standard deviation), however long they run",
        "Measure with several processes a backend (--processes 5), so that luck averages out.",
    ),
    Kind.STOOD_STILL: (
        "in {samples} of {taken} samples the process stood still, for up to {longest_s:.2g} s: it, or the machine, was "
        "stopped",
        "The median does not feel a few; where they are many, measure it again.",
    ),
    Kind.WAITING: (
        "it ran for {ran:.0%} of the time only: something else had its CPU",
        "End other work, or compare CPU seconds, which do not count waiting.",
    ),
    Kind.STALLS: (
        "the median is {over_minimum:.1f} times the fastest sample: calls wait for a slice of the scheduler's",
        "End other work, or ask for no more --threads than there are idle CPUs.",
    ),
    Kind.SPREAD: (
        "the middle half of the samples spreads over {spread:.0%} of the median",
        "Ask convbench doctor what makes this machine unsteady; a longer run narrows the interval, too.",
    ),
    Kind.SETTLING: (
        "calls had not become steady {visit_ms:.0f} ms after the switch to this backend, so its time may be too long",
        "Measure it alone (--backend NAME), or leave out backends that compete with it for the caches.",
    ),
    Kind.SHORT_SAMPLES: (
        "samples last {sample_ms:.2g} ms, so that the clock and the switch to them weigh",
        "Measure it again; where it stays, a larger batch makes longer calls.",
    ),
    Kind.PAGE_FAULTS: (
        "{faults_per_call:.0f} page faults a call, and {system_share:.0%} of the CPU time in the kernel: the allocator "
        "gives memory back and faults it in again",
        "Measure with --allocator steady, which cures it; docs/measured.md says what does so in a program of your own.",
    ),
    Kind.OWN_PAGE_FAULTS: (
        "{faults_per_call:.0f} page faults a call, and {system_share:.0%} of the CPU time in the kernel, though the "
        "allocator is steady: the library maps memory itself",
        "Look for a memory pool or arena among the library's settings.",
    ),
    Kind.MORE_THREADS: (
        "it kept {used:.1f} CPUs busy where {threads} were asked for",
        "Compare it at the threads that it uses, and let the backend's limit_threads reach its library.",
    ),
    Kind.FEWER_THREADS: (
        "it kept {used:.1f} CPUs busy where {threads} were asked for",
        "It gains little from threads on this problem, or waits for CPUs that others have; look at --threads 1, too.",
    ),
}


@dataclass(frozen=True)
class Hazard:
    """One hazard that was seen, with the figures of its sentence."""

    kind: Kind
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was seen: no capital, no full stop."""
        return _TOLD[self.kind][0].format_map(self.figures).replace("%", " %")  # Python writes 3%

    @property
    def remedy(self) -> str:
        """What to do about it: one or two sentences."""
        return _TOLD[self.kind][1].format_map(self.figures)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for records."""
        return {"hazard": str(self.kind), **self.figures}

    @classmethod
    def from_dict(cls, given: Any) -> Hazard | None:
        """The hazard that a record has; None for what is none, or of another version whose figures were others."""
        try:
            found = cls(Kind(given["hazard"]), {name: value for name, value in given.items() if name != "hazard"})
            return found if found.sentence and found.remedy else None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None


def in_order(hazards: Iterable[Hazard]) -> list[Hazard]:
    """The gravest first, and of each kind only the first given."""
    first: dict[Kind, Hazard] = {}
    for hazard in hazards:
        first.setdefault(hazard.kind, hazard)
    return [first[kind] for kind in Kind if kind in first]
