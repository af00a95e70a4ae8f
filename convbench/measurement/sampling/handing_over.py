"""A prepared convolution as a torch model would call it: with a tensor in each call, and a tensor as the answer.

What handing the tensors over costs, such as copies into another layout, is then in the time of a call.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend, Ready, reason_against_applying, touching
from convbench.measurement.sampling.tensors import as_numpy, as_tensor


class NotApplicableError(Exception):
    """The backend cannot compute a layer of a torch model; the text says why."""


def handed_over(backend: Backend, ready: Ready, x: NDArray[Any], r: NDArray[Any] | None = None) -> Ready:
    """`ready`, whose `run` gets `x` (N, C, H, W), and the residual `r` of an epilogue, as tensors on the backend's
    device and returns a tensor that belongs to the caller. Raises `NotApplicableError`."""
    if reason := reason_against_applying(ready.on, backend.prepacks):
        raise NotApplicableError(reason)
    arrays = [np.array(array, order="C") for array in (x, r) if array is not None]
    tensors = [as_tensor(array).to(backend.device) for array in arrays]  # on the CPU in the arrays' memory
    ready = replace(ready, touch=touching(*arrays) if backend.device == "cpu" else None)
    on_tensor, on_array = ready.on.get("torch"), ready.on.get("numpy")
    if on_tensor is not None:
        return replace(ready, run=lambda: on_tensor(*tensors), to_numpy=as_numpy)
    assert on_array is not None
    return replace(ready, run=lambda: as_tensor(on_array(*map(as_numpy, tensors))), to_numpy=as_numpy)
