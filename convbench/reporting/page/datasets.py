"""The data of a report's figures, by name: rows that the page filters by what its reader selects, and plots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from convbench.analysis.comparison import Change
from convbench.analysis.scaling import scalings
from convbench.analysis.trend import trend
from convbench.measurement.ceilings.figures import Ceilings
from convbench.reporting.history.implementations import in_words, is_change
from convbench.reporting.page.rows import Group, Row
from convbench.reporting.terminal_text import printable
from convbench.store.readings import count, number, table
from convbench.store.schema import Record

_FEWEST_POINTS = 3  # of a line over time; two runs are compared instead
_MOST_LINES, _MOST_CHANGES = 40, 60
_THRESHOLD, _FEWEST_IN_SEGMENT = 0.03, 3  # as `convbench trend` has them


def datasets(
    groups: Sequence[Group], records: Sequence[Record], ceilings: Sequence[Ceilings], changes: Sequence[Change]
) -> dict[str, list[Row]]:
    """The data besides the rows of the table. `records` are all records, older ones of a pair included."""
    newest = [record for group in groups for record in group.records]
    return {
        "layers": [row for group in groups for row in _layers(group)],
        "roof": [row for group in groups for row in _roof(group, ceilings)],
        "scaling": list(_scaling(newest)),
        "machines": [row for group in groups for row in _totals(group)] if len(groups) > 1 else [],
        "history": list(_history(records)),
        "changes": [_change(change) for change in _largest(changes)],
    }


def _layers(group: Group) -> Iterator[Row]:
    """The fastest backend of each layer of a model, and what the best single backend takes there."""
    for ranking in group.rankings:
        cases = [case for case in ranking.cases if case.places]
        if not any(_is_of_a_model(case.places[0].record) for case in cases):
            continue
        whole = [score for score in ranking.standings if score.cases == len(cases) and score.precision is None]
        single = min(whole, key=lambda score: score.total_s).backend if whole else None
        for case in cases:
            best = case.places[0]
            times = count(best.record)
            own = next((place.median_s for place in case.places if place.record["backend"] == single), None)
            yield {
                **_names(group, ranking.suite, best.record),
                "case": printable(case.case),
                "layer": printable(str(best.record.get("layer") or "")),
                "count": times,
                "pass_ms": best.median_s * times * 1e3,
                "single": single,
                "single_ms": own and own * times * 1e3,
            }


def _is_of_a_model(record: Record) -> bool:
    return count(record) > 1 or table(record, "settings").get("cache") == "pass"


def _roof(group: Group, ceilings: Sequence[Ceilings]) -> Iterator[Row]:
    """The roofline of the group's machine: each level's bandwidth up to the peak of the dtype, and then the peak."""
    first = group.records[0]
    known = [
        one for one in ceilings if (one.cpu, one.threads) == (table(first, "machine").get("cpu"), first["threads"])
    ]
    peak = known[-1].peak(str(first.get("dtype"))) if known else None
    if peak is None:
        return
    for level in known[-1].levels:
        if level.fastest is None:
            continue
        ridge = peak.value / level.fastest.value
        for intensity in (ridge / 64, ridge, ridge * 64):
            flops_per_s = min(peak.value, intensity * level.fastest.value)
            yield {
                "conditions": group.name,
                "limit": level.name,
                "intensity": intensity,
                "gflops": flops_per_s / 1e9,
            }


def _scaling(records: Iterable[Record]) -> Iterator[Row]:
    firsts: set[tuple[str, str, str]] = set()
    for one in scalings(records):
        key = one.suite, one.backend, one.isa
        backend = f"{one.backend}, up to {one.isa}" if one.isa else one.backend
        names = {"suite": printable(one.suite), "backend": printable(backend)}
        if key not in firsts:
            firsts.add(key)
            yield names | {"threads": one.fewest, "speedup": 1.0, "low": 1.0, "high": 1.0, "ideal": 1.0}
        ratio = one.speedup
        figures = {"speedup": ratio.value, "low": ratio.low, "high": ratio.high, "ideal": one.threads / one.fewest}
        yield names | {"threads": one.threads} | figures


def _totals(group: Group) -> Iterator[Row]:
    """What the whole suite takes with each backend that ran all of its cases."""
    for ranking in group.rankings:
        for score in ranking.standings:
            if score.cases == len(ranking.cases):
                names = {"suite": printable(ranking.suite), "where": group.name, "backend": printable(score.backend)}
                yield names | {"total_ms": score.total_s * 1e3}


def _history(records: Sequence[Record]) -> Iterator[Row]:
    """The points of the series that have several, those with steps first, with the ratio of a step at its point."""
    trends = trend(records, _THRESHOLD, _FEWEST_IN_SEGMENT)
    ratios = {(step.series.key, step.index): step.ratio.value for step in trends.steps}
    stepped = {key for key, _ in ratios}
    series = [one for one in (*trends.long, *trends.short, *trends.untold) if len(one.points) >= _FEWEST_POINTS]
    for one in sorted(series, key=lambda s: s.key not in stepped)[:_MOST_LINES]:
        for index, point in enumerate(one.points):
            yield {
                "suite": printable(one.key.suite),
                "backend": printable(one.key.backend),
                "series": printable(f"{one.key.machine}, {one.key.case}, {one.key.backend}"),
                "place": printable(point.label),
                "date": point.date,
                "median_ms": point.median_s * 1e3,
                "low_ms": _milliseconds(point.low_s),
                "high_ms": _milliseconds(point.high_s),
                "step": ratios.get((one.key, index)),
                "implementation": printable(point.implementation or ""),
            }


def _largest(changes: Sequence[Change]) -> list[Change]:
    """The changes to show, slowest first: those beyond doubt, then the largest of the others."""
    ordered = sorted(changes, key=lambda c: (not c.changed, -abs(math.log(c.ratio.value))))[:_MOST_CHANGES]
    return sorted(ordered, key=lambda change: -change.ratio.value)


def _change(change: Change) -> Row:
    base_s, new_s = (number(record, "median_s") for record in (change.base, change.new))
    kernels = in_words(change.implementations)
    change_words = f": {kernels}" if is_change(change.implementations) else ""
    return {
        "suite": printable(change.suite),
        "pair": printable(f"{change.backend} on {change.case}") + change_words,
        "ratio": change.ratio.value,
        "low": change.ratio.low,
        "high": change.ratio.high,
        "base_ms": base_s and base_s * 1e3,
        "new_ms": new_s and new_s * 1e3,
        "verdict": str(change.verdict),
        "implementation": kernels,
    }


def _names(group: Group, suite: str, record: Mapping[str, Any]) -> Row:
    return {"conditions": group.name, "suite": printable(suite), "backend": printable(str(record["backend"]))}


def _milliseconds(seconds: float) -> float | None:
    return seconds * 1e3 if math.isfinite(seconds) else None
