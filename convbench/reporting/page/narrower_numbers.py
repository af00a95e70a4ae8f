"""What narrower numbers bring: each backend in each dtype beside the widest one that it ran, machine by machine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convbench.analysis.scaling import OtherDtype, other_dtypes
from convbench.reporting.numbers import aligned, interval_column, milliseconds, times
from convbench.reporting.page.rows import Group
from convbench.reporting.terminal_text import printable
from convbench.store.schema import Record


def narrower_numbers(groups: Iterable[Group]) -> list[dict[str, Any]]:
    """A table for each machine, the largest speed-up first; none for a machine on which no backend ran two dtypes.

    Texts are printable, and not escaped."""
    by_machine: dict[str, list[Record]] = {}
    for group in groups:
        by_machine.setdefault(group.machine, []).extend(group.records)
    by_dtype = {machine: other_dtypes(records) for machine, records in by_machine.items()}
    return [{"machine": printable(machine), "rows": _rows(others)} for machine, others in by_dtype.items() if others]


def _rows(others: Iterable[OtherDtype]) -> list[tuple[str, ...]]:
    """Suite and settings, backend, dtype, how many times as fast and its interval, the widest dtype, cases, and what
    all of them took in ms in either."""
    ordered = sorted(others, key=lambda other: -other.speedup.value)
    columns = [
        [printable(_setting(other)) for other in ordered],
        [printable(other.backend) for other in ordered],
        [printable(other.dtype) for other in ordered],
        aligned([times(other.speedup.value) for other in ordered]),
        interval_column((o.speedup.low, o.speedup.high, o.speedup.covers) for o in ordered),
        [printable(other.widest) for other in ordered],
        [f"{other.cases}" for other in ordered],
        aligned([milliseconds(other.dtype_s) for other in ordered]),
        aligned([milliseconds(other.widest_s) for other in ordered]),
    ]
    return list(zip(*columns, strict=True))


def _setting(other: OtherDtype) -> str:
    threads = f"{other.threads} thread{'s' if other.threads != 1 else ''}"
    return ", ".join(filter(None, (other.suite, threads, other.isa)))
