"""A prepared convolution as a torch model would call it: with a tensor in each call, and a tensor as the answer.

What handing the tensors over costs, such as copies into NumPy arrays, is then in the time of a call. The tensors are in
the layout in which the backend gives its own output, as they are behind a layer that it computed. Layouts have torch's
names.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Backend, Ready, reason_against_applying, touching
from convbench.measurement.sampling.tensors import as_numpy, as_tensor

LAYOUTS = ("contiguous", "channels-last")


class NotApplicableError(Exception):
    """The backend cannot compute a layer of a torch model; the text says why."""


def handed_over(backend: Backend, ready: Ready, x: NDArray[Any], r: NDArray[Any] | None = None) -> Ready:
    """`ready`, whose `run` gets `x` (N, C, H, W), and the residual `r` of an epilogue, as tensors on the backend's
    device and returns a tensor that belongs to the caller. Raises `NotApplicableError`."""
    if reason := reason_against_applying(ready.on, backend.prepacks):
        raise NotApplicableError(reason)
    on_tensor, on_array = ready.on.get("torch"), ready.on.get("numpy")
    if on_tensor is None:
        assert on_array is not None
        on_tensor = _on_tensors(on_array)
    call = _Call(on_tensor, [np.array(array, order="C") for array in (x, r) if array is not None], backend.device)
    return replace(ready, run=call, to_numpy=as_numpy, touch=call.touch if backend.device == "cpu" else None)


def layout_of(tensor: Any) -> str | None:
    """The one of `LAYOUTS` that `tensor` (N, C, H, W) is in; None for another one, and where both are the same, as for
    a single channel."""
    import torch

    plain, last = tensor.is_contiguous(), tensor.is_contiguous(memory_format=torch.channels_last)
    return None if plain == last else LAYOUTS[last]


def _on_tensors(on_array: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *tensors: as_tensor(on_array(*map(_in_a_row, tensors)))


def _in_a_row(tensor: Any) -> NDArray[Any]:
    return np.require(as_numpy(tensor), requirements=["C"])


class _Call:
    """A function of the operands. Its first call has contiguous ones, and tells the layout of those that follow."""

    def __init__(self, on: Callable[..., Any], arrays: list[NDArray[Any]], device: str) -> None:
        self._on, self._has_layout = on, False
        self._tensors = [as_tensor(array).to(device) for array in arrays]  # on the CPU in the arrays' memory
        self._touch = touching(*arrays)

    def __call__(self) -> Any:
        y = self._on(*self._tensors)
        if not self._has_layout:
            self._take(layout_of(y))
        return y

    def touch(self) -> None:
        """As `Ready.touch`; on the CPU only."""
        self._touch()

    def _take(self, layout: str | None) -> None:
        import torch

        self._has_layout = True
        if layout == "channels-last":
            self._tensors = [t.contiguous(memory_format=torch.channels_last) for t in self._tensors]
            self._touch = touching(*(as_numpy(t.permute(0, 2, 3, 1)) for t in self._tensors))
