"""Quantised convolutions by functions that correlate arrays of wider numbers, in which every sum is exact."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from convbench.backend import QuantizedArithmetic, QuantizedSupport, Ready, touching
from convbench.problem import ConvProblem, Scales

from .arrays import pad

if TYPE_CHECKING:
    import numpy as np

SUPPORT = QuantizedSupport(
    {f"{first}:{result}" for first in ("u8", "s8") for result in ("u8", "s8", "s32", "f32")}, weight_zero_point=True
)
ARITHMETIC = QuantizedArithmetic("even", "float64")  # np.rint, before the zero point is added


def prepared(
    problem: ConvProblem,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    scales: Scales,
    wide: str,
    correlate: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> Ready:
    """A convolution by `correlate(x, w)`, which gets numbers without zero points, the input padded, in the dtype
    `wide`: int32 or float64, which hold every sum that a problem may have."""
    import numpy as np

    assert problem.quantization is not None
    result = np.dtype(problem.quantization.dtypes["y"])
    x = np.array(x, order="C")
    weights = w.astype(wide) - scales.w_zero.astype(wide).reshape(-1, 1, 1, 1)
    bias = None if b is None else b.astype(wide)[:, None, None]
    multiplier = (scales.x_scale * scales.w_scale.astype(np.float64) / scales.y_scale).reshape(-1, 1, 1)

    def run() -> np.ndarray:
        sums = correlate(pad(problem, x.astype(wide) - scales.x_zero), weights)
        if bias is not None:
            sums += bias
        if result.name == "int32":
            return sums.astype(result)
        real = sums * multiplier
        if result.name == "float32":
            return real.astype(result)
        limits = np.iinfo(result)
        return np.clip(np.rint(real) + scales.y_zero, limits.min, limits.max).astype(result)

    return Ready(run, touch=touching(x))
