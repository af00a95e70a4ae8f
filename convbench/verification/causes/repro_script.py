"""A failure as a program: plain code, without convbench, that asks the library and checks its answer by definition."""

from __future__ import annotations

import math

import numpy as np

from convbench.backend import Backend
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.verification import adversarial_calls as calls
from convbench.verification.bounds import error_bound
from convbench.verification.causes.operand_lines import layout_lines, operand_lines
from convbench.verification.causes.shrinking import kind
from convbench.verification.oracle import Judge, integer_magnitude, may_taint, oracle_for, rounds_between
from convbench.verification.question import Failure
from convbench.verification.reference import NUMPY_MODES

_CHANGED = "-x, w * w.dtype.type(2), None if b is None else -b * b.dtype.type(2)"
_THREADS = f"""\
from concurrent.futures import ThreadPoolExecutor
changed = {_CHANGED}
runs = ready(x, w, b), ready(*changed)
firsts = [run().copy() for run in runs]
with ThreadPoolExecutor(2) as pool:
    outs = list(pool.map(lambda i: runs[i % 3 // 2]().copy(), range(36)))
different = [[y for y in outs[i::3] if not np.array_equal(y, firsts[i // 2], equal_nan=True)] for i in (0, 2)]"""
_AGAIN = {
    calls.REPEATED: """\
run = ready(x, w, b)
first = run().copy()
out = next((y.copy() for y in (run() for _ in range(40)) if not np.array_equal(y, first, equal_nan=True)), first)""",
    calls.THREADED: f"{_THREADS}\nout = (different[0] or firsts)[0]",
    calls.THREADED_CHANGED: f"{_THREADS}\nout, (x, w, b) = (different[1] or firsts[1:])[0], changed",
    calls.CHANGED: f"""\
ready(x, w, b)()
x, w, b = {_CHANGED}
out = ready(x, w, b)()""",
    calls.KEPT: f"""\
out = ready(x, w, b)()
ready({_CHANGED})()""",
    calls.RETURNED: f"""\
run = ready(x, w, b)
run()
ready({_CHANGED})()
out = run()""",
    "inputs": """\
before = [None if a is None else a.tobytes() for a in (x, w, b)]
out = ready(x, w, b)()
print("inputs written to:", [None if a is None else a.tobytes() for a in (x, w, b)] != before)""",
}
_DIRTY = (
    "dirt = [np.full({shape}, np.nan, x.dtype) for _ in range(3)]; del dirt  # what is allocated next has NaNs in it"
)


def repro_script(failure: Failure, backend: Backend) -> str | None:
    """The program, or None when the backend has no script, or the failure is of two convolutions that disagree, or of
    what the script does not have: an input that is given in the call."""
    question = failure.question
    problem, arithmetic = question.problem, backend.arithmetic
    is_one_call = problem.epilogue is None and not failure.check.startswith("relation") and failure.check != calls.GIVEN
    has_script = problem.direction == "forward" and problem.quantization is None
    script = backend.script(problem) if is_one_call and has_script else None
    if script is None:
        return None
    key = oracle_for(question, arithmetic)
    magnitude = integer_magnitude(problem, arithmetic) if key.values == "integers" else None
    return "\n".join(
        [
            "import numpy as np",
            *(["import ml_dtypes"] if problem.dtype == "bfloat16" else []),
            "",
            *operand_lines(problem, key.operands, key.values, question.seed, magnitude),
            *layout_lines(question.layout, problem.bias),
            "",
            *_calls(failure, problem, script),
            "",
            *(_by_definition(problem) if failure.status is Status.WRONG else ()),
            *_verdict(failure, key, backend),
            "",
        ]
    )


def _calls(failure: Failure, problem: ConvProblem, script: str) -> list[str]:
    """The script as a function, called as often as it takes to see the failure."""
    *made_ready, last = script.splitlines()
    call = last.removeprefix("out = ")
    if failure.check in _AGAIN:
        body = [*made_ready, f"return lambda: {call}"]
        return ["def ready(x, w, b):", *_indented(body), "", *_AGAIN[failure.check].splitlines()]
    unwritten = kind(failure) == "numbers" and failure.got is not None and math.isnan(failure.got)
    dirty = [_DIRTY.format(shape=problem.output_shape)] if unwritten and failure.question.values != "special" else []
    return ["def compute(x, w, b):", *_indented([*made_ready, *dirty, f"return {call}"]), "", "out = compute(x, w, b)"]


def _indented(lines: list[str]) -> list[str]:
    return [f"    {line}" for line in lines]


def _by_definition(problem: ConvProblem) -> list[str]:
    """Lines that define `convolve(x, w, b)` in float64."""
    n, groups = problem.batch, problem.groups
    (o, own, kh, kw), (dh, dw), (sh, sw) = problem.weight_shape, problem.dilation, problem.stride
    cuts = [f"{max(0, -before) or ''}:{-max(0, -after) or ''}" for before, after in problem.padding]
    sides = (*((0, 0),) * 2, *((max(0, before), max(0, after)) for before, after in problem.padding))
    extents = f"{problem.out_height}, {problem.out_width}, {kh}, {kw}"
    cut = [] if cuts == [":", ":"] else [f"    x = x[:, :, {', '.join(cuts)}]"]
    padded = [f'    x = np.pad(x, {sides}, mode="{NUMPY_MODES[problem.padding_mode]}")'] if any(map(any, sides)) else []
    return [
        "def convolve(x, w, b):  # by definition, in float64",
        "    x, w = x.astype(np.float64), w.astype(np.float64)",
        *cut,
        *padded,
        f"    seen = np.lib.stride_tricks.sliding_window_view(x, {(dh * (kh - 1) + 1, dw * (kw - 1) + 1)}, (2, 3))",
        f"    seen = seen[:, :, ::{sh}, ::{sw}, ::{dh}, ::{dw}].reshape({n}, {groups}, {own}, {extents})",
        f'    y = np.einsum("ngcyxij,gocij->ngoyx", seen, w.reshape({groups}, {o // groups}, {own}, {kh}, {kw}))',
        f"    y = y.reshape{problem.output_shape}",
        "    return y if b is None else y + b.astype(np.float64)[:, None, None]",
        "",
    ]


def _verdict(failure: Failure, key: Judge, backend: Backend) -> list[str]:
    """Lines that say what came out and what should have."""
    if failure.status is not Status.WRONG:
        return ["print(out)"]
    if failure.check == "inputs":
        return []
    if failure.check == "output":
        is_own = key.problem.dtype == "bfloat16"
        dtype = "np.dtype(ml_dtypes.bfloat16)" if is_own else f'np.dtype("{key.problem.dtype}")'
        return ['print("got     ", out.shape, out.dtype)', f'print("expected", {key.problem.output_shape}, {dtype})']
    return [
        "expected = convolve(x, w, b)",
        *_wrong(key, backend),
        "at = tuple(np.argwhere(wrong)[0]) if wrong.any() else (0, 0, 0, 0)",
        'print(f"{np.count_nonzero(wrong)} of {wrong.size} elements wrong")',
        'print(f"at {list(map(int, at))}: got {float(out[at])!r}, expected {float(expected[at])!r}")',
    ]


def _wrong(key: Judge, backend: Backend) -> list[str]:
    """Lines from `out` and `expected` to `wrong`."""
    arithmetic = backend.arithmetic
    right = key.exact.astype(key.operands.x.dtype)
    if key.judge(arithmetic, right).check == "exact":
        if rounds_between(arithmetic):
            return ["wrong = ~(np.abs(out.astype(np.float64) - expected) < 0.5)  # integers, exact to the nearest"]
        return [
            "expected = expected.astype(x.dtype)  # exact, whatever the order of the sums",
            "wrong = out != expected",
        ]
    per_magnitude, per_output, more = _bound(key, backend)
    terms = f"{per_magnitude!r} * sums + {per_output!r} * {{}} + {more!r}  # what rounding explains"
    if key.values != "special":
        return [
            "sums = convolve(np.abs(x), np.abs(w), None if b is None else np.abs(b))",
            f"bound = {terms.format('np.abs(expected)')}",
            "wrong = ~(np.abs(out.astype(np.float64) - expected) <= bound)",
        ]
    lines = [
        "sizes = (None if a is None else np.nan_to_num(np.abs(a.astype(np.float64)), posinf=0) for a in (x, w, b))",
        "sums = convolve(*sizes)",
        f"bound = {terms.format('np.nan_to_num(np.abs(expected), posinf=0)')}",
        'with np.errstate(invalid="ignore"):',
        "    close = np.abs(out.astype(np.float64) - expected) <= bound",
        "wrong = ~(close | (out == expected) | (np.isnan(out) & np.isnan(expected)))",
    ]
    if may_taint(key.problem, arithmetic):
        lines.append("wrong &= np.isfinite(out) | np.isfinite(x).all((1, 2, 3), keepdims=True)  # it may spread them")
    return lines


def _bound(key: Judge, backend: Backend) -> tuple[float, float, float]:
    """(what the bound has for each unit of sum |x||w| + |b|, for each unit of |y|, and whatever those are).

    The last is the largest over the planes where the bound is one of norms of planes."""
    x, w = (np.nan_to_num(a.astype(np.float64), posinf=0, neginf=0) for a in (key.operands.x, key.operands.w))

    def at(exact: float, magnitudes: float) -> float:
        shape = key.problem.output_shape
        ends = np.full(shape, exact), np.full(shape, magnitudes)
        return float(error_bound(key.problem, backend.arithmetic, *ends, x, w).max())

    more = at(0, 0)
    return at(0, 1) - more, at(1, 0) - more, more
