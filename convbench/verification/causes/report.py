"""A report of one cause of failures, in Markdown, to paste into an issue tracker."""

from __future__ import annotations

import contextlib
import platform
import shlex
import sys
from collections.abc import Mapping

from convbench.backend import Backend
from convbench.errors import ProblemError
from convbench.installation import VERSION
from convbench.problem import ConvProblem, Direction, Epilogue
from convbench.problem.dialects import to_benchdnn
from convbench.status import Status
from convbench.verification.causes.grouping import Cause
from convbench.verification.causes.repro_script import repro_script
from convbench.verification.question import Failure, Question

_OPERATIONS: dict[Direction, str] = {
    "forward": "conv2d",
    "input_gradient": "conv2d's input gradient",
    "weight_gradient": "conv2d's weight gradient",
    "bias_gradient": "conv2d's bias gradient",
    "step": "conv2d's training step",
}
_OF: dict[Direction, str] = {
    "forward": "",
    "input_gradient": "Gradient of the input of a ",
    "weight_gradient": "Gradient of the weight of a ",
    "bias_gradient": "Gradient of the bias of a ",
    "step": "Training step (output and all gradients) of a ",
}
_TITLES = {
    Status.WRONG: "conv2d gives a wrong result",
    Status.CRASHED: "conv2d ends the process",
    Status.TIMEOUT: "conv2d does not return",
    Status.OUT_OF_MEMORY: "conv2d asks for more memory than there is",
    Status.ERROR: "conv2d raises an exception",
}
# What is said of a failure that is not one of numbers, by its check.
_BEHAVIOUR = {
    "repeated call": "The same call, repeated, gives another answer.",
    "changed operands": "Prepared anew for other operands, it gives an answer that does not belong to them.",
    "output kept while others were computed": "An output changes when another convolution is computed.",
    "two threads, changed operands": "Called from two threads at once, it gives another answer than from one.",
    "call after another was prepared": "After another convolution was prepared, the first one's answer is another.",
    "two threads": "Called from two threads at once, it gives another answer than from one.",
    "inputs": "It writes to its inputs.",
    "output": "The output has not the shape or the dtype that it should have.",
}
_VALUES = {
    "integers": "integers whose sums are exact in any order",
    "normal": "normally distributed values",
    "positive": "positive values",
    "wide": "values of a wide range of sizes",
    "one-tap": "filters of one tap each",
    "special": "values with NaN and infinities among them",
}
_LAYOUTS = {
    "channels-last": "arrays with channels-last strides",
    "sliced": "arrays that are slices of larger ones",
    "reversed": "arrays with negative strides",
    "misaligned": "arrays that start one element after a cache line's boundary",
    "read-only": "arrays that are read-only",
    "odd-strides": "arrays with odd strides on axes of size 1",
}
_LONGEST_REASON, _LONGEST_TRACEBACK = 1000, 4000
_MOST_OTHERS = 6


def report(cause: Cause, backend: Backend, versions: Mapping[str, str], command: str | None = None) -> str:
    """The report of `cause`, found with `backend`, whose libraries have `versions`; `command` shows it again, if not
    just the one question to the backend by its name."""
    failure = cause.representative
    sections = [
        f"# {backend.name}: {title(failure)}",
        in_words(failure.question),
        what_happened(failure),
        _shared(cause),
        _also(cause),
        _table(cause, backend, versions),
        _reproduce(failure, backend, command),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def title(failure: Failure) -> str:
    """One line that tells it from other mistakes: what happens, in which dtype, and what is unusual about the case."""
    problem = failure.question.problem
    parts = [f"{problem.kernel_size[0]}x{problem.kernel_size[1]} kernel"]
    parts += [f"stride {_pair(problem.stride)}"] if problem.stride != (1, 1) else []
    parts += [f"dilation {_pair(problem.dilation)}"] if problem.dilation != (1, 1) else []
    parts += [f"epilogue {problem.epilogue}"] if problem.epilogue else []
    parts += [f"groups {problem.groups}"] if problem.groups > 1 else []
    parts += ["one channel per group"] if 1 < problem.groups == problem.in_channels else []
    parts += [f"padding {_padding(problem)}"] if problem.padding != ((0, 0), (0, 0)) else []
    parts += ["one output column"] if problem.out_width == 1 < problem.out_height else []
    parts += ["NaN and infinities in the data"] if failure.question.values == "special" else []
    title = _TITLES.get(failure.status, "conv2d fails").replace("conv2d", _OPERATIONS[problem.direction])
    return f"{title} in {problem.dtype} ({', '.join(parts)})"


def in_words(question: Question) -> str:
    p = question.problem
    n, c, h, w = p.input_shape
    images = "an image" if n == 1 else f"{n} images"
    parts = [
        f"{_OF[p.direction]}2-D convolution (cross-correlation, as `torch.nn.Conv2d`) of {images} "
        f"of {_count(c, 'channel')}, "
        f"{h} high and {w} wide, with {_count(p.out_channels, 'filter')} of {p.kernel_size[0]}x{p.kernel_size[1]}",
        f"stride {_pair(p.stride)}" if p.stride != (1, 1) else "",
        f"padding {_padding(p)}" if p.padding != ((0, 0), (0, 0)) else "",
        f"dilation {_pair(p.dilation)}" if p.dilation != (1, 1) else "",
        f"{p.groups} groups" if p.groups > 1 else "",
        "with a bias" if p.bias else "without bias",
        f"then {epilogue_in_words(p.epilogue)}" if p.epilogue else "",
        f"in {p.dtype}",
    ]
    how = [f"Data: {_VALUES[question.values]}"]
    how += [_LAYOUTS.get(question.layout, "")]
    how += [{"many": "called many times", "threads": "called from two threads at once"}.get(question.calls, "")]
    return f"{', '.join(filter(None, parts))}. {'; '.join(filter(None, how))}."


def epilogue_in_words(epilogue: Epilogue) -> str:
    """`a residual added and relu`, in the order in which they are computed."""
    activation = (epilogue.activation or "").replace("_", " ")
    if epilogue.slope is not None:
        activation += f" with slope {epilogue.slope:g}"
    if epilogue.low is not None:
        activation += f" to [{epilogue.low:g}, {epilogue.high:g}]"
    parts = [("before", "a residual added"), (None, activation), ("after", "a residual added")]
    return " and ".join(text for when, text in parts if text and when in (None, epilogue.residual))


def what_happened(failure: Failure) -> str:
    parts = [_BEHAVIOUR.get(failure.check, "")]
    if failure.element is not None and str(list(failure.element)) not in failure.reason:
        over = failure.error_over_bound
        error = "" if over is None else f" ({over:.3g} times the error that rounding explains)"
        parts.append(f"At {list(failure.element)}: got `{failure.got!r}`, expected `{failure.expected!r}`{error}.")
    parts.append(quoted(failure.reason))
    if failure.traceback:
        parts += [
            "The backend's own frames, without those of convbench:",
            quoted(failure.traceback, _LONGEST_TRACEBACK),
        ]
    return "\n\n".join(filter(None, parts))


def _shared(cause: Cause) -> str:
    if not cause.shared_by_failures:
        return ""
    first, *others = cause.shared_by_failures
    sentence = f"What the failing convolutions have in common: {first}."
    if others:
        sentence += f" As telling: {', or '.join(other.words for other in others)}."
    return sentence


def _also(cause: Cause) -> str:
    if not cause.also:
        return ""
    others = ", ".join(f"`{failure.question}` ({failure.check})" for failure in cause.also[:_MOST_OTHERS])
    more = f", and {len(cause.also) - _MOST_OTHERS} more" if len(cause.also) > _MOST_OTHERS else ""
    return f"The same mistake seems to show in {others}{more}."


def _table(cause: Cause, backend: Backend, versions: Mapping[str, str]) -> str:
    failure = cause.representative
    question, arithmetic = failure.question, backend.arithmetic
    dtype = question.problem.dtype
    operands, sums = arithmetic.operand_precision(dtype), arithmetic.accumulate_precision(dtype)
    rows = {
        "case": f"`{question}`",
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items()) or "unknown",
        "backend": f"`{backend.name}` of convbench {VERSION}: {backend.summary}".rstrip(": "),
        "declared": f"algorithm {arithmetic.algorithm}, operands in {operands}, sums in {sums}",
        **({"kernel": failure.kernel} if failure.kernel else {}),
        "machine": f"{platform.machine()}, {platform.system()}, Python {sys.version.split()[0]}",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows.items())])


def _reproduce(failure: Failure, backend: Backend, command: str | None) -> str:
    question = failure.question
    command = command or shlex.join(["convbench", "verify", "--backend", backend.name, "--question", str(question)])
    parts = [f"## Reproduce\n\n```sh\n{command}\n```"]
    with contextlib.suppress(ProblemError):
        parts.append(f"As benchdnn would be asked:\n\n```sh\n./benchdnn {to_benchdnn(question.problem)}\n```")
    program = repro_script(failure, backend)
    if program is not None:
        parts.append(f"Without convbench:\n\n```python\n{program}```")
    return "\n\n".join(parts)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _pair(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"{pair[0]}x{pair[1]}"


def _padding(problem: ConvProblem) -> str:
    (top, bottom), (left, right) = problem.padding
    mode = "" if problem.padding_mode == "zeros" else f" ({problem.padding_mode})"
    if top == bottom and left == right:
        return _pair((top, left)) + mode
    return f"top {top}, bottom {bottom}, left {left}, right {right}{mode}"


def quoted(text: str, longest: int = _LONGEST_REASON) -> str:
    """Whatever a library said, as data: in a block that nothing in it can end."""
    shown = text if len(text) <= longest else text[: longest - 3] + "..."
    printable = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in shown)
    return "\n".join(f"    {line}" for line in printable.splitlines())


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
