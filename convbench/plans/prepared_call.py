"""A backend made ready to compute one convolution for one input after the other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend
from convbench.errors import BackendError, PlanError
from convbench.plans.arrays import as_numpy, as_tensor, dtype_of, shape_of
from convbench.plans.resolution import CallSpec, say_once
from convbench.problem import ConvProblem
from convbench.verification.operands import NUMPY_DTYPES

Call = Callable[[Any], Any]


def calling(
    backend: Backend, wanted: CallSpec, w: NDArray[Any], b: NDArray[Any] | None, *, may_copy: bool = True
) -> Call:
    """From an input, an array of the kind and on the device that is `wanted`, to the output, which is the caller's own.

    `w` (O, C/groups, kh, kw) and `b` (O,) or None are in the problem's dtype and must stay as they are. May be called
    from several threads: a backend that must not be has them take turns. Called once, with zeros, before it is given,
    so that whatever happens once has happened.

    Raises `BackendError` where the backend cannot be prepared or answers with another shape or dtype; and unless it
    `may_copy`, where it is known to copy each input or output into another layout.
    """
    problem = wanted.problem
    zeros = np.zeros(problem.input_shape, NUMPY_DTYPES[problem.dtype])
    try:
        call = _call(backend, wanted, zeros, w, b, may_copy)
        answer = call(as_tensor(zeros).to(wanted.device) if wanted.arrays == "torch" else zeros)
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
    backend: Backend, wanted: CallSpec, zeros: NDArray[Any], w: NDArray[Any], b: NDArray[Any] | None, may_copy: bool
) -> Call:
    on = backend.prepare(wanted.problem, zeros, w, b).on
    if wanted.arrays == "torch" and "torch" in on:
        return _without_gradient(_one_at_a_time(backend, on["torch"]))
    if not may_copy and "numpy" not in on:
        raise BackendError(f"{backend.name} takes no other input than it was prepared with.")
    if not may_copy and {"input", "output"} & set(backend.prepacks):
        raise BackendError(
            f"{backend.name} has a layout of its own, into which every input and output would be copied."
        )
    on_array = on.get("numpy") or _prepared_anew(backend, wanted.problem, w, b)
    on_array = _one_at_a_time(backend, on_array)
    if wanted.arrays == "torch":
        if wanted.device != "cpu":
            raise BackendError(f"{backend.name} takes no tensors of torch's.")
        return _without_gradient(lambda x: as_tensor(on_array(np.require(as_numpy(x), requirements=["C", "A"]))))

    def call(x: NDArray[Any]) -> Any:
        flags = x.flags
        return on_array(x if flags.c_contiguous and flags.aligned else np.require(x, requirements=["C", "A"]))

    return call


def _prepared_anew(backend: Backend, problem: ConvProblem, w: NDArray[Any], b: NDArray[Any] | None) -> Call:
    say_once(f"{backend.name} cannot be given another input: it is prepared anew in each call, which takes long.")

    def call(x: NDArray[Any]) -> NDArray[Any]:
        ready = backend.prepare(problem, x, w, b)
        output = ready.run()
        ready.sync()
        return np.array(ready.to_numpy(output))  # copied, for it may lie in memory that goes with `ready`

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
