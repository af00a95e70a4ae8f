"""The records of a report as rows: what the page's table and figures show of each pair under its conditions."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from convbench.analysis.backend_times import lower_precision
from convbench.analysis.hardware.machines import NAMELESS
from convbench.analysis.ranking import RankedBackend, SuiteRanking, rank
from convbench.analysis.roofline import Limits, bytes_needed, flops_needed
from convbench.problem import DIRECTIONS
from convbench.reporting.terminal_text import printable
from convbench.status import Status
from convbench.store.readings import (
    count,
    data_of,
    has_interval,
    implementation,
    isa_of,
    machine_of,
    number,
    problem_of,
    rounds,
    table,
    walls,
)
from convbench.store.schema import Record
from convbench.verification.timed_data import NORMAL, described

FIELDS = (
    "suite", "case", "case_id", "backend", "status", "reason", "median_s", "low_s", "high_s", "interval", "gflops",
    "flops", "time", "threads", "dtype", "count", "layer", "commit", "dirty", "run", "session", "release", "declared",
    "problem", "processes", "prepare_s", "first_call_s", "peak_bytes", "max_error_over_bound", "stopped", "hazards",
    "twin", "self_ratio", "process_variation", "settle_s", "versions", "samples", "settings", "machine", "convbench",
    "implementation", "energy_j", "gpu",
)  # fmt: skip
"""What a report shows, or needs to compare, of a record."""

Row = dict[str, Any]
_ORDER: dict[str, int] = {direction: place for place, direction in enumerate(DIRECTIONS)}
_Conditions = tuple[str, str, str, str, str, str, str, str]


class Group:
    """The newest record of each pair under one set of conditions, and the ranking of each of their suites."""

    def __init__(self, name: str, settings: str, records: Sequence[Record]) -> None:
        self.name, self.records = name, records
        self.settings = settings
        """The name without that of the machine."""
        self.rankings: list[SuiteRanking] = rank(records)

    @property
    def machine(self) -> str:
        return _machine(self.records[0])


def groups_of(records: Iterable[Record]) -> list[Group]:
    """The records by machine, threads, dtype, allocator, cache state, and direction where a suite was run in several. A
    name says what differs between groups."""
    shown = list(records)
    in_several = _run_in_several_directions(shown)
    by_conditions: dict[_Conditions, dict[tuple[str, str, str], Record]] = {}
    for record in shown:
        suite = str(record.get("suite", ""))
        direction = _direction(record) if suite in in_several else ""
        pair = suite, record["case"], record["backend"]
        by_conditions.setdefault((*_conditions(record), direction), {})[pair] = record
    several = [len(set(values)) > 1 for values in zip(*by_conditions, strict=True)]
    groups = []
    for conditions, pairs in sorted(by_conditions.items(), key=lambda item: _rank(item[0])):
        machine, *settings = _shown(conditions, several)
        name, without = (printable(", ".join(words)) for words in ((machine, *settings), settings))
        groups.append(Group(name, without, list(pairs.values())))
    return groups


def _rank(conditions: _Conditions) -> tuple[object, ...]:
    """Where a group stands: directions in the order in which a layer's are computed."""
    *others, direction = conditions
    return *others, _ORDER.get(direction, len(_ORDER)), direction


def _run_in_several_directions(records: Sequence[Record]) -> set[str]:
    """The suites of which some layer was run in more than one direction. A model of convolutions and of transposed ones
    has several, and each layer has one."""
    if len(set(map(_direction, records))) < 2:
        return set()
    directions: dict[tuple[str, str, str], set[str]] = {}
    for record in records:
        layer = json.dumps({**table(record, "problem"), "direction": None}, sort_keys=True)
        key = str(record.get("suite", "")), str(record.get("layer")), layer
        directions.setdefault(key, set()).add(_direction(record))
    return {suite for (suite, *_), several in directions.items() if len(several) > 1}


def _direction(record: Record) -> str:
    return str(table(record, "problem").get("direction") or "forward")


def _machine(record: Record) -> str:
    return machine_of(record) or NAMELESS


def _conditions(record: Record) -> tuple[str, str, str, str, str, str, str]:
    settings = table(record, "settings")
    allocator, cache = str(settings.get("allocator") or "steady"), str(settings.get("cache") or "warm")
    threads = record.get("threads")
    words = f"{threads} thread{'s' if threads != 1 else ''}"
    caches = "caches as in a pass" if cache == "pass" else f"{cache} caches"
    isa = isa_of(record)
    limit = f"no wider than {isa}" if isa else ""
    return (
        _machine(record),
        words,
        str(record.get("dtype")),
        f"{allocator} allocator",
        caches,
        limit,
        described(data_of(record)),
    )


def _shown(conditions: _Conditions, several: Sequence[bool]) -> list[str]:
    """The machine and its threads, and what else differs between groups or is no default."""
    usual = (None, None, None, "steady allocator", "warm caches", "", described(NORMAL), "")
    return [
        value
        for value, differs, default, always in zip(conditions, several, usual, (1, 1, 0, 0, 0, 0, 0, 0), strict=True)
        if always or differs or (default is not None and value != default)
    ]


def rows_of(groups: Sequence[Group], limits: Limits) -> list[Row]:
    """A row for each pair of each group, those of a suite that have no time after the others; times in ms, memory in
    MiB. Texts are printable, and not escaped."""
    return [row for group in groups for ranking in group.rankings for row in _rows(group, ranking, limits)]


def _rows(group: Group, ranking: SuiteRanking, limits: Limits) -> Iterator[Row]:
    for case in ranking.cases:
        yield from (_row(group, place.record, limits, _share(place), place.level) for place in case.timed)
    for case in ranking.cases:
        yield from (_row(group, record, limits) for record in case.untimed)


def _share(place: RankedBackend) -> float:
    """Of the fastest's speed; a backend that stands alone apart has its own."""
    return 1.0 if math.isnan(place.share) else place.share


def _row(group: Group, record: Record, limits: Limits, share: float | None = None, level: bool = False) -> Row:
    times = {f"{name}_ms": _scaled(record, f"{name}_s", 1e3) if share else None for name in ("median", "low", "high")}
    return {
        "conditions": group.name,
        **{name: _text(record.get(name)) for name in ("suite", "case", "case_id", "layer", "backend", "status")},
        "reason": _text(record.get("reason") or _sentence(record)) if share is None else "",
        "precision": lower_precision(record) or "",
        "implementation": _text(implementation(record)),
        "count": count(record),
        **times,
        "covers": has_interval(record),
        "share": share,
        "level": level,
        "gflops": _scaled(record, "gflops"),
        "limit": limits.share(record) if share else None,
        "error": _scaled(record, "max_error_over_bound"),
        "first_ms": _first_ms(record) if share else None,
        "peak_mib": _scaled(record, "peak_bytes", 1 / 2**20) if share else None,
        "mflop": _scaled(record, "flops", 1e-6),
        "intensity": intensity_of(record) if share else None,
        "hazards": sorted({_text(h.get("hazard")) for h in record.get("hazards") or [] if isinstance(h, dict)}),
        **(_samples(record) if share else {"rounds": None, "samples_ms": []}),
    }


def _samples(record: Record) -> dict[str, Any]:
    """Milliseconds of each sample, to four digits, with its round, None where these count from 0, and, where there are
    several, its process."""
    seconds, numbers = walls(record), rounds(record)
    if len(seconds) != len(numbers):
        return {"rounds": None, "samples_ms": []}
    in_order = numbers == list(range(len(numbers)))  # as nearly always, and then not worth their place in the page
    milliseconds = [float(f"{s * 1e3:.4g}") for s in seconds]
    columns: dict[str, Any] = {"rounds": None if in_order else numbers, "samples_ms": milliseconds}
    processes = table(record, "samples").get("process")
    if isinstance(processes, list) and len(processes) == len(numbers):
        columns["processes"] = processes
    return columns


def intensity_of(record: Record) -> float | None:
    """Floating-point operations for each byte that has to be moved."""
    if (problem := problem_of(record)) is None:
        return None
    return float(f"{flops_needed(problem) / bytes_needed(problem, table(record, 'declared')):.4g}")


def _first_ms(record: Record) -> float | None:
    seconds = [number(record, name) for name in ("prepare_s", "first_call_s")]
    return None if None in seconds else float(f"{sum(filter(None, seconds)) * 1e3:.4g}")


def _scaled(record: Record, name: str, scale: float = 1.0) -> float | None:
    value = number(record, name)
    return None if value is None or not math.isfinite(value * scale) else float(f"{value * scale:.5g}")


def _sentence(record: Record) -> str:
    try:
        return Status(record["status"]).sentence
    except ValueError:
        return ""


def _text(value: object) -> str:
    return "" if value is None else printable(" ".join(str(value).split()))


def is_failure(status: str) -> bool:
    return status in {str(one) for one in Status if one.is_failure}
