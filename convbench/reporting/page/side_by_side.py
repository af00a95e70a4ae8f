"""Which hardware, or how many threads: each suite's total under each conditions, with the best backend there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from convbench.analysis.ranking import SuiteRanking
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


def _rows(members: Sequence[tuple[Group, SuiteRanking]]) -> Iterator[tuple[str, ...]]:
    totals = sorted(
        (total for group, ranking in members if (total := _total(group, ranking)) is not None),
        key=lambda total: total[2][0],
    )
    if len({cases for *_, cases in totals}) != 1 or len(totals) < 2:  # totals over other cases say nothing
        return
    medians = aligned([milliseconds(seconds) for _, _, (seconds, _, _), _ in totals])
    ends = interval_column([(low * 1e3, high * 1e3, False) for _, _, (_, low, high), _ in totals])
    for (group, backend, (seconds, _, _), _), median, span in zip(totals, medians, ends, strict=True):
        hardware = str(hardware_of(table(group.records[-1], "machine")))
        yield group.name, hardware, backend, median, span, times(seconds / totals[0][2][0])


_Total = tuple[Group, str, tuple[float, float, float], frozenset[str]]


def _total(group: Group, ranking: SuiteRanking) -> _Total | None:
    """The best backend that ran every case, with its total in seconds and the sums of the ends of its intervals."""
    whole = [score for score in ranking.standings if score.cases == len(ranking.cases) and score.precision is None]
    if not whole:
        return None
    best = min(whole, key=lambda score: score.total_s)
    records = [p.record for case in ranking.cases for p in case.places if p.record["backend"] == best.backend]
    low, high = (sum(count(r) * _end(r, name) for r in records) for name in ("low_s", "high_s"))
    return group, best.backend, (best.total_s, low, high), frozenset(case.case for case in ranking.cases)


def _end(record: Record, name: str) -> float:
    return number(record, name) or number(record, "median_s") or 0.0
