"""Whether a changed model computes the same: its output is no further from the exact answer than rounding explains.

For a whole model any error bound would be astronomical. The model in float64 shows how far off the unchanged model is
by rounding alone. The changed model rounds as often, in another order, and may be `ERROR_TOLERANCE` times as far off.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.errors import PlanError
from convbench.measurement.sampling.tensors import as_numpy
from convbench.verification.bounds import UNIT_ROUNDOFF

ERROR_TOLERANCE = 10.0
_FEWEST_ROUNDINGS = 16
"""Roundings of the largest output that are always allowed: a model may be exact by chance, as on zeros."""
_WITHOUT_FLOAT64 = 1024
"""Roundings of the largest output by which two models may differ when the model does not run in float64."""


@dataclass(frozen=True)
class Agreement:
    """The largest errors over all outputs, each as a share of the largest element of its output.

    `changed` and `unchanged` are against the model in float64. If that does not run, `changed` is against the unchanged
    model and `unchanged` is None. Above `allowed` the models do not agree.
    """

    changed: float
    unchanged: float | None
    allowed: float

    @property
    def agrees(self) -> bool:
        return self.changed <= self.allowed


def compare_outputs(model: Any, changed: Any, example: tuple[Any, ...], exact: list[NDArray[Any]] | None) -> Agreement:
    """The agreement of `changed` with `model` on one input. `exact` are the outputs in float64, if there are any."""
    before, after = outputs_of(model, example), outputs_of(changed, example)
    if [a.shape for a in before] != [a.shape for a in after]:
        raise PlanError("the changed model gives outputs of other shapes.")
    u = max(UNIT_ROUNDOFF.get(a.dtype.name, 0.0) for a in before)  # type: ignore[call-overload]
    if exact is None:
        return Agreement(_largest_error(after, before), None, _WITHOUT_FLOAT64 * u)
    unchanged = _largest_error(before, exact)
    return Agreement(_largest_error(after, exact), unchanged, max(ERROR_TOLERANCE * unchanged, _FEWEST_ROUNDINGS * u))


def outputs_in_float64(model: Any, example: tuple[Any, ...]) -> list[NDArray[Any]] | None:
    """The outputs of a copy of the model in float64; None when that does not run."""
    import torch

    def widened(value: Any) -> Any:
        return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value

    try:
        return outputs_of(copy.deepcopy(model).double(), tuple(map(widened, example)))
    except Exception:  # a model that is not made for float64 may do anything
        return None


def outputs_of(model: Any, example: tuple[Any, ...]) -> list[NDArray[Any]]:
    """Every tensor and number in the model's output, of any shape: the real and complex ones, or if there are none the
    whole ones, which may change when a real one changes by a rounding. Raises `PlanError` when there is neither."""
    import torch

    with torch.no_grad():
        outputs = list(_arrays(model(*example)))
    real = [output for output in outputs if output.dtype.kind not in "iub"]
    if not outputs:
        raise PlanError("the model gives no tensor and no number, so there is nothing to compare.")
    return real or outputs


def _arrays(output: Any) -> Iterator[NDArray[Any]]:
    """The numbers in what a model gives, in order; a complex one as two real ones."""
    import torch

    if isinstance(output, torch.Tensor):
        dense = output.to_dense() if output.layout != torch.strided else output
        dense = dense.dequantize() if dense.is_quantized else dense
        yield np.array(as_numpy(torch.view_as_real(dense.resolve_conj()) if dense.is_complex() else dense))
    elif isinstance(output, (bool, int, float, complex, np.ndarray, np.number)):
        number = np.asarray(output)
        yield np.stack((number.real, number.imag), axis=-1) if number.dtype.kind == "c" else number
    elif isinstance(output, Mapping):
        yield from _arrays(list(output.values()))
    elif is_dataclass(output) and not isinstance(output, type):
        yield from _arrays([getattr(output, field.name) for field in fields(output)])
    elif isinstance(output, Iterable) and not isinstance(output, (str, bytes)):
        for part in output:
            yield from _arrays(part)


def _largest_error(outputs: list[NDArray[Any]], exact: list[NDArray[Any]]) -> float:
    largest = 0.0
    for output, right in zip(outputs, exact, strict=True):
        narrow, wide = np.atleast_1d(output.astype(np.float64)), np.atleast_1d(right.astype(np.float64))
        with np.errstate(invalid="ignore"):
            error = np.abs(narrow - wide)
        error[(np.isnan(narrow) & np.isnan(wide)) | (narrow == wide)] = 0
        error[~np.isfinite(error)] = np.inf
        scale = np.abs(wide[np.isfinite(wide)]).max(initial=0.0) or 1.0
        largest = max(largest, float(error.max(initial=0.0)) / float(scale))
    return largest
