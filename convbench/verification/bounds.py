"""How large a rounding error may be: a-priori bounds for one output element.

With u the unit roundoff of the accumulator, K the reduction length (one more with a bias) and S = sum |x||w| + |b|:

* any order of summation, with or without fused multiply-add: gamma_K S, gamma_K = K u / (1 - K u)
  (Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., ch. 3; Jeannerod and Rump 2013);
* an output in a lower precision than the sum: u_out |y| + (1 + u_out) gamma_K S + half the smallest subnormal
  (Blanchard, Higham, Lopez, Mary and Pranesh 2020); operands rounded to a lower precision u_in first: 2 u_in S more;
* the reference is rounded itself: gamma_K S in float64 more;
* FFT: only normwise, c log2(N) u sum_c |x_c| |w_c| with 2-norms of padded planes (Higham, ch. 24, for the form);
* Winograd, or an algorithm that the library picks itself: a normwise stand-in, (K + 1024) u sum max|x_c| sum|w_c|. The
  tile-wise running bound (Barabasz et al., arXiv:1803.10986) is tighter; engines were seen at 44 to 62 u S,
  and at up to 410 u |x| where each filter has one tap.

An error above sqrt(K) u S scaled by `WARN_LAMBDA` (Higham and Mary 2019) is inside the bound yet unusual: a warning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic, Precision
from convbench.problem import ConvProblem
from convbench.verification.reference import pad

UNIT_ROUNDOFF: dict[Precision, float] = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-11,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
LARGEST_EXACT_INTEGER: dict[Precision, int] = {
    "float64": 2**53,
    "float32": 2**24,
    "tf32": 2**11,
    "float16": 2**11,
    "bfloat16": 2**8,
}
# Half the smallest subnormal; of float64 all of it, whose half is no number.
UNDERFLOW = {"float64": 2.0**-1074, "float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}

WARN_LAMBDA = 8.0
_FFT_CONSTANT = 8.0
_WINOGRAD_GROWTH = 1024


def gamma(k: int, u: float) -> float:
    """k u / (1 - k u); infinite where that is no bound any more."""
    return k * u / (1 - k * u) if k * u < 1 else math.inf


def fft_error_factor(problem: ConvProblem) -> float:
    """c log2(N), N the points of the transformed padded plane."""
    (top, bottom), (left, right) = problem.padding
    points = (problem.height + max(0, top) + max(0, bottom)) * (problem.width + max(0, left) + max(0, right))
    return _FFT_CONSTANT * max(1.0, math.log2(points))


def winograd_error_factor(problem: ConvProblem) -> float:
    """K + the growth allowed to the transforms."""
    return problem.reduction_length + _WINOGRAD_GROWTH


def error_bound(
    problem: ConvProblem,
    arithmetic: Arithmetic,
    exact: NDArray[np.float64],
    magnitudes: NDArray[np.float64],
    x: NDArray[Any],
    w: NDArray[Any],
) -> NDArray[np.float64]:
    """The largest error that rounding explains, per output element.

    `exact` is y and `magnitudes` is S, both (N, O, out_h, out_w) in float64; `x` and `w` are the operands.
    """
    u = UNIT_ROUNDOFF[arithmetic.accumulate_precision(problem.dtype)]
    terms = problem.reduction_length + problem.bias
    if arithmetic.algorithm == "fft":
        sizes = _per_output(problem, _norms(pad(problem, x)), _norms(w))
        bound = fft_error_factor(problem) * u * sizes + u * magnitudes
    elif arithmetic.algorithm in ("winograd", "auto"):
        largest, sums = np.abs(x).max((2, 3)).astype(np.float64), np.abs(w.astype(np.float64)).sum((2, 3))
        bound = winograd_error_factor(problem) * u * _per_output(problem, largest, sums) + u * magnitudes
    else:
        bound = gamma(terms, u) * magnitudes
    operand = UNIT_ROUNDOFF[arithmetic.operand_precision(problem.dtype)]
    output = _output_roundoff(problem, arithmetic)
    if operand > UNIT_ROUNDOFF[problem.dtype]:
        of_product = 2 * operand + operand**2
        bound = (1 + of_product) * bound + of_product * magnitudes
    if output > u:
        bound = output * np.abs(exact) + (1 + output) * bound
    return np.asarray(bound + gamma(terms, UNIT_ROUNDOFF["float64"]) * magnitudes + UNDERFLOW[problem.dtype])


def warn_level(
    problem: ConvProblem, arithmetic: Arithmetic, exact: NDArray[np.float64], magnitudes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The error above which an answer inside its bound is still unusual, per output element."""
    u = UNIT_ROUNDOFF[arithmetic.accumulate_precision(problem.dtype)]
    output = _output_roundoff(problem, arithmetic)
    operand = UNIT_ROUNDOFF[arithmetic.operand_precision(problem.dtype)]
    level = WARN_LAMBDA * math.sqrt(problem.reduction_length + problem.bias) * u * magnitudes
    if operand > UNIT_ROUNDOFF[problem.dtype]:
        level = level + 2 * operand * magnitudes
    if output > u:
        level = level + output * np.abs(exact)
    return np.asarray(level + UNDERFLOW[problem.dtype])


def _output_roundoff(problem: ConvProblem, arithmetic: Arithmetic) -> float:
    """Of the coarsest precision that a result passes through."""
    return max(UNIT_ROUNDOFF[problem.dtype], UNIT_ROUNDOFF[arithmetic.output or problem.dtype])


def _norms(planes: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.square(planes, dtype=np.float64).sum((2, 3))))


def _per_output(problem: ConvProblem, inputs: NDArray[Any], weights: NDArray[Any]) -> NDArray[np.float64]:
    """The sum over the channels of a group of inputs (N, C) times weights (O, C/groups): (N, O, 1, 1)."""
    n, groups = problem.batch, problem.groups
    summed = np.einsum("ngc,goc->ngo", inputs.reshape(n, groups, -1), weights.reshape(groups, -1, weights.shape[1]))
    return np.asarray(summed.reshape(n, problem.out_channels, 1, 1))
