"""The result of measuring one (backend, case) pair, and the samples that it rests on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from convbench.measurement.machine.affinity import Cores
from convbench.measurement.sampling.device import DeviceMetrics, Timer
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.stats.estimates import Estimate, estimate_over_processes
from convbench.stats.process_variation import ProcessVariation
from convbench.stats.session_drift import SessionDrift
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.verdict import Verdict


@dataclass(frozen=True)
class RoundSample:
    """A sample, its round (comparisons pair samples of one), the machine's load then, and the process that took it."""

    round: int
    load: float
    sample: Sample
    process: int = 0


@dataclass(frozen=True, kw_only=True)
class Settling:
    """How a worker becomes steady after another one had the core: by its call number `calls`, if the plateau was
    `reached` within visits of `visit_s` seconds. `spent_s` seconds went into finding that out. A call took `alone_s`
    seconds while no other worker ran, and those before the plateau took longer than those on it by the share `excess`,
    on average."""

    calls: int
    reached: bool
    visit_s: float
    spent_s: float
    alone_s: float | None = None
    excess: float | None = None


@dataclass(frozen=True, kw_only=True)
class SelfRatio:
    """The time of `backend` in one process over its time in another. It would be 1 without measurement error. [low,
    high] is the interval of the median over rounds, if `covers`; it does not include other processes."""

    backend: str
    value: float
    low: float
    high: float
    covers: bool


@dataclass(frozen=True, kw_only=True)
class OnDevice(DeviceMetrics):
    """A pair on a device other than the CPU."""

    timer: Timer
    gpu: Mapping[str, Any] | None = None
    """Its name, driver, memory, highest clock and power limit."""


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Everything known of one pair at its end. It has times only for `Status.OK`, or with `time_wrong`."""

    suite: str
    case: Case
    backend: str
    status: Status
    settings: Settings
    reason: str | None = None
    verdicts: tuple[Verdict, ...] = ()
    prepare_s: float | None = None
    first_call_s: float | None = None
    samples: tuple[RoundSample, ...] = ()
    variation: ProcessVariation = field(default_factory=ProcessVariation)
    """Between-process variation, as it was known on this machine when the case ended."""
    drift: SessionDrift | None = None
    """What times move by from session to session, as it was known here then; None where no session asked for it."""
    settling: Settling | None = None
    """Of its first process; None where nothing was to settle: each call timed by itself, another device, or no worker
    beside it."""
    touches_input: bool = True
    """Whether the backend says where its input is (`Ready.touch`), for the caches of a pass."""
    stopped: str | None = None
    """Why sampling ended: "precision", "noise" (the interval no longer shrinks), "rounds" or "time"; in a race also
    "beaten" (by another backend), "level" (with the fastest) or "decided" (it is the fastest)."""
    clock_doubt: tuple[float, float] | None = None
    """Seconds by the clock of a worker, and by the run's, where they differ and waits for a CPU may be why."""
    cores: Cores = ()
    """The CPUs that its processes were pinned to."""
    self_ratio: SelfRatio | None = None
    """The run's own error on this case, measured with one backend of the case, perhaps another than this one."""
    aa_samples: tuple[RoundSample, ...] = ()
    """The samples of this backend's A/A process, if `self_ratio` was measured with this backend."""
    before_bytes: int | None = None
    """Resident in the worker before `prepare`: the library, and the inputs already. This and the next two are of the
    first process, and None where the system does not tell."""
    peak_bytes: int | None = None
    """The most that was resident from then on: beyond the inputs, `peak_bytes - before_bytes`."""
    steady_bytes: int | None = None
    """In use after the last timed call, with its output: beyond the inputs, `steady_bytes - before_bytes`. Memory that
    the allocator keeps free counts as much as it did at the start."""
    on_device: OnDevice | None = None
    backend_s: float | None = None
    """Seconds that the run spent in the backend's own code, in all of its processes, discarded calls included."""
    versions: dict[str, str] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    """What the backend declares: device, algorithm, precisions, what it packs outside the call."""
    stderr_tail: str | None = None
    implementation: str | None = None
    """The kernel or algorithm that ran, in words of the library; None where that is not known."""

    @property
    def estimate(self) -> Estimate | None:
        """Wall seconds per call; None when nothing was timed."""
        walls: dict[int, list[float]] = {}
        for sample in self.samples:
            walls.setdefault(sample.process, []).append(sample.sample.wall_s)
        return estimate_over_processes([walls[process] for process in sorted(walls)]) if walls else None

    @property
    def energy_j(self) -> float | None:
        """Joules per call: of the GPU's board, or else of the CPU packages over all samples; None if unknown."""
        if self.on_device is not None:
            return self.on_device.energy_j
        readings = [(s.sample.energy_j, s.sample.calls) for s in self.samples if s.sample.energy_j is not None]
        calls = sum(calls for _, calls in readings)
        if not calls or len(readings) < len(self.samples):
            return None
        return sum(joules * calls for joules, calls in readings) / calls

    @property
    def max_error_over_bound(self) -> float | None:
        """The largest error on real data as a share of what rounding explains; above 1 is a bug."""
        return max((v.error_over_bound for v in self.verdicts if v.check == "bound"), default=None)
