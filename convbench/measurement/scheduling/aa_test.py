"""A backend against itself (an A/A test): what a comparison reports where there is no difference.

It times two fresh worker processes with the engine that compares any two backends. They are fresh because the location
of a process's memory is part of its time.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from convbench.errors import NothingMeasuredError
from convbench.measurement.outcome import Outcome, RoundSample
from convbench.measurement.sampling.sample import calibrate
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.registry import Entry
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.stats.ratio import paired_ratios
from convbench.status import Status
from convbench.suite import Case


@dataclass(frozen=True)
class AAResult:
    """Samples of two fresh workers of one backend, and the logarithms of the ratio of their times, by round. `cpu` is
    None where the CPU clock is meaningless: on another device, or where a sample shows no CPU time."""

    samples: tuple[tuple[RoundSample, ...], tuple[RoundSample, ...]]
    wall: tuple[float, ...]
    cpu: tuple[float, ...] | None
    call_s: float
    round_s: float  # seconds of one round of both workers, discarded calls included


def settings_for(sampling_s: float, threads: int = 1, seed: int = 0) -> Settings:
    """Sample each of the two for `sampling_s` seconds, however many samples that is and whatever their spread."""
    return Settings(
        threads=threads,
        precision=0.0,
        fewest_rounds=FEWEST_FOR_INTERVAL,
        fewest_slow_samples=FEWEST_FOR_INTERVAL,
        most_rounds=10_000,
        budget_s=sampling_s,
        seed=seed,
    )


def compare_with_itself(entry: Entry, case: Case, settings: Settings) -> AAResult:
    """Measure `entry` in two fresh workers. Raises `NothingMeasuredError` when either gives no times."""
    entries = entry, entry.again(2)
    with Engine(settings) as engine:
        outcomes = {outcome.backend: outcome for outcome in engine.measure("doctor", case, entries)}
    first, second = (_timed(outcomes[e.name]).samples for e in entries)
    walls = [{s.round: s.sample.wall_s for s in samples} for samples in (first, second)]
    cpus = [{s.round: s.sample.cpu_s for s in samples} for samples in (first, second)]
    wall = _log_ratios(*walls)
    if wall is None:
        raise NothingMeasuredError(f"{entry.name} took no time at all on {case.name}; there is nothing to compare.")
    return AAResult(
        samples=(first, second),
        wall=wall,
        cpu=_log_ratios(*cpus) if entry.backend.device == "cpu" else None,
        call_s=median(s.sample.wall_s for s in (*first, *second)),
        round_s=sum(_seconds(samples, settings) for samples in (first, second)),
    )


def _timed(outcome: Outcome) -> Outcome:
    if outcome.status is not Status.OK or not outcome.samples:
        reason = outcome.reason or outcome.status.sentence
        raise NothingMeasuredError(f"{outcome.backend.removesuffix('#2')} on {outcome.case.name}: {reason}")
    return outcome


def _log_ratios(first: Mapping[int, float], second: Mapping[int, float]) -> tuple[float, ...] | None:
    """Of the rounds that both have; None where a time is zero."""
    ratios = paired_ratios(first, second)
    return tuple(map(math.log, ratios)) if ratios and len(ratios) == len(first.keys() & second.keys()) else None


def _seconds(samples: Sequence[RoundSample], settings: Settings) -> float:
    """The mean time of one of these samples, with the calls discarded before it."""
    return fmean(
        s.sample.wall_s * (s.sample.calls + calibrate(s.sample.wall_s, settings.sample_s).discarded) for s in samples
    )
