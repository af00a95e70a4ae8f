"""The result of a problem with an epilogue, and its error bound, from those of the bare convolution.

With y the convolution, S = sum |x||w| + |b| and E the bound of y without its last rounding, in roundings of u:

* a residual before: z = y + r, within E + u (S + |r|), because r may be added anywhere in the sum;
* the activation f: f(z), within what f makes of that (`activations.enlarged`: at most its Lipschitz constant times it,
  and exactly the difference at the ends where f is monotone), plus what an implementation of f may err itself, plus
  what the backend declares of it (`Arithmetic.activation_errors`);
* a residual after: u (|f| + |r|) more;
* and one rounding to the result's precision.

A backend that does not fuse rounds to the problem's dtype between these steps, which shows in half formats. It declares
that (`Arithmetic.epilogue_in_dtype`), and u is that of the dtype then.

Where y is known exactly, as on integers, E is 0: what is left is the error of the activation alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem, Epilogue
from convbench.verification.bounds import SMALLEST_NORMAL, UNDERFLOW, UNIT_ROUNDOFF, error_bound
from convbench.verification.fused.activations import activated, also_right, approximation_error, enlarged

Array = NDArray[np.float64]


def result(epilogue: Epilogue, y: Array, r: NDArray[Any] | None) -> Array:
    """The epilogue of the convolution `y` (N, O, out_h, out_w) and the residual `r`, in float64."""
    return _ended(epilogue, activated(epilogue, _begun(epilogue, y, r)), r)


def other_results(epilogue: Epilogue, arithmetic: Arithmetic, y: Array, r: NDArray[Any] | None) -> list[Array]:
    """What is as right as `result` where special values leave a choice, or the backend declares that it makes one."""
    loses_nan = epilogue.activation in arithmetic.loses_nan
    others = also_right(epilogue, _begun(epilogue, y, r), loses_nan=loses_nan)
    return [_ended(epilogue, values, r) for values in others]


def fused_error_bound(
    problem: ConvProblem,
    arithmetic: Arithmetic,
    y: Array,
    magnitudes: Array | None,
    r: NDArray[Any] | None,
    *operands: NDArray[Any],
) -> Array:
    """The largest error that rounding explains, per element of the result. `y` is the bare convolution and `magnitudes`
    is S, in float64 and finite; without S the convolution and its sum with a residual count as exact."""
    epilogue = problem.epilogue
    assert epilogue is not None
    dtype, accumulate = problem.dtype, arithmetic.accumulate_precision(problem.dtype)
    unit = UNIT_ROUNDOFF[accumulate]
    if arithmetic.epilogue_in_dtype:
        unit = max(unit, UNIT_ROUNDOFF[dtype])
    before = np.zeros_like(y) if r is None else np.abs(np.asarray(r, np.float64))
    z = _begun(epilogue, y, r)
    error = np.zeros_like(y)
    if magnitudes is not None:
        error = _of_the_sum(problem, arithmetic, y, magnitudes, before * (epilogue.residual == "before"), *operands)
    out = activated(epilogue, z)
    smallest = max(SMALLEST_NORMAL[dtype], SMALLEST_NORMAL[accumulate])
    error = enlarged(epilogue, z, error) + approximation_error(epilogue, z, unit, smallest)
    declared = dict(arithmetic.activation_errors).get(epilogue.activation or "", 0.0)
    error = error + declared * np.maximum(1.0, np.abs(z))
    if epilogue.residual == "after":
        error = error + unit * (np.abs(out) + before + error)
    final = max(unit, UNIT_ROUNDOFF[dtype], UNIT_ROUNDOFF[arithmetic.output or dtype])
    sizes = np.abs(_ended(epilogue, out, r))
    return np.asarray(error + final * (sizes + error) + UNDERFLOW[dtype])


def _of_the_sum(
    problem: ConvProblem, arithmetic: Arithmetic, y: Array, magnitudes: Array, before: Array, *operands: NDArray[Any]
) -> Array:
    """The bound of what the activation gets."""
    bare, sums = problem.replace(epilogue=None), magnitudes + before
    unit = UNIT_ROUNDOFF[arithmetic.accumulate_precision(problem.dtype)]
    if arithmetic.epilogue_in_dtype:
        unit = max(unit, UNIT_ROUNDOFF[problem.dtype])
        return error_bound(bare, arithmetic, y, sums, *operands) + unit * (np.abs(y) + before)
    return error_bound(bare, arithmetic, y, sums, *operands, is_rounded=False) + unit * sums


def _begun(epilogue: Epilogue, y: Array, r: NDArray[Any] | None) -> Array:
    """What the activation gets."""
    return y + np.asarray(r, np.float64) if epilogue.residual == "before" else y


def _ended(epilogue: Epilogue, values: Array, r: NDArray[Any] | None) -> Array:
    """What becomes of the activation's values."""
    return values + np.asarray(r, np.float64) if epilogue.residual == "after" else values
