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


def handed_over(backend: Backend, ready: Ready, x: NDArray[Any]) -> Ready:
    """`ready`, whose `run` gets `x` (N, C, H, W) as a tensor on the backend's device and returns a tensor that belongs
    to the caller. Raises `NotApplicableError`."""
    if reason := reason_against_applying(ready.on, backend.prepacks):
        raise NotApplicableError(reason)
    array = np.array(x, order="C")
    tensor = as_tensor(array).to(backend.device)  # on the CPU in the array's memory
    ready = replace(ready, touch=touching(array) if backend.device == "cpu" else None)
    on_tensor, on_array = ready.on.get("torch"), ready.on.get("numpy")
    if on_tensor is not None:
        return replace(ready, run=lambda: on_tensor(tensor), to_numpy=as_numpy)
    assert on_array is not None
    return replace(ready, run=lambda: as_tensor(on_array(as_numpy(tensor))), to_numpy=as_numpy)
