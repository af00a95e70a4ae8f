"""The data of a report's figures, by name: rows that the page filters by what its reader selects, and plots."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from convbench.analysis.comparison import Change
from convbench.analysis.scaling import scalings
from convbench.analysis.series import Point
from convbench.analysis.trend import trend
from convbench.measurement.ceilings.figures import Ceilings
from convbench.reporting.history.implementations import in_words, is_change
from convbench.reporting.page.rows import Group, Row, intensity_of
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
    bandwidths = {level.name: level.fastest.value for level in known[-1].levels if level.fastest is not None}
    first_at, last_at = _intensities(group, [peak.value / bandwidth for bandwidth in bandwidths.values()])
    for name, bandwidth in bandwidths.items():
        ridge = peak.value / bandwidth
        for intensity in (first_at, *([ridge] if first_at < ridge < last_at else []), last_at):
            flops_per_s = min(peak.value, intensity * bandwidth)
            yield {"conditions": group.name, "limit": name, "intensity": intensity, "gflops": flops_per_s / 1e9}


def _intensities(group: Group, ridges: Sequence[float]) -> tuple[float, float]:
    """Where the lines begin and end: around the cases and the ridge of each level, in FLOP for each byte."""
    cases = {record["case"]: intensity_of(record) for record in group.records}
    shown = [*ridges, *(intensity for intensity in cases.values() if intensity)]
    return min(shown, default=1.0) / 2, max(shown, default=1.0) * 2


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
    """The points of the series that have several, with the ratio of a step at its point, in the order of time: the page
    has places in the order of the rows. Series with steps come first where there are too many."""
    trends = trend(records, _THRESHOLD, _FEWEST_IN_SEGMENT)
    ratios = {(step.series.key, step.index): step.ratio.value for step in trends.steps}
    stepped = {key for key, _ in ratios}
    series = [one for one in (*trends.long, *trends.short, *trends.untold) if len(one.points) >= _FEWEST_POINTS]
    shown = sorted(series, key=lambda s: s.key not in stepped)[:_MOST_LINES]
    points = [(index, point, one) for one in shown for index, point in enumerate(one.points)]
    points.sort(key=lambda each: (each[1].date, each[1].session, each[0]))
    places = _places([point for _, point, _ in points])
    for index, point, one in points:
        yield {
            "suite": printable(one.key.suite),
            "backend": printable(one.key.backend),
            "series": printable(f"{one.key.machine}, {one.key.case}, {one.key.backend}"),
            "place": places[point.label, point.session],
            "date": point.date,
            "median_ms": point.median_s * 1e3,
            "low_ms": _milliseconds(point.low_s),
            "high_ms": _milliseconds(point.high_s),
            "step": ratios.get((one.key, index)),
            "implementation": printable(point.implementation or ""),
        }


def _places(points: Sequence[Point]) -> dict[tuple[str, tuple[str, str]], str]:
    """A name for each place on the axis: the label, and a number where several runs have it, as of one commit."""
    sessions: dict[str, list[tuple[str, str]]] = {}
    for point in points:
        known = sessions.setdefault(point.label, [])
        if point.session not in known:
            known.append(point.session)
    return {
        (label, session): printable(label if number == 1 else f"{label} #{number}")
        for label, several in sessions.items()
        for number, session in enumerate(several, 1)
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
