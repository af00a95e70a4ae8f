"""The same backend against itself: what a comparison says where there is nothing to be found (an A/A test).

Two fresh worker processes, by the engine that compares any two backends, under two names. Fresh, because where a
process's memory happens to lie is part of its time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from convbench.errors import NothingMeasuredError
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import calibrate
from convbench.measurement.scheduling.engine import Engine, Watch
from convbench.measurement.settings import Settings
from convbench.registry import Entry
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.status import Status
from convbench.suite import Case


@dataclass(frozen=True)
class AAResult:
    """What two fresh workers of one backend gave: by the round, logarithms of the ratio of their times.

    `cpu` is None where the CPU clock says nothing: on another device, or where it stood still in a sample.
    """

    samples: tuple[tuple[RoundSample, ...], tuple[RoundSample, ...]]
    wall: tuple[float, ...]
    cpu: tuple[float, ...] | None
    call_s: float
    round_s: float
    """Seconds that a round of both takes, discarded calls included."""


def settings_for(sampling_s: float, threads: int = 1, seed: int = 0) -> Settings:
    """Samples of each of the two for `sampling_s` seconds, as many as come of it, whatever their spread."""
    return Settings(
        threads=threads,
        precision=0.0,
        fewest_rounds=FEWEST_FOR_INTERVAL,
        fewest_slow_samples=FEWEST_FOR_INTERVAL,
        most_rounds=10_000,
        budget_s=sampling_s,
        seed=seed,
    )


def compare_with_itself(entry: Entry, case: Case, settings: Settings, watch: Watch | None = None) -> AAResult:
    """Measure `entry` against itself in two fresh workers. Raises `NothingMeasuredError` when either gives no times."""
    other = entry.again(2)
    with Engine(settings, watch) as engine:
        outcomes = {outcome.backend: outcome for outcome in engine.measure("doctor", case, (entry, other))}
    first, second = (_timed(outcomes[e.name]).samples for e in (entry, other))
    on_cpu = entry.backend.device == "cpu"
    walls = [{s.round: s.sample.wall_s for s in samples} for samples in (first, second)]
    cpus = [{s.round: s.sample.cpu_s for s in samples} for samples in (first, second)]
    wall = _log_ratios(*walls)
    if wall is None:
        raise NothingMeasuredError(f"{entry.name} took no time at all on {case.name}; there is nothing to compare.")
    return AAResult(
        samples=(first, second),
        wall=wall,
        cpu=_log_ratios(*cpus) if on_cpu else None,
        call_s=median(s.sample.wall_s for s in (*first, *second)),
        round_s=sum(_seconds(samples, settings) for samples in (first, second)),
    )


def _timed(outcome: Outcome) -> Outcome:
    if outcome.status is not Status.OK or not outcome.samples:
        told = outcome.reason or outcome.status.sentence
        raise NothingMeasuredError(f"{outcome.backend.removesuffix('#2')} on {outcome.case.name}: {told}")
    return outcome


def _log_ratios(one: Mapping[int, float], other: Mapping[int, float]) -> tuple[float, ...] | None:
    """Of the rounds that both have; None where a time is zero."""
    shared = sorted(one.keys() & other.keys())
    if not shared or any(one[r] <= 0 or other[r] <= 0 for r in shared):
        return None
    return tuple(math.log(one[r] / other[r]) for r in shared)


def _seconds(samples: Sequence[RoundSample], settings: Settings) -> float:
    """What one of these samples takes, with the calls that are discarded before it."""
    each = [
        s.sample.wall_s * (s.sample.calls + calibrate(s.sample.wall_s, settings.sample_s).discarded) for s in samples
    ]
    return sum(each) / len(each)
