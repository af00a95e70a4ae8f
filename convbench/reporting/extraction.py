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
    return [
        {
            "suite": model.name,
            "source": model.source,
            "case_id": case.problem.case_id,
            "count": case.count,
            "layer": case.layer,
            **case.problem.as_dict(),
            "macs": case.problem.macs,
        }
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
    headers = ("problem", "runs", "kind", "work each", "% of work", "first in")
    summary = suite.summary if suite.cases == model.cases else _selection(model, suite)
    return Group(plain_table(headers, cells, right=(1, 3, 4)), Text(f"\n{summary} {_kinds(suite)}"))


def _selection(model: Extracted, suite: Suite) -> str:
    runs = sum(case.count for case in suite.cases)
    return f"{runs} of the {model.runs} convolutions of {model.source}, {len(suite.cases)} distinct."


def _kinds(suite: Suite) -> str:
    """`By kind: 36 pointwise, 17 dense.`"""
    runs: Counter[str] = Counter()
    for case in suite.cases:
        runs[case.problem.kind] += case.count
    return f"By kind: {', '.join(f'{count} {kind}' for kind, count in runs.most_common())}."
