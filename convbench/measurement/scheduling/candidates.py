"""Candidates: backends that qualified on a case, the samples of each worker, and when there are enough of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean, median

from convbench.measurement.hazards.of_samples import STOOD_STILL_S, STOOD_STILL_TIMES
from convbench.measurement.outcome import Outcome, RoundSample, SelfRatio, Settling
from convbench.measurement.sampling.sample import SamplingPlan, calls_per_reading
from convbench.measurement.settings import Settings
from convbench.registry import Entry
from convbench.stats.estimates import (
    FEWEST_FOR_INTERVAL,
    FEWEST_PROCESSES,
    estimate_median,
    estimate_over_processes,
)
from convbench.stats.plateau import FEWEST_READINGS, plateau
from convbench.stats.ratio import paired_ratios

# Four times the rounds halve the interval of independent samples. An interval that stays as it was contains an error
# that more rounds do not reduce.
_STILL_SHRINKS = 0.9
_MOST_EXTRA_ROUNDS = 10


@dataclass
class WorkerSamples:
    """One worker process of a backend, how it is sampled, and its samples."""

    entry: Entry
    process: int
    plan: SamplingPlan
    call_s: float  # of a warmed-up call, roughly
    is_visited: bool = True  # whether calls are read one by one: on the CPU, with warm caches
    between_s: float = 0.0  # what it takes before each call to bring the caches into their state
    samples: list[RoundSample] = field(default_factory=list)
    settling: Settling | None = None
    _visits: list[tuple[float, ...]] = field(default_factory=list)

    def settled(self, settling: Settling, call_s: float, sample_s: float) -> None:
        """Plan the samples by how the worker settles: `call_s` is its steady call. A sample lasts as long as settling
        does, so that half of a long visit is timed, `sample_s` seconds at least, and enough readings to see from all
        visits together whether more has to be discarded."""
        self.settling, self.call_s = settling, call_s
        sampled = max(FEWEST_READINGS, settling.calls, round(sample_s / max(call_s, 1e-9)))
        per_reading = calls_per_reading(call_s, (settling.calls + sampled) * call_s)
        calls, discarded = (-(-count // per_reading) * per_reading for count in (sampled, settling.calls))
        self.plan = SamplingPlan(calls, discarded, calls_per_reading=per_reading)

    def visit_for(self, discarded_s: float, sampled_s: float) -> None:
        """Discard the calls of so many seconds after a switch, and sample those of so many more."""
        per_reading = calls_per_reading(self.call_s, discarded_s + sampled_s)
        reading_s = per_reading * max(self.call_s, 1e-9)
        discarded, sampled = (round(seconds / reading_s) * per_reading for seconds in (discarded_s, sampled_s))
        self.plan = SamplingPlan(max(per_reading, sampled), discarded, calls_per_reading=per_reading)

    def add(self, sample: RoundSample, readings: Sequence[float]) -> None:
        """Keep a sample. What every sample discards is decided anew from the readings of all visits."""
        self.samples.append(sample)
        if not readings:
            return
        self._visits.append(tuple(readings))
        planned = self.plan.discarded // self.plan.calls_per_reading
        discarded = max(planned, plateau(self._visits).discarded)
        self.samples = [
            replace(taken, sample=replace(taken.sample, wall_s=fmean(visit[discarded:])))
            for taken, visit in zip(self.samples, self._visits, strict=True)
        ]
        if self.settling is not None:
            self.settling = replace(self.settling, calls=discarded * self.plan.calls_per_reading)

    def walls(self) -> list[float]:
        """Wall seconds per call, in the order of rounds."""
        return [sample.sample.wall_s for sample in self.samples]


@dataclass
class Candidate:
    """A backend that qualified, with its workers, and an A/A process if the run's own error is measured with it."""

    entry: Entry
    qualified: Outcome
    workers: list[WorkerSamples]
    aa_process: WorkerSamples | None = None
    stopped: str | None = None
    extra_rounds: int = 0  # rounds that replace samples in which the process stood still

    @property
    def to_sample(self) -> list[WorkerSamples]:
        if self.stopped is not None:
            return []
        return self.workers if self.aa_process is None else [*self.workers, self.aa_process]

    @property
    def rounds(self) -> int:
        """Rounds that every worker has a sample of."""
        return min(len(worker.samples) for worker in self.workers)

    def lost(self, worker: WorkerSamples) -> bool:
        """Give up a worker that failed. Whether that ends the candidate."""
        if worker is self.aa_process:
            self.aa_process = None
            return False
        self.stopped = "failed"
        return True

    def add(
        self, worker: WorkerSamples, sample: RoundSample, was_stopped: bool, readings: Sequence[float] = ()
    ) -> None:
        """Keep a sample. If the process was stopped during it, keep it too and plan another round."""
        worker.add(sample, readings)
        s, usual_s = worker.samples[-1].sample, median(worker.walls())
        stood_still = s.wall_s > STOOD_STILL_TIMES * usual_s and (s.wall_s - s.cpu_s) * s.calls > STOOD_STILL_S
        if (was_stopped or stood_still) and self.extra_rounds < _MOST_EXTRA_ROUNDS:
            self.extra_rounds += 1

    def enough(self, settings: Settings) -> str | None:
        """Why no more samples are needed; None when they are."""
        rounds = self.rounds - self.extra_rounds
        if settings.fewest_rounds <= rounds < settings.most_rounds:
            walls = [worker.walls() for worker in self.workers]
            width = estimate_over_processes(walls).relative_half_width
            if width <= settings.precision:
                return "precision"
            is_checkpoint = settings.precision > 0 and _is_checkpoint(self.rounds, settings.fewest_rounds)
            earlier = estimate_over_processes([each[: self.rounds // 4] for each in walls]) if is_checkpoint else None
            if earlier is not None and width > _STILL_SHRINKS * earlier.relative_half_width:
                return "noise"
        return self.cap(settings)

    def cap(self, settings: Settings) -> str | None:
        """The limit that ends sampling whatever its precision: "rounds" or "time"; None when none does."""
        if self.rounds - self.extra_rounds >= settings.most_rounds:
            return "rounds"
        spent_s = self.spent_s()
        # An interval needs six samples; where they are near, they are worth as much time again. Over processes it needs
        # processes, and no more samples of each than say which one is slow.
        fewest = settings.fewest_slow_samples
        is_over_processes = len(self.workers) >= FEWEST_PROCESSES
        near = spent_s < 2 * settings.budget_s and not is_over_processes
        wanted = max(fewest, FEWEST_FOR_INTERVAL) if near else fewest
        return "time" if self.rounds >= wanted and spent_s >= settings.budget_s else None

    def spent_s(self) -> float:
        """Seconds of sampling in one process, added up from the samples. The run's own clock may include times in which
        it was stopped; here a sample that stood still counts like the others."""
        return max((median(w.walls()) + w.between_s) * len(w.samples) * w.plan.all_calls for w in self.workers)

    def sampled_outcome(self) -> Outcome:
        """Its outcome with all samples, by round and process."""
        samples = [sample for worker in self.workers for sample in worker.samples]
        samples.sort(key=lambda sample: (sample.round, sample.process))
        outcome = replace(self.qualified, samples=tuple(samples), stopped=self.stopped)
        aa_samples = tuple(self.aa_process.samples) if self.aa_process else ()
        return replace(outcome, settling=self.workers[0].settling, aa_samples=aa_samples)


def self_ratio(candidates: Sequence[Candidate]) -> SelfRatio | None:
    """The run's own error: the ratio, round by round, of two processes of the first candidate that has two."""
    for c in candidates:
        pair = [c.workers[0], c.aa_process] if c.aa_process else c.workers[:2]
        if len(pair) < 2 or c.stopped == "failed":
            continue
        first, second = ({s.round: s.sample.wall_s for s in worker.samples} for worker in pair)
        if ratios := paired_ratios(first, second):
            e = estimate_median(ratios)
            return SelfRatio(backend=c.entry.name, value=e.median, low=e.low, high=e.high, covers=e.covers)
    return None


def _is_checkpoint(rounds: int, fewest: int) -> bool:
    """Whether `rounds` are 4, 8, 16, ... times the fewest. A check in every round would end sampling by chance."""
    times, rest = divmod(rounds, max(fewest, FEWEST_FOR_INTERVAL))
    return not rest and times >= 4 and times & (times - 1) == 0
