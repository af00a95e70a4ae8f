"""Session drift: what the time of one and the same call differs by from one moment to another, minutes or days apart.

Neighbours on the host, heat, clocks and page placement move it, and more rounds in the same minute cannot show that.
It is learned from calls that were timed at several moments: visited again in one run, some time later, and timed in
several runs. Visits within a run share their processes and lie minutes apart, so they count as the expectation that
runs hours or days apart correct, with the weight of four pairs at most. What two processes differ by anyway is taken
out of what two runs differ by, because an interval includes it on its own.

A session has a level of its own, so that it counts as one pair for operands of a size, however many cases it has.
A thing that was timed m times says m - 1 times how far a time lies from a typical one, which is the median of the m, so
that one bad session does not move what the others are compared with. The backends of one case in one session share
their minutes; together they count as one pair at most.

Until anything is seen the scale is 1 %. That is a guess between an idle server (some 0.2 %) and a cloud instance
(several per cent: C. Laaber, J. Scheuner, P. Leitner, Empir. Softw. Eng. 24, 2019). It weighs as much as one pair.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import NamedTuple

from convbench.stats.learned_scale import LearnedScale, is_near, scale_at

EXPECTED = 0.01
"""The scale of the logarithm of a time over that of another session, as expected before any is seen."""
_MOST_REVISITS = 4
_MOST_OF_A_SESSION = 128
_ENOUGH_PAIRS = 6


@dataclass(frozen=True)
class SessionDrift(LearnedScale):
    """The `scale` of the logarithm of the ratio of two times of one call, at two moments, learned from so many
    `pairs`. Apart from it stands what processes differ by."""

    scale: float = EXPECTED
    pairs: float = 0

    @property
    def is_known(self) -> bool:
        """Whether it was seen often enough to claim something of the machine."""
        return self.pairs >= _ENOUGH_PAIRS

    def exceeds(self, precision: float) -> bool:
        """Whether it is known to move a time by more than `precision` (0.01 is 1 %) to either side."""
        return self.is_known and self.half_width_of_ratio > precision


class Timed(NamedTuple):
    """The time of a call at one moment. Equal `thing`s are the same code on the same case. `visit` 0 is when a session
    measured it, and 1, 2, ... when it came back to it."""

    thing: tuple[str, ...]
    case: str
    size: float
    session: str
    visit: int
    seconds: float


class Deviation(NamedTuple):
    """How far a time of operands of this `size` lies from a typical one, as large as the logarithm of the ratio of two
    such times, and how much it counts."""

    session: str
    size: float
    log_ratio: float
    weight: float


def deviations(times: Iterable[Timed]) -> tuple[list[Deviation], list[Deviation]]:
    """What later visits within sessions show, and what several sessions show, in the order of `times`."""
    visits: dict[tuple[object, ...], list[Timed]] = defaultdict(list)
    firsts: dict[tuple[object, ...], dict[str, Timed]] = defaultdict(dict)
    for timed in times:
        visits[*timed.thing, timed.case, timed.session].append(timed)
        if timed.visit == 0:
            firsts[*timed.thing, timed.case][timed.session] = timed
    return _deviations(visits.values()), _deviations([list(sessions.values()) for sessions in firsts.values()])


def _deviations(groups: Iterable[Sequence[Timed]]) -> list[Deviation]:
    repeated = [group for group in groups if len(group) > 1]
    together = Counter((t.case, t.session, t.visit) for group in repeated for t in group)
    moved: dict[str, list[Deviation]] = defaultdict(list)
    for group in repeated:
        logs, m = [math.log(timed.seconds) for timed in group], len(group)
        centre = median(logs)
        for t, log in zip(group, logs, strict=True):
            weight = (m - 1) / m / together[t.case, t.session, t.visit]
            log_ratio = (log - centre) * math.sqrt(2 * m / (m - 1))
            moved[t.session].append(Deviation(t.session, t.size, log_ratio, weight))
    return [each for of_session in moved.values() for each in _thinned(of_session)]


def _thinned(moved: Sequence[Deviation]) -> list[Deviation]:
    """At most `_MOST_OF_A_SESSION`, evenly spread, each of which counts for those that are left out."""
    every = -(-len(moved) // _MOST_OF_A_SESSION)
    return [each._replace(weight=every * each.weight) for each in moved[::every]]


def drift_at(
    size: float, revisits: Sequence[Deviation], sessions: Sequence[Deviation], process_scale: float = 0.0
) -> SessionDrift:
    """The drift of a time for operands of `size`. `process_scale` is that of between-process variation, which the
    deviations of `sessions` include and `revisits` do not."""
    within = _learned(SessionDrift(), size, revisits, [d.weight for d in revisits])
    if not sessions:
        return within
    expected, weights = replace(within, pairs=min(within.pairs, _MOST_REVISITS)), _one_for_a_session(size, sessions)
    whole = _learned(expected, size, sessions, weights)
    share = math.sqrt(max(0.0, 1 - (process_scale / whole.scale) ** 2))
    without = [d._replace(log_ratio=share * d.log_ratio) for d in sessions]
    return _learned(expected, size, without, weights)


def _one_for_a_session(size: float, moved: Sequence[Deviation]) -> list[float]:
    """Weights by which each session counts as one pair at most near this size, and as one elsewhere."""
    totals: dict[tuple[str, bool], float] = defaultdict(float)
    for d in moved:
        totals[d.session, is_near(size, d.size)] += d.weight
    return [d.weight / max(1.0, totals[d.session, is_near(size, d.size)]) for d in moved]


def _learned(start: SessionDrift, size: float, moved: Sequence[Deviation], weights: Sequence[float]) -> SessionDrift:
    return scale_at(start, size, [(d.size, d.log_ratio) for d in moved], weights) if moved else start
