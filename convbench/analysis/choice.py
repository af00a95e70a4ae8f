"""The choice for one layer: who is fastest, by how much over whom, and how sure that is.

A tie is called a tie: two backends are level where the interval of their ratio holds 1, or lies within the tie that was
asked for. Only backends that compute in the precision asked for compete.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Literal

from convbench.analysis.drift import half_width_of_drift
from convbench.analysis.paired_ratio import ratio
from convbench.analysis.prediction.layer_time import Predicted
from convbench.analysis.ranking import lower_precision
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.journal import Record
from convbench.suite import Case

Basis = Literal["measured", "recorded", "predicted"]
_CLEAR_WITHOUT_INTERVAL = 1.2


@dataclass(frozen=True)
class Timed:
    """What a call takes with one backend, in seconds, and on what basis; `record` is None where it is predicted."""

    backend: str
    call_s: float
    low_s: float
    high_s: float
    covers: bool
    basis: Basis
    record: Record | None = None
    neighbours: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rival:
    """A backend behind the fastest: `ratio` is how many times longer it takes, and `level` whether that is a tie."""

    timed: Timed
    ratio: Ratio
    level: bool


@dataclass(frozen=True)
class LayerChoice:
    """What is known of one case, the fastest backend first."""

    case: Case
    ranked: tuple[Timed, ...]
    tie: float
    untimed: tuple[Record, ...] = ()
    """Records without a time that counts: wrong, crashed, unsupported, in a lower precision and so on."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Why a backend was not asked."""

    @property
    def winner(self) -> Timed | None:
        return self.ranked[0] if self.ranked else None

    @cached_property
    def rivals(self) -> tuple[Rival, ...]:
        """The others, by how much longer they take than the winner."""
        found = (self._rival(timed) for timed in self.ranked[1:])
        return tuple(sorted(found, key=lambda rival: rival.ratio.value))

    @property
    def runner_up(self) -> Rival | None:
        return self.rivals[0] if self.rivals else None

    @property
    def level(self) -> tuple[str, ...]:
        """The backends that are level with the winner."""
        return tuple(rival.timed.backend for rival in self.rivals if rival.level)

    @property
    def lead(self) -> Rival | None:
        """The fastest of those that the winner is ahead of beyond doubt."""
        return next((rival for rival in self.rivals if not rival.level), None)

    def of(self, backend: str) -> Timed | None:
        """What `backend` takes here; None where that is not known."""
        return next((timed for timed in self.ranked if timed.backend == backend), None)

    def over_fastest(self, backend: str) -> Ratio | None:
        """How many times longer `backend` takes than the fastest; None where that is not known."""
        if self.winner is not None and backend == self.winner.backend:
            return Ratio(1.0, 1.0, 1.0)
        return next((rival.ratio for rival in self.rivals if rival.timed.backend == backend), None)

    def _rival(self, timed: Timed) -> Rival:
        between = between_times(timed, self.ranked[0])
        beaten = timed.record is not None and timed.record.get("stopped") == "beaten"
        return Rival(timed, between, is_level(between, self.tie, beaten))


def between_times(slower: Timed, faster: Timed) -> Ratio:
    """How many times longer the one takes: by the rounds that both were sampled in, or else, far wider, by the
    intervals of the two times, and of earlier runs with what the machine may have done from one to the other."""
    if slower.record is not None and faster.record is not None:
        paired = ratio(slower.record, faster.record)
        if paired is not None:
            return paired
    apart = Ratio(
        slower.call_s / faster.call_s,
        slower.low_s / faster.high_s,
        slower.high_s / faster.low_s,
        slower.covers and faster.covers,
    )
    records = [timed.record for timed in (slower, faster) if timed.record is not None]
    of_two_runs = len(records) == 2 and "recorded" in (slower.basis, faster.basis)
    drift = half_width_of_drift(*records) if of_two_runs else 0.0
    return apart.widened(math.hypot(half_width_of_process_variation(records), drift))


def is_level(between: Ratio, tie: float, beaten: bool = False) -> bool:
    """Whether a difference may not be claimed, or is smaller than `tie` beyond doubt. Of few rounds there is a range
    only, which says little, unless the slower one is out of a race because it was `beaten`."""
    if 1 / (1 + tie) <= between.low and between.high <= 1 + tie:
        return True
    return between.low <= (1 if between.covers or beaten else _CLEAR_WITHOUT_INTERVAL)


def decide(
    case: Case,
    records: Iterable[Record],
    tie: float,
    basis: Basis = "measured",
    left_out: Mapping[str, str] | None = None,
    predicted: Sequence[Predicted] = (),
    lower: bool = False,
) -> LayerChoice:
    """The choice by `records` of `case`, of which the last of each backend counts, and where there is none with a time
    by what is `predicted`. Backends that compute in a lower precision than was asked for compete if `lower`."""
    last = {record["backend"]: record for record in records}
    timed = [one for record in last.values() if (one := timed_by(record, basis, lower)) is not None]
    known = {one.backend for one in timed}
    untimed = tuple(record for name, record in last.items() if name not in known)
    timed.sort(key=lambda one: one.call_s)
    if not timed:  # in the order of the prediction, which knows how sure it is of each
        ranked = [
            Timed(p.backend, p.call_s, p.low_s, p.high_s, True, "predicted", neighbours=p.neighbours) for p in predicted
        ]
        return LayerChoice(case, tuple(ranked), tie, untimed, dict(left_out or {}))
    choice = LayerChoice(case, tuple(timed), tie, untimed, dict(left_out or {}))
    return replace(choice, ranked=_by_rounds(choice))


def timed_by(record: Record, basis: Basis, lower: bool = False) -> Timed | None:
    """The time in `record`, if it may compete."""
    if record["status"] != Status.OK or not (record.get("median_s") or 0) > 0:
        return None
    if lower_precision(record) and not lower:
        return None
    covers = record.get("interval") != "range"
    return Timed(record["backend"], record["median_s"], record["low_s"], record["high_s"], covers, basis, record)


def _by_rounds(choice: LayerChoice) -> tuple[Timed, ...]:
    """The ranking, with the one in front that the rounds have there: the machine drifts, and the medians of two who
    were not sampled in all the same rounds are of other moments."""
    seen = [choice]
    while (ahead := seen[-1].runner_up) is not None and ahead.ratio.value < 1:
        if any(earlier.ranked[0] is ahead.timed for earlier in seen):  # some beat each other in a circle
            return max(seen, key=_least_ratio).ranked
        behind = (timed for timed in choice.ranked if timed is not ahead.timed)
        seen.append(replace(choice, ranked=(ahead.timed, *behind)))
    return seen[-1].ranked


def _least_ratio(choice: LayerChoice) -> float:
    return min(rival.ratio.value for rival in choice.rivals)
