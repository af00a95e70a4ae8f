"""The past of a case as tables, one for each set of conditions, and as JSON-ready rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.reporting.bars import speed_bars
from convbench.reporting.console import Sentence, spaced, status_style
from convbench.reporting.numbers import aligned, count, interval_column, interval_text, milliseconds, times
from convbench.reporting.tables import plain_table
from convbench.reporting.terminal_text import printable
from convbench.runner.show.case_history import CaseHistory, Conditions, Past, Visit, commit_of
from convbench.status import Status
from convbench.store.readings import hardware_of, has_interval, median_s, number, table, time_of
from convbench.store.schema import Record
from convbench.verification.timed_data import NORMAL, described

_MOST_VISITS = 12  # of a backend, in a table
_AS_IN_RECORD = (
    *"suite case case_id backend threads dtype status reason median_s low_s high_s interval".split(),
    *"time run versions convbench commit dirty release".split(),
)


def rows(history: CaseHistory) -> list[dict[str, Any]]:
    """A row for each record, JSON-ready, times in seconds; the oldest of a backend first."""
    return [_row(past, visit) for past in history.pasts for visit in past.visits]


def report(history: CaseHistory) -> RenderableType:
    """A table for each set of conditions, the fastest backend first, the newest record of each first."""
    tables = [
        Group(_heading(conditions, pasts), _table(pasts), *_refusals(pasts))
        for conditions, pasts in history.by_conditions.items()
    ]
    hidden = sum(max(0, len(past.visits) - _MOST_VISITS) for past in history.pasts)
    notes = [f"The bar is the speed, as a share of the fastest in its table{_step_note(history)}."]
    notes += [f"{count(hidden, 'older record')} not shown; --json has all."] if hidden else []
    if len(history.cases) > 1:
        notes.append(
            f"{len(history.cases)} cases are meant: {', '.join(history.cases)}; give one of them to see it alone."
        )
    return spaced(*tables, Group(*map(Sentence, notes)))


def _heading(conditions: Conditions, pasts: Sequence[Past]) -> Text:
    newest = max((past.visits[-1].record for past in pasts), key=_when)
    case = f"{conditions.suite}/{conditions.case}" if conditions.suite else conditions.case
    case_id = [conditions.case_id] if conditions.case_id not in ("", conditions.case) else []
    hardware = str(hardware_of(table(newest, "machine")))
    machine = conditions.machine and f"on {conditions.machine}" + (f" ({hardware})" if hardware else "")
    words = [*case_id, machine, count(conditions.threads, "thread"), conditions.dtype]
    words += [f"{conditions.allocator} allocator"] if conditions.allocator != "steady" else []
    words += [_caches(conditions.cache)] if conditions.cache != "warm" else []
    words += [f"instruction sets up to {conditions.isa}"] if conditions.isa else []
    words += [f"timed on {described(conditions.data)}"] if conditions.data != NORMAL else []
    return Text(printable(case), style="bold cyan").append(
        f"  {printable(', '.join(filter(None, words)))}", style="dim"
    )


def _caches(cache: str) -> str:
    return f"caches as in a {cache}" if cache.startswith("pass") else f"{cache} caches"


def _table(pasts: Sequence[Past]) -> RenderableType:
    shown = [
        (past.backend if number == 0 else "", visit)
        for past in pasts
        for number, visit in enumerate(past.visits[: -_MOST_VISITS - 1 : -1])
    ]
    visits = [visit for _, visit in shown]
    seconds = [median_s(visit.record) for visit in visits]
    medians = aligned(["–" if s is None else milliseconds(s) for s in seconds])
    bars = speed_bars(seconds)
    intervals = _intervals([visit.record for visit in visits])
    cells = [
        (
            Text(printable(name), style="bold"),
            _day(visit.record),
            medians[index],
            intervals[index],
            Text(bars[index], style="green"),
            times(visit.ratio) if visit.ratio else "",
            _note(visit),
            commit_of(visit.record),
        )
        for index, (name, visit) in enumerate(shown)
    ]
    headers = ("backend", "measured", "median ms", "95 % interval ms", "speed", "to before", "what changed", "commit")
    empty = [index for index in range(len(headers)) if not any(str(row[index]).strip() for row in cells)]
    kept = [index for index in range(len(headers)) if index not in empty]
    return plain_table(
        [headers[index] for index in kept],
        [[row[index] for index in kept] for row in cells],
        right=[kept.index(index) for index in (2, 3, 5) if index in kept],
        wraps=[kept.index(6)] if 6 in kept else [],
        drops=[kept.index(index) for index in (7, 4, 5, 3) if index in kept],
    )


def _intervals(records: Sequence[Record]) -> list[str]:
    """The interval of each median in ms; empty where there is none."""
    ends = [_ends_ms(record) for record in records]
    texts = iter(interval_column([end for end in ends if end is not None]))
    return [next(texts) if end is not None else "" for end in ends]


def _ends_ms(record: Record) -> tuple[float, float, bool] | None:
    low_s, high_s = number(record, "low_s"), number(record, "high_s")
    if median_s(record) is None or low_s is None or high_s is None:
        return None
    return low_s * 1e3, high_s * 1e3, has_interval(record)


def _when(record: Record) -> str:
    when = time_of(record)
    return when.isoformat() if when else ""


def _day(record: Record) -> str:
    when = time_of(record)
    return f"{when:%Y-%m-%d %H:%M}" if when else "–"


def _note(visit: Visit) -> Text:
    """The step that begins here, a status that is not ok, and what changed: the most important first."""
    parts: list[tuple[str, str]] = []
    if (step := visit.step) is not None:
        ratio = interval_text(step.ratio.low, step.ratio.high, step.ratio.covers)
        word = "slower" if step.slower else "faster"
        parts.append((f"step to {word}: {times(step.ratio.value)} {ratio}", "bold red" if step.slower else "green"))
    if (status := visit.record["status"]) != Status.OK:
        parts.append((status, status_style(status)))
    parts += [(f"{name} {old} → {new}", "") for name, (old, new) in visit.changed.items() if name != "status"]
    note = Text()
    for text, style in parts:
        note.append("; " if note else "").append(printable(text), style=style)
    return note


def _refusals(pasts: Sequence[Past]) -> list[Sentence]:
    """Why there is no time in the newest record of a backend, a line for each reason."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for past in pasts:
        newest = past.visits[-1].record
        if newest["status"] != Status.OK:
            by_reason.setdefault((newest["status"], str(newest.get("reason") or "")), []).append(past.backend)
    return [
        Sentence(f"{status}: {', '.join(names)}{f': {reason}' if reason else ''}", status_style(status))
        for (status, reason), names in by_reason.items()
    ]


def _step_note(history: CaseHistory) -> str:
    stepped = any(visit.step for past in history.pasts for visit in past.visits)
    return ", and a step is one that `convbench trend` finds" if stepped else ""


def _row(past: Past, visit: Visit) -> dict[str, Any]:
    record, step = visit.record, visit.step
    ratio = step.ratio if step else None
    return {
        **{name: record.get(name) for name in _AS_IN_RECORD},
        "machine": past.conditions.machine,
        "hardware": str(hardware_of(table(record, "machine"))),
        "allocator": past.conditions.allocator,
        "cache": past.conditions.cache,
        "isa": past.conditions.isa or None,
        "data": past.conditions.data,
        "changed": {name: list(values) for name, values in visit.changed.items()},
        "ratio_to_before": visit.ratio,
        "step": ratio and {"ratio": ratio.value, "low": _finite(ratio.low), "high": _finite(ratio.high)},
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
