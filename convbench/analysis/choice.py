"""The choice for one layer: which backend is fastest, by how much over which other, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from convbench.analysis.backend_times import (
    BackendTime,
    Basis,
    in_order,
    is_level,
    lower_precision,
    ratio_of_times,
    time_by,
)
from convbench.analysis.prediction.layer_time import Predicted
from convbench.stats.ratio import Ratio
from convbench.store.schema import Record
from convbench.suite import Case


@dataclass(frozen=True)
class Rival:
    """A backend behind the fastest: `ratio` is how many times longer it takes."""

    time: BackendTime
    ratio: Ratio
    level: bool


@dataclass(frozen=True)
class LayerChoice:
    """What is known of one case, the fastest backend first. Predicted times are in the order of the prediction."""

    case: Case
    ranked: tuple[BackendTime, ...]
    tie: float
    untimed: tuple[Record, ...] = ()
    """Records without a time that competes: wrong, crashed, unsupported, in a lower precision and so on."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a backend was not measured, by backend."""

    @property
    def winner(self) -> BackendTime | None:
        return self.ranked[0] if self.ranked else None

    @cached_property
    def rivals(self) -> tuple[Rival, ...]:
        return tuple(sorted(map(self._rival, self.ranked[1:]), key=lambda rival: rival.ratio.value))

    @property
    def runner_up(self) -> Rival | None:
        return self.rivals[0] if self.rivals else None

    @property
    def nearest(self) -> Rival | None:
        """The rival that decides whether this is a tie: the first that is level with the winner, else the runner-up."""
        return next((rival for rival in self.rivals if rival.level), self.runner_up)

    @property
    def is_circle(self) -> bool:
        """Whether the rounds put another backend before the winner, each two having been sampled in other rounds."""
        return any(rival.ratio.value < 1 for rival in self.rivals)

    @property
    def level(self) -> tuple[str, ...]:
        """The backends that are level with the winner."""
        return tuple(rival.time.backend for rival in self.rivals if rival.level)

    @property
    def lead(self) -> Rival | None:
        """The fastest of the rivals that are slower than the winner beyond doubt."""
        return next((rival for rival in self.rivals if not rival.level), None)

    def of(self, backend: str) -> BackendTime | None:
        return next((time for time in self.ranked if time.backend == backend), None)

    def over_fastest(self, backend: str) -> Ratio | None:
        """How many times longer `backend` takes than the fastest; None if that is not known."""
        if self.winner is not None and backend == self.winner.backend:
            return Ratio(1.0, 1.0, 1.0)
        return next((rival.ratio for rival in self.rivals if rival.time.backend == backend), None)

    def _rival(self, time: BackendTime) -> Rival:
        between = ratio_of_times(time, self.ranked[0])
        return Rival(time, between, is_level(between, self.tie, time.was_beaten))


def decide(
    case: Case,
    records: Iterable[Record],
    tie: float,
    basis: Basis = "measured",
    left_out: Mapping[str, str] | None = None,
    predicted: Sequence[Predicted] = (),
    lower: bool = False,
) -> LayerChoice:
    """The choice by `records` of `case`, of which the last of each backend counts, or by the `predicted` times if no
    record has a time. Backends that compute in a lower precision than the problem's dtype compete only if `lower`. A
    difference smaller than `tie` (0.02 is 2 %) is a tie."""
    last = {record["backend"]: record for record in records}
    times = [
        time
        for record in last.values()
        if (lower or not lower_precision(record)) and (time := time_by(record, basis)) is not None
    ]
    known = {time.backend for time in times}
    untimed = tuple(record for name, record in last.items() if name not in known)
    ranked = tuple(time for time, _ in in_order(times)) or tuple(map(_time_of, predicted))
    return LayerChoice(case, ranked, tie, untimed, dict(left_out or {}))


def _time_of(predicted: Predicted) -> BackendTime:
    p = predicted
    return BackendTime(p.backend, p.call_s, p.low_s, p.high_s, True, "predicted", neighbours=p.neighbours)
