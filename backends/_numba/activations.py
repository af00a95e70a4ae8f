"""Activations of vectors in LLVM's language, for the store of `numba-direct`'s convolution.

NaN stays NaN: a comparison with NaN is false, and the operand that may be NaN is taken then. The exponential is
2^n * e^r with n an integer and |r| <= ln(2) / 2; e^r is its Taylor series, cut off where the rest is below a quarter of
a rounding.
"""

# llvmlite has no types.
# mypy: ignore-errors
from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

from llvmlite import ir

from convbench.problem import Epilogue

from .vectors import broadcast, multiply_add, scalar_bytes

# By the bytes of a number: terms of the series; bits of the significand and offset of the exponent in the format; up to
# which number e^x is a normal number; the bits of ln(2) whose products with n are exact.
_TERMS = {4: 8, 8: 14}
_FORMAT = {4: (23, 127), 8: (52, 1023)}
_LARGEST = {4: 88.0, 8: 709.0}
_EXACT_BITS = {4: 12, 8: 36}
_SMALLEST = -80.0  # 1 and e^x are 1 below it
_LN2 = Fraction("0.693147180559945309417232121458176568")


def activated(b: Any, epilogue: Epilogue, y: Any) -> Any:
    """The activation of the vector `y`; `y` itself without one."""
    limits = {"relu": (0.0, None), "relu6": (0.0, 6.0), "clip": (epilogue.low, epilogue.high), None: (None, None)}
    if epilogue.activation in limits:
        return _clipped(b, y, *limits[epilogue.activation])
    if epilogue.activation == "leaky_relu":
        is_above = b.fcmp_ordered(">", y, _constant(b, y, 0.0))
        return b.select(is_above, y, b.fmul(y, _constant(b, y, epilogue.slope)))
    if epilogue.activation == "hard_swish":
        gate = _clipped(b, b.fadd(y, _constant(b, y, 3.0)), 0.0, 6.0)
        return b.fdiv(b.fmul(y, gate), _constant(b, y, 6.0))
    if epilogue.activation == "sigmoid":
        return _logistic(b, y)
    if epilogue.activation == "silu":
        return b.fmul(y, _logistic(b, y))
    assert epilogue.activation == "gelu_tanh"
    # (1 + tanh u) / 2 is the logistic function of 2 u.
    cube = b.fmul(b.fmul(y, y), y)
    inner = multiply_add(b, _constant(b, y, 0.044715), cube, y)
    return b.fmul(y, _logistic(b, b.fmul(_constant(b, y, 2 * math.sqrt(2 / math.pi)), inner)))


def _constant(b: Any, like: Any, number: float) -> Any:
    return broadcast(b, ir.Constant(like.type.element, number), like.type)


def _clipped(b: Any, y: Any, low: float | None, high: float | None) -> Any:
    for limit, beyond in ((low, "<"), (high, ">")):
        if limit is not None:
            bound = _constant(b, y, limit)
            y = b.select(b.fcmp_ordered(beyond, y, bound), bound, y)
    return y


def _logistic(b: Any, y: Any) -> Any:
    """1 / (1 + e^-y); 0 where e^-y would not be a finite number."""
    one, largest = _constant(b, y, 1.0), _constant(b, y, _LARGEST[scalar_bytes(y.type.element)])
    opposite = b.fneg(y)
    value = b.fdiv(one, b.fadd(one, _exponential(b, _clipped(b, opposite, _SMALLEST, None))))
    return b.select(b.fcmp_ordered(">", opposite, largest), _constant(b, y, 0.0), value)


def _exponential(b: Any, x: Any) -> Any:
    """e^x for x that is NaN, or from `_SMALLEST` to `_LARGEST`; beyond it any number."""
    size = scalar_bytes(x.type.element)
    bits, offset = _FORMAT[size]
    integers = ir.VectorType(ir.IntType(8 * size), x.type.count)
    # Added to this number, another one is rounded to an integer, which its last bits are then.
    shift = _constant(b, x, 1.5 * 2**bits)
    shifted = multiply_add(b, x, _constant(b, x, 1 / math.log(2)), shift)
    n = b.fsub(shifted, shift)
    high = Fraction(math.floor(_LN2 * 2 ** _EXACT_BITS[size]), 2 ** _EXACT_BITS[size])
    r = multiply_add(b, n, _constant(b, x, float(-high)), x)
    r = multiply_add(b, n, _constant(b, x, float(high - _LN2)), r)
    series = _constant(b, x, 1 / math.factorial(_TERMS[size] - 1))
    for power in reversed(range(_TERMS[size] - 1)):
        series = multiply_add(b, series, r, _constant(b, x, 1 / math.factorial(power)))
    number = b.sub(b.bitcast(shifted, integers), b.bitcast(shift, integers))
    biased = b.add(number, broadcast(b, ir.Constant(integers.element, offset), integers))
    power_of_two = b.shl(biased, broadcast(b, ir.Constant(integers.element, bits), integers))
    return b.fmul(series, b.bitcast(power_of_two, x.type))
