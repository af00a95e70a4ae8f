"""Epilogues in NumPy, in place on the output of a convolution that is computed in float32 or float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from convbench.problem import ACTIVATIONS, Activation, Epilogue

from .._fusion import lines_in_order

if TYPE_CHECKING:
    import numpy as np

WITHOUT_ERF = frozenset(ACTIVATIONS) - {"gelu"}
"""The activations that need no error function, which NumPy has not."""


def ended(
    epilogue: Epilogue, y: np.ndarray, r: np.ndarray | None, erf: Callable[[np.ndarray], np.ndarray] | None = None
) -> np.ndarray:
    """The epilogue of `y`, which is overwritten, and the residual `r`, which is not."""
    if r is not None and epilogue.residual == "before":
        y += r
    if epilogue.activation is not None:
        y = _activated(epilogue, epilogue.activation, y, erf)
    if r is not None and epilogue.residual == "after":
        y += r
    return y


def epilogue_lines(epilogue: Epilogue) -> list[str]:
    """`ended` as code, from `y` and `r` to `y`."""
    codes: dict[Activation | None, str] = {
        "relu": "np.clip(y, 0.0, None)",
        "relu6": "np.clip(y, 0.0, 6.0)",
        "clip": f"np.clip(y, {epilogue.low}, {epilogue.high})",
        "leaky_relu": f"np.where(y > 0, y, y * y.dtype.type({epilogue.slope}))",
        "hard_swish": "y * np.clip(y + 3.0, 0.0, 6.0) / 6.0",
        "sigmoid": "1.0 / (1.0 + np.exp(-y))",
        "silu": "y * (1.0 / (1.0 + np.exp(-y)))",
        "gelu": "y * (0.5 * (1.0 + erf(y * y.dtype.type(0.5**0.5))))",
        "gelu_tanh": ("y * (0.5 * (1.0 + np.tanh(y.dtype.type((2.0 / np.pi) ** 0.5) * (y + 0.044715 * y * y * y))))"),
    }
    return lines_in_order(epilogue, codes.get(epilogue.activation, "y"))


def _activated(
    epilogue: Epilogue, activation: Activation, y: np.ndarray, erf: Callable[[np.ndarray], np.ndarray] | None
) -> np.ndarray:
    import numpy as np

    limits = {"relu": (0.0, None), "relu6": (0.0, 6.0), "clip": (epilogue.low, epilogue.high)}
    if activation in limits:
        return np.clip(y, *limits[activation], out=y)
    if activation == "leaky_relu":
        return np.where(y > 0, y, y * y.dtype.type(epilogue.slope or 0.0))
    if activation == "hard_swish":
        y *= np.clip(y + 3.0, 0.0, 6.0)
        y /= 6.0
        return y
    if activation == "gelu":
        assert erf is not None
        y *= 0.5 * (1.0 + erf(y * y.dtype.type(0.5**0.5)))
        return y
    if activation == "gelu_tanh":
        y *= 0.5 * (1.0 + np.tanh(y.dtype.type((2.0 / np.pi) ** 0.5) * (y + 0.044715 * y * y * y)))
        return y
    logistic = 1.0 / (1.0 + np.exp(-y))
    return logistic if activation == "sigmoid" else y * logistic
