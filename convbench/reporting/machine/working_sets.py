"""What `convbench doctor` saw on working sets in each level of the memory, as a table with a column for each level."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from convbench.analysis.survey import Level, Processes
from convbench.measurement.settings import Settings
from convbench.reporting.numbers import duration, percent, significant
from convbench.stats.process_variation import ProcessVariation

IN_S = 10
_UNKNOWN = "–"

Variation = Callable[[int], ProcessVariation]
"""What is known of between-process variation for operands of so many bytes."""


def rows(levels: Sequence[Level], variation: Variation) -> list[tuple[str, ...]]:
    """The headings, then a line for each figure; empty without levels."""
    if not levels:
        return []
    lines = [
        ("", *(level.name for level in levels)),
        ("working set", *(_bytes(level.bytes) for level in levels)),
        ("read there", *(_rate(level.read_per_s) for level in levels)),
    ]
    for name in dict.fromkeys(p.backend for level in levels for p in level.backends):
        cells = [next((p for p in level.backends if p.backend == name), None) for level in levels]
        lines += [(title, *(_UNKNOWN if p is None else cell(p, variation) for p in cells)) for title, cell in _of(name)]
    return lines


def as_dicts(levels: Sequence[Level], variation: Variation) -> list[dict[str, Any]]:
    """The levels, JSON-ready; shares are fractions, not percent."""
    return [
        {
            "level": level.name,
            "case": level.case,
            "bytes": level.bytes,
            "read_bytes_per_s": level.read_per_s,
            "backends": [_as_dict(p, variation(p.operand_bytes)) for p in level.backends],
        }
        for level in levels
    ]


def smallest_in_10_s(p: Processes, variation: Variation) -> float | None:
    """The smallest share that 10 s of rounds tell apart."""
    return p.smallest_difference(p.rounds(IN_S), variation(p.operand_bytes))


def smallest_by_run(p: Processes, variation: Variation) -> float | None:
    """The smallest share that a run with its default settings tells apart."""
    return p.smallest_difference(p.rounds_of_run(Settings()), variation(p.operand_bytes))


def _of(backend: str) -> list[tuple[str, Callable[[Processes, Variation], str]]]:
    return [
        (f"{backend}, a call", lambda p, _: duration(p.call_s)),
        ("  alone", lambda p, _: _UNKNOWN if p.alone_s is None else duration(p.alone_s)),
        ("  steady after a switch", lambda p, _: _settled(p)),
        ("  until then slower by", lambda p, _: _share(None if p.excess is None else max(0.0, p.excess))),
        ("  processes differ by", lambda p, _: _share(p.variation)),
        ("  noise of a round", lambda p, _: _share(p.noise)),
        (f"  tells apart in {IN_S} s", lambda p, variation: _share(smallest_in_10_s(p, variation))),
        ("  tells apart in a run", lambda p, variation: _share(smallest_by_run(p, variation))),
    ]


def _as_dict(p: Processes, variation: ProcessVariation) -> dict[str, Any]:
    return {
        "backend": p.backend,
        "call_s": p.call_s,
        "alone_s": p.alone_s,
        "settle_s": p.settle_s,
        "settle_calls": p.settle_calls,
        "settle_excess": p.excess,
        "steady": p.is_steady,
        "visit_s": p.visit_s,
        "variation": p.variation,
        "noise": p.noise,
        "processes": list(p.speeds),
        "smallest_difference": {
            "in_10_s": p.smallest_difference(p.rounds(IN_S), variation),
            "run": p.smallest_difference(p.rounds_of_run(Settings()), variation),
        },
    }


def _settled(p: Processes) -> str:
    if p.settle_s is None:
        return _UNKNOWN
    return duration(p.settle_s) if p.is_steady else "never"


def _share(share: float | None) -> str:
    if share is None:
        return _UNKNOWN
    return f"{percent(share)} %" if share < 1 else "> 100 %"


def _bytes(count: int) -> str:
    return f"{significant(count / 2**20)} MiB" if count >= 2**20 else f"{significant(count / 2**10)} KiB"


def _rate(per_s: float | None) -> str:
    return _UNKNOWN if per_s is None else f"{significant(per_s / 1e9)} GB/s"
