"""The times of several backends on one case: their order, the ratio of any two, and when two are level.

This is the one rule for "level". Two backends are level if the interval of their ratio contains 1 or lies within the
tie. Below 6 rounds there is only a range of ratios; a difference is then claimed only if the whole range lies above
`CLEAR_WITHOUT_INTERVAL`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from convbench.analysis.drift import half_width_of_drift
from convbench.analysis.paired_ratio import ratio
from convbench.backend import reason_against_applying
from convbench.stats.ratio import Ratio
from convbench.store.readings import (
    half_width_not_included,
    has_interval,
    in_one_process,
    interval_within_session,
    median_s,
    number,
    table,
)
from convbench.store.schema import Record
from convbench.verification.bounds import UNIT_ROUNDOFF

Basis = Literal["measured", "recorded", "predicted"]

CLEAR_WITHOUT_INTERVAL = 1.5
"""How many times slower a backend has to be in every round, where there are too few rounds for an interval.

`evaluation/statistics/level_without_interval.py` simulates 12 equally fast backends on a noisy machine, with stalls. It
printed how many tables contain a false claim, and how often a backend that is twice as slow is called slower:

    rounds  factor  any in a table   2.0x slower
         2     1.2           54.4%         96.2%
         2     1.5            1.7%         89.7%
         2     2.0            0.2%         24.6%
         3     1.2           10.6%         94.6%
         3     1.5            0.0%         82.3%
         3     2.0            0.0%         12.8%
"""


@dataclass(frozen=True)
class BackendTime:
    """What a call takes with one backend, in seconds, and on what basis; `record` is None where it is predicted.
    [low_s, high_s] is an interval if `covers`, else a range."""

    backend: str
    call_s: float
    low_s: float
    high_s: float
    covers: bool
    basis: Basis
    record: Record | None = None
    neighbours: tuple[str, ...] = ()
    """Case ids of the layers that a prediction rests on."""

    @property
    def was_beaten(self) -> bool:
        """Whether a race stopped sampling it because it was slower."""
        return self.record is not None and self.record.get("stopped") == "beaten"


def lower_precision(record: Mapping[str, object]) -> str | None:
    """The precision that the backend of a record declares it computes in, if that is lower than the dtype."""
    roundoff = {str(precision): value for precision, value in UNIT_ROUNDOFF.items()}
    dtype, declared = str(record.get("dtype")), table(record, "declared")
    used = [str(declared.get(key)) for key in ("operand", "accumulate", "output")]
    lowest = max([dtype, *(p for p in used if p in roundoff)], key=lambda p: roundoff.get(p, math.inf))
    return None if lowest == dtype else lowest


def is_applicable(record: Record) -> bool | None:
    """Whether `convbench.apply` can have the backend of a record compute a layer of a torch model; None if the record
    does not say what the backend takes."""
    declared = table(record, "declared")
    takes = declared.get("takes")
    return None if takes is None else reason_against_applying(takes, declared.get("prepacks") or ()) is None


def time_by(record: Record, basis: Basis = "measured") -> BackendTime | None:
    """The time in `record`; None if it has none, or its answer is wrong."""
    if (call_s := median_s(record)) is None:
        return None
    low_s, high_s = (number(record, end) or call_s for end in ("low_s", "high_s"))
    return BackendTime(record["backend"], call_s, low_s, high_s, has_interval(record), basis, record)


def ratio_of_times(slower: BackendTime, faster: BackendTime) -> Ratio:
    """How many times longer `slower` takes than `faster`.

    The ratio is paired if both were sampled in the same rounds. Otherwise it comes from the intervals of the two times
    and is far wider: it includes between-process variation, once, and drift of the machine unless one process measured
    both.
    """
    records = [time.record for time in (slower, faster) if time.record is not None]
    if len(records) == 2 and (paired := ratio(*records)) is not None:
        return paired
    (low, high), (faster_low, faster_high) = map(_within_session, (slower, faster))
    value, covers = slower.call_s / faster.call_s, slower.covers and faster.covers
    unpaired = Ratio(value, low / faster_high, high / faster_low, covers)
    drift = half_width_of_drift(*records) if len(records) == 2 and not in_one_process(*records) else 0.0
    return unpaired.widened(math.hypot(half_width_not_included(records), drift))


def _within_session(time: BackendTime) -> tuple[float, float]:
    """The interval of a time without what sessions differ by."""
    within = interval_within_session(time.record) if time.record is not None else None
    return within or (time.low_s, time.high_s)


def is_level(between: Ratio, tie: float = 0.0, beaten: bool = False) -> bool:
    """Whether no difference may be claimed, or it is smaller than `tie` (0.02 is 2 %) beyond doubt. A backend that was
    `beaten` in a race is slower even if its rounds were too few for an interval."""
    return between.within(tie) or between.low <= (1 if between.covers or beaten else CLEAR_WITHOUT_INTERVAL)


def in_order(times: Sequence[BackendTime]) -> tuple[tuple[BackendTime, Ratio], ...]:
    """Each time with its ratio to the fastest, in the order of these ratios. They are paired by round where that is
    possible, because medians of backends that were not sampled in all the same rounds are of different moments."""
    ordered = sorted(times, key=lambda time: time.call_s)
    tried: list[tuple[tuple[BackendTime, Ratio], ...]] = []
    leader = ordered[0] if ordered else None
    while leader is not None:
        if any(ranking[0][0] is leader for ranking in tried):  # some beat each other in a circle
            return max(tried, key=lambda ranking: min(between.value for _, between in ranking[1:]))
        others = [time for time in ordered if time is not leader]
        behind = [(time, ratio_of_times(time, leader)) for time in others]
        tried.append(((leader, Ratio(1.0, 1.0, 1.0)), *sorted(behind, key=lambda entry: entry[1].value)))
        ahead = min(tried[-1][1:], key=lambda entry: entry[1].value, default=None)
        leader = ahead[0] if ahead is not None and ahead[1].value < 1 else None
    return tried[-1] if tried else ()
