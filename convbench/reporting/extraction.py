"""The convolutions of a model, as JSON-ready rows and as a table."""

from __future__ import annotations

from collections import Counter
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.extraction.layers import Extracted
from convbench.reporting.console import plain_table
from convbench.reporting.numbers import aligned, flops, percent
from convbench.suite import Suite


def rows(model: Extracted, suite: Suite) -> list[dict[str, Any]]:
    """A row for each distinct problem of `suite`, with how often the model runs it."""
    origin = {"suite": model.name, "source": model.source}
    return [
        origin
        | {"case_id": case.problem.case_id, "count": case.count, "layer": case.layer}
        | case.problem.as_dict()
        | {"macs": case.problem.macs}
        for case in suite.cases
    ]


def report(model: Extracted, suite: Suite) -> RenderableType:
    """The same as a table, with the share of the work of each, and a sentence on all of them."""
    macs = [case.problem.macs * case.count for case in suite.cases]
    shares = aligned([percent(part / sum(macs)) for part in macs])
    cells = [
        (case.problem.case_id, str(case.count), case.problem.kind, flops(case.problem.flops), share, case.layer or "")
        for case, share in zip(suite.cases, shares, strict=True)
    ]
    runs: Counter[str] = Counter()
    for case in suite.cases:
        runs[case.problem.kind] += case.count
    kinds = ", ".join(f"{count} {kind}" for kind, count in runs.most_common())
    selection = f"{runs.total()} of the {model.runs} convolutions of {model.source}, {len(suite.cases)} distinct."
    summary = suite.summary if suite.cases == model.cases else selection
    table = plain_table(("problem", "runs", "kind", "work each", "% of work", "first in"), cells, right=(1, 3, 4))
    return Group(table, Text(f"\n{summary} By kind: {kinds}."))
