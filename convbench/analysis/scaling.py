"""How times scale with the number of threads: speed-ups over the fewest threads, and how much of it was to be had."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean

from convbench.status import Status
from convbench.store.journal import Record


@dataclass(frozen=True)
class Scaling:
    """One backend with `threads` instead of `fewest` threads: the geometric mean of its speed-ups over `cases`."""

    suite: str
    backend: str
    fewest: int
    threads: int
    cases: int
    speedup: float

    @property
    def efficiency(self) -> float:
        """The share of what so many more threads could give at most."""
        return self.speedup / (self.threads / self.fewest)


def scalings(records: Iterable[Record]) -> list[Scaling]:
    """Of each backend that was timed with several numbers of threads, in the order in which the records come.

    Times with one number of threads and with another are not of the same rounds: what drifted between is in the ratio.
    """
    found: dict[tuple[str, str], dict[str, dict[int, float]]] = {}
    for record in records:
        if record["status"] == Status.OK and (record.get("median_s") or 0) > 0:
            cases = found.setdefault((str(record.get("suite", "")), record["backend"]), {})
            cases.setdefault(record["case"], {})[record["threads"]] = record["median_s"]
    return [
        scaling for (suite, backend), cases in found.items() for scaling in _of(suite, backend, list(cases.values()))
    ]


def _of(suite: str, backend: str, cases: Sequence[dict[int, float]]) -> list[Scaling]:
    counts = sorted({threads for times in cases for threads in times})
    scaled = []
    for threads in counts[1:]:
        ratios = [times[counts[0]] / times[threads] for times in cases if counts[0] in times and threads in times]
        if ratios:
            speedup = math.exp(fmean(math.log(ratio) for ratio in ratios))
            scaled.append(Scaling(suite, backend, counts[0], threads, len(ratios), speedup))
    return scaled
