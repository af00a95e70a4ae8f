"""What an A/A test and the state of the machine say together: how well it can measure, and what limits that most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from convbench.measurement.hazards.catalogue import Hazard, Kind
from convbench.stats.estimates import estimate_median
from convbench.stats.minimum_detectable_effect import Spread, spread_of

DURATIONS_S = (1, 10, 60)
PROCESSES = (1, 5)
# Beyond what fresh processes with a steady allocator and huge pages were seen to differ by, 0.35 %.
PROCESS_LUCK = 5e-3
_IN_S = 10
_MUCH = 1.5

_TAKE_THE_CPU = (Kind.QUOTA_STOPS, Kind.QUOTA, Kind.CPUSET, Kind.OVERLAP, Kind.BUSY, Kind.STEAL, Kind.SIBLINGS)
_CHANGE_ITS_SPEED = (
    Kind.OVERLAP,
    Kind.BUSY,
    Kind.SWAP,
    Kind.HEAT,
    Kind.BATTERY,
    Kind.GOVERNOR,
    Kind.SIBLINGS,
    Kind.BOOST,
)


@dataclass(frozen=True)
class ClockError:
    """What one clock made of a backend against itself. `answers` are the pairs' ratios, which should be 1."""

    answers: tuple[float, ...]
    covered: int
    """Pairs whose own 95 % interval, from their rounds alone, holds 1."""
    spread: Spread
    round_s: float

    @property
    def typical(self) -> float:
        """The median of |ratio - 1|."""
        return median(abs(answer - 1) for answer in self.answers)

    @property
    def worst(self) -> float:
        """The largest |ratio - 1|."""
        return max(abs(answer - 1) for answer in self.answers)

    def rounds(self, seconds: float) -> int:
        """How many rounds of two backends fit into that time."""
        return int(seconds / self.round_s)

    def smallest_difference(self, seconds: float, processes: int = 1) -> float | None:
        """The smallest share by which one may be slower and be told apart in `seconds` of rounds; None with too few."""
        return self.spread.smallest_difference(self.rounds(seconds), processes)

    def share_of_luck(self, seconds: float) -> float:
        """How much of the variance is the processes' and stays however long they run."""
        return self.spread.share_of_luck(max(1, self.rounds(seconds)))


@dataclass(frozen=True)
class Limit:
    """What limits a measurement most: a hazard, or none that can be named. `waiting`: the wall clock is much worse than
    the CPU clock, so that something takes the CPU away."""

    hazard: Hazard | None
    waiting: bool


def clock_error(pairs: Sequence[Sequence[float]], round_s: float) -> ClockError:
    """The error of a clock from the logarithms of the rounds' ratios in each pair of fresh processes."""
    estimates = [estimate_median(pair) for pair in pairs]
    return ClockError(
        answers=tuple(math.exp(estimate.median) for estimate in estimates),
        covered=sum(estimate.low <= 0 <= estimate.high for estimate in estimates),
        spread=spread_of(pairs),
        round_s=round_s,
    )


def process_variation(wall: ClockError, cpu: ClockError | None, hazards: Sequence[Hazard]) -> list[Hazard]:
    """The hazard that processes differ by luck, where they do so by more than rounds do; by the steadier clock.

    Where other work comes and goes, one pair differs from the next because of that, and nothing is said.
    """
    clock = cpu or wall
    disturbed = any(hazard.kind in _TAKE_THE_CPU for hazard in hazards)
    if disturbed or clock.spread.luck <= PROCESS_LUCK or clock.share_of_luck(_IN_S) < 0.5:
        return []
    # A pair has the luck of two processes.
    return [Hazard(Kind.PROCESS_LUCK, {"luck": clock.spread.luck / math.sqrt(2)})]


def limit(wall: ClockError, cpu: ClockError | None, hazards: Sequence[Hazard]) -> Limit:
    """What limits measuring by the wall clock for some seconds, of the hazards that were seen."""
    seen = {hazard.kind: hazard for hazard in hazards}
    rounds = max(1, wall.rounds(_IN_S))
    waiting = cpu is not None and wall.spread.standard_error(rounds) > _MUCH * cpu.spread.standard_error(rounds)
    if waiting:
        candidates: tuple[Kind, ...] = _TAKE_THE_CPU
    elif wall.share_of_luck(_IN_S) >= 0.5:
        candidates = (Kind.OVERLAP, Kind.BUSY, Kind.HUGE_PAGES, Kind.PROCESS_LUCK)
    else:
        candidates = _CHANGE_ITS_SPEED
    return Limit(next((seen[kind] for kind in candidates if kind in seen), None), waiting)
