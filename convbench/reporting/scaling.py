"""Runs over several numbers of threads, dtypes or batches: a report for each, and what more threads gave."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.scaling import scalings
from convbench.reporting.console import plain_table
from convbench.reporting.numbers import aligned, percent
from convbench.stats.ratio import Ratio
from convbench.store.journal import Record


def variants(records: Iterable[Record], axes: Sequence[str]) -> list[tuple[str, list[Record]]]:
    """The records apart by their values on `axes` (`threads`, `dtype`, `batch`), which a ranking must not mix, each
    with its heading; without axes all of them, under none."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        values = {
            "threads": _threads(record.get("threads")),
            "dtype": str(record.get("dtype")),
            "batch": f"batch {(record.get('problem') or {}).get('batch')}",
        }
        groups.setdefault(tuple(values[axis] for axis in axes), []).append(record)
    return [(", ".join(key), found) for key, found in groups.items()]


def scaling_report(records: Sequence[Record]) -> RenderableType | None:
    """What more threads gave each backend; None where all ran with one number of them."""
    found = scalings(records)
    if not found:
        return None
    fewest = _threads(found[0].fewest)
    counts = sorted({scaling.threads for scaling in found})
    several = len({scaling.suite for scaling in found}) > 1
    by = {(s.suite, s.backend, s.threads): s for s in found}
    rows = list(dict.fromkeys((s.suite, s.backend) for s in found))
    columns = [[name for _, name in rows]]
    columns = [[suite for suite, _ in rows], *columns] if several else columns
    for count in counts:
        ones = [by.get((*row, count)) for row in rows]
        columns.append(aligned([f"{one.speedup.value:.2f}x" if one else "–" for one in ones]))
        columns.append([_interval(one.speedup) if one else "" for one in ones])
        columns.append(aligned([percent(one.efficiency) if one else "–" for one in ones]))
    headers = [*(["suite"] if several else []), "backend"]
    headers += [heading for count in counts for heading in (_threads(count), "95 %", "% of ideal")]
    table = plain_table(headers, zip(*columns, strict=True), right=range(1 + several, len(headers)))
    return Group(Text(f"Speed-up over {fewest}, a geometric mean over the cases that both ran"), Text(), table)


def _interval(ratio: Ratio) -> str:
    """As everywhere: brackets for an interval, parentheses for a range of too few samples for one."""
    return f"[{ratio.low:.2f}, {ratio.high:.2f}]" if ratio.covers else f"({ratio.low:.2f} … {ratio.high:.2f})"


def _threads(count: Any) -> str:
    return "1 thread" if count == 1 else f"{count} threads"
