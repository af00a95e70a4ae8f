"""NumPy arrays and torch tensors alike: what kind one is, its numbers, and whether they are still those seen before."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arrays
from convbench.errors import ProblemError
from convbench.problem import DTYPES, Dtype

Changed = Callable[[Any], bool]


def kind_of(name: str, array: Any) -> Arrays:
    """Raises `ProblemError` for what is neither; `name` is for the message."""
    if isinstance(array, np.ndarray):
        return "numpy"
    if (torch := sys.modules.get("torch")) is not None and isinstance(array, torch.Tensor):
        return "torch"
    raise ProblemError(f"{name} is of type {type(array).__name__}; it should be a NumPy array or a torch tensor.")


def dtype_of(name: str, array: Any) -> Dtype:
    """Raises `ProblemError` for what no convolution is computed in."""
    word = array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype).removeprefix("torch.")
    for dtype in DTYPES:
        if word == dtype and getattr(array.dtype, "isnative", True):
            return dtype
    swapped = "" if getattr(array.dtype, "isnative", True) else " in the byte order of other machines"
    raise ProblemError(f"{name} is {word}{swapped}; it should be one of {', '.join(DTYPES)}.")


def device_of(array: Any) -> str:
    """ "cpu", "cuda" or "mps"."""
    return "cpu" if isinstance(array, np.ndarray) else str(array.device.type)


def shape_of(array: Any) -> tuple[int, ...]:
    return tuple(map(int, array.shape))


def as_numpy(array: Any) -> NDArray[Any]:
    """The numbers as a NumPy array, bfloat16 as ml_dtypes has it; the memory is shared where that can be."""
    if isinstance(array, np.ndarray):
        return array
    import torch

    plain = array.detach().cpu()
    if plain.dtype == torch.bfloat16:
        import ml_dtypes

        return np.asarray(plain.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(plain.numpy())


def as_tensor(array: NDArray[Any]) -> Any:
    """A torch tensor that shares the memory of an array which may be written."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.ascontiguousarray(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)


def owned(array: Any) -> NDArray[Any]:
    """A copy, contiguous and read-only."""
    copy = np.array(as_numpy(array), order="C")
    copy.flags.writeable = False
    return copy


def changed_since(array: Any, copy: NDArray[Any]) -> Changed:
    """A function that says of this very array whether its numbers may be others than those in `copy`, of now.

    A tensor counts what is done to it, and a NumPy array that nobody may write to stays as it is: either is quick. Of
    an array that may be written to, and of an inference tensor, all numbers are compared.
    """
    if not isinstance(array, np.ndarray) and not array.is_inference():
        version, address = array._version, array.data_ptr()
        return lambda tensor: tensor._version != version or tensor.data_ptr() != address
    if isinstance(array, np.ndarray) and _is_locked(array):
        shape = array.shape
        return lambda locked: locked.flags.writeable or locked.shape != shape
    bits = _bits(copy)

    def compared(other: Any) -> bool:
        numbers = as_numpy(other)
        if numbers.shape != copy.shape or numbers.dtype != copy.dtype:
            return True
        return not np.array_equal(_bits(numbers), bits)

    return compared


def _is_locked(array: NDArray[Any]) -> bool:
    """Whether neither the array nor any array that it is a view of may be written to."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return part is None or isinstance(part, bytes)


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    """As integers, so that NaN equals itself and 0 is not -0."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")
