"""The verdict on one answer: element by element, with the figures that a failure report needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem
from convbench.verification.operands import NUMPY_DTYPES, result_dtype

_AXES = {
    "forward": "(N, O, out_h, out_w)",
    "input_gradient": "(N, C, H, W)",
    "weight_gradient": "(O, C/groups, kh, kw)",
    "bias_gradient": "(O,)",
    "step": "(all results in a row,)",
}
Check = Literal["output", "exact", "bound", "special"]


@dataclass(frozen=True)
class Verdict:
    """What one check found. `error_over_bound` is below 1 for rounding and above 1 for a bug; an exact check passes
    only when nothing differs, whatever that figure. Check "output" failed before any number was looked at."""

    check: Check
    passed: bool
    error_over_bound: float
    max_error: float
    warned: bool = False
    element: tuple[int, ...] | None = None
    got: float | None = None
    expected: float | None = None
    wrong_elements: int = 0
    elements: int = 0
    reason: str | None = None
    denormals: Literal["kept", "flushed"] | None = None
    """What became of denormal numbers where there were some: within the bound as they are, or only as zeros."""


def together(problem: ConvProblem, verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict on a training step, from those on its results: the worst of them, which a reason names, with the
    counts of all."""
    named = list(zip(problem.computed, verdicts, strict=True))
    direction, worst = max(named, key=lambda each: (not each[1].passed, each[1].error_over_bound))
    denormals = {verdict.denormals for verdict in verdicts} - {None}
    return replace(
        worst,
        max_error=max(verdict.max_error for verdict in verdicts),
        warned=any(verdict.warned for verdict in verdicts),
        wrong_elements=sum(verdict.wrong_elements for verdict in verdicts),
        elements=sum(verdict.elements for verdict in verdicts),
        reason=worst.reason and f"{direction.replace('_', ' ')}: {worst.reason}",
        denormals="flushed" if "flushed" in denormals else "kept" if denormals else None,
    )


def judge_exact(
    problem: ConvProblem,
    output: Any,
    exact: NDArray[np.float64],
    bound: NDArray[np.float64],
    *,
    round_to_integer: bool,
) -> Verdict:
    """Equality with the exact answer, rounded once to the problem's dtype; nearest integers with `round_to_integer`."""
    if refused := refusal(problem, output):
        return refused
    got = np.asarray(output, np.float64)
    expected = exact.astype(NUMPY_DTYPES[problem.dtype]).astype(np.float64)
    error = _error(got, expected)
    wrong = error >= 0.5 if round_to_integer else error > 0
    return _verdict("exact", got, expected, error, _over(error, bound), wrong)


def judge_bound(
    problem: ConvProblem,
    output: Any,
    exact: NDArray[np.float64],
    bound: NDArray[np.float64],
    warn: NDArray[np.float64],
) -> Verdict:
    """Every element within `bound` of the exact answer; `warned` when some error is above `warn`."""
    if refused := refusal(problem, output):
        return refused
    got = np.asarray(output, np.float64)
    error = _error(got, exact)
    over_bound = _over(error, bound)
    return _verdict("bound", got, exact, error, over_bound, over_bound > 1, warned=bool((error > warn).any()))


def judge_special(
    problem: ConvProblem,
    output: Any,
    exact: NDArray[np.float64],
    bound: NDArray[np.float64],
    tainted: NDArray[np.bool_] | None,
    allowed: Sequence[NDArray[np.float64]] = (),
) -> Verdict:
    """Where `exact` is NaN or infinite the output is the same, and elsewhere it is within `bound`.

    `tainted` (broadcastable to the output) is for algorithms that mix inputs which do not belong together: where it is
    true anything not finite will do instead of what is expected. An output that NaN should have reached may not be
    finite all the same. The bound is of the problem without its special values. What is within `bound` of
    one of `allowed` is as right.
    """
    if refused := refusal(problem, output):
        return refused
    got = np.asarray(output, np.float64)
    alike = (np.isnan(got) & np.isnan(exact)) | (got == exact)
    for other in allowed:
        right = other.astype(NUMPY_DTYPES[problem.dtype]).astype(np.float64)
        alike |= (np.isnan(got) & np.isnan(right)) | (got == right) | (_error(got, other) <= bound)
    if tainted is not None:
        alike |= tainted & ~np.isfinite(got)
    error = _error(got, exact)
    error[alike] = 0
    over_bound = _over(error, bound)
    return _verdict("special", got, exact, error, over_bound, over_bound > 1)


def refusal(problem: ConvProblem, output: Any) -> Verdict | None:
    """The verdict on what is no array of the right shape and dtype."""
    if not isinstance(output, np.ndarray):
        is_sentence = problem.direction == "step" and isinstance(output, str)
        reason = f"to_numpy gave {output if is_sentence else f'{type(output).__name__}, not a NumPy array'}"
    elif output.shape != problem.result_shape:
        axes = _AXES[problem.direction]
        reason = f"the output has shape {output.shape}, expected {problem.result_shape} {axes}"
    elif output.dtype != (expected := result_dtype(problem)):
        reason = f"the output has dtype {output.dtype}, expected {expected}"
    else:
        return None
    elements = math.prod(problem.result_shape)
    return Verdict("output", False, math.inf, math.inf, wrong_elements=elements, elements=elements, reason=reason)


def _error(got: NDArray[np.float64], expected: NDArray[np.float64]) -> NDArray[np.float64]:
    # Where finite values are expected a NaN or infinity is as wrong as can be.
    with np.errstate(invalid="ignore"):
        error = np.abs(got - expected)
    error[~np.isfinite(error)] = np.inf
    return np.asarray(error)


def _over(error: NDArray[np.float64], bound: NDArray[np.float64]) -> NDArray[np.float64]:
    # A NaN is as wrong as can be where the bound is infinite, too.
    with np.errstate(invalid="ignore", over="ignore"):
        return np.where(np.isinf(error), np.inf, error / bound)


def _verdict(
    check: Check,
    got: NDArray[np.float64],
    expected: NDArray[np.float64],
    error: NDArray[np.float64],
    over_bound: NDArray[np.float64],
    wrong: NDArray[np.bool_],
    *,
    warned: bool = False,
) -> Verdict:
    wrong_elements = int(np.count_nonzero(wrong))
    ranked = np.where(wrong, over_bound, -1.0) if wrong_elements else over_bound
    worst = np.unravel_index(int(np.argmax(ranked)), error.shape)
    element, actual, right = tuple(map(int, worst)), float(got[worst]), float(expected[worst])
    reason = None
    if wrong_elements:
        ratio = float(over_bound[worst])
        times = "infinitely many times" if ratio == math.inf else f"{ratio:.3g} times"
        digits = 17 if check == "exact" else 9  # of an integer every digit counts
        reason = (
            f"{check} check: {wrong_elements:,} of {error.size:,} elements wrong; at {list(element)} "
            f"got {actual:.{digits}g}, expected {right:.{digits}g} ({times} the error bound)"
        )
    figures = (float(over_bound.max()), float(error.max()), warned, element, actual, right, wrong_elements, error.size)
    return Verdict(check, not wrong_elements, *figures, reason)
