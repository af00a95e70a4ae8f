"""Padding in NumPy, for the libraries that compute on NumPy's arrays and do not pad themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench.problem import ConvProblem

if TYPE_CHECKING:
    import numpy as np

_NUMPY_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def pad(problem: ConvProblem, x: np.ndarray) -> np.ndarray:
    """`x` (N, C, H, W) with the problem's padding; negative padding crops. May be a view."""
    import numpy as np

    (top, bottom), (left, right) = problem.padding
    x = x[:, :, max(0, -top) : x.shape[2] - max(0, -bottom), max(0, -left) : x.shape[3] - max(0, -right)]
    sides = ((0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
    return np.pad(x, sides, mode=_NUMPY_MODE[problem.padding_mode]) if np.any(sides) else x  # type: ignore[call-overload]
