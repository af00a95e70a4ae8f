"""The answers of `convbench choose` in several dtypes, side by side: what narrower numbers bring each backend."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.analysis.model_total import ModelChoice
from convbench.reporting.numbers import aligned, milliseconds, times
from convbench.reporting.tables import plain_table

_BEST = "the best of each layer"


def by_dtype_report(models: Mapping[str, ModelChoice]) -> RenderableType | None:
    """A row for each backend that computes all layers in one of the dtypes, with its milliseconds per pass and how many
    times as fast as in the first dtype that is; None where there is no choice in two dtypes."""
    known = {dtype: model for dtype, model in models.items() if model.choices}
    if len(known) < 2:
        return None
    first, *_ = known
    rows = by_dtype_rows(known)
    columns: list[Sequence[str]] = [[row["backend"] for row in rows]]
    for dtype in known:
        seconds = [row["pass_s"].get(dtype) for row in rows]
        columns.append(aligned([milliseconds(s) if s is not None else "–" for s in seconds]))
        if dtype != first:
            starts = [row["pass_s"].get(first) for row in rows]
            pairs = zip(starts, seconds, strict=True)
            columns.append(aligned([times(start / s) if start and s else "–" for start, s in pairs]))
    headers = ["a pass, in ms", first]
    headers += [heading for dtype in [*known][1:] for heading in (dtype, "as fast")]
    table = plain_table(headers, zip(*columns, strict=True), right=range(1, len(headers)))
    title = f"Dtypes side by side, and how many times as fast as in {first}"
    note = "–: it does not compute all layers in this dtype, or was out of a race before all were timed."
    return Group(Text(title), Text(), table, Text(), Text(note))


def by_dtype_rows(models: Mapping[str, ModelChoice]) -> list[dict[str, Any]]:
    """The seconds per pass by dtype, of the best backend of each layer and of each backend that has a time on all."""
    whole = {dtype: {total.backend: total for total in m.totals if total.is_whole} for dtype, m in models.items()}
    rows = [{"type": "dtypes", "backend": _BEST, "pass_s": {dtype: m.best_s for dtype, m in models.items()}}]
    for backend in dict.fromkeys(name for totals in whole.values() for name in totals):
        seconds = {dtype: totals[backend].known_s for dtype, totals in whole.items() if backend in totals}
        rows.append({"type": "dtypes", "backend": backend, "pass_s": seconds})
    return rows
