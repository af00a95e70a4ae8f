"""The gradients of a convolution in NumPy, around a library's own sums: padding and its adjoint, precision, no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from convbench.backend import Ready, touching
from convbench.problem import ConvProblem

from .arrays import pad

if TYPE_CHECKING:
    import numpy as np

Sums = Callable[["np.ndarray", "np.ndarray"], "np.ndarray"]


def prepared_gradient(
    problem: ConvProblem,
    g: np.ndarray,
    x: np.ndarray | None,
    w: np.ndarray | None,
    input_gradient: Sums,
    weight_gradient: Sums,
) -> Ready:
    """A gradient by `input_gradient(g, w)`, that of the padded input, or by `weight_gradient(x, g)`, which gets the
    padded input; both get float32 or float64. The gradient of a bias is NumPy's sum."""
    import numpy as np

    computed_in = np.float64 if problem.dtype == "float64" else np.float32
    g = np.ascontiguousarray(g)
    x, w = (None if a is None else np.ascontiguousarray(a) for a in (x, w))

    def gradient() -> np.ndarray:
        wide = g.astype(computed_in, copy=False)
        if w is not None:
            return unpad(problem, input_gradient(wide, w.astype(computed_in, copy=False)))
        if x is not None:
            return weight_gradient(pad(problem, x.astype(computed_in, copy=False)), wide)
        return np.asarray(wide.sum((0, 2, 3)))

    def run() -> np.ndarray:
        # Half formats are widened and rounded once. An infinity from that is an answer and no reason for a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            return gradient().astype(g.dtype, copy=False)

    return Ready(run, touch=touching(g))


def padded_shape(problem: ConvProblem) -> tuple[int, int, int, int]:
    """That of the padded input."""
    n, c, *size = problem.input_shape
    height, width = (extent + sum(sides) for extent, sides in zip(size, problem.padding, strict=True))
    return (n, c, height, width)


def unpad(problem: ConvProblem, padded: np.ndarray) -> np.ndarray:
    """The gradient of the input from that of the padded input: rows and columns that padding copied are added to those
    that they were copied from. Padding with zeros loses them, and what was cropped is zero. May be a view."""
    import numpy as np

    for axis, sides in enumerate(problem.padding, 2):
        first = _unpadded(problem, np.moveaxis(padded, axis, 0), problem.input_shape[axis], sides)
        padded = np.moveaxis(first, 0, axis)
    return padded


def _unpadded(problem: ConvProblem, padded: np.ndarray, size: int, sides: tuple[int, int]) -> np.ndarray:
    import numpy as np

    before, after = sides
    kept = padded[max(0, before) : len(padded) - max(0, after)]
    if min(before, after) < 0:
        out = np.zeros((size, *padded.shape[1:]), padded.dtype)
        out[max(0, -before) : max(0, -before) + len(kept)] = kept
        return out
    if problem.padding_mode == "zeros" or sides == (0, 0):
        return kept
    kept = kept.copy()
    for place in (*range(-before, 0), *range(size, size + after)):
        kept[_source(problem.padding_mode, place, size)] += padded[place + before]
    return kept


def _source(mode: str, place: int, size: int) -> int:
    """The row of the input that the padding at `place` has, which is before or after it."""
    if mode == "circular":
        return place % size
    if mode == "replicate":
        return 0 if place < 0 else size - 1
    return -place if place < 0 else 2 * (size - 1) - place
