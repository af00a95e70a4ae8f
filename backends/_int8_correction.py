"""A quantised convolution as one of int8 by int8 without zero points, for compilers that have no more.

Padding holds the zero point, and what that adds to each sum is taken off again: sum[o] is that of x * w[o], plus
b[o] - x_zero * (all weights of o). An input of uint8 is shifted to int8, with a zero point that is 128 less.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench.backend import QuantizedArithmetic, QuantizedSupport
from convbench.problem import ConvProblem, Scales

if TYPE_CHECKING:
    import numpy as np

SUPPORT = QuantizedSupport({f"{first}:{result}" for first in ("u8", "s8") for result in ("u8", "s8", "s32", "f32")})
ARITHMETIC = QuantizedArithmetic("even")  # a sum in float32, times a multiplier in float32, rounded to even


def shifted_zero(problem: ConvProblem, scales: Scales) -> np.int8:
    """The input's zero point once the input is int8."""
    import numpy as np

    assert problem.quantization is not None
    return np.int8(scales.x_zero - (128 if problem.quantization.input == "u8" else 0))


def correction(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales) -> np.ndarray:
    """What to add to each channel's sums of products: the bias, less what the zero point adds. int32, (O,)."""
    import numpy as np

    off = -np.int64(shifted_zero(problem, scales)) * w.reshape(problem.out_channels, -1).astype(np.int64).sum(1)
    return np.asarray((off + (0 if b is None else b)).astype(np.int32))


def multiplier(problem: ConvProblem, scales: Scales) -> np.ndarray:
    """By what sums are multiplied: float32, (O,)."""
    import numpy as np

    exact = scales.x_scale * scales.w_scale.astype(np.float64) / scales.y_scale
    return np.asarray(np.broadcast_to(exact, (problem.out_channels,)).astype(np.float32))
