"""Who is fastest: the ranking within each case of a suite, and over its cases."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from convbench.analysis.backend_times import in_order, is_level, lower_precision, time_by
from convbench.analysis.paired_ratio import geometric_mean_ratio
from convbench.stats.ratio import Ratio
from convbench.store.schema import Record


@dataclass(frozen=True)
class RankedBackend:
    """One backend's place in a case: its share of the fastest's speed, and whether the two are level."""

    record: Record
    median_s: float
    share: float
    level: bool


@dataclass(frozen=True)
class CaseRanking:
    """The backends of one case, fastest first, and those without a time."""

    case: str
    places: tuple[RankedBackend, ...]
    untimed: tuple[Record, ...]

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
    """A precision lower than the problem's dtype, if it computes in one: then its lead is not like for like."""
    total_s: float
    """Seconds for one pass through the suite's model: the sum over its cases of median times count."""


@dataclass(frozen=True)
class SuiteRanking:
    """A suite's records, ranked."""

    suite: str
    cases: tuple[CaseRanking, ...]

    @cached_property
    def standings(self) -> tuple[BackendScore, ...]:
        """Every timed backend, best first: by cases won or level, then by mean share."""
        names = dict.fromkeys(place.record["backend"] for case in self.cases for place in case.places)
        standings = [self._score(name) for name in names]
        return tuple(sorted(standings, key=lambda s: (-s.outright - s.level, -s.mean_share)))

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
            precision=next((p for _, place in places if (p := lower_precision(place.record))), None),
            total_s=sum(place.median_s * (place.record.get("count") or 1) for _, place in places),
        )


def rank(records: Iterable[Record]) -> list[SuiteRanking]:
    """The records ranked, suites and cases in the order they appear; of two records of one pair the later counts."""
    suites: dict[str, dict[str, dict[str, Record]]] = {}
    for record in records:
        suites.setdefault(str(record.get("suite", "")), {}).setdefault(record["case"], {})[record["backend"]] = record
    return [
        SuiteRanking(suite, tuple(_rank_case(case, list(pairs.values())) for case, pairs in cases.items()))
        for suite, cases in suites.items()
    ]


def _rank_case(case: str, records: list[Record]) -> CaseRanking:
    times = [time for record in records if (time := time_by(record)) is not None]
    untimed = tuple(record for record in records if not any(record is time.record for time in times))
    places = []
    for time, between in (ordered := in_order(times)):
        share = min(1.0, ordered[0][0].call_s / time.call_s)
        assert time.record is not None
        places.append(RankedBackend(time.record, time.call_s, share, is_level(between, beaten=time.was_beaten)))
    return CaseRanking(case, tuple(places), untimed)
