"""The data that a convolution is asked on: real numbers, or integers chosen so that the answer is exact.

Both are full: no zeros, so that no tap can be wrong unseen. The same problem and seed give the same data anywhere.
"""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem, Dtype
from convbench.verification.bounds import (
    LARGEST_EXACT_INTEGER,
    UNIT_ROUNDOFF,
    fft_error_factor,
    gamma,
    winograd_error_factor,
)

NUMPY_DTYPES: dict[Dtype, np.dtype[Any]] = {
    "float64": np.dtype(np.float64),
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}


@dataclass(frozen=True)
class Operands:
    """Input (N, C, H, W), weight (O, C/groups, kh, kw) and bias (O,) or None, in the problem's dtype."""

    x: NDArray[Any]
    w: NDArray[Any]
    b: NDArray[Any] | None


def normal_operands(problem: ConvProblem, seed: int) -> Operands:
    """Standard normal input; weights normal with variance 1/reduction_length, so that outputs are near 1 in size."""
    rng = _generator(problem, seed)
    scale = 1 / math.sqrt(problem.reduction_length)
    return rounded(
        problem,
        rng.standard_normal(problem.input_shape, dtype=np.float32),
        rng.standard_normal(problem.weight_shape, dtype=np.float32) * np.float32(scale),
        rng.standard_normal(problem.out_channels, dtype=np.float32) if problem.bias else None,
    )


def integer_operands(problem: ConvProblem, magnitude: int, seed: int) -> Operands:
    """Integers from [-magnitude, magnitude] without zero; the bias reaches to magnitude^2, or as far as the narrowest
    format holds every integer, since a backend may round it to that."""
    rng = _generator(problem, seed + 1)
    largest_bias = min(magnitude**2, min(LARGEST_EXACT_INTEGER.values()))
    return rounded(
        problem,
        _nonzero_integers(rng, magnitude, problem.input_shape),
        _nonzero_integers(rng, magnitude, problem.weight_shape),
        _nonzero_integers(rng, largest_bias, (problem.out_channels,)) if problem.bias else None,
    )


def exact_magnitude(problem: ConvProblem, arithmetic: Arithmetic) -> int:
    """The largest a for which integers in [-a, a] leave no room for rounding; 0 when there is none.

    Direct and matrix-product methods: every partial sum, whatever the order, is at most (K + 1) a^2 in size, which must
    be an integer that the accumulator holds exactly, below the overflow of the output. FFT and Winograd round in
    between; there the a-priori error must stay below 1/2, so that rounding to the nearest integer gives the answer,
    which the output must hold exactly.
    """
    terms = problem.reduction_length + 1
    accumulate = arithmetic.accumulate_precision(problem.dtype)
    largest_sum = LARGEST_EXACT_INTEGER[accumulate]
    if problem.dtype == "float16":
        largest_sum = min(largest_sum, 65504)
    if arithmetic.algorithm in ("fft", "winograd", "auto"):
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[problem.dtype])
    if arithmetic.output:
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[arithmetic.output])
    magnitude = math.isqrt(largest_sum // terms)
    u = UNIT_ROUNDOFF[accumulate]
    of_sums = (u + gamma(terms, UNIT_ROUNDOFF["float64"])) * terms
    if arithmetic.algorithm == "fft":
        norms = math.sqrt(math.prod(_transformed_extents(problem)) * math.prod(problem.kernel_size))
        channels = problem.in_channels // problem.groups
        magnitude = min(magnitude, _root_below(0.5, fft_error_factor(problem) * u * channels * norms + of_sums))
    elif arithmetic.algorithm in ("winograd", "auto"):
        factor = winograd_error_factor(problem) * u * problem.reduction_length + of_sums
        magnitude = min(magnitude, _root_below(0.5, factor))
    operand = LARGEST_EXACT_INTEGER[arithmetic.operand_precision(problem.dtype)]
    return min(magnitude, operand, LARGEST_EXACT_INTEGER[problem.dtype])


def rounded(problem: ConvProblem, x: NDArray[Any], w: NDArray[Any], b: NDArray[Any] | None) -> Operands:
    """The three as operands of `problem`: in its dtype, contiguous."""
    dtype = NUMPY_DTYPES[problem.dtype]
    return Operands(
        np.ascontiguousarray(x, dtype), np.ascontiguousarray(w, dtype), None if b is None else b.astype(dtype)
    )


def _generator(problem: ConvProblem, seed: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(problem.case_id.encode())])


def _nonzero_integers(rng: np.random.Generator, largest: int, shape: tuple[int, ...]) -> NDArray[Any]:
    values = rng.integers(-largest, largest, shape, dtype=np.int64)
    return values + (values >= 0)


def _transformed_extents(problem: ConvProblem) -> tuple[int, int]:
    """Height and width of the padded plane, as far as it is not zeros."""
    if problem.padding_mode == "zeros":
        return (problem.height, problem.width)
    rows, columns = problem.padding
    return (problem.height + sum(rows), problem.width + sum(columns))


def _root_below(limit: float, factor: float) -> int:
    """The largest integer a with factor * a^2 < limit."""
    a = math.floor(math.sqrt(limit / factor))
    return a if factor * a * a < limit else a - 1
