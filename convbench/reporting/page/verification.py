"""What a page says of a verification: each backend's verdict, and its failures with their reports in blocks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any

from convbench.reporting.numbers import count, percent
from convbench.reporting.page.rows import is_failure
from convbench.store.readings import as_number

_FENCE = "```"


def counts_sentence(rows: Sequence[Mapping[str, Any]]) -> str:
    """`3 backends: 2 ok, 1 wrong.`"""
    counts = Counter(str(row.get("status")) for row in rows)
    listed = ", ".join(f"{number} {status}" for status, number in counts.most_common())
    return f"{count(len(rows), 'backend')}: {listed}."


def verdict(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the page shows of a row of `convbench verify --json`, whatever is in it."""
    failures, coverage, combinations = (row.get(name) for name in ("failures", "coverage", "combinations"))
    covered = as_number(coverage), as_number(combinations)
    return {
        **{name: row.get(name) for name in ("backend", "status", "reason", "cases", "searched")},
        "covered": f"{percent(covered[0])} % of {covered[1]:,.0f}" if covered[0] is not None and covered[1] else None,
        "is_failure": is_failure(str(row.get("status"))),
        "failures": [
            failure | {"blocks": _blocks(failure.get("report"))} for failure in failures if isinstance(failure, dict)
        ]
        if isinstance(failures, list)
        else [],
    }


def _blocks(report: object) -> list[tuple[str, str]]:
    """A report in Markdown as blocks: `heading`, `code`, `table` and `text`. The title is that of the failure."""
    if not isinstance(report, str):
        return []
    lines = [line for line in _kinds(report.splitlines()) if line[0] != "mark"]
    blocks = [
        (kind, "\n".join(text for _, text in several).strip("\n"))
        for kind, several in groupby(lines, lambda line: line[0])
    ]
    return [(kind, text) for kind, text in blocks if text]


def _kinds(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Each line with what it belongs to; `mark` is no text, and ends what stands before it."""
    in_code = False
    for line in lines:
        if line.startswith(_FENCE):
            in_code = not in_code
            yield "end", ""
        elif in_code:
            yield "code", line
        elif line.startswith("    "):
            yield "code", line.removeprefix("    ")
        elif line.startswith("|"):
            cells = [cell.replace("`", "").strip() for cell in line.strip("|").split("|")]
            yield ("table", ": ".join(cells)) if set("".join(cells)) - {"-"} else ("mark", "")
        elif line.startswith("#"):
            yield ("heading", line.lstrip("# ")) if line.startswith("##") else ("mark", "")
        else:
            yield ("text", line.replace("`", "")) if line.strip() else ("end", "")
