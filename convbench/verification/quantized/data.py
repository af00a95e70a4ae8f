"""The data of a quantised convolution: 8-bit operands, and the scales and zero points that go with them.

What a kind of values means for a question (`convbench.verification.question`):

    integers   the whole range of both formats; scales that are powers of two, so that halves come up and are exact
    normal     as a quantiser leaves them: near the zero point for the most part, scales that are no powers of two
    positive   the ends of both formats in runs, such as 255 and 127: what saturates sums of two products
    wide       the whole range, and scales of weights spread over six decades
    one-tap    filters that pick one element; half of all results lie between two integers

Zero points that a problem may have lie at either end of the format, or anywhere in it, and are not 0.
The same problem and seed give the same data anywhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend.quantized import QuantizedArithmetic
from convbench.problem import ConvProblem, Quantization, Scales
from convbench.problem.quantization import LARGEST_BIAS, LIMITS
from convbench.verification.operands import Operands, generator
from convbench.verification.question import Values

QUANTIZED_VALUES: tuple[Values, ...] = ("integers", "normal", "positive", "wide", "one-tap")
"""The kinds of values that a quantised problem is asked on. Integers are never NaN, so "special" is none of them."""

UNSATURATED = 64
"""Weights in [-64, 64): twice 255 * 64 is less than 2^15."""

_SEEDS = {"integers": 11, "normal": 12, "positive": 13, "wide": 14, "one-tap": 15}
_DECADES = 3  # to either side
_SPREAD = 50  # of requantised results: a part of them is clamped, most are not
_NORMAL_WEIGHTS, _NORMAL_INPUTS = 36.0, 45.0  # standard deviations
_IN_RUNS = 0.9  # the share of values at the end that its filter or channel is at


def quantized_operands(
    problem: ConvProblem, values: Values, seed: int, arithmetic: QuantizedArithmetic | None = None
) -> Operands:
    """The operands for a backend of this arithmetic; without one, weights are drawn from all of [-127, 127]."""
    q = problem.quantization
    assert q is not None
    rng = generator(problem, seed + _SEEDS[values])
    low, high = _weight_limits(q, arithmetic)
    w_zero = _weight_zero_points(rng, problem, q, low, high)
    x_zero = _zero_point(rng, q.input) if q.input_zero_point else 0
    x, w = _DRAW[values](rng, problem, x_zero, w_zero.reshape(-1, 1, 1, 1), (low, high))
    if arithmetic is not None and arithmetic.symmetric and q.input == "s8":
        x = np.maximum(x, -127)
    size = _size_of_sums(problem, x.astype(float) - x_zero, w - w_zero.reshape(-1, 1, 1, 1).astype(float))
    b = None
    if problem.bias:
        largest = 0 if values == "one-tap" else min(LARGEST_BIAS - 1, math.ceil(size))
        b = rng.integers(-largest, largest + 1, problem.out_channels, dtype=np.int32)
    scales = _scales(rng, q, values, size, w_zero, x_zero)
    return Operands(x=x.astype(q.dtypes["x"]), w=w.astype(np.int8), b=b, s=packed(scales))


def typical_operands(problem: ConvProblem, seed: int) -> Operands:
    """What is timed: operands as a quantiser leaves them."""
    return quantized_operands(problem, "normal", seed)


def packed(scales: Scales) -> NDArray[np.float64]:
    """`scales` in one array, as they go to a worker: `Operands.s`."""
    numbers = [scales.x_scale, scales.x_zero, scales.y_scale, scales.y_zero]
    return np.concatenate([np.array(numbers, np.float64), scales.w_scale, scales.w_zero], dtype=np.float64)


def _weight_limits(q: Quantization, arithmetic: QuantizedArithmetic | None) -> tuple[int, int]:
    if arithmetic is None:
        return -127, 127
    return (-UNSATURATED, UNSATURATED - 1) if arithmetic.saturates_on(q) else (arithmetic.least_weight, 127)


def _zero_point(rng: np.random.Generator, word: str) -> int:
    """At one end or anywhere, and not 0."""
    low, high = LIMITS[word]
    chosen = int(rng.choice([low, high, *rng.integers(low, high + 1, 2)]))
    return chosen or int(rng.integers(1, high + 1))


def _weight_zero_points(
    rng: np.random.Generator, problem: ConvProblem, q: Quantization, low: int, high: int
) -> NDArray[np.int64]:
    count = problem.out_channels if q.per_channel else 1
    if not q.weight_zero_point:
        return np.zeros(count, np.int64)
    drawn = rng.integers(low, high + 1, count)
    return np.where(drawn == 0, high, drawn)


# --- values -----------------------------------------------------------------------------------------------------------

Drawn = tuple[NDArray[Any], NDArray[Any]]
Limits = tuple[int, int]


def _full(rng: np.random.Generator, problem: ConvProblem, x_zero: int, w_zero: NDArray[Any], weights: Limits) -> Drawn:
    (x_low, x_high), (low, high) = _limits_of_input(problem), weights
    x = rng.integers(x_low, x_high + 1, problem.input_shape)
    return x, rng.integers(low, high + 1, problem.weight_shape)


def _usual(rng: np.random.Generator, problem: ConvProblem, x_zero: int, w_zero: NDArray[Any], weights: Limits) -> Drawn:
    x = x_zero + np.rint(rng.normal(0, _NORMAL_INPUTS, problem.input_shape))
    if x_zero == LIMITS["u8"][0]:  # behind a ReLU
        x = np.abs(x)
    w = w_zero + np.rint(rng.normal(0, _NORMAL_WEIGHTS * weights[1] / 127, problem.weight_shape))
    low, high = _limits_of_input(problem)
    if x_zero == 0 > low:  # symmetric quantisers leave -128 out
        low += 1
    return x.clip(low, high), w.clip(*weights)


def _ends(rng: np.random.Generator, problem: ConvProblem, x_zero: int, w_zero: NDArray[Any], weights: Limits) -> Drawn:
    x_ends, w_ends = np.array(_limits_of_input(problem)), np.array(weights)
    x = np.where(rng.random(problem.input_shape) < _IN_RUNS, x_ends[1], x_ends[0])
    of_filter = rng.integers(0, 2, (problem.out_channels, 1, 1, 1))
    is_other = rng.random(problem.weight_shape) >= _IN_RUNS
    return x, w_ends[of_filter ^ is_other]


def _picking(
    rng: np.random.Generator, problem: ConvProblem, x_zero: int, w_zero: NDArray[Any], weights: Limits
) -> Drawn:
    x, _ = _full(rng, problem, x_zero, w_zero, weights)
    o, taps = problem.out_channels, problem.reduction_length
    w = np.broadcast_to(w_zero.reshape(-1, 1), (o, taps)).copy()
    steps = rng.choice((-1, 1), o)
    picked = np.arange(o), rng.integers(0, taps, o)
    low, high = weights
    w[picked] = np.where((w[picked] + steps < low) | (w[picked] + steps > high), w[picked] - steps, w[picked] + steps)
    return x, w.reshape(problem.weight_shape)


_DRAW: dict[str, Callable[..., Drawn]] = {
    "integers": _full,
    "normal": _usual,
    "positive": _ends,
    "wide": _full,
    "one-tap": _picking,
}


def _limits_of_input(problem: ConvProblem) -> Limits:
    assert problem.quantization is not None
    return LIMITS[problem.quantization.input]


def _size_of_sums(problem: ConvProblem, x: NDArray[Any], w: NDArray[Any]) -> float:
    """About how large sums are: as for independent factors, with the means that both may have."""
    terms = problem.reduction_length
    spread = terms * float(np.square(x).mean()) * float(np.square(w).mean())
    return max(1.0, math.sqrt(spread + (terms * float(x.mean()) * float(w.mean())) ** 2))


# --- scales -----------------------------------------------------------------------------------------------------------


def _scales(
    rng: np.random.Generator, q: Quantization, values: Values, size: float, w_zero: NDArray[Any], x_zero: int
) -> Scales:
    """Scales with which a sum of this size becomes a result of about `_SPREAD`; with one-tap filters, half the sum."""
    shape = w_zero.shape
    w_zero = w_zero.astype(np.int8)
    if q.result == "s32":
        return Scales(1.0, x_zero, np.ones(shape, np.float32), w_zero, 1.0, 0)
    y_zero = _zero_point(rng, q.result) if q.result_zero_point else 0
    multiplier = 0.5 if values == "one-tap" else _SPREAD / size
    w_scale: NDArray[Any]
    if values in ("normal", "wide"):
        x_scale, y_scale = (float(np.float32(rng.uniform(0.003, 0.3))) for _ in range(2))
        decades = _DECADES if values == "wide" else 0.3
        w_scale = multiplier * y_scale / x_scale * 10 ** rng.uniform(-decades, decades, shape)
    else:
        x_scale, y_scale = (float(2.0 ** rng.integers(-9, 0)) for _ in range(2))
        spread = 0 if values == "one-tap" else rng.integers(-1, 2, shape)
        w_scale = y_scale / x_scale * 2.0 ** (np.round(np.log2(multiplier)) + np.broadcast_to(spread, shape))
    y_scale = y_scale if q.is_requantized else 1.0
    return Scales(x_scale, x_zero, np.asarray(w_scale, np.float32), w_zero, y_scale, y_zero)
