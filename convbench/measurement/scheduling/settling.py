"""How long each backend takes to be steady after a switch, found out by real switches before the rounds of a case.

Its first worker shows it for its further ones. Workers are visited in turn, in an order shuffled anew, each after
another one had the core. Visits become longer until the calls of a worker reach a plateau: by the curve over its visits
(`convbench.stats.plateau`), and by the time that they took while nothing else ran. A worker that does not get there
keeps the longest visits; where its curve has no plateau at all, its record says so.

Start-up transients have a long thin end: calls may still be 1 % slow 8 ms after a switch, and steady after 16
(`evaluation/accuracy/after_a_switch.py`). No rule sees that in a visit of 8 ms. So the first visits are longer than
most samples will be, and a sample is the shortest that is as fast as the rest of them. What three visits say of that
differs from one copy of a backend to the next, and a longer visit reads a little faster. So backends that take nearly
as long are visited alike, as long as the longest of them: between these a small difference may decide.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import fmean, median

from convbench.measurement.outcome import Outcome, Settling
from convbench.measurement.sampling.sample import SamplingPlan, calls_per_reading
from convbench.measurement.scheduling.candidates import Candidate, WorkerSamples
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.race import NoRace, Race
from convbench.measurement.workers.messages import Visit
from convbench.stats.plateau import midmean, plateau

_VISITS = 3
_FIRST_VISIT_S, _LONGEST_VISIT_S = 0.032, 0.128
_FEWEST_READINGS = 6
_MOST_ABOVE_ALONE = 0.05  # how much slower than alone a plateau may be before a longer visit is tried
_NEAR = 1.25  # times slower; the first visits tell no better which backends may be level
_MOST_ABOVE_REST = 0.0025  # how much slower a sample may be than the second half of a visit: a quarter of the precision


@dataclass
class _Probe:
    """A worker that is observed, and its visits of the present length."""

    candidate: Candidate
    worker: WorkerSamples
    visits: list[tuple[float, ...]] = field(default_factory=list)
    spent_s: float = 0.0

    def __post_init__(self) -> None:
        self.visit_s = max(_FIRST_VISIT_S, _FEWEST_READINGS * self.worker.call_s)

    @property
    def plan(self) -> SamplingPlan:
        call_s = max(self.worker.call_s, 1e-9)
        per_reading = calls_per_reading(call_s, self.visit_s)
        readings = max(_FEWEST_READINGS, round(self.visit_s / (per_reading * call_s)))
        return SamplingPlan(readings * per_reading, 0, calls_per_reading=per_reading)

    @property
    def is_gone(self) -> bool:
        """Whether the worker failed meanwhile."""
        return all(worker is not self.worker for worker in self.candidate.to_sample)

    @property
    def is_long(self) -> bool:
        """Whether its calls are so long that few of them fill the longest visit."""
        return self.worker.call_s * _FEWEST_READINGS > _LONGEST_VISIT_S

    def visit(self, run: CaseRun) -> None:
        readings = run.pool.request(self.worker.entry, Visit(plan=self.plan)).readings
        self.visits.append(readings)
        self.spent_s += math.fsum(readings) * self.plan.calls_per_reading

    def is_done(self, sample_s: float) -> bool:
        """Whether enough is known; plans the worker's samples then. A visit that ends too soon is not repeated, but
        the next is twice as long."""
        fit = plateau(self.visits)
        level_s = median(midmean(visit[fit.discarded :]) for visit in self.visits)
        reached = fit.reached and level_s <= (1 + _MOST_ABOVE_ALONE) * self.worker.call_s
        calls = fit.discarded * self.plan.calls_per_reading
        if not reached and self.visit_s < _LONGEST_VISIT_S:
            self.visit_s, self.visits = 2 * self.visit_s, []
        if len(self.visits) < _VISITS:
            return False
        visit_s = len(self.visits[0]) * self.plan.calls_per_reading * level_s
        settling = Settling(
            calls=calls,
            reached=fit.reached,
            visit_s=visit_s,
            spent_s=self.spent_s,
            alone_s=self.worker.call_s,
            excess=median(fmean(visit[: fit.discarded]) for visit in self.visits) / level_s - 1 if calls else 0.0,
        )
        sample_s = self._steady_sample_s(fit.discarded, level_s, sample_s)
        for worker in self.candidate.to_sample:
            worker.settled(settling, level_s, sample_s)
        return True

    def _steady_sample_s(self, discarded: int, level_s: float, least_s: float) -> float:
        """How long a sample has to last, after the discarded readings, to be as fast as the rest of a visit."""
        reading_s = self.plan.calls_per_reading * level_s
        count = max(1, round(least_s / reading_s))
        longest = min(min(map(len, self.visits)) - discarded, round(_FIRST_VISIT_S / 2 / reading_s))
        rest = [midmean(visit[len(visit) // 2 :]) for visit in self.visits]

        def excess() -> float:
            starts = (midmean(visit[discarded : discarded + count]) for visit in self.visits)
            return median(start / level for start, level in zip(starts, rest, strict=True)) - 1

        while count < longest and excess() > _MOST_ABOVE_REST:
            count = min(2 * count, longest)
        return count * reading_s


def settle(run: CaseRun, rule: Race | NoRace, on_visits: Callable[[int], None]) -> Iterator[Outcome]:
    """Find out how each candidate settles after a switch, in its first process, and plan the samples of all of its
    processes by that; yields the outcomes of those that fail. Left as they are: workers on other devices or with cold
    caches, candidates that are not worth the time, workers whose calls are long, and a worker that has no other to
    switch from."""
    order = random.Random(f"settling {run.settings.seed} {run.case.name}")
    probes = [_Probe(c, worker) for c in run.candidates for worker in c.to_sample if worker.is_visited]
    firsts = [probe for probe in probes if probe.worker is probe.candidate.workers[0] and not probe.is_long]
    pending = [probe for probe in firsts if rule.is_worth_settling(probe.candidate, run.candidates)]
    while pending and len(probes) > 1:
        on_visits(len(pending))
        # Visiting one worker twice running would be no switch.
        others = [probe for probe in probes if probe is not pending[0] and not probe.is_long]
        turns = pending if len(pending) > 1 or not others else [*pending, order.choice(others)]
        for probe in order.sample(turns, len(turns)):
            if not probe.is_gone:
                failure = run.guarded(probe.candidate.entry, partial(probe.visit, run))
                if failure is not None and probe.candidate.lost(probe.worker):
                    yield failure
        probes = [probe for probe in probes if not probe.is_gone]
        pending = [probe for probe in pending if not probe.is_gone and not probe.is_done(run.settings.sample_s)]
    _visit_alike([candidate for candidate in run.candidates if candidate.to_sample])


def _visit_alike(candidates: Sequence[Candidate]) -> None:
    """Make the visits of each candidate as long as those of the candidates that take nearly as long."""
    settled = [c for c in candidates if c.workers[0].settling is not None]
    lengths = [
        (w.call_s, w.plan.discarded * w.call_s, w.plan.calls * w.call_s) for w in (c.workers[0] for c in settled)
    ]
    for candidate, (call_s, _, _) in zip(settled, lengths, strict=True):
        near = [each for each in lengths if call_s / _NEAR <= each[0] <= call_s * _NEAR]
        for worker in candidate.to_sample:
            worker.visit_for(max(discarded_s for _, discarded_s, _ in near), max(sampled_s for *_, sampled_s in near))
