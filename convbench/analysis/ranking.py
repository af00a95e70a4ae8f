"""Who is fastest: the ranking within each case of a suite, and over its cases.

Backends that compute in less precision than the case's dtype stand apart: they are not ranked unless that is asked for.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from convbench.analysis.backend_times import (
    BackendTime,
    in_order,
    is_level,
    lower_precision,
    ratio_of_times,
    time_by,
)
from convbench.analysis.paired_ratio import geometric_mean_ratio
from convbench.stats.ratio import Ratio
from convbench.store.readings import count
from convbench.store.schema import Record


@dataclass(frozen=True)
class RankedBackend:
    """One backend's place in a case."""

    record: Record
    median_s: float
    share: float
    """Of the fastest's speed, by the ratio that decided. Of a backend that stands apart it may be more than 1, and is
    NaN where no backend is ranked."""
    level: bool
    """Whether it is level with the fastest, or the fastest itself."""

    @property
    def precision(self) -> str | None:
        """The precision that it computes in, if that is lower than the case's dtype."""
        return lower_precision(self.record)


@dataclass(frozen=True)
class CaseRanking:
    """The backends of one case, fastest first; those that were timed but stand apart; and those without a time."""

    case: str
    places: tuple[RankedBackend, ...]
    untimed: tuple[Record, ...]
    apart: tuple[RankedBackend, ...] = ()

    @property
    def timed(self) -> tuple[RankedBackend, ...]:
        return (*self.places, *self.apart)

    @property
    def record(self) -> Record:
        """One of its records, for what they have in common."""
        return self.timed[0].record if self.timed else self.untimed[0]

    @property
    def outright(self) -> str | None:
        """The backend that is faster than every other beyond doubt; None when the fastest are level."""
        ahead = [place.record["backend"] for place in self.places if place.level]
        return ahead[0] if len(ahead) == 1 else None


@dataclass(frozen=True)
class BackendScore:
    """One backend over the cases of a suite."""

    backend: str
    cases: int
    outright: int
    level: int
    mean_share: float
    """Geometric mean of its shares of the fastest, over the cases it ran."""
    precision: str | None
    """A precision lower than the problem's dtype, if it computes in one."""
    total_s: float
    """Seconds for one pass through the suite's model: the sum over its cases of median times count."""


@dataclass(frozen=True)
class SuiteRanking:
    """A suite's records, ranked."""

    suite: str
    cases: tuple[CaseRanking, ...]

    @cached_property
    def standings(self) -> tuple[BackendScore, ...]:
        """Every ranked backend, best first: by cases won or level, then by mean share."""
        names = dict.fromkeys(place.record["backend"] for case in self.cases for place in case.places)
        standings = [self._score(name) for name in names]
        return tuple(sorted(standings, key=lambda s: (-s.outright - s.level, -s.mean_share)))

    @property
    def apart(self) -> dict[str, str]:
        """The precisions of the backends that stand apart, by name."""
        return {p.record["backend"]: p.precision for case in self.cases for p in case.apart if p.precision}

    @property
    def timed_cases(self) -> int:
        """How many of its cases have a ranked backend."""
        return sum(bool(case.places) for case in self.cases)

    def lead(self, backend: str, other: str) -> Ratio | None:
        """How many times slower `other` is than `backend`, over the cases that both ran; None without one."""
        pairs = []
        for case in self.cases:
            timed = {place.record["backend"]: place.record for place in case.places}
            if backend in timed and other in timed:
                pairs.append((timed[other], timed[backend]))
        return geometric_mean_ratio(pairs)

    def _score(self, name: str) -> BackendScore:
        places = [(c, p) for c in self.cases for p in c.places if p.record["backend"] == name]
        return BackendScore(
            backend=name,
            cases=len(places),
            outright=sum(case.outright == name for case, _ in places),
            level=sum(place.level and case.outright is None for case, place in places),
            mean_share=math.exp(sum(math.log(place.share) for _, place in places) / len(places)),
            precision=next((p for _, place in places if (p := place.precision)), None),
            total_s=sum(place.median_s * count(place.record) for _, place in places),
        )


def rank(records: Iterable[Record], lower: bool = False) -> list[SuiteRanking]:
    """The records ranked, suites and cases in the order they appear; of two records of one pair the later counts.
    Backends that compute in a lower precision than the dtype are ranked only if `lower`."""
    suites: dict[str, dict[str, dict[str, Record]]] = {}
    for record in records:
        suites.setdefault(str(record.get("suite", "")), {}).setdefault(record["case"], {})[record["backend"]] = record
    return [
        SuiteRanking(suite, tuple(_rank_case(case, list(pairs.values()), lower) for case, pairs in cases.items()))
        for suite, cases in suites.items()
    ]


def _rank_case(case: str, records: list[Record], lower: bool) -> CaseRanking:
    times = [time for record in records if (time := time_by(record)) is not None]
    untimed = tuple(record for record in records if not any(record is time.record for time in times))
    ordered = in_order([time for time in times if lower or not _in_less(time)])
    places = tuple(
        _ranked(time, min(1.0, 1 / between.value), is_level(between, beaten=time.was_beaten))
        for time, between in ordered
    )
    others = sorted((time for time in times if not lower and _in_less(time)), key=lambda time: time.call_s)
    fastest = ordered[0][0] if ordered else None
    shares = [1 / ratio_of_times(time, fastest).value if fastest else math.nan for time in others]
    apart = tuple(_ranked(time, share, False) for time, share in zip(others, shares, strict=True))
    return CaseRanking(case, places, untimed, apart)


def _in_less(time: BackendTime) -> bool:
    return time.record is not None and lower_precision(time.record) is not None


def _ranked(time: BackendTime, share: float, level: bool) -> RankedBackend:
    assert time.record is not None
    return RankedBackend(time.record, time.call_s, share, level)
