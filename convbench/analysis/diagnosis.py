"""How well a machine can measure and what limits that most, from an A/A test and the machine's hazards."""

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
_NOTABLE_VARIATION = 5e-3  # fresh processes with a steady allocator and huge pages differ by 0.35 %
_IN_S = 10
_MUCH_WORSE = 1.5

_TAKE_THE_CPU = (Kind.QUOTA_STOPS, Kind.QUOTA, Kind.CPUSET, Kind.OVERLAP, Kind.BUSY, Kind.STEAL, Kind.SIBLINGS)
_CHANGE_ITS_SPEED = (
    Kind.OVERLAP, Kind.BUSY, Kind.SWAP, Kind.HEAT, Kind.BATTERY, Kind.GOVERNOR, Kind.SIBLINGS, Kind.BOOST,
)  # fmt: skip
_OF_WORKING_SETS = (Kind.PROCESS_GROUPS, Kind.PROCESSES_DIFFER, Kind.SLOW_SWITCH, Kind.NOISY_LEVEL)


@dataclass(frozen=True)
class ClockError:
    """The results of one clock for a backend against itself. `answers` are the pairs' ratios, which should be 1."""

    answers: tuple[float, ...]
    covered: int
    """Pairs whose own 95 % interval, from their rounds alone, contains 1."""
    spread: Spread
    round_s: float

    @property
    def typical(self) -> float:
        return median(abs(answer - 1) for answer in self.answers)

    @property
    def worst(self) -> float:
        return max(abs(answer - 1) for answer in self.answers)

    def rounds(self, seconds: float) -> int:
        """How many rounds of two backends fit into that time."""
        return int(seconds / self.round_s)

    def minimum_detectable_effect(self, seconds: float, processes: int = 1) -> float | None:
        """The smallest share that is detected in `seconds` of rounds; None if they are too few."""
        return self.spread.minimum_detectable_effect(self.rounds(seconds), processes)

    def share_between_processes(self, seconds: float) -> float:
        """The share of the variance that stays however long they run."""
        return self.spread.share_between_processes(max(1, self.rounds(seconds)))


@dataclass(frozen=True)
class LimitingFactor:
    """What limits a measurement most: a hazard, or None. `waiting`: the wall clock is much worse than the CPU clock, so
    something takes the CPU away."""

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


def takes_the_cpu(hazards: Sequence[Hazard]) -> bool:
    """Whether other work takes the CPU away now and then, so that processes differ for that reason."""
    return any(hazard.kind in _TAKE_THE_CPU for hazard in hazards)


def process_hazards(wall: ClockError, cpu: ClockError | None, hazards: Sequence[Hazard]) -> list[Hazard]:
    """The hazard of between-process variation, if it is notable and larger than the noise of rounds by the steadier
    clock. Empty where other work comes and goes, because pairs then differ for that reason."""
    clock = cpu or wall
    variation = clock.spread.between_processes
    if takes_the_cpu(hazards) or variation <= _NOTABLE_VARIATION or clock.share_between_processes(_IN_S) < 0.5:
        return []
    # The ratio of a pair has the variation of two processes.
    return [Hazard(Kind.PROCESS_LUCK, {"luck": variation / math.sqrt(2)})]


def limiting_factor(wall: ClockError, cpu: ClockError | None, hazards: Sequence[Hazard]) -> LimitingFactor:
    """What limits measuring by the wall clock for some seconds, among the hazards that were seen."""
    seen = {hazard.kind: hazard for hazard in hazards}
    rounds = max(1, wall.rounds(_IN_S))
    waiting = cpu is not None and wall.spread.standard_error(rounds) > _MUCH_WORSE * cpu.spread.standard_error(rounds)
    if waiting:
        candidates: tuple[Kind, ...] = _TAKE_THE_CPU
    elif wall.share_between_processes(_IN_S) >= 0.5:
        candidates = (Kind.OVERLAP, Kind.BUSY, Kind.HUGE_PAGES, Kind.PROCESS_LUCK)
    else:
        candidates = (*_CHANGE_ITS_SPEED, *_OF_WORKING_SETS)
    return LimitingFactor(next((seen[kind] for kind in candidates if kind in seen), None), waiting)
