"""Who is fastest: the ranking within each case of a suite, and over its cases."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

from convbench.analysis.paired_ratio import geometric_mean_ratio, ratio
from convbench.stats.ratio import Ratio
from convbench.status import Status
from convbench.store.journal import Record
from convbench.verification.bounds import UNIT_ROUNDOFF

# With too few rounds for an interval a difference is claimed only where it is at least this in every one of them.
_CLEAR_WITHOUT_INTERVAL = 2.0


@dataclass(frozen=True)
class Place:
    """One backend's place in a case: its share of the fastest's speed, and whether the two are level."""

    record: Record
    share: float
    level: bool


def lower_precision(record: Record) -> str | None:
    """The precision that the backend declares it computes in, where that is lower than the dtype asked for."""
    declared = record.get("declared") or {}
    asked = UNIT_ROUNDOFF.get(record.get("dtype"), 0.0)  # type: ignore[arg-type]
    used = [declared[key] for key in ("operand", "accumulate", "output") if declared.get(key) in UNIT_ROUNDOFF]
    lowest = max(used, key=lambda precision: UNIT_ROUNDOFF[precision], default=None)
    return lowest if lowest is not None and UNIT_ROUNDOFF[lowest] > asked > 0 else None


@dataclass(frozen=True)
class CaseRanking:
    """The backends of one case, fastest first, and those without a time."""

    case: str
    places: tuple[Place, ...]
    untimed: tuple[Record, ...]

    @property
    def outright(self) -> str | None:
        """The backend that is faster than every other beyond doubt; None when the fastest are level."""
        ahead = [place.record["backend"] for place in self.places if place.level]
        return ahead[0] if len(ahead) == 1 else None


@dataclass(frozen=True)
class Standing:
    """One backend over the cases of a suite."""

    backend: str
    cases: int
    outright: int
    level: int
    mean_share: float
    """Geometric mean of its shares of the fastest, over the cases it ran."""
    precision: str | None
    """What it computes in where that is lower than what was asked for: then its lead is not like for like."""
    total_s: float
    """Sum over its cases of median times count: one pass through the model that the suite is of."""


@dataclass(frozen=True)
class SuiteRanking:
    """A suite's records, ranked."""

    suite: str
    cases: tuple[CaseRanking, ...]

    @cached_property
    def standings(self) -> tuple[Standing, ...]:
        """Every timed backend, best first: by cases won or level, then by mean share."""
        names = dict.fromkeys(place.record["backend"] for case in self.cases for place in case.places)
        found = [self._standing(name) for name in names]
        return tuple(sorted(found, key=lambda s: (-s.outright - s.level, -s.mean_share)))

    def lead(self, backend: str, other: str) -> Ratio | None:
        """How many times slower `other` is than `backend`, over the cases that both ran; None when there is none."""
        pairs = []
        for case in self.cases:
            timed = {place.record["backend"]: place.record for place in case.places}
            if backend in timed and other in timed:
                pairs.append((timed[other], timed[backend]))
        return geometric_mean_ratio(pairs)

    def _standing(self, name: str) -> Standing:
        places = [(c, p) for c in self.cases for p in c.places if p.record["backend"] == name]
        return Standing(
            backend=name,
            cases=len(places),
            outright=sum(case.outright == name for case, _ in places),
            level=sum(place.level and case.outright is None for case, place in places),
            mean_share=math.exp(sum(math.log(place.share) for _, place in places) / len(places)),
            precision=next((p for _, place in places if (p := lower_precision(place.record))), None),
            total_s=sum(place.record["median_s"] * (place.record.get("count") or 1) for _, place in places),
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
    # A wrong answer may have been timed on request, but it does not compete.
    timed = [r for r in records if r["status"] == Status.OK and (r.get("median_s") or 0) > 0]
    timed.sort(key=lambda record: record["median_s"])
    untimed = tuple(r for r in records if not any(r is t for t in timed))
    if not timed:
        return CaseRanking(case, (), untimed)
    fastest = timed[0]
    places = tuple(Place(r, fastest["median_s"] / r["median_s"], _level(r, fastest)) for r in timed)
    return CaseRanking(case, places, untimed)


def _level(record: Record, fastest: Record) -> bool:
    if record is fastest:
        return True
    between = ratio(record, fastest)
    if between is None:  # no rounds in common: the intervals of the two medians have to stand apart
        return bool(record["low_s"] <= fastest["high_s"])
    return between.low <= (1 if between.covers else _CLEAR_WITHOUT_INTERVAL)
