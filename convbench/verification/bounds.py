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

The gradients are sums of products, too: K, and the planes of the normwise bounds, are those of their direction. Where
padding repeats elements of the input (r times at the most), a half format may be rounded to before their gradients are
added: gamma_r S in the output's precision instead of u_out |y|, and r halves of the smallest subnormal. The same holds,
where the backend declares it, for the images of a batch in the gradient of a weight, and for the taps of the kernel in
that of the input.

An error above sqrt(K) u S scaled by `WARN_LAMBDA` (Higham and Mary 2019) is inside the bound yet unusual: a warning.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic, Precision
from convbench.problem import ConvProblem, Dtype
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.reference import pad

UNIT_ROUNDOFF: dict[Precision | Dtype, float] = {
    "float64": 2.0**-53,
    "float32": 2.0**-24,
    "tf32": 2.0**-11,
    "float16": 2.0**-11,
    "bfloat16": 2.0**-8,
}
LARGEST_EXACT_INTEGER: dict[Precision | Dtype, int] = {
    "float64": 2**53,
    "float32": 2**24,
    "tf32": 2**11,
    "float16": 2**11,
    "bfloat16": 2**8,
}
# Half the smallest subnormal; of float64 all of it, whose half is no number.
UNDERFLOW = {"float64": 2.0**-1074, "float32": 2.0**-150, "float16": 2.0**-25, "bfloat16": 2.0**-134}

SMALLEST_NORMAL: dict[str, float] = {
    "float64": 2.0**-1022,
    "float32": 2.0**-126,
    "tf32": 2.0**-126,
    "float16": 2.0**-14,
    "bfloat16": 2.0**-126,
}

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


def parts_added(problem: ConvProblem, arithmetic: Arithmetic) -> int:
    """How many parts of one result may be rounded to the problem's dtype before they are added: copies that padding
    made of an element of the input, and where the backend declares it taps, images, or all of a bias's gradient."""
    in_dtype = arithmetic.adds_gradients_in_dtype
    if problem.direction == "input_gradient":
        return problem.repeats * (math.prod(problem.kernel_size) if in_dtype else 1)
    if problem.direction == "forward" or not in_dtype:
        return 1
    return problem.batch if problem.direction == "weight_gradient" else problem.reduction_length


def norms_of_ones(problem: ConvProblem) -> float:
    """The sum over planes of the products of their 2-norms, as FFT's bound has it, for operands of ones."""
    rows, columns = ((0, 0), (0, 0)) if problem.padding_mode == "zeros" else problem.padding  # as far as not zeros
    image = (problem.height + sum(rows)) * (problem.width + sum(columns))
    kernel, out = math.prod(problem.kernel_size), problem.out_height * problem.out_width
    if problem.direction == "input_gradient":
        return problem.out_channels // problem.groups * math.sqrt(out * kernel) * problem.repeats
    if problem.direction == "weight_gradient":
        return problem.batch * math.sqrt(image * out)
    return problem.in_channels // problem.groups * math.sqrt(image * kernel)


def error_bound(
    problem: ConvProblem,
    arithmetic: Arithmetic,
    exact: NDArray[np.float64],
    magnitudes: NDArray[np.float64],
    *operands: NDArray[Any],
    is_rounded: bool = True,
) -> NDArray[np.float64]:
    """The largest error that rounding explains, per element of the result; before its last rounding, to the precision
    of the result, where it is not `is_rounded`.

    `exact` is the result and `magnitudes` is S, both of the result's shape in float64; `operands` are those that are
    multiplied: x and w, for the gradient of the input g and w, for that of the weight x and g.
    """
    u = UNIT_ROUNDOFF[arithmetic.accumulate_precision(problem.dtype)]
    terms = _terms(problem)
    if arithmetic.algorithm == "fft" and len(operands) == 2:
        bound = fft_error_factor(problem) * u * _norm_products(problem, *operands) + u * magnitudes
    elif arithmetic.algorithm in ("winograd", "auto") and len(operands) == 2:
        one, other = operands
        largest, sums = np.abs(one).max((2, 3)).astype(np.float64), np.abs(other.astype(np.float64)).sum((2, 3))
        bound = winograd_error_factor(problem) * u * _per_plane(problem, largest, sums) + u * magnitudes
    else:
        bound = gamma(terms, u) * magnitudes
    operand = UNIT_ROUNDOFF[arithmetic.operand_precision(problem.dtype)]
    output = _output_roundoff(problem, arithmetic)
    if operand > UNIT_ROUNDOFF[problem.dtype]:
        of_product = 2 * operand + operand**2
        bound = (1 + of_product) * bound + of_product * magnitudes
    parts = parts_added(problem, arithmetic) if output > u else 1
    if output > u and is_rounded:
        bound = _final_rounding(parts, output, exact, magnitudes) + (1 + output) * bound
    return np.asarray(bound + gamma(terms, UNIT_ROUNDOFF["float64"]) * magnitudes + parts * UNDERFLOW[problem.dtype])


def underflow_bound(
    problem: ConvProblem, arithmetic: Arithmetic, one: NDArray[Any], other: NDArray[Any], *, flushed: bool
) -> float:
    """How much more the error may be where products are denormal: every rounding in the accumulator's precision may err
    by half its smallest number (Higham, ch. 2, eq. 2.8). Where they are `flushed` to zero, as many libraries and
    AVX-512's instructions for bfloat16 do, it is the smallest normal number instead, and operands and results are
    flushed, too.

    `one` and `other` are the operands that are multiplied. A transform errs once for each of its operations, and what
    it errs in one operand is multiplied by the other.
    """
    accumulate, operand = arithmetic.accumulate_precision(problem.dtype), arithmetic.operand_precision(problem.dtype)
    terms = _terms(problem)
    tiny = SMALLEST_NORMAL[accumulate] if flushed else 2 * UNDERFLOW.get(accumulate, UNDERFLOW["float32"])
    sizes = [np.abs(array.astype(np.float64)).max(initial=0.0) * terms for array in (one, other)]
    bound = 2 * terms * tiny
    if arithmetic.algorithm in ("winograd", "auto"):
        bound += winograd_error_factor(problem) * (1 + sum(sizes)) * tiny
    elif arithmetic.algorithm == "fft":
        bound += fft_error_factor(problem) * problem.height * problem.width * (1 + sum(sizes)) * tiny
    if not flushed:
        return float(bound)
    coarsest = max(SMALLEST_NORMAL[operand], SMALLEST_NORMAL[problem.dtype])
    return float(bound + coarsest * (1 + sum(sizes)))


def warn_level(
    problem: ConvProblem, arithmetic: Arithmetic, exact: NDArray[np.float64], magnitudes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The error above which an answer inside its bound is still unusual, per output element."""
    u = UNIT_ROUNDOFF[arithmetic.accumulate_precision(problem.dtype)]
    output = _output_roundoff(problem, arithmetic)
    operand = UNIT_ROUNDOFF[arithmetic.operand_precision(problem.dtype)]
    parts = parts_added(problem, arithmetic) if output > u else 1
    level = WARN_LAMBDA * math.sqrt(_terms(problem)) * u * magnitudes
    if operand > UNIT_ROUNDOFF[problem.dtype]:
        level = level + 2 * operand * magnitudes
    if output > u:
        level = level + _final_rounding(parts, output, exact, magnitudes)
    return np.asarray(level + parts * UNDERFLOW[problem.dtype])


def _output_roundoff(problem: ConvProblem, arithmetic: Arithmetic) -> float:
    """Of the coarsest precision that a result passes through."""
    return max(UNIT_ROUNDOFF[problem.dtype], UNIT_ROUNDOFF[arithmetic.output or problem.dtype])


def _terms(problem: ConvProblem) -> int:
    return problem.reduction_length + (problem.bias and problem.direction == "forward")


def _final_rounding(
    parts: int, output: float, exact: NDArray[np.float64], magnitudes: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The error of rounding to the output's precision, once or before every addition of a part."""
    if parts > 1:
        return np.asarray(gamma(parts, output) * magnitudes)
    return np.asarray(output * np.abs(exact))


def _norm_products(problem: ConvProblem, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    padded = one if problem.direction == "input_gradient" else pad(problem, one)
    return _per_plane(problem, _norms(padded), _norms(other))


def _norms(planes: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(np.sqrt(np.square(planes, dtype=np.float64).sum((2, 3))))


_CONTRACTIONS = {"forward": "ngc,goc->ngo", "input_gradient": "ngo,goc->ngc", "weight_gradient": "ngc,ngo->goc"}


def _per_plane(problem: ConvProblem, one: NDArray[Any], other: NDArray[Any]) -> NDArray[np.float64]:
    """For each plane of the result the sum over pairs of planes of a figure of the one times a figure of the other: of
    inputs (N, C), weights (O, C/groups) and output gradients (N, O), as the direction has them. (planes..., 1, 1)."""
    groups, shape = problem.groups, {"x": (problem.batch, problem.groups, -1)}
    shape |= {"g": shape["x"], "w": (groups, -1, problem.in_channels // groups)}
    arrays = (array.reshape(shape[name]) for array, name in zip((one, other), OPERANDS[problem.direction], strict=True))
    summed = np.einsum(_CONTRACTIONS[problem.direction], *arrays)
    summed *= problem.repeats if problem.direction == "input_gradient" else 1
    return np.asarray(summed.reshape(*problem.result_shape[:2], 1, 1))
