"""What is known of a problem: its parameters, shapes and cost, its text in each dialect, what each backend says of it,
and times; as tables and as a JSON-ready row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from convbench.errors import ProblemError
from convbench.problem import ConvProblem, Direction
from convbench.problem.dialects import to_benchdnn, to_miopen, to_onnx, to_torch
from convbench.reporting.bars import speed_bars
from convbench.reporting.console import Sentence, spaced, status_style
from convbench.reporting.numbers import aligned, flops, interval_column, milliseconds
from convbench.reporting.show import case_history
from convbench.reporting.tables import plain_table
from convbench.runner.show.problem_answers import BackendAnswer, ProblemAnswers

_COST = ("kind", "reduction_length", "macs", "flops", "bytes", "arithmetic_intensity")
_DIALECTS = {"benchdnn": to_benchdnn, "miopen": to_miopen, "torch": to_torch, "onnx": to_onnx}
_SUPPORTED = "supported"
_COMPUTES: dict[Direction, str] = {
    "input_gradient": "the gradient of the input, from the output gradient and the weight",
    "weight_gradient": "the gradient of the weight, from the input and the output gradient",
    "bias_gradient": "the gradient of the bias, from the output gradient",
    "step": "the output and each gradient, as one training step",
}


def row(answers: ProblemAnswers) -> dict[str, Any]:
    """Parameters, shapes, cost, text in each dialect (None where it has none), and what is known; times in seconds."""
    problem = answers.problem
    cost = {name: getattr(problem, name) for name in _COST}
    texts = {name: text for name, (text, _) in _in_dialects(problem).items()}
    return {
        "case_id": problem.case_id,
        **problem.as_dict(),
        **_shapes(problem),
        **cost,
        **texts,
        "backends": [
            {
                "backend": one.backend,
                "status": str(one.status or _SUPPORTED),
                "reason": one.reason,
                "known": [entry.label for entry in one.known],
            }
            for one in answers.backends
        ],
        "measured": case_history.rows(answers.newest),
        "expected": [
            {"backend": e.backend, "call_s": e.call_s, "low_s": e.low_s, "high_s": e.high_s, "from": list(e.neighbours)}
            for e in answers.expected
        ],
    }


def report(answers: ProblemAnswers) -> RenderableType:
    """The same for a person; where a dialect cannot express the problem, the reason."""
    case_id = answers.problem.case_id
    commands = [f"convbench run --problem {case_id}", f"convbench choose --problem {case_id}"]
    commands += [f"convbench show {case_id} --history"] if answers.history.pasts else []
    return spaced(
        plain_table((case_id, ""), _facts(answers.problem), wraps=(1,)),
        *_dialects(answers.problem),
        _backends(answers.backends),
        *_known(answers.backends),
        *_times(answers),
        Group(*(Text(line, style="dim", no_wrap=True, overflow="ignore") for line in commands)),
    )


def _facts(problem: ConvProblem) -> list[tuple[str, str]]:
    return [
        *((name, " x ".join(map(str, shape))) for name, shape in _shapes(problem).items()),
        *([("computes", _COMPUTES[problem.direction])] if problem.direction in _COMPUTES else []),
        ("kind", problem.kind),
        ("reduction length", f"{problem.reduction_length:,}"),
        ("work", f"{flops(problem.flops)} ({problem.macs:,} multiply-accumulates)"),
        ("data", f"{problem.bytes:,} bytes, each operand once"),
        ("intensity", f"{problem.arithmetic_intensity:.3g} FLOP/byte"),
    ]


def _dialects(problem: ConvProblem) -> Iterator[RenderableType]:
    for name, (text, refusal) in _in_dialects(problem).items():
        lines = (text or refusal).strip().split("\n")
        yield Group(Text(name, style="bold"), *(Text(line, overflow="ignore", no_wrap=True) for line in lines))


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


def _backends(answers: Sequence[BackendAnswer]) -> RenderableType:
    """A line for all that support the problem, and one for each reason why others do not."""
    by_answer: dict[tuple[str, str], list[str]] = {}
    for one in sorted(answers, key=lambda one: (one.status is not None, str(one.status))):
        by_answer.setdefault((str(one.status or _SUPPORTED), one.reason or "computes it"), []).append(one.backend)
    styles = {_SUPPORTED: "green"}
    cells = [
        (", ".join(names), Text(status, style=styles.get(status) or status_style(status)), reason)
        for (status, reason), names in by_answer.items()
    ]
    return plain_table(("backends", "status", "why"), cells, wraps=(0, 2), drops=(1,))


def _known(answers: Sequence[BackendAnswer]) -> Iterator[RenderableType]:
    by_entry: dict[str, list[str]] = {}
    for one in answers:
        for entry in one.known:
            by_entry.setdefault(entry.label, []).append(one.backend)
    if by_entry:
        lines = [f"{', '.join(names)}: {label}" for label, names in by_entry.items()]
        yield Group(Text("Known wrong answers for such problems", style="bold red"), *map(Sentence, lines))


def _times(answers: ProblemAnswers) -> Iterator[RenderableType]:
    if answers.history.pasts:
        yield case_history.report(answers.newest)
    if answers.expected:
        expected = answers.expected
        medians = aligned([milliseconds(one.call_s) for one in expected])
        intervals = interval_column([(one.low_s * 1e3, one.high_s * 1e3, True) for one in expected])
        bars = speed_bars([one.call_s for one in expected])
        cells = [
            (Text(one.backend, style="bold"), ms, interval, Text(drawn, style="green"), ", ".join(one.neighbours[:2]))
            for one, drawn, ms, interval in zip(expected, bars, medians, intervals, strict=True)
        ]
        headers = ("backend", "expected ms", "90 % interval ms", "speed", "from")
        table = plain_table(headers, cells, right=(1, 2), wraps=(4,), drops=(4, 3))
        yield Group(Text("Not measured on this machine; similar layers let expect, on one thread", style="bold"), table)
    if not answers.history.pasts and not answers.expected:
        yield Text("No run has measured it, and no similar layers.")
