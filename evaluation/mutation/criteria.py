"""Criteria in common use, that call an answer right or wrong by looking at its numbers. Their formulas and limits are
those of the tools named.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

Accepts = Callable[[NDArray[Any], NDArray[Any]], bool]


@dataclass(frozen=True)
class Criterion:
    """`accepts` takes an answer and the right one in the problem's dtype. Where the shape or the dtype is another it
    does what the tool would."""

    name: str
    accepts: Accepts
    source: str


def allclose(got: NDArray[Any], expected: NDArray[Any], tolerance: float) -> bool:
    """`numpy.allclose` with one tolerance for both; of dtypes it takes no notice, and shapes may broadcast."""
    try:
        return np.allclose(_wide(got), _wide(expected), rtol=tolerance, atol=tolerance)
    except ValueError:
        return False


def either(got: NDArray[Any], expected: NDArray[Any], tolerance: float) -> bool:
    """Each element within an absolute or within a relative tolerance."""
    if got.shape != expected.shape:
        return False
    error = np.abs(_wide(got) - _wide(expected))
    return bool(((error <= tolerance) | (error <= tolerance * np.abs(_wide(expected)))).all())


# rtol, atol: torch/testing/_comparison.py, `_DTYPE_PRECISIONS`, torch 2.13.
TORCH_TOLERANCES = {
    "float16": (1e-3, 1e-5),
    "bfloat16": (1.6e-2, 1e-5),
    "float32": (1.3e-6, 1e-5),
    "float64": (1e-7, 1e-7),
}


def torch_close(got: NDArray[Any], expected: NDArray[Any]) -> bool:
    """`torch.testing.assert_close` with its defaults: of one shape and dtype, and allclose with its limits."""
    if got.shape != expected.shape or got.dtype != expected.dtype:
        return False
    rtol, atol = TORCH_TOLERANCES[expected.dtype.name]
    return np.allclose(_wide(got), _wide(expected), rtol=rtol, atol=atol)


# MIOpen 3, driver/conv_driver.hpp, `GetDefaultTolerance`: 1.5e-6 for float32, 8.2e-3 for float16, 8 times that for
# bfloat16. It has no float64, which is given float32's here; its implicit GEMMs are given ten times as much.
MIOPEN_TOLERANCES = {"float16": 8.2e-3, "bfloat16": 6.56e-2, "float32": 1.5e-6, "float64": 1.5e-6}


def rms_range(got: NDArray[Any], expected: NDArray[Any]) -> float:
    """sqrt(sum (got - expected)^2) / (sqrt(n) max(|got|, |expected|)): `rms_range` of MIOpen's test/verify.hpp."""
    got, expected = _wide(got).reshape(-1), _wide(expected).reshape(-1)
    largest = max(np.abs(got).max(), np.abs(expected).max(), np.finfo(np.float64).tiny)
    return float(np.sqrt(np.square(got - expected).sum()) / (np.sqrt(got.size) * largest))


def miopen_rms(got: NDArray[Any], expected: NDArray[Any]) -> bool:
    """MIOpenDriver's verification of a forward convolution: lists of numbers of the same length and type."""
    if got.size != expected.size or got.dtype != expected.dtype:
        return False
    return rms_range(got, expected) <= MIOPEN_TOLERANCES[expected.dtype.name]


def cutlass(got: NDArray[Any], expected: NDArray[Any], epsilon: float = 0.05, floor: float = 1 / 256) -> bool:
    """CUTLASS's profiler: include/cutlass/relatively_equal.h with the defaults of tools/profiler/src/options.cu."""
    if got.size != expected.size or got.dtype != expected.dtype:
        return False
    a, b = _wide(got).reshape(-1), _wide(expected).reshape(-1)
    difference = np.abs(a - b)
    small = (a == 0) | (b == 0) | (difference < floor)
    limit = np.where(small, epsilon * floor, epsilon * (np.abs(a) + np.abs(b)))
    return bool(((a == b) | (difference < limit)).all())


CRITERIA = (
    Criterion("allclose 1e-2", partial(allclose, tolerance=1e-2), "numpy.allclose, as KernelBench sets it"),
    Criterion("allclose 1e-4", partial(allclose, tolerance=1e-4), "numpy.allclose"),
    Criterion("either 1e-3", partial(either, tolerance=1e-3), "absolute or relative error, element by element"),
    Criterion("torch.testing", torch_close, "torch.testing.assert_close with its defaults"),
    Criterion("MIOpen RMS", miopen_rms, "MIOpenDriver's normwise root mean square"),
    Criterion("CUTLASS", cutlass, "the CUTLASS profiler's relative error with a floor"),
)


def _wide(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(array, np.float64)
