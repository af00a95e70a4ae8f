"""Padding, precision and bias in NumPy, for libraries that correlate NumPy arrays and do nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from convbench.backend import Ready, touching
from convbench.problem import ConvProblem

from .fused import ended

if TYPE_CHECKING:
    import numpy as np

# The first disables NumPy's own loops, under the names of its versions up to 2.3 and from 2.4 on; those that a version
# does not know it passes over. The second is for its matrix products. OpenBLAS may take Haswell's kernels anyway.
ISA_SWITCHES = {
    "avx2": {
        "NPY_DISABLE_CPU_FEATURES": "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL X86_V4 AVX512_ICL AVX512_SPR",
        "OPENBLAS_CORETYPE": "Haswell",
    }
}
WITHOUT_ISA_SWITCH = "OpenBLAS can be told which kernels to take, and not which to leave"
_NUMPY_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def prepared(
    problem: ConvProblem,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    correlate: Callable[[np.ndarray, np.ndarray], np.ndarray],
    r: np.ndarray | None = None,
    erf: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Ready:
    """A convolution by `correlate(x, w)`, which gets the padded input and the weight in float32 or float64, and the
    problem's epilogue with the residual `r`."""
    import numpy as np

    computed_in = np.float64 if problem.dtype == "float64" else np.float32

    def on(x: np.ndarray, r: np.ndarray | None = None) -> np.ndarray:
        # Half formats are widened and rounded once. An infinity from that is an answer and no reason for a warning.
        with np.errstate(over="ignore", invalid="ignore"):
            out = correlate(pad(problem, x.astype(computed_in, copy=False)), w.astype(computed_in, copy=False))
            if b is not None:
                out += b.astype(computed_in, copy=False)[:, None, None]
            if problem.epilogue is not None:
                out = ended(problem.epilogue, out, None if r is None else r.astype(computed_in, copy=False), erf)
            return out.astype(x.dtype, copy=False)

    residual = None if r is None else np.ascontiguousarray(r)
    touched = [x] if residual is None else [x, residual]
    return Ready(lambda: on(x, residual), on={"numpy": on}, touch=touching(*touched))


def isa_in_use() -> str | None:
    """What NumPy's loops dispatch to. OpenBLAS tells nothing that every build of it has."""
    import importlib

    _multiarray_umath = importlib.import_module("numpy._core._multiarray_umath")
    features, loops = _multiarray_umath.__cpu_features__, _multiarray_umath.__cpu_dispatch__
    wide = any(features.get(name) for name in loops if name.startswith("AVX512") or name == "X86_V4")
    return "AVX512" if wide else "AVX2"


def pad(problem: ConvProblem, x: np.ndarray) -> np.ndarray:
    """`x` (N, C, H, W) with the problem's padding. Negative padding crops. The result may be a view."""
    import numpy as np

    (top, bottom), (left, right) = problem.padding
    x = x[:, :, max(0, -top) : x.shape[2] - max(0, -bottom), max(0, -left) : x.shape[3] - max(0, -right)]
    sides = ((0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
    return np.pad(x, sides, mode=_NUMPY_MODE[problem.padding_mode]) if np.any(sides) else x  # type: ignore[call-overload]


def pad_code(problem: ConvProblem, x: str) -> str:
    """The code of `pad` for an array called `x`."""
    cuts = [f"{max(0, -before) or ''}:{-max(0, -after) or ''}" for before, after in problem.padding]
    cut = "" if cuts == [":", ":"] else f"[:, :, {', '.join(cuts)}]"
    rows, columns = ((max(0, before), max(0, after)) for before, after in problem.padding)
    if not any((*rows, *columns)):
        return f"{x}{cut}"
    return f'np.pad({x}{cut}, ((0, 0), (0, 0), {rows}, {columns}), mode="{_NUMPY_MODE[problem.padding_mode]}")'
