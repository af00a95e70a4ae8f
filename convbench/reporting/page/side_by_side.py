"""Which hardware, or how many threads: each suite's total under each conditions, with the best backend there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.analysis.ranking import BackendScore, SuiteRanking
from convbench.reporting.numbers import aligned, interval_column, milliseconds, times
from convbench.reporting.page.rows import Group
from convbench.store.readings import count, hardware_of, number, table
from convbench.store.schema import Record


def side_by_side(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """A table for each suite that several groups ran, the fastest first: its conditions, hardware, best backend of all
    cases, total, and how many times as long as the first."""
    by_suite: dict[str, list[tuple[Group, SuiteRanking]]] = {}
    for group in groups:
        for ranking in group.rankings:
            by_suite.setdefault(ranking.suite, []).append((group, ranking))
    tables = [{"suite": suite, "rows": list(_rows(members))} for suite, members in by_suite.items() if len(members) > 1]
    return [one for one in tables if one["rows"]]


@dataclass(frozen=True)
class Total:
    """What a suite takes with a backend that ran every case: in seconds, with the sums of the ends of the cases'
    intervals, from a record for each case."""

    backend: str
    total_s: float
    low_s: float
    high_s: float
    records: tuple[Record, ...]


def total_of(ranking: SuiteRanking, score: BackendScore) -> Total | None:
    """The total of a backend; None unless it ran every case in the dtype's own precision."""
    if score.cases != len(ranking.cases) or score.precision is not None:
        return None
    records = [p.record for case in ranking.cases for p in case.places if p.record["backend"] == score.backend]
    low_s, high_s = (sum(count(r) * _end(r, name) for r in records) for name in ("low_s", "high_s"))
    return Total(score.backend, score.total_s, low_s, high_s, tuple(records))


def _rows(members: Sequence[tuple[Group, SuiteRanking]]) -> Iterator[tuple[str, ...]]:
    totals_of = ((group, ranking, _best(ranking)) for group, ranking in members)
    bests = [(group, ranking, best) for group, ranking, best in totals_of if best is not None]
    cases = {frozenset(case.case for case in ranking.cases) for _, ranking, _ in bests}
    if len(cases) != 1 or len(bests) < 2:  # totals over other cases say nothing
        return
    totals = sorted(((group, best) for group, _, best in bests), key=lambda each: each[1].total_s)
    medians = aligned([milliseconds(best.total_s) for _, best in totals])
    ends = interval_column([(best.low_s * 1e3, best.high_s * 1e3, False) for _, best in totals])
    for (group, best), median, span in zip(totals, medians, ends, strict=True):
        hardware = str(hardware_of(table(group.records[-1], "machine")))
        yield group.name, hardware, best.backend, median, span, times(best.total_s / totals[0][1].total_s)


def _best(ranking: SuiteRanking) -> Total | None:
    """The best backend that ran every case."""
    totals = [total for score in ranking.standings if (total := total_of(ranking, score)) is not None]
    return min(totals, key=lambda total: total.total_s, default=None)


def _end(record: Record, name: str) -> float:
    return number(record, name) or number(record, "median_s") or 0.0
