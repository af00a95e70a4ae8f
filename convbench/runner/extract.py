"""The convolutions of a model: as a table, as JSON lines, as a suite file."""

from __future__ import annotations

import os
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from convbench.errors import ModelError, NothingMeasuredError
from convbench.extraction.extract import layers_of
from convbench.extraction.layers import Extracted
from convbench.extraction.suite_text import suite_text
from convbench.problem import Dtype
from convbench.reporting.console import plain_table, print_json, stderr, stdout
from convbench.reporting.numbers import aligned, flops, percent
from convbench.suite import Suite
from convbench.suite.filter import filtered, parse


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked for, in the words of the options."""

    source: str
    output: Path | None = None
    batch: int | None = None
    input_shape: tuple[int, ...] | None = None
    dtype: Dtype | None = None
    where: str | None = None
    as_json: bool = False


def show_layers(request: Request) -> int:
    """Show what was extracted, and write it where asked.

    Raises `ModelError`, and `NothingMeasuredError` where there is no conv2d.
    """
    if request.output is not None:
        _check(request.output)
    if request.where is not None:
        parse(request.where)  # refused before a model is read for long
    found = layers_of(request.source, batch=request.batch, input_shape=request.input_shape, dtype=request.dtype)
    suite = found.suite() if request.where is None else filtered(found.suite(), request.where)
    console = stderr() if request.as_json else stdout()
    if suite.cases:
        if request.output is not None:
            _write(request.output, suite)
        if request.as_json:
            print_json(_row(found, case) for case in suite.cases)
        else:
            _show(suite, found)
    for sentence in found.left_out:
        console.print(Text(f"left out: {sentence}", style="yellow"))
    if not suite.cases:
        such = f" for which {request.where!r} holds" if request.where and found.cases else ""
        raise NothingMeasuredError(f"{request.source} runs no conv2d{such}.")
    if request.output is not None:
        command = f"convbench run --suite {shlex.quote(str(request.output))}"
        console.print(Text(f"Written to {request.output}; next: {command}"))
    return 0


def _row(found: Extracted, case: Any) -> dict[str, Any]:
    problem = case.problem
    own = {"case_id": problem.case_id, "count": case.count, "layer": case.layer}
    return {"suite": found.name, "source": found.source, **own, **problem.as_dict(), "macs": problem.macs}


def _show(suite: Suite, found: Extracted) -> None:
    console = stdout()
    whole = sum(case.problem.macs * case.count for case in suite.cases)
    shares = aligned([percent(case.problem.macs * case.count / whole) for case in suite.cases])
    rows = [
        (case.problem.case_id, str(case.count), case.problem.kind, flops(case.problem.flops), share, case.layer or "")
        for case, share in zip(suite.cases, shares, strict=True)
    ]
    headers = ("problem", "runs", "kind", "work each", "% of work", "first in")
    console.print(plain_table(headers, rows, right=(1, 3, 4)))
    console.print(Text(f"\n{suite.summary if suite.cases == found.cases else _chosen(suite, found)} {_kinds(suite)}"))


def _chosen(suite: Suite, found: Extracted) -> str:
    runs = sum(case.count for case in suite.cases)
    return f"{runs} of the {found.runs} convolutions of {found.source}, {len(suite.cases)} distinct."


def _kinds(suite: Suite) -> str:
    """`Runs: 36 pointwise, 17 dense.`"""
    runs: Counter[str] = Counter()
    for case in suite.cases:
        runs[case.problem.kind] += case.count
    return f"By kind: {', '.join(f'{count} {kind}' for kind, count in runs.most_common())}."


def _check(path: Path) -> None:
    """Before a model is read for long. Raises `ModelError`."""
    if path.suffix != ".toml":
        raise ModelError(f"--output is {path}; a suite's file should end in .toml.")
    if not path.resolve().parent.is_dir():
        raise ModelError(f"--output is {path}; there is no folder {path.resolve().parent}.")


def _write(path: Path, suite: Suite) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(suite_text(suite), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ModelError(f"--output is {path}, which cannot be written: {error.strerror}.") from None
