"""Activations in float64: their values, how much they enlarge an error, and the data on which they show.

Formulas are those of `convbench.problem.epilogue`. Tails that the plain formula would lose to cancellation are computed
by the complement: gelu by erfc, gelu_tanh and silu by a logistic function that never overflows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import Activation, Epilogue

Array = NDArray[np.float64]

_LIPSCHITZ: dict[Activation, float] = {
    "relu": 1.0, "relu6": 1.0, "clip": 1.0, "sigmoid": 0.25, "hard_swish": 1.5, "silu": 1.0999, "gelu": 1.1290,
    "gelu_tanh": 1.1295,
}  # fmt: skip
"""The largest slope, rounded up: of silu at 2.3994, of gelu at the square root of 2."""
_MONOTONE: tuple[Activation, ...] = ("relu", "relu6", "clip", "sigmoid")
_ROUNDINGS: dict[Activation, float] = {
    "relu": 0, "relu6": 0, "clip": 0, "leaky_relu": 2, "hard_swish": 4, "sigmoid": 8, "silu": 8, "gelu": 8,
    "gelu_tanh": 8,
}  # fmt: skip
"""How many unit roundoffs a careful implementation may err: an exponential, tanh or erf by some 2 units in the last
place, and the operations around it."""
_CANCELLING: tuple[Activation, ...] = ("hard_swish", "gelu", "gelu_tanh")
"""Where 1 is added to a number near -1, or 1/2 to y/6 near -1/2, what is lost is relative to y, not to the result."""
_EXPONENTIAL: tuple[Activation, ...] = ("sigmoid", "silu", "gelu", "gelu_tanh")
_TIMES_INFINITY: tuple[Activation, ...] = ("hard_swish", "silu", "gelu", "gelu_tanh")
_SPREAD: dict[Activation, float] = {
    "relu6": 4.0, "hard_swish": 2.0, "sigmoid": 2.0, "silu": 2.0, "gelu": 1.0, "gelu_tanh": 1.0
}  # fmt: skip


def activated(epilogue: Epilogue, y: Array) -> Array:
    """The activation of `y` (any shape) in float64; of a NaN a NaN, of an infinity the limit. `y` itself without."""
    if epilogue.activation is None:
        return y
    with np.errstate(over="ignore", invalid="ignore"):
        values = _FUNCTIONS[epilogue.activation](epilogue, y)
    if epilogue.activation in _TIMES_INFINITY:
        values = np.where(y == -np.inf, 0.0, values)
    return np.asarray(values, np.float64)


def enlarged(epilogue: Epilogue, y: Array, error: Array) -> Array:
    """How much the activation changes at the most where `y` (finite) changes by up to `error`."""
    if epilogue.activation in _MONOTONE:
        middle = activated(epilogue, y)
        return np.asarray(np.maximum(activated(epilogue, y + error) - middle, middle - activated(epilogue, y - error)))
    return lipschitz(epilogue) * error


def lipschitz(epilogue: Epilogue) -> float:
    """The largest slope of the activation; 1 without."""
    if epilogue.slope is not None:
        return max(1.0, abs(epilogue.slope))
    return 1.0 if epilogue.activation is None else _LIPSCHITZ[epilogue.activation]


def approximation_error(epilogue: Epilogue, y: Array, unit: float, smallest: float) -> Array:
    """How far a careful implementation may be from the activation of `y` exactly as it is (finite), computed with
    roundings of `unit`, where numbers below `smallest` may be flushed to zero."""
    if epilogue.activation is None:
        return np.zeros_like(y)
    sizes = np.abs(activated(epilogue, y))
    if epilogue.activation in _CANCELLING:
        sizes = np.maximum(sizes, np.abs(y))
    error = _ROUNDINGS[epilogue.activation] * unit * sizes
    if epilogue.activation in _EXPONENTIAL:
        error = error + 2 * smallest * np.maximum(1.0, np.abs(y))
    for limit in (epilogue.low, epilogue.high):
        if limit is not None and not _is_short(limit):  # rounded by whoever keeps it
            error = error + np.where(sizes == abs(limit), unit * abs(limit), 0.0)
    return np.asarray(error)


def is_exact(epilogue: Epilogue) -> bool:
    """Whether the epilogue of numbers of few bits is one that every format and order of operations gives exactly."""
    if epilogue.activation == "leaky_relu":
        return math.frexp(epilogue.slope or 0.0)[0] in (0.5, -0.5) and epilogue.residual != "after"
    if epilogue.activation == "clip":
        short = all(_is_short(limit) for limit in (epilogue.low, epilogue.high) if limit is not None)
        return short and epilogue.residual != "after"
    return epilogue.activation in (None, "relu", "relu6")


def spread(epilogue: Epilogue) -> float | None:
    """How far, as a standard deviation, the numbers before the activation should reach for its every part to show; None
    where any size does."""
    if epilogue.low is not None and epilogue.high is not None:
        return max(abs(epilogue.low), abs(epilogue.high)) / 1.5
    return None if epilogue.activation is None else _SPREAD.get(epilogue.activation)


def bounded(epilogue: Epilogue, y: Array) -> Array:
    """`y` with finite numbers instead of special ones: of infinities those at which the activation is flat, if it is
    anywhere."""
    far = 1e3 + abs(epilogue.low or 0.0) + abs(epilogue.high or 0.0)
    return np.nan_to_num(y, nan=0.0, posinf=far, neginf=-far)


def also_right(epilogue: Epilogue, y: Array, *, loses_nan: bool) -> list[Array]:
    """Further values of the activation of `y`, where special values leave a choice: the product of minus infinity and
    zero may be NaN; and a backend that declares it may make any end of the range of a NaN, or zero."""
    if epilogue.activation is None:
        return []
    values, others = activated(epilogue, y), []
    if epilogue.activation in _TIMES_INFINITY:
        others.append(np.where(y == -np.inf, np.nan, values))
    if loses_nan:
        ends = activated(epilogue, np.array([-np.inf, 0.0, np.inf]))
        others += [np.where(np.isnan(y), end, values) for end in (*ends, 0.0)]
    return others


def _is_short(number: float) -> bool:
    """Whether every format holds it."""
    return number == 0 or ((number * 2.0**8).is_integer() and abs(number) < 2**5 and _significant_bits(number) <= 8)


def _significant_bits(number: float) -> int:
    numerator = abs(number.as_integer_ratio()[0])
    return numerator.bit_length() - ((numerator & -numerator).bit_length() - 1)


def _logistic(y: Array) -> Array:
    small = np.exp(-np.abs(y))
    return np.asarray(np.where(y >= 0, 1.0, small) / (1.0 + small))


def _clipped(y: Array, low: float | None, high: float | None) -> Array:
    return np.asarray(np.clip(y, low, high))


def _gelu(y: Array) -> Array:
    complement = np.asarray(np.frompyfunc(math.erfc, 1, 1)(-y / math.sqrt(2.0)), np.float64)
    return np.asarray(0.5 * y * complement)


_FUNCTIONS: dict[Activation, Callable[[Epilogue, Array], Any]] = {
    "relu": lambda e, y: _clipped(y, 0.0, None),
    "relu6": lambda e, y: _clipped(y, 0.0, 6.0),
    "clip": lambda e, y: _clipped(y, e.low, e.high),
    "leaky_relu": lambda e, y: np.where(y > 0, y, (e.slope or 0.0) * y),
    "hard_swish": lambda e, y: y * _clipped(y + 3.0, 0.0, 6.0) / 6.0,
    "sigmoid": lambda e, y: _logistic(y),
    "silu": lambda e, y: y * _logistic(y),
    "gelu": lambda e, y: _gelu(y),
    "gelu_tanh": lambda e, y: y * _logistic(math.sqrt(8.0 / math.pi) * (y + 0.044715 * y**3)),
}
