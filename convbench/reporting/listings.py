"""What is here: the backends, the suites, and one problem in every dialect; as JSON-ready rows and for a person."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from convbench.errors import ProblemError
from convbench.problem import DTYPES, ConvProblem
from convbench.problem.dialects import to_benchdnn, to_miopen, to_torch
from convbench.registry import Entry, Row, versions
from convbench.reporting.console import plain_table
from convbench.reporting.numbers import flops
from convbench.suite import Suite, builtin_outlines

_SHORT_DTYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}
_DIALECTS = {"benchdnn": to_benchdnn, "miopen": to_miopen, "torch": to_torch}


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
        "padding_modes": sorted(backend.supports.padding_modes) if backend else None,
        "origin": str(entry.origin),
    }


def backends_report(rows: Sequence[dict[str, Any]]) -> RenderableType:
    """Two tables: the backends that can run here, and the others by their reason."""
    available = [row for row in rows if row["available"]]
    cells = [
        (
            row["backend"],
            Text("available", style="green"),
            " ".join(_SHORT_DTYPES[dtype] for dtype in row["dtypes"]),
            "\n".join(f"{name} {version}" for name, version in row["versions"].items()),
            row["summary"],
        )
        for row in available
    ]
    parts: list[RenderableType] = [plain_table(("backend", "status", "computes", "versions", ""), cells)]
    if len(available) < len(rows):
        parts += [Text(), _unavailable(row for row in rows if not row["available"])]
    return Group(*parts, Text(f"\n{len(available)} of {len(rows)} backends are available here."))


def _unavailable(rows: Iterable[dict[str, Any]]) -> Table:
    """One line per reason."""
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row["reason"], []).append(row["backend"])
    status = Text("unavailable", style="yellow")
    cells = [(", ".join(names), status, reason) for reason, names in by_reason.items()]
    return plain_table(("backends", "status", "why"), cells)


def suite_row(suite: Suite) -> dict[str, Any]:
    """One suite with its cases."""
    cases = [{"case": case.name, "case_id": case.problem.case_id, "count": case.count} for case in suite.cases]
    tags = list(suite.tags)
    return {"suite": suite.name, "summary": suite.summary, "tags": tags, "cases": cases, "path": str(suite.path)}


def suites_report() -> RenderableType:
    """The suites that come with convbench; large ones are read in outline only."""
    rows = [
        (outline.name, f"{outline.cases:,}", flops(2 * outline.macs), outline.summary) for outline in builtin_outlines()
    ]
    return plain_table(("suite", "cases", "work", ""), rows, right=(1, 2))


def problem_row(problem: ConvProblem) -> dict[str, Any]:
    """One problem: its parameters, shapes and cost, and its text in each dialect, None where the dialect has none."""
    cost = {
        "kind": problem.kind,
        "reduction_length": problem.reduction_length,
        "macs": problem.macs,
        "flops": problem.flops,
        "bytes": problem.bytes,
        "arithmetic_intensity": problem.arithmetic_intensity,
    }
    dialects = {name: text for name, (text, _) in _in_dialects(problem).items()}
    return {"case_id": problem.case_id, **problem.as_dict(), **_shapes(problem), **cost, **dialects}


def problem_report(problem: ConvProblem) -> RenderableType:
    """The same for a person; where a dialect cannot express the problem, the reason."""
    rows = [(name, " x ".join(map(str, shape))) for name, shape in _shapes(problem).items()]
    rows += [
        ("kind", problem.kind),
        ("reduction length", f"{problem.reduction_length:,}"),
        ("work", f"{flops(problem.flops)} ({problem.macs:,} multiply-accumulates)"),
        ("data", f"{problem.bytes:,} bytes, each operand once"),
        ("intensity", f"{problem.arithmetic_intensity:.3g} FLOP/byte"),
    ]
    parts: list[RenderableType] = [plain_table((problem.case_id, ""), rows)]
    for name, (text, refusal) in _in_dialects(problem).items():
        parts += [Text(f"\n{name}", style="bold"), Text(text or refusal, overflow="ignore", no_wrap=True)]
    return Group(*parts)


def _shapes(problem: ConvProblem) -> dict[str, tuple[int, ...]]:
    return {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}


def _in_dialects(problem: ConvProblem) -> dict[str, tuple[str | None, str]]:
    """By dialect the text of the problem, or None and why the dialect cannot express it."""
    texts: dict[str, tuple[str | None, str]] = {}
    for name, write in _DIALECTS.items():
        try:
            texts[name] = write(problem), ""
        except ProblemError as error:
            texts[name] = None, str(error)
    return texts
