"""How times scale with the number of threads: speed-ups over the fewest, and how much of it was to be had.

Times with one number of threads and with another are not of the same rounds, so their intervals, which are independent,
add up as their squares do; so does what two processes differ by, once, for a process computes all cases. What drifted
in the machine between the two is in the ratio, and no interval knows of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.journal import Record


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
        """The share of what so many more threads could give at most."""
        return self.speedup.value / (self.threads / self.fewest)


def scalings(records: Iterable[Record]) -> list[Scaling]:
    """Of each backend that was timed with several numbers of threads, in the order in which the records come."""
    found: dict[tuple[str, str], dict[str, dict[int, Record]]] = {}
    for record in records:
        if record["status"] == Status.OK and (record.get("median_s") or 0) > 0:
            cases = found.setdefault((str(record.get("suite", "")), record["backend"]), {})
            cases.setdefault(record["case"], {})[record["threads"]] = record
    return [
        scaling for (suite, backend), cases in found.items() for scaling in _of(suite, backend, list(cases.values()))
    ]


def _of(suite: str, backend: str, cases: Sequence[Mapping[int, Record]]) -> list[Scaling]:
    counts = sorted({threads for by_threads in cases for threads in by_threads})
    scaled = []
    for threads in counts[1:]:
        pairs = [(one[counts[0]], one[threads]) for one in cases if counts[0] in one and threads in one]
        if pairs:
            scaled.append(Scaling(suite, backend, counts[0], threads, len(pairs), _speedup(pairs)))
    return scaled


def _speedup(pairs: Sequence[tuple[Record, Record]]) -> Ratio:
    """The geometric mean of (fewest, more) times."""
    records = [record for pair in pairs for record in pair]
    value = math.exp(fmean(math.log(few["median_s"] / many["median_s"]) for few, many in pairs))
    half_width = math.sqrt(sum(_half_width(record) ** 2 for record in records)) / len(pairs)
    covers = all(record.get("interval") != "range" for record in records)
    return Ratio(value, value, value, covers).widened(math.hypot(half_width, half_width_of_process_variation(records)))


def _half_width(record: Record) -> float:
    """Of the logarithm of a time, to the farther end of its interval."""
    low_s, median_s, high_s = (record.get(name) or record["median_s"] for name in ("low_s", "median_s", "high_s"))
    return max(math.log(median_s / low_s), math.log(high_s / median_s))
