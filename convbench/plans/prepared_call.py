"""A backend prepared to compute one convolution on one input after another."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import TAKES_ONE_INPUT, Backend, reason_against_applying
from convbench.errors import BackendError, PlanError
from convbench.measurement.sampling.tensors import as_numpy, as_tensor
from convbench.plans.arrays import dtype_of, shape_of
from convbench.plans.resolution import CallSpec
from convbench.verification.operands import NUMPY_DTYPES, Operands

Call = Callable[..., Any]
"""From an input, and a residual where the problem's epilogue has a sum, to the output."""


class OneInputError(BackendError):
    """The backend takes no other input than the one that it was prepared with, so it would be prepared in each call."""


def prepare_call(
    backend: Backend, spec: CallSpec, w: NDArray[Any], b: NDArray[Any] | None, *, may_copy: bool = True
) -> Call:
    """A function from an input, of the kind and on the device of `spec`, to the output, which belongs to the caller.

    `w` (O, C/groups, kh, kw) and `b` (O,) or None have the problem's dtype and must not change. Several threads may
    call the function: a backend that is not thread-safe computes one input at a time. It has been called once with
    zeros, so work that is done once is done.

    Raises `BackendError` when the backend cannot be prepared or gives another shape or dtype, `OneInputError` when it
    takes no other input. Without `may_copy`, also when it is known to copy each input or output into another layout.
    """
    problem = spec.problem
    shapes = [problem.operand_shapes[name] for name in ("x", "r") if name in problem.operand_shapes]
    zeros = [np.zeros(shape, NUMPY_DTYPES[problem.dtype]) for shape in shapes]
    try:
        call = _call(backend, spec, zeros, w, b, may_copy)
        answer = call(*(as_tensor(array).to(spec.device) if spec.arrays == "torch" else array for array in zeros))
    except BackendError:
        raise
    except Exception as error:
        raise BackendError(f"{backend.name} fails for {problem}: {type(error).__name__}: {error}") from error
    if (shape := shape_of(answer)) != problem.output_shape or dtype_of("the output", answer) != problem.dtype:
        raise BackendError(
            f"{backend.name} answers {problem} with {answer.dtype} of shape {shape}; "
            f"it should be {problem.dtype} of shape {problem.output_shape}."
        )
    return call


def _call(backend: Backend, spec: CallSpec, zeros: Sequence[NDArray[Any]], w: Any, b: Any, may_copy: bool) -> Call:
    on = Operands(zeros[0], w, b, r=zeros[1] if len(zeros) > 1 else None).prepared_by(backend, spec.problem).on
    if spec.arrays == "torch" and "torch" in on:
        return _without_gradient(_one_at_a_time(backend, on["torch"]))
    if "numpy" not in on:
        raise OneInputError(f"{backend.name} {TAKES_ONE_INPUT}.")
    if not may_copy and (reason := reason_against_applying(on, backend.prepacks)):
        raise BackendError(f"{backend.name} {reason}.")
    on_array = _one_at_a_time(backend, on["numpy"])
    if spec.arrays == "torch":
        if spec.device != "cpu":
            raise BackendError(f"{backend.name} takes no torch tensors.")
        return _without_gradient(lambda *tensors: as_tensor(on_array(*map(_required, map(as_numpy, tensors)))))
    return lambda *arrays: on_array(*map(_required, arrays))


def _required(array: NDArray[Any]) -> NDArray[Any]:
    flags = array.flags
    return array if flags.c_contiguous and flags.aligned else np.require(array, requirements=["C", "A"])


def _one_at_a_time(backend: Backend, on: Call) -> Call:
    if backend.thread_safe:
        return on
    lock = threading.Lock()

    def call(*operands: Any) -> Any:
        with lock:
            return on(*operands)

    return call


def _without_gradient(on: Call) -> Call:
    import torch

    grad_enabled = torch.is_grad_enabled

    def call(x: Any, *residual: Any) -> Any:
        if x.requires_grad or (residual and residual[0].requires_grad):
            if grad_enabled():
                raise PlanError("the input asks for a gradient, which no plan gives: call it under torch.no_grad().")
            x, residual = x.detach(), tuple(r.detach() for r in residual)
        return on(x, *residual)

    return call
