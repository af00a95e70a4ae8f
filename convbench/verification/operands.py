"""The data that a convolution is asked on: real numbers, or integers chosen so that the answer is exact.

They are full: no zeros, so that no tap can be wrong unseen, but where a filter picks one tap on purpose. The same
problem and seed give the same data anywhere.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
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

# Exponents to either side of 0 that "wide" data takes.
WIDE_BINADES: dict[Dtype, float] = {"float64": 100, "float32": 20, "float16": 3, "bfloat16": 20}


@dataclass(frozen=True)
class Operands:
    """Input (N, C, H, W), weight (O, C/groups, kh, kw) and bias (O,) or None, in the problem's dtype."""

    x: NDArray[Any]
    w: NDArray[Any]
    b: NDArray[Any] | None

    def map(self, change: Callable[[NDArray[Any]], NDArray[Any]]) -> Operands:
        """The operands with `change` applied to each; no bias stays none."""
        return Operands(change(self.x), change(self.w), None if self.b is None else change(self.b))


def normal_operands(problem: ConvProblem, seed: int) -> Operands:
    """Standard normal input; weights normal with variance 1/reduction_length, so that outputs are near 1 in size."""
    rng = _generator(problem, seed)
    drawn: Any = np.float64 if problem.dtype == "float64" else np.float32
    scale = drawn(1 / math.sqrt(problem.reduction_length))
    return rounded(
        problem,
        rng.standard_normal(problem.input_shape, dtype=drawn),
        rng.standard_normal(problem.weight_shape, dtype=drawn) * scale,
        rng.standard_normal(problem.out_channels, dtype=drawn) if problem.bias else None,
    )


def positive_operands(problem: ConvProblem, seed: int) -> Operands:
    """The sizes of normal operands: sums grow with their length, and an accumulator that is too narrow shows."""
    return normal_operands(problem, seed).map(np.abs)


def wide_operands(problem: ConvProblem, seed: int) -> Operands:
    """Sizes spread evenly over binades, as many to either side of 1 as keep products normal."""
    rng = _generator(problem, seed + 2)
    binades = WIDE_BINADES[problem.dtype]
    scale = 1 / math.sqrt(problem.reduction_length)

    def draw(shape: tuple[int, ...]) -> NDArray[np.float64]:
        return np.asarray(np.exp2(rng.uniform(-binades, binades, shape)) * rng.choice((-1.0, 1.0), shape))

    bias = draw((problem.out_channels,)) if problem.bias else None
    return rounded(problem, draw(problem.input_shape), draw(problem.weight_shape) * scale, bias)


def one_tap_operands(problem: ConvProblem, seed: int) -> Operands:
    """Filters of one tap, 1 or -1, and inputs with the last bit of their significand set: each output is one input
    element, and an operand that is rounded to fewer bits on the way cannot hide in a bound for sums. The bias is zero.
    """
    rng = _generator(problem, seed + 3)
    largest = LARGEST_EXACT_INTEGER[problem.dtype]
    x = (rng.integers(largest // 2, largest, problem.input_shape) | 1) / largest
    x *= rng.choice((-1.0, 1.0), problem.input_shape)
    w = np.zeros((problem.out_channels, math.prod(problem.weight_shape[1:])))
    w[np.arange(len(w)), rng.integers(0, w.shape[1], len(w))] = rng.choice((-1.0, 1.0), len(w))
    bias = np.zeros(problem.out_channels) if problem.bias else None
    return rounded(problem, x, w.reshape(problem.weight_shape), bias)


def special_operands(problem: ConvProblem, seed: int) -> Operands:
    """Normal operands with a NaN and infinities at a few places of the input, or of the bias.

    Not of the weight: whether a tap of it that lies on padding is multiplied at all is unspecified.
    """
    drawn = normal_operands(problem, seed)
    rng = _generator(problem, seed + 4)
    target = drawn.b if drawn.b is not None and rng.random() < 0.2 else drawn.x
    flat = target.reshape(-1)
    chosen = rng.permutation(np.array([np.nan, np.inf, -np.inf]))[: max(1, min(3, flat.size // 8))]
    flat[rng.choice(flat.size, chosen.size, replace=False)] = chosen
    return drawn


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
    """The largest a for which integers in [-a, a] leave no room for rounding; 0 when no such a exists.

    Direct and matrix-product methods: every partial sum, whatever the order, is at most (K + 1) a^2 in size, which must
    be an integer that the accumulator holds exactly, below the overflow of the output. FFT and Winograd round in
    between; there the a-priori error must stay below 1/2, so that rounding to the nearest integer gives the answer,
    which the output must hold exactly.
    """
    terms = problem.reduction_length + 1
    accumulate = arithmetic.accumulate_precision(problem.dtype)
    largest_sum = LARGEST_EXACT_INTEGER[accumulate]
    if problem.dtype == "float16":
        largest_sum = min(largest_sum, 65504 // 2)  # twice the answer is asked for, too
    if arithmetic.algorithm in ("fft", "winograd", "auto"):
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[problem.dtype])
    if arithmetic.output:
        largest_sum = min(largest_sum, LARGEST_EXACT_INTEGER[arithmetic.output])
    magnitude = math.isqrt(largest_sum // terms)
    u = UNIT_ROUNDOFF[accumulate]
    of_sums = (u + gamma(terms, UNIT_ROUNDOFF["float64"])) * terms
    if arithmetic.algorithm == "fft":
        rows, columns = ((0, 0), (0, 0)) if problem.padding_mode == "zeros" else problem.padding  # as far as not zeros
        transformed = (problem.height + sum(rows)) * (problem.width + sum(columns))
        norms = math.sqrt(transformed * math.prod(problem.kernel_size))
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


def _root_below(limit: float, factor: float) -> int:
    """The largest integer a with factor * a^2 < limit."""
    a = math.floor(math.sqrt(limit / factor))
    return a if factor * a * a < limit else a - 1
