"""Runs over several numbers of threads, dtypes or batches: tables for each, and the speed-up of more threads."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.scaling import scalings
from convbench.reporting.console import plain_table
from convbench.reporting.numbers import aligned, interval_text, percent, times
from convbench.store.schema import Record


def variants(records: Iterable[Record], axes: Sequence[str]) -> list[tuple[str, list[Record]]]:
    """The records grouped by their values on `axes` (`threads`, `dtype`, `batch`), which a ranking must not mix, each
    group with its heading. Without axes there is one group with an empty heading."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        values = {
            "threads": _threads(record.get("threads")),
            "dtype": str(record.get("dtype")),
            "batch": f"batch {(record.get('problem') or {}).get('batch')}",
        }
        groups.setdefault(tuple(values[axis] for axis in axes), []).append(record)
    return [(", ".join(key), members) for key, members in groups.items()]


def scaling_report(records: Sequence[Record]) -> RenderableType | None:
    """The speed-up that more threads gave each backend; None when all ran with the same number of threads."""
    results = scalings(records)
    if not results:
        return None
    fewest = _threads(results[0].fewest)
    thread_counts = sorted({scaling.threads for scaling in results})
    several = len({scaling.suite for scaling in results}) > 1
    by_key = {(s.suite, s.backend, s.threads): s for s in results}
    rows = list(dict.fromkeys((s.suite, s.backend) for s in results))
    columns = [[name for _, name in rows]]
    columns = [[suite for suite, _ in rows], *columns] if several else columns
    for threads in thread_counts:
        cells = [by_key.get((*row, threads)) for row in rows]
        columns.append(aligned([times(s.speedup.value) if s else "–" for s in cells]))
        columns.append([interval_text(s.speedup.low, s.speedup.high, s.speedup.covers) if s else "" for s in cells])
        columns.append(aligned([percent(s.efficiency) if s else "–" for s in cells]))
    headers = [*(["suite"] if several else []), "backend"]
    headers += [heading for threads in thread_counts for heading in (_threads(threads), "95 %", "% of ideal")]
    table = plain_table(headers, zip(*columns, strict=True), right=range(1 + several, len(headers)))
    return Group(Text(f"Speed-up over {fewest}, a geometric mean over the cases that both ran"), Text(), table)


def _threads(number: Any) -> str:
    return "1 thread" if number == 1 else f"{number} threads"
