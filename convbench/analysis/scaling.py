"""How times scale with the number of threads: speed-ups over the fewest threads, and their efficiency.

Times with different numbers of threads are not from the same rounds: their independent half-widths add up as their
squares do, between-process variation is included once, and drift of the machine is in no interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from convbench.analysis.backend_times import BackendTime, time_by
from convbench.stats.ratio import Ratio
from convbench.store.readings import half_width_not_included
from convbench.store.schema import Record


@dataclass(frozen=True)
class Scaling:
    """One backend with `threads` instead of `fewest` threads: the geometric mean of its speed-ups over `cases`, with a
    95 % interval, or a range where a time has none."""

    suite: str
    backend: str
    fewest: int
    threads: int
    cases: int
    speedup: Ratio

    @property
    def efficiency(self) -> float:
        """The speed-up as a share of the largest that so many more threads could give."""
        return self.speedup.value / (self.threads / self.fewest)


def scalings(records: Iterable[Record]) -> list[Scaling]:
    """One for each backend and each number of threads beyond the fewest it was timed with, in the order of records."""
    timed: dict[tuple[str, str], dict[str, dict[int, BackendTime]]] = {}
    for record in records:
        if (time := time_by(record)) is not None:
            cases = timed.setdefault((str(record.get("suite", "")), record["backend"]), {})
            cases.setdefault(record["case"], {})[record["threads"]] = time
    return [
        scaling
        for (suite, backend), cases in timed.items()
        for scaling in _over_fewest(suite, backend, list(cases.values()))
    ]


def _over_fewest(suite: str, backend: str, cases: Sequence[Mapping[int, BackendTime]]) -> Iterator[Scaling]:
    fewest, *more = sorted({threads for by_threads in cases for threads in by_threads})
    for threads in more:
        pairs = [
            (by_threads[fewest], by_threads[threads]) for by_threads in cases if {fewest, threads} <= {*by_threads}
        ]
        if pairs:
            yield Scaling(suite, backend, fewest, threads, len(pairs), _speedup(pairs))


def _speedup(pairs: Sequence[tuple[BackendTime, BackendTime]]) -> Ratio:
    """The geometric mean of (fewest, more) times."""
    times = [time for pair in pairs for time in pair]
    value = math.exp(fmean(math.log(few.call_s / many.call_s) for few, many in pairs))
    half_width = math.sqrt(sum(_half_width(time) ** 2 for time in times)) / len(pairs)
    variation = half_width_not_included((time.record for time in times if time.record), len(pairs))
    plain = Ratio(value, value, value, all(time.covers for time in times))
    return plain.widened(math.hypot(half_width, variation))


def _half_width(time: BackendTime) -> float:
    """The logarithm of a time's ratio to the farther end of its interval."""
    return max(math.log(time.call_s / time.low_s), math.log(time.high_s / time.call_s))
