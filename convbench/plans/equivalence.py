"""Whether a changed model still computes what it did: each changed layer within its bound, and the whole model's output
no further from the exact answer than its own rounding explains.

A layer is judged as everywhere in convbench, on the very input that it gets in the model. For a whole model any bound
would be astronomical. The model in float64 tells how far off the unchanged one is, by rounding alone; the changed one,
which rounds as often and in another order, may be `SLACK` times as far off.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend
from convbench.errors import PlanError
from convbench.plans.arrays import as_numpy
from convbench.problem import ConvProblem
from convbench.verification.bounds import UNIT_ROUNDOFF, error_bound, warn_level
from convbench.verification.reference import convolve
from convbench.verification.verdict import Verdict, judge_bound

SLACK = 10.0
_FEWEST_ROUNDINGS = 16
"""A model that is exact by luck, as on zeros, is not held to it: so many roundings of the largest output may differ."""
_WITHOUT_FLOAT64 = 1024
"""Roundings of the largest output by which two models may differ where the model cannot be run in float64."""


@dataclass(frozen=True)
class Agreement:
    """The largest errors over all outputs, each as a share of the largest element of its output.

    `changed` and `unchanged` are against the model in float64; where that cannot be run, `changed` is against the
    unchanged model and `unchanged` is None. Above `allowed` the models do not agree.
    """

    changed: float
    unchanged: float | None
    allowed: float

    @property
    def agrees(self) -> bool:
        return self.changed <= self.allowed


def judge_layer(
    backend: Backend, problem: ConvProblem, x: Any, w: NDArray[Any], b: NDArray[Any] | None, output: Any
) -> Verdict:
    """The output of one layer for the tensor `x`, against the reference."""
    given = as_numpy(x)
    exact = convolve(problem, given, w, b)
    magnitudes = convolve(problem, np.abs(given), np.abs(w), None if b is None else np.abs(b))
    bound = error_bound(problem, backend.arithmetic, exact, magnitudes, given, w)
    warn = warn_level(problem, backend.arithmetic, exact, magnitudes)
    return judge_bound(problem, np.asarray(as_numpy(output)), exact, bound, warn)


def agreement(model: Any, changed: Any, example: tuple[Any, ...], exact: list[NDArray[Any]] | None) -> Agreement:
    """Of `changed` with `model`, on one input; `exact` are the outputs in float64, if there are any."""
    one, other = outputs_of(model, example), outputs_of(changed, example)
    if [a.shape for a in one] != [a.shape for a in other]:
        raise PlanError("the changed model gives outputs of other shapes.")
    u = max(UNIT_ROUNDOFF.get(a.dtype.name, 0.0) for a in one)  # type: ignore[call-overload]
    if exact is None:
        return Agreement(_largest_error(other, one), None, _WITHOUT_FLOAT64 * u)
    own = _largest_error(one, exact)
    return Agreement(_largest_error(other, exact), own, max(SLACK * own, _FEWEST_ROUNDINGS * u))


def outputs_in_float64(model: Any, example: tuple[Any, ...]) -> list[NDArray[Any]] | None:
    """The outputs of a copy of the model in float64; None where it does not run so."""
    try:
        return outputs_of(copy.deepcopy(model).double(), tuple(_widened(one) for one in example))
    except Exception:  # whatever a model does that is not made for it
        return None


def outputs_of(model: Any, example: tuple[Any, ...]) -> list[NDArray[Any]]:
    """Every tensor of real numbers in what the model gives. Raises `PlanError` where there is none."""
    import torch

    with torch.no_grad():
        found = [np.array(as_numpy(tensor)) for tensor in _tensors(model(*example)) if tensor.is_floating_point()]
    if not found:
        raise PlanError("the model gives no tensor of real numbers, so there is nothing to compare.")
    return found


def _tensors(output: Any) -> Iterator[Any]:
    import torch

    if isinstance(output, torch.Tensor):
        yield output
    elif isinstance(output, (list, tuple)):
        for one in output:
            yield from _tensors(one)
    elif isinstance(output, dict):
        yield from _tensors(list(output.values()))


def _widened(value: Any) -> Any:
    import torch

    return value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


def _largest_error(outputs: list[NDArray[Any]], exact: list[NDArray[Any]]) -> float:
    largest = 0.0
    for output, right in zip(outputs, exact, strict=True):
        wide = right.astype(np.float64)
        with np.errstate(invalid="ignore"):
            error = np.abs(output.astype(np.float64) - wide)
        alike = (np.isnan(output) & np.isnan(wide)) | (output == wide)
        error[alike] = 0
        error[~np.isfinite(error)] = np.inf
        scale = np.abs(wide[np.isfinite(wide)]).max(initial=0.0) or 1.0
        largest = max(largest, float(error.max(initial=0.0)) / float(scale))
    return largest
