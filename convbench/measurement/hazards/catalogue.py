"""Everything that makes a measurement less trustworthy: one enumeration, each member with a sentence and a remedy.

A hazard is not a verdict: the measurement stands, and its reader is warned. `hazards_of_machine`, `hazards_of_timers`
and `hazards_of_samples` find them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """The name of a hazard, as records have it. The gravest come first."""

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


# What was seen, then what to do about it. The fields in braces are the hazard's figures.
_TEXTS: dict[Kind, tuple[str, str]] = {
    Kind.QUOTA_STOPS: (
        "the container used up its CPU quota {quota_stops} times and was stopped for {quota_stopped_s:.2g} s in total",
        "Give the container more CPUs (docker run --cpus), or pin it to whole CPUs (--cpuset-cpus) without a quota.",
    ),
    Kind.QUOTA: (
        "the container may use {quota_cpus:.3g} CPUs, but {threads} threads are requested",
        "Use --threads {enough}, or give the container more CPUs (docker run --cpus={threads}).",
    ),
    Kind.CPUSET: (
        "more threads are requested ({threads}) than this process may use CPUs ({usable_cpus})",
        "Use --threads {usable_cpus}, or allow this process more CPUs (taskset, docker run --cpuset-cpus).",
    ),
    Kind.OVERLAP: (
        "another run of convbench is measuring on this machine (process {processes})",
        "Wait until it has ended.",
    ),
    Kind.BUSY: (
        "other work keeps {others_cpus:.1f} of {cpus} CPUs busy",
        "End it (top shows it), or compare CPU seconds, which do not include waiting.",
    ),
    Kind.LOAD: (
        "the load was {load:.1f}, but this run alone causes {threads}",
        "End other work (top shows it) and measure again, or compare CPU seconds, which do not include waiting.",
    ),
    Kind.STEAL: (
        "the host of this virtual machine gave {steal_share:.1%} of the CPU time it needed to other guests",
        "Measure at a quieter hour, or on a machine whose CPUs are not shared.",
    ),
    Kind.HEAT: (
        "the CPU slowed down {heat_stops} times because of heat",
        "Let it cool, use fewer --threads, or limit its frequency: sudo cpupower frequency-set --max FREQUENCY.",
    ),
    Kind.SWAP: (
        "{swapped_pages} pages moved between memory and swap",
        "Close what fills the memory, or turn swap off while measuring: sudo swapoff -a.",
    ),
    Kind.BATTERY: (
        "the machine runs on battery, and lowers its frequencies to save it",
        "Plug it in.",
    ),
    Kind.SIBLINGS: (
        "more threads are requested ({threads}) than there are cores ({cores}), so some threads share a core",
        "Use --threads {cores}, or turn hyper-threading off: echo off | sudo tee /sys/devices/system/cpu/smt/control.",
    ),
    Kind.GOVERNOR: (
        "the governor {governor} changes the CPU's frequency with the load",
        "Keep the frequency high while measuring: sudo cpupower frequency-set --governor performance.",
    ),
    Kind.BOOST: (
        "the CPU may exceed its base frequency, by an amount that depends on heat and on its other cores",
        "Turn boost off while measuring: {boost_off}.",
    ),
    Kind.HUGE_PAGES: (
        "huge pages are off, so times depend on where a process's memory lies, even with the steady allocator",
        "Let programs request huge pages: echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled.",
    ),
    Kind.CLOCK: (
        "{clock} moves in steps of {step_us:.0f} µs, {share:.1%} of a sample of {sample_ms:g} ms",
        "Ignore smaller differences on this clock; the other clock may be finer.",
    ),
    Kind.GPU_SLOWED: (
        "the GPU's clock was held back in {share:.0%} of the samples, by {why}",
        "Lock it at a clock it can sustain (sudo nvidia-smi -lgc MHZ) and cool it; see nvidia-smi -q -d PERFORMANCE.",
    ),
    Kind.GPU_CLOCK: (
        "the GPU's clock moved between {low_mhz:.0f} and {high_mhz:.0f} MHz during the samples",
        "Lock it while measuring: sudo nvidia-smi -lgc MHZ.",
    ),
    Kind.LAUNCH_BOUND: (
        "a call takes {launch_us:.0f} µs to launch, {share:.0%} of its time: the GPU waits for the CPU",
        "Launch overhead dominates this measurement. A backend that replays a graph shows the GPU's own time; larger "
        "problems or batches keep the GPU busy.",
    ),
    Kind.PROCESS_LUCK: (
        "fresh processes that run the same work differ by {luck:.1%} (standard deviation), however long they run",
        "Measure several processes per backend (--processes 5), which averages their differences.",
    ),
    Kind.STOOD_STILL: (
        "in {samples} of {taken} samples the process stood still, for up to {longest_s:.2g} s: something stopped it or "
        "the machine",
        "A few do not move the median; if there are many, measure again.",
    ),
    Kind.WAITING: (
        "it ran for only {ran:.0%} of the time, because something else had its CPU",
        "End other work, or compare CPU seconds, which do not include waiting.",
    ),
    Kind.STALLS: (
        "the median is {over_minimum:.1f} times the fastest sample: calls wait for a time slice of the scheduler",
        "End other work, or use no more --threads than there are idle CPUs.",
    ),
    Kind.SPREAD: (
        "the middle half of the samples spreads over {spread:.0%} of the median",
        "Run convbench doctor to see what makes this machine unsteady. A longer run also narrows the interval.",
    ),
    Kind.SETTLING: (
        "calls had not become steady {visit_ms:.0f} ms after the switch to this backend, so its time may be too long",
        "Measure it alone (--backend NAME), or leave out backends that compete with it for the caches.",
    ),
    Kind.SHORT_SAMPLES: (
        "samples last {sample_ms:.2g} ms, too short to hide the cost of the clock and of switching processes",
        "Measure again; if it stays, a larger batch makes calls longer.",
    ),
    Kind.PAGE_FAULTS: (
        "{faults_per_call:.0f} page faults a call, and {system_share:.0%} of the CPU time in the kernel: the allocator "
        "returns memory to the system and faults it in again",
        "Measure with --allocator steady, which prevents it; docs/measured.md shows how to do so in your own program.",
    ),
    Kind.OWN_PAGE_FAULTS: (
        "{faults_per_call:.0f} page faults a call, and {system_share:.0%} of the CPU time in the kernel, although the "
        "allocator is steady: the library maps memory itself",
        "Look for a memory pool or arena among the library's settings.",
    ),
    Kind.MORE_THREADS: (
        "it kept {used:.1f} CPUs busy, but {threads} were requested",
        "Compare it at the number of threads it uses, or make the backend's limit_threads reach its library.",
    ),
    Kind.FEWER_THREADS: (
        "it kept only {used:.1f} CPUs busy of the {threads} requested",
        "It gains little from threads on this problem, or waits for CPUs that others use; try --threads 1, too.",
    ),
}


@dataclass(frozen=True)
class Hazard:
    """A hazard that was seen, with the figures for its sentence."""

    kind: Kind
    figures: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sentence(self) -> str:
        """What was seen, without a capital letter or a full stop."""
        return _TEXTS[self.kind][0].format_map(self.figures).replace("%", " %")  # Python writes 3%

    @property
    def remedy(self) -> str:
        """What to do about it, in one or two sentences."""
        return _TEXTS[self.kind][1].format_map(self.figures)

    def as_dict(self) -> dict[str, Any]:
        """JSON-ready, for records."""
        return {"hazard": str(self.kind), **self.figures}

    @classmethod
    def from_dict(cls, fields: Any) -> Hazard | None:
        """The hazard in a record; None for other data, or a hazard of another version with other figures."""
        try:
            figures = {name: value for name, value in fields.items() if name != "hazard"}
            hazard = cls(Kind(fields["hazard"]), figures)
            return hazard if hazard.sentence and hazard.remedy else None
        except (AttributeError, IndexError, KeyError, TypeError, ValueError):
            return None


def in_order(hazards: Iterable[Hazard]) -> list[Hazard]:
    """The gravest first, and the first of each kind only."""
    first: dict[Kind, Hazard] = {}
    for hazard in hazards:
        first.setdefault(hazard.kind, hazard)
    return [first[kind] for kind in Kind if kind in first]
