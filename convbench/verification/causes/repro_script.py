"""A failure as a program: plain code, without convbench, that asks the library and checks its answer by definition."""

from __future__ import annotations

import math
import os

import numpy as np

from convbench.backend import Arithmetic, Backend
from convbench.isa import switches_in
from convbench.problem import ConvProblem
from convbench.problem.vocabulary import GRADIENTS, OPERANDS
from convbench.status import Status
from convbench.verification import adversarial_calls as calls
from convbench.verification.bounds import error_bound
from convbench.verification.causes.definition_lines import definition_lines
from convbench.verification.causes.operand_lines import layout_lines, operand_lines
from convbench.verification.causes.quantized_lines import (
    CHANGED,
    quantized_operand_lines,
    quantized_verdict_lines,
)
from convbench.verification.causes.shrinking import kind
from convbench.verification.oracle import Judge, Oracle, integer_magnitude, may_taint, oracle_for, rounds_between
from convbench.verification.quantized.oracle import QuantizedOracle
from convbench.verification.question import Failure

_THREADS = """\
from concurrent.futures import ThreadPoolExecutor
changed = {changed}
runs = ready({names}), ready(*changed)
firsts = [run().copy() for run in runs]
with ThreadPoolExecutor(2) as pool:
    outs = list(pool.map(lambda i: runs[i % 3 // 2]().copy(), range(36)))
different = [[y for y in outs[i::3] if not np.array_equal(y, firsts[i // 2], equal_nan=True)] for i in (0, 2)]"""
_AGAIN = {
    calls.REPEATED: """\
run = ready({names})
first = run().copy()
out = next((y.copy() for y in (run() for _ in range(40)) if not np.array_equal(y, first, equal_nan=True)), first)""",
    calls.THREADED: f"{_THREADS}\nout = (different[0] or firsts)[0]",
    calls.THREADED_CHANGED: f"{_THREADS}\nout, ({{names}}) = (different[1] or firsts[1:])[0], changed",
    calls.CHANGED: """\
ready({names})()
{names} = {changed}
out = ready({names})()""",
    calls.KEPT: """\
out = ready({names})()
ready({changed})()""",
    calls.RETURNED: """\
run = ready({names})
run()
ready({changed})()
out = run()""",
    "inputs": """\
before = [None if a is None else a.tobytes() for a in ({names})]
out = ready({names})()
print("inputs written to:", [None if a is None else a.tobytes() for a in ({names})] != before)""",
}
_DIRTY = "dirt = [np.full({shape}, np.nan, {name}.dtype) for _ in range(3)]; del dirt  # what comes next has NaNs in it"


def _held_lines(backend: Backend) -> list[str]:
    """What holds the library to the instruction set that it is held to here; libraries read it when they are loaded."""
    held = switches_in(os.environ, backend)
    return ["import os", "", f"os.environ.update({held!r})", ""] if held else []


def repro_script(failure: Failure, backend: Backend) -> str | None:
    """The program, or None when the backend has no script, or the failure is of two convolutions that disagree, or of
    what the script does not have: an input that is given in the call."""
    question = failure.question
    problem, arithmetic = question.problem, backend.arithmetic
    script = _script(problem, backend)
    if script is None or failure.check.startswith("relation") or failure.check == calls.GIVEN:
        return None
    key = oracle_for(question, arithmetic)
    operands = _operands(failure, key, backend)
    if operands is None:
        return None
    return "\n".join(
        [
            *_held_lines(backend),
            "import numpy as np",
            *(["import ml_dtypes"] if problem.dtype == "bfloat16" else []),
            "",
            *operands,
            *layout_lines(question.layout, _arrays(key), "85" if isinstance(key, QuantizedOracle) else "np.nan"),
            "",
            *_calls(failure, problem, script),
            "",
            *(definition_lines(problem) if failure.status is Status.WRONG else ()),
            *_verdict(failure, key, backend),
            "",
        ]
    )


def _operands(failure: Failure, key: Judge, backend: Backend) -> list[str] | None:
    if isinstance(key, QuantizedOracle):
        return quantized_operand_lines(key.operands)
    problem = key.problem
    magnitude = integer_magnitude(problem, backend.arithmetic) if key.values == "integers" else None
    return operand_lines(problem, key.operands, key.values, failure.question.seed, magnitude)


def _arrays(key: Judge) -> list[str]:
    """The names of the operands that are arrays in a program; scales are numbers."""
    return [name for name in key.operands.named() if name != "s"]


def _script(problem: ConvProblem, backend: Backend) -> str | None:
    if problem.quantization is not None:
        return backend.quantized_script(problem)
        return None
    if problem.epilogue is not None:
        return backend.fused_script(problem)
    if problem.direction == "forward":
        return backend.script(problem)
    return backend.gradient_script(problem) if problem.direction in GRADIENTS else None


def _names(problem: ConvProblem) -> list[str]:
    """The names of the arrays in a program; forward `b` is one without a bias, too."""
    residual = ["r"] if "r" in problem.operand_shapes else []
    return [*OPERANDS[problem.direction], *(["b"] if problem.direction == "forward" else []), *residual]


def _arguments(problem: ConvProblem) -> str:
    """The arrays as a call takes them, and one with a comma behind it, so that in brackets it is a tuple."""
    names = _names(problem)
    return ", ".join(names) if len(names) > 1 else f"{names[0]},"


def _changed(problem: ConvProblem) -> str:
    """The arrays as `operands.changed` has them; quantised ones for the same scales."""
    if problem.quantization is not None:
        return CHANGED
    one, *others = OPERANDS[problem.direction]
    if not others:
        return f"(-{one} * {one}.dtype.type(2),)"
    words = [f"-{one}", *(f"{name} * {name}.dtype.type(2)" for name in others)]
    words += ["None if b is None else -b * b.dtype.type(2)"] if problem.direction == "forward" else []
    words += ["-r * r.dtype.type(2)"] if "r" in problem.operand_shapes else []
    return ", ".join(words)


def _calls(failure: Failure, problem: ConvProblem, script: str) -> list[str]:
    """The script as a function, called as often as it takes to see the failure."""
    *made_ready, last = script.splitlines()
    call, names = last.removeprefix("out = "), ", ".join(_names(problem))
    if failure.check in _AGAIN:
        body = [*made_ready, f"return lambda: {call}"]
        again = _AGAIN[failure.check].format(names=_arguments(problem), changed=_changed(problem))
        return [f"def ready({names}):", *_indented(body), "", *again.splitlines()]
    unwritten = kind(failure) == "numbers" and failure.got is not None and math.isnan(failure.got)
    dirty = [_DIRTY.format(shape=problem.result_shape, name=_names(problem)[0])]
    body = [*made_ready, *(dirty if unwritten and failure.question.values != "special" else []), f"return {call}"]
    return [f"def compute({names}):", *_indented(body), "", f"out = compute({names})"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _verdict(failure: Failure, key: Judge, backend: Backend) -> list[str]:
    """Lines that say what came out and what should have."""
    if failure.status is not Status.WRONG:
        return ["print(out)"]
    if failure.check == "inputs":
        return []
    if failure.check == "output":
        is_own = key.problem.dtype == "bfloat16"
        name = key.problem.dtype if key.problem.quantization is None else key.problem.quantization.dtypes["y"]
        dtype = "np.dtype(ml_dtypes.bfloat16)" if is_own else f'np.dtype("{name}")'
        return ['print("got     ", out.shape, out.dtype)', f'print("expected", {key.problem.result_shape}, {dtype})']
    if key.problem.epilogue is not None:
        return _at_one_element(failure, key.problem)
    if isinstance(key, QuantizedOracle):
        judged = quantized_verdict_lines(key, backend.arithmetic)
    else:
        judged = [f"expected = computed({', '.join(_names(key.problem))})", *_wrong(key, backend)]
    return [
        *judged,
        "at = tuple(np.argwhere(wrong)[0]) if wrong.any() else (0,) * wrong.ndim",
        'print(f"{np.count_nonzero(wrong)} of {wrong.size} elements wrong")',
        'print(f"at {list(map(int, at))}: got {float(out[at])!r}, expected {float(expected[at])!r}")',
    ]


def _at_one_element(failure: Failure, problem: ConvProblem) -> list[str]:
    """Of a problem with an epilogue: what the error bound is depends on the slope at each element."""
    return [
        f"expected = computed({', '.join(_names(problem))})",
        f"at = {failure.element or (0,) * len(problem.result_shape)}",
        'print(f"at {list(at)}: got {float(out[at])!r}, expected {float(expected[at])!r}")',
    ]


def _wrong(key: Oracle, backend: Backend) -> list[str]:
    """Lines from `out` and `expected` to `wrong`."""
    arithmetic, (first, *_) = backend.arithmetic, _names(key.problem)
    right = key.exact.astype(key.operands.dtype)
    if key.judge(arithmetic, right).check == "exact":
        if rounds_between(arithmetic):
            return ["wrong = ~(np.abs(out.astype(np.float64) - expected) < 0.5)  # integers, exact to the nearest"]
        return [
            f"expected = expected.astype({first}.dtype)  # exact, whatever the order of the sums",
            "wrong = out != expected",
        ]
    per_magnitude, per_output, more = _bound(key, backend)
    terms = f"{per_magnitude!r} * sums + {per_output!r} * {{}} + {more!r}  # what rounding explains"
    if key.values != "special":
        sizes = [
            "None if b is None else np.abs(b)" if name == "b" else f"np.abs({name})" for name in _names(key.problem)
        ]
        return [
            f"sums = computed({', '.join(sizes)})",
            f"bound = {terms.format('np.abs(expected)')}",
            "wrong = ~(np.abs(out.astype(np.float64) - expected) <= bound)",
        ]
    arrays = _arguments(key.problem)
    return [
        f"sizes = (None if a is None else np.nan_to_num(np.abs(a.astype(np.float64)), posinf=0) for a in ({arrays}))",
        "sums = computed(*sizes)",
        f"bound = {terms.format('np.nan_to_num(np.abs(expected), posinf=0)')}",
        'with np.errstate(invalid="ignore"):',
        "    close = np.abs(out.astype(np.float64) - expected) <= bound",
        "wrong = ~(close | (out == expected) | (np.isnan(out) & np.isnan(expected)))",
        *_may_be_tainted(key.problem, arithmetic),
    ]


def _may_be_tainted(problem: ConvProblem, arithmetic: Arithmetic) -> list[str]:
    """A line for what a special value may be spread over: its image, or all of a weight's gradient."""
    if problem.direction == "bias_gradient" or not may_taint(problem, arithmetic):
        return []
    if problem.direction == "weight_gradient":
        return ["wrong &= np.isfinite(out)  # it may spread them"]
    first = _names(problem)[0]
    return [f"wrong &= np.isfinite(out) | np.isfinite({first}).all((1, 2, 3), keepdims=True)  # it may spread them"]


def _bound(key: Oracle, backend: Backend) -> tuple[float, float, float]:
    """(what the bound has for each unit of sum |x||w| + |b|, for each unit of |y|, and whatever those are).

    The last is the largest over the planes where the bound is one of norms of planes."""
    arrays = key.operands.named()
    multiplied = [
        np.nan_to_num(arrays[name].astype(np.float64), posinf=0, neginf=0) for name in OPERANDS[key.problem.direction]
    ]

    def at(exact: float, magnitudes: float) -> float:
        shape = key.problem.result_shape
        ends = np.full(shape, exact), np.full(shape, magnitudes)
        return float(error_bound(key.problem, backend.arithmetic, *ends, *multiplied).max())

    more = at(0, 0)
    return at(0, 1) - more, at(1, 0) - more, more
