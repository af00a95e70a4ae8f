"""Contestants: backends that qualified on a case, each with its processes, and when each has been sampled enough."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median

from convbench.measurement.hazards.of_samples import STOOD_STILL_S, STOOD_STILL_TIMES
from convbench.measurement.outcome import Outcome, RoundSample, SelfRatio
from convbench.measurement.sampling.sample import SamplingPlan
from convbench.measurement.settings import Settings
from convbench.registry import Entry
from convbench.stats.estimates import FEWEST_FOR_INTERVAL, estimate_median, estimate_over_processes

# With four times the rounds the interval of independent samples is half as wide. One that stays as it was holds
# something that rounds do not lessen.
_STILL_SHRINKS = 0.9
_MOST_AGAIN = 10
_ROUNDS = 20  # about as many as it takes


@dataclass
class WorkerSamples:
    """One worker process of a backend, with what was sampled in it."""

    entry: Entry
    process: int
    plan: SamplingPlan
    call_s: float
    """Of a warmed-up call, about."""
    samples: list[RoundSample] = field(default_factory=list)

    def walls(self) -> list[float]:
        """Wall seconds per call, in the order of rounds."""
        return [taken.sample.wall_s for taken in self.samples]


@dataclass
class Candidate:
    """A backend, with a lane for each of its processes, and a `twin` where the run's own error is seen by it."""

    entry: Entry
    so_far: Outcome
    lanes: list[WorkerSamples]
    twin: WorkerSamples | None = None
    stopped: str | None = None
    again: int = 0
    """Rounds to be taken besides, for samples in which the process stood still."""

    @property
    def running(self) -> list[WorkerSamples]:
        """The lanes to be sampled in the next round."""
        if self.stopped is not None:
            return []
        return self.lanes if self.twin is None else [*self.lanes, self.twin]

    def add(self, lane: WorkerSamples, taken: RoundSample, was_stopped: bool) -> None:
        """Keep a sample. One that was taken while the process was stopped is kept, too, and another is due for it."""
        lane.samples.append(taken)
        s, usual_s = taken.sample, median(lane.walls())
        stood_still = s.wall_s > STOOD_STILL_TIMES * usual_s and (s.wall_s - s.cpu_s) * s.calls > STOOD_STILL_S
        if (was_stopped or stood_still) and self.again < _MOST_AGAIN:
            self.again += 1

    def enough(self, settings: Settings) -> str | None:
        """Why no more samples are needed; None when there are."""
        rounds = min(len(lane.samples) for lane in self.lanes)
        if rounds - self.again >= settings.most_rounds:
            return "rounds"
        if rounds - self.again >= settings.fewest_rounds:
            walls = [lane.walls() for lane in self.lanes]
            width = _width(walls)
            if width <= settings.precision:
                return "precision"
            is_checkpoint = settings.precision > 0 and _is_checkpoint(rounds, settings.fewest_rounds)
            if is_checkpoint and width > _STILL_SHRINKS * _width([w[: rounds // 4] for w in walls]):
                return "noise"
        if rounds >= settings.fewest_slow_samples and self.spent_s() >= settings.budget_s:
            return "time"
        return None

    def spent_s(self) -> float:
        """Seconds of sampling in a process, by the samples: what the run's own clock says may hold that it was stopped,
        and a sample that stood still counts as the others do."""
        return max(median(lane.walls()) * len(lane.samples) * lane.plan.all_calls for lane in self.lanes)

    def outcome(self) -> Outcome:
        """What is known of it, with all samples, round by round."""
        samples = [taken for lane in self.lanes for taken in lane.samples]
        samples.sort(key=lambda taken: (taken.round, taken.process))
        return replace(
            self.so_far,
            samples=tuple(samples),
            stopped=self.stopped,
            twin=tuple(self.twin.samples) if self.twin else (),
        )


def self_ratio(candidates: Sequence[Candidate]) -> SelfRatio | None:
    """The run's own error: of the candidate with a twin, or with several processes, the first two by the round."""
    for c in candidates:
        pair = (c.lanes[0], c.twin) if c.twin else tuple(c.lanes[:2])
        if len(pair) == 2 and pair[1] is not None and c.stopped != "failed":
            one, other = ({t.round: t.sample.wall_s for t in lane.samples} for lane in pair if lane is not None)
            both = [one[r] / other[r] for r in one.keys() & other.keys() if one[r] > 0 and other[r] > 0]
            if both:
                found = estimate_median(both)
                return SelfRatio(
                    backend=c.entry.name, value=found.median, low=found.low, high=found.high, covers=found.covers
                )
    return None


def cheapest(candidates: Sequence[Candidate], start_s: Mapping[str, float]) -> Candidate | None:
    """The candidate whose twin costs the least: to start its worker (`start_s`, by name), and to sample it."""

    def cost_s(candidate: Candidate) -> float:
        lane = candidate.lanes[0]
        return start_s.get(candidate.entry.name, 0.0) + _ROUNDS * lane.call_s * lane.plan.all_calls

    return min(candidates, key=cost_s, default=None)


def _width(walls: Sequence[Sequence[float]]) -> float:
    return estimate_over_processes(walls).relative_half_width


def _is_checkpoint(rounds: int, fewest: int) -> bool:
    """Whether `rounds` are 4, 8, 16, ... times the fewest: at every round anew, chance would end the sampling."""
    times, rest = divmod(rounds, max(fewest, FEWEST_FOR_INTERVAL))
    return not rest and times >= 4 and times & (times - 1) == 0
