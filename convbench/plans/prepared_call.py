"""A backend prepared to compute one convolution on one input after another."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import TAKES_ONE_INPUT, Backend, reason_against_applying
from convbench.errors import BackendError, PlanError
from convbench.measurement.sampling.tensors import as_numpy, as_tensor
from convbench.plans.arrays import dtype_of, shape_of
from convbench.plans.resolution import CallSpec
from convbench.verification.operands import NUMPY_DTYPES

Call = Callable[[Any], Any]


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
    zeros = np.zeros(problem.input_shape, NUMPY_DTYPES[problem.dtype])
    try:
        call = _call(backend, spec, zeros, w, b, may_copy)
        answer = call(as_tensor(zeros).to(spec.device) if spec.arrays == "torch" else zeros)
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


def _call(
    backend: Backend, spec: CallSpec, zeros: NDArray[Any], w: NDArray[Any], b: NDArray[Any] | None, may_copy: bool
) -> Call:
    on = backend.prepare(spec.problem, zeros, w, b).on
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
        return _without_gradient(lambda x: as_tensor(on_array(np.require(as_numpy(x), requirements=["C", "A"]))))

    def call(x: NDArray[Any]) -> Any:
        flags = x.flags
        return on_array(x if flags.c_contiguous and flags.aligned else np.require(x, requirements=["C", "A"]))

    return call


def _one_at_a_time(backend: Backend, on: Call) -> Call:
    if backend.thread_safe:
        return on
    lock = threading.Lock()

    def call(x: Any) -> Any:
        with lock:
            return on(x)

    return call


def _without_gradient(on: Call) -> Call:
    import torch

    grad_enabled = torch.is_grad_enabled

    def call(x: Any) -> Any:
        if x.requires_grad:
            if grad_enabled():
                raise PlanError("the input asks for a gradient, which no plan gives: call it under torch.no_grad().")
            x = x.detach()
        return on(x)

    return call
