"""Where did it step? Change points of all series together; over a few releases, steps from each to the next by samples.

A series of many runs shows the spread between runs. A few releases with one run each have only the samples within runs,
whose difference may come from the release, from between-process variation or, if they were not measured side by side in
one session, from the time of day: such a step is shown and raises no alarm.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import compress, groupby, pairwise

import numpy as np

from convbench.analysis.series import Point, Series, series_of
from convbench.stats.change_points import (
    FALSE_DISCOVERY_RATE,
    FEWEST_IN_SEGMENT,
    change_points_of_all,
    noise_of,
)
from convbench.stats.estimates import FEWEST_FOR_INTERVAL
from convbench.stats.rank_sum import Floats, p_of_difference, q_values, shift_between
from convbench.stats.ratio import Ratio
from convbench.store.schema import Record

FEWEST_POINTS = 12
"""From here on a series speaks for itself: with fewer points the 3 newest cannot differ from the others at 1 %."""

_CLEARLY_APART = 0.8


class Evidence(StrEnum):
    """What a step rests on."""

    RUNS = "runs"
    SIDE_BY_SIDE = "samples"
    APART = "samples, apart"


@dataclass(frozen=True)
class Step:
    """A series is faster or slower from point `index` on. The medians, in seconds, are of the `runs` points before and
    after, as far as the next step or label; the ratio is the median of all of one after to one before."""

    series: Series
    index: int
    runs: tuple[int, int]
    before_s: float
    after_s: float
    ratio: Ratio
    p_value: float
    q_value: float
    gradual: bool
    """Whether a straight line fits better than a step."""
    evidence: Evidence

    @property
    def last_before(self) -> Point:
        return self.series.points[self.index - 1]

    @property
    def first_after(self) -> Point:
        return self.series.points[self.index]

    @property
    def slower(self) -> bool:
        return self.ratio.value > 1

    @property
    def points_since(self) -> int:
        """Points from the step on; 1 when it is the newest point that stepped."""
        return len(self.series.points) - self.index


@dataclass(frozen=True)
class Trend:
    """Every step of every series. Those in `long` were looked at run by run, those in `short` release by release, by
    samples; `untold` have too little to say anything of."""

    steps: tuple[Step, ...]
    long: tuple[Series, ...]
    short: tuple[Series, ...]
    untold: tuple[Series, ...]
    left_out: Counter[str]
    noise: float | None
    """The median over the long series of the spread of single runs, as a share; None without any."""

    @property
    def left_out_sentence(self) -> str:
        total = sum(self.left_out.values())
        reasons = ", ".join(f"{number:,} {reason}" for reason, number in self.left_out.most_common())
        return f"{total:,} {'record' if total == 1 else 'records'}, {reasons}"

    def alarms(self, last: int, since: str = "") -> tuple[Step, ...]:
        """The steps that a build should fail for: a series' newest step, if it is to slower, among its `last` points
        and on or after `since` (YYYY-MM-DD). An older one is what the series is now."""
        newest = {step.series.key: step for step in sorted(self.steps, key=lambda step: step.index)}
        return tuple(
            step
            for step in newest.values()
            if step.slower
            and step.evidence is not Evidence.APART
            and step.points_since <= last
            and step.first_after.date >= since
        )


def trend(records: Iterable[Record], threshold: float = 0.0, min_segment: int = FEWEST_IN_SEGMENT) -> Trend:
    """The steps of more than `threshold` (0.03 is 3 %) in the series that the records make. The false discovery rate is
    at most 5 % over all long series, and over all neighbouring releases of the short ones."""
    series, left_out = series_of(records)
    fewest = max(FEWEST_POINTS, 2 * min_segment)
    # A step lies between two releases: with few of them these are compared, however many the runs.
    releases = [len({point.label for point in one.points}) if one.key.library else FEWEST_POINTS for one in series]
    is_long = [len(one.points) >= fewest and n >= FEWEST_POINTS for one, n in zip(series, releases, strict=True)]
    long = tuple(compress(series, is_long))
    neighbours = [(one, list(_neighbours(one))) for one, among in zip(series, is_long, strict=True) if not among]
    steps, noise = _by_runs(long, threshold, min_segment)
    for evidence in (Evidence.SIDE_BY_SIDE, Evidence.APART):
        steps += _by_samples(
            [pair for _, pairs in neighbours for pair in pairs if pair.evidence is evidence], threshold
        )
    short = tuple(one for one, pairs in neighbours if pairs)
    untold = tuple(one for one, pairs in neighbours if not pairs)
    return Trend(tuple(steps), long, short, untold, left_out, noise)


def _by_runs(series: Sequence[Series], threshold: float, min_segment: int) -> tuple[list[Step], float | None]:
    values = [[point.median_s for point in one.points] for one in series]
    intervals = [[(point.low_s, point.high_s) for point in one.points] for one in series]
    machines = [one.key.machine for one in series]
    change_points = change_points_of_all(values, intervals, machines, min_segment=min_segment, min_magnitude=threshold)
    steps = []
    for one, changes in zip(series, change_points, strict=True):
        edges = [0, *(change.index for change in changes), len(one.points)]
        for number, c in enumerate(changes):
            runs = (c.index - edges[number], edges[number + 2] - c.index)
            figures = (c.before, c.after, c.ratio, c.p_value, c.q_value, c.gradual)
            steps.append(Step(one, c.index, runs, *figures, Evidence.RUNS))
    spreads = [noise_of(points, changes) for points, changes in zip(values, change_points, strict=True)]
    return steps, float(np.median(spreads)) if spreads else None


@dataclass(frozen=True)
class _Neighbours:
    """The points of a release and of the next one, from `index` on, as far as they were measured side by side; all of
    them if none were."""

    series: Series
    index: int
    old: tuple[Point, ...]
    new: tuple[Point, ...]
    evidence: Evidence

    @property
    def samples(self) -> list[Floats]:
        return [np.concatenate([point.samples_s for point in side]) for side in (self.old, self.new)]

    def agree(self, slower: bool) -> bool:
        """Whether of all pairs of runs, one of each release, at least four in five lie the way that the samples do."""
        above = np.greater.outer([point.median_s for point in self.new], [point.median_s for point in self.old])
        return bool(np.mean(above if slower else ~above) >= _CLEARLY_APART)


def _neighbours(series: Series) -> Iterator[_Neighbours]:
    """Each two neighbouring releases that have enough samples to be compared."""
    if not series.key.library:
        return
    index = 0
    for old, new in pairwise(tuple(points) for _, points in groupby(series.points, key=lambda point: point.label)):
        index += len(old)
        shared = {point.session for point in old} & {point.session for point in new}
        evidence = Evidence.SIDE_BY_SIDE if shared else Evidence.APART
        before, after = (tuple(p for p in side if not shared or p.session in shared) for side in (old, new))
        pair = _Neighbours(series, index, before, after, evidence)
        if min(samples.size for samples in pair.samples) >= FEWEST_FOR_INTERVAL:
            yield pair


def _by_samples(pairs: Sequence[_Neighbours], threshold: float) -> list[Step]:
    p_values = [p_of_difference(*pair.samples) for pair in pairs]
    steps = []
    for pair, p, q in zip(pairs, p_values, q_values(p_values), strict=True):
        old, new = pair.samples
        if q > FALSE_DISCOVERY_RATE:
            continue
        shift = shift_between(np.log(old), np.log(new))
        ratio = Ratio(math.exp(shift.value), math.exp(shift.low), math.exp(shift.high), shift.covers)
        if abs(shift.value) > math.log1p(threshold) and not ratio.includes_one and pair.agree(shift.value > 0):
            figures = (float(np.median(old)), float(np.median(new)), ratio, p, q)
            runs = (len(pair.old), len(pair.new))
            steps.append(Step(pair.series, pair.index, runs, *figures, gradual=False, evidence=pair.evidence))
    return steps
