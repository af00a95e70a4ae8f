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


def pad_in_words(problem: ConvProblem, x: str) -> str:
    """The same as code, of the array called `x`."""
    cuts = [f"{max(0, -before) or ''}:{-max(0, -after) or ''}" for before, after in problem.padding]
    cut = "" if cuts == [":", ":"] else f"[:, :, {', '.join(cuts)}]"
    rows, columns = ((max(0, before), max(0, after)) for before, after in problem.padding)
    if not any((*rows, *columns)):
        return f"{x}{cut}"
    return f'np.pad({x}{cut}, ((0, 0), (0, 0), {rows}, {columns}), mode="{_NUMPY_MODE[problem.padding_mode]}")'
