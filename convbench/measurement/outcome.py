"""What a run finds out about one (backend, case) pair, and the settings it was found under."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from convbench.measurement.machine.affinity import Cores
from convbench.measurement.sampling.device_metrics import Timer
from convbench.measurement.sampling.sample import Sample
from convbench.measurement.settings import Settings
from convbench.stats.estimates import Estimate, estimate_over_processes
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.verdict import Verdict


@dataclass(frozen=True)
class RoundSample:
    """A sample, the round it belongs to (samples of one round are compared), the machine's load then, and which of the
    backend's processes it was taken in."""

    round: int
    load: float
    sample: Sample
    process: int = 0


@dataclass(frozen=True, kw_only=True)
class SelfRatio:
    """The time of `backend` in one process over that in another, which is 1 but for a run's own error. [low, high] is
    the interval of the median over rounds, if `covers`; it knows nothing of other processes than these two."""

    backend: str
    value: float
    low: float
    high: float
    covers: bool


@dataclass(frozen=True, kw_only=True)
class OnDevice:
    """What is known of a pair on a device other than the CPU; None for what its library or driver does not tell."""

    timer: Timer
    """By whose clock `wall_s` is."""
    gpu: Mapping[str, Any] | None = None
    """Its name, driver, memory, highest clock and power limit."""
    held_bytes: int | None = None
    """On the device after a call: operands and what was packed or set aside."""
    peak_bytes: int | None = None
    """The most at once during a call, output and workspace included."""
    send_s: float | None = None
    fetch_s: float | None = None
    """Seconds that the input takes to the device, and the output back as NCHW; in no call's time."""
    energy_j: float | None = None
    """Joules a call of the whole board."""

    def at_the_end(self, told: Mapping[str, Any]) -> OnDevice:
        """With what the worker read after the last sample."""
        return replace(
            self,
            held_bytes=told.get("held_bytes"),
            peak_bytes=told.get("peak_on_device_bytes"),
            send_s=told.get("send_s"),
            fetch_s=told.get("fetch_s"),
            energy_j=told.get("energy_j"),
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """All that is known of one pair at its end. Times are there for `Status.OK` only, or with `time_wrong`."""

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
    stopped: str | None = None
    """Why sampling ended: "precision", "noise" (the interval no longer shrinks), "rounds" or "time"; in a race also
    "beaten" (by another backend), "level" (with the fastest) or "decided" (it is the fastest)."""
    cores: Cores = ()
    """The CPUs that its processes were pinned to."""
    self_ratio: SelfRatio | None = None
    """The run's own error on this case, by a backend that may be another than this one."""
    twin: tuple[RoundSample, ...] = ()
    """The samples of the further process of this backend, where it is the one that `self_ratio` is of."""
    before_bytes: int | None = None
    """Resident in the worker before it was made ready: the library, and the inputs already. As the next two, of its
    first process, and None where the system does not tell."""
    peak_bytes: int | None = None
    """The most that was resident from then on: beyond the inputs, `peak_bytes - before_bytes`."""
    steady_bytes: int | None = None
    """In use after the last timed call, with its output: beyond the inputs, `steady_bytes - before_bytes`. What the
    allocator keeps free counts as much as in the beginning."""
    on_device: OnDevice | None = None
    backend_s: float | None = None
    """Seconds that the run spent in the backend's own code, in all of its processes: the calls thrown away, too."""
    versions: dict[str, str] = field(default_factory=dict)
    declared: dict[str, Any] = field(default_factory=dict)
    """What the backend declares of itself: device, algorithm, precisions, what it packs outside the call."""
    stderr_tail: str | None = None

    @property
    def estimate(self) -> Estimate | None:
        """Wall seconds per call; None when nothing was timed."""
        return estimate_over_processes(by_process(self.samples)) if self.samples else None

    @property
    def energy_j(self) -> float | None:
        """Joules per call of the CPU packages, over all samples, or of the GPU's board where that computes; None where
        they could not be read."""
        if self.on_device is not None:
            return self.on_device.energy_j
        read = [(s.sample.energy_j, s.sample.calls) for s in self.samples if s.sample.energy_j is not None]
        calls = sum(calls for _, calls in read)
        return (
            sum(joules * calls for joules, calls in read) / calls if calls and len(read) == len(self.samples) else None
        )

    @property
    def max_error_over_bound(self) -> float | None:
        """The largest error seen on real data as a share of what rounding explains; above 1 is a bug."""
        ratios = [v.error_over_bound for v in self.verdicts if v.check == "bound"]
        return max(ratios) if ratios else None


def by_process(samples: Iterable[RoundSample]) -> list[list[float]]:
    """Wall seconds per call, those of each process in the order of rounds."""
    found: dict[int, list[float]] = {}
    for taken in samples:
        found.setdefault(taken.process, []).append(taken.sample.wall_s)
    return [found[process] for process in sorted(found)]
