"""What is here: backends, suites, runs, a model's convolutions; as JSON-ready rows and tables."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.backend import Backend
from convbench.extraction.deployed.pass_share import is_run, sentence_of
from convbench.extraction.extract import Extracted
from convbench.extraction.file_kinds import is_onnx
from convbench.problem import DIRECTIONS, DTYPES
from convbench.registry import Entry, Row, versions
from convbench.reporting.console import Sentence, spaced
from convbench.reporting.numbers import aligned, flops, percent
from convbench.reporting.tables import plain_table
from convbench.suite import Suite, builtin_outlines

_SHORT_DTYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def backend_row(entry: Row) -> dict[str, Any]:
    """One backend: whether it can run here, if not why, its versions and what it computes."""
    reason = entry.unavailable()
    backend = entry.backend if isinstance(entry, Entry) else None
    return {
        "backend": entry.name,
        "available": reason is None,
        "status": "unavailable" if reason else "available",
        "reason": reason,
        "device": backend.device if backend else None,
        "versions": versions(backend) if backend else {},
        "summary": backend.summary if backend else "",
        "algorithm": backend.arithmetic.algorithm if backend else None,
        "prepacks": list(backend.prepacks) if backend else None,
        "dtypes": sorted(backend.supports.dtypes, key=list(DTYPES).index) if backend else None,
        "quantized": _quantized(backend) if backend else None,
        "padding_modes": sorted(backend.supports.padding_modes) if backend else None,
        "directions": sorted(backend.supports.directions, key=list(DIRECTIONS).index) if backend else None,
        "origin": str(entry.origin),
    }


def _quantized(backend: Backend) -> list[str]:
    """The quantised problems that a backend computes, as `input:result`."""
    return sorted(backend.supports.quantized.formats) if backend.supports.quantized else []


def backends_report(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Two tables: the backends that can run here, and the others by their reason."""
    available = [row for row in rows if row["available"]]
    cells = [
        (
            row["backend"],
            Text("available", style="green"),
            " ".join([*map(_SHORT_DTYPES.__getitem__, row["dtypes"]), *(["i8"] if row["quantized"] else [])]),
            ", ".join(f"{name} {version}" for name, version in row["versions"].items()),
            row["summary"],
        )
        for row in available
    ]
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        if not row["available"]:
            by_reason.setdefault(row["reason"], []).append(row["backend"])
    status = Text("unavailable", style="yellow")
    others = [(", ".join(names), status, reason) for reason, names in by_reason.items()]
    return spaced(
        plain_table(("backend", "status", "computes", "versions", ""), cells, wraps=(3, 4), drops=(1, 2, 3)),
        plain_table(("backends", "status", "why"), others, wraps=(0, 2), drops=(1,)) if others else None,
        Sentence(f"{len(available)} of {len(rows)} backends are available here.{_forward_only(available)}"),
    )


def _forward_only(available: Sequence[dict[str, Any]]) -> str:
    """Which of them compute no gradients, as a sentence; empty where all compute some."""
    names = [row["backend"] for row in available if row["directions"] == ["forward"]]
    if not names:
        return ""
    return f" {', '.join(names)} {'computes' if len(names) == 1 else 'compute'} no gradients and no training step."


def suite_row(suite: Suite) -> dict[str, Any]:
    """One suite with its cases."""
    cases = [{"case": case.name, "case_id": case.problem.case_id, "count": case.count} for case in suite.cases]
    row = {"suite": suite.name, "summary": suite.summary, "tags": list(suite.tags)}
    return row | {"cases": cases, "path": str(suite.path)}


def suites_report() -> RenderableType:
    """The suites that come with convbench; large ones are read in outline only."""
    rows = [(suite.name, f"{suite.cases:,}", flops(2 * suite.macs), suite.summary) for suite in builtin_outlines()]
    return plain_table(("suite", "cases", "work", ""), rows, right=(1, 2), wraps=(3,), drops=(2, 1))


def runs_report(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Earlier runs, the newest first, by the names that commands take."""
    cells = [
        (
            row["run"],
            str(row["time"] or "")[:16].replace("T", " "),
            str(row["machine"] or ""),
            ", ".join(map(str, row["suites"])),
            _few([str(name) for name in row["backends"]]),
            f"{row['timed']} of {row['records']}",
            str(row["commit"] or "")[:8],
        )
        for row in rows
    ]
    headers = ("run", "time", "machine", "suites", "backends", "timed", "commit")
    table = plain_table(headers, cells, right=(5,), wraps=(4,), drops=(6, 2, 5, 4))
    commands = "Show one:     convbench show last"
    if len(rows) > 1:
        commands += "\nCompare two:  convbench compare last~1 last"
    return Group(table, Text(), Text(commands))


def _few(names: Sequence[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def extraction_rows(model: Extracted, suite: Suite) -> list[dict[str, Any]]:
    """A row for each distinct problem of `suite`, with how often the model runs it."""
    origin = {"suite": model.name, "source": model.source}
    return [
        origin
        | {"case_id": case.problem.case_id, "count": case.count, "layer": case.layer}
        | case.problem.as_dict()
        | {"macs": case.problem.macs}
        for case in suite.cases
    ]


def extraction_sentences(model: Extracted, suite: Suite, written: Path | None) -> Iterator[str]:
    """What is left out, which share of a pass the deployed layers take or what says so, and where the suite is."""
    yield from (f"left out: {sentence}" for sentence in model.left_out)
    if model.share is not None:
        yield sentence_of(model.share)
    elif any((model.joined or {}).values()) and (is_run(model.source) or is_onnx(model.source)):
        yield "--share runs the model here, on random numbers, and says which share of a pass these layers take."
    if written is not None and suite.cases:
        yield f"Written to {written}; next: convbench run --suite {shlex.quote(str(written))}"


def extraction_report(model: Extracted, suite: Suite) -> RenderableType:
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
    headers = ("problem", "runs", "kind", "work each", "% of work", "first in")
    table = plain_table(headers, cells, right=(1, 3, 4), drops=(5, 2, 3))
    return Group(table, Text(f"\n{summary} By kind: {kinds}."))
