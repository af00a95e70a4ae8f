"""Epilogues of numba-direct: NumPy computes them, in the memory of the convolution's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from convbench.backend import Backend, Ready, touching

from ._fusion import implementation_with
from ._numpy_fused import ended

if TYPE_CHECKING:
    import numpy as np

    from convbench.problem import ConvProblem


def prepared(
    backend: Backend, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
) -> Ready:
    """The convolution by `backend` in float32 or float64, then the epilogue, and last the rounding to a half format."""
    import numpy as np

    epilogue = problem.epilogue
    assert epilogue is not None
    dtype = np.dtype("float64" if problem.dtype == "float64" else "float32")
    bare = problem.replace(epilogue=None, dtype=dtype.name)
    x = np.ascontiguousarray(x)
    residual = [] if r is None else [np.ascontiguousarray(r)]
    ready = backend.prepare(bare, x.astype(dtype), w.astype(dtype), None if b is None else b.astype(dtype))
    convolve, kernel = ready.on["numpy"], ready.explain

    def on(x: np.ndarray, *residual: np.ndarray) -> np.ndarray:
        y = convolve(x.astype(dtype, copy=False))
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are an answer and no reason for a warning
            result = ended(epilogue, y, residual[0].astype(dtype, copy=False) if residual else None)
            return result.astype(x.dtype, copy=False)

    return Ready(
        lambda: on(x, *residual),
        on={"numpy": on},
        touch=touching(x, *residual),
        explain=lambda: implementation_with(kernel() if kernel else None, problem, ()),
    )
