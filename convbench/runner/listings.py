"""The listing commands: backends, suites, one problem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from convbench.errors import ProblemError
from convbench.registry import Entry, Row, discover, versions
from convbench.reporting.console import plain_table, print_json, stdout
from convbench.reporting.numbers import flops

_SHORT_DTYPES = {"float64": "f64", "float32": "f32", "float16": "f16", "bfloat16": "bf16"}


def list_backends(plugins: Sequence[Path], as_json: bool) -> None:
    """Every backend, whether it can run here, and if not why not."""
    rows = [_backend_row(entry) for entry in discover(plugins).rows]
    if as_json:
        print_json(rows)
        return
    console = stdout()
    here = [row for row in rows if row["available"]]
    cells = [
        (
            row["backend"],
            Text("available", style="green"),
            " ".join(_SHORT_DTYPES[dtype] for dtype in row["dtypes"]),
            "\n".join(f"{name} {version}" for name, version in row["versions"].items()),
            row["summary"],
        )
        for row in here
    ]
    console.print(plain_table(("backend", "status", "computes", "versions", ""), cells))
    if len(here) < len(rows):
        console.print()
        console.print(_unavailable([row for row in rows if not row["available"]]))
    console.print(Text(f"\n{len(here)} of {len(rows)} backends are available here."))


def _unavailable(rows: Sequence[dict[str, Any]]) -> Table:
    """One line per reason."""
    grouped: dict[str, list[str]] = {}
    for row in rows:
        grouped.setdefault(row["reason"], []).append(row["backend"])
    state = Text("unavailable", style="yellow")
    return plain_table(("backends", "status", "why"), [(", ".join(g), state, reason) for reason, g in grouped.items()])


def _backend_row(entry: Row) -> dict[str, Any]:
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
        "dtypes": sorted(backend.supports.dtypes, key=_dtype_order) if backend else None,
        "padding_modes": sorted(backend.supports.padding_modes) if backend else None,
        "origin": str(entry.origin),
    }


def _dtype_order(dtype: str) -> int:
    from convbench.problem import DTYPES

    return list(DTYPES).index(dtype)  # type: ignore[arg-type]


def list_suites(as_json: bool) -> None:
    """Every suite that comes with convbench."""
    from convbench.suite import builtin_outlines, builtin_suites

    if as_json:
        print_json(
            {
                "suite": suite.name,
                "summary": suite.summary,
                "tags": list(suite.tags),
                "cases": [
                    {"case": case.name, "case_id": case.problem.case_id, "count": case.count} for case in suite.cases
                ],
                "path": str(suite.path),
            }
            for suite in builtin_suites()
        )
        return
    rows = [(o.name, f"{o.cases:,}", flops(2 * o.macs), o.summary) for o in builtin_outlines()]
    stdout().print(plain_table(("suite", "cases", "work", ""), rows, right=(1, 2)))


def show_problem(text: str, as_json: bool) -> None:
    """One problem: its shapes and cost, and how others write it."""
    from convbench.problem import ConvProblem
    from convbench.problem.dialects import to_benchdnn, to_miopen, to_torch

    problem = ConvProblem.parse(text)
    shapes = {"input": problem.input_shape, "weight": problem.weight_shape, "output": problem.output_shape}
    cost = {
        "kind": problem.kind,
        "reduction_length": problem.reduction_length,
        "macs": problem.macs,
        "flops": problem.flops,
        "bytes": problem.bytes,
        "arithmetic_intensity": problem.arithmetic_intensity,
    }
    dialects: dict[str, str | None] = {}
    refusals: dict[str, str] = {}
    for name, write in (("benchdnn", to_benchdnn), ("miopen", to_miopen), ("torch", to_torch)):
        try:
            dialects[name] = write(problem)
        except ProblemError as error:
            dialects[name], refusals[name] = None, str(error)
    if as_json:
        print_json([{"case_id": problem.case_id, **problem.as_dict(), **shapes, **cost, **dialects}])
        return
    rows = [(name, " x ".join(map(str, shape))) for name, shape in shapes.items()]
    rows += [
        ("kind", problem.kind),
        ("reduction length", f"{problem.reduction_length:,}"),
        ("work", f"{flops(problem.flops)} ({problem.macs:,} multiply-accumulates)"),
        ("data", f"{problem.bytes:,} bytes, each operand once"),
        ("intensity", f"{problem.arithmetic_intensity:.3g} FLOP/byte"),
    ]
    console = stdout()
    console.print(plain_table((problem.case_id, ""), rows))
    for name, told in dialects.items():
        console.print(Text(f"\n{name}", style="bold"))
        console.print(Text(told if told is not None else refusals[name]), soft_wrap=True)
