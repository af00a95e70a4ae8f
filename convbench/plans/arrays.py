"""NumPy arrays and torch tensors alike: their kind, dtype, shape and numbers, and whether these have changed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arrays
from convbench.errors import ProblemError
from convbench.measurement.sampling.tensors import as_numpy
from convbench.problem import DTYPES, Dtype

Changed = Callable[[Any], bool]


def kind_of(name: str, array: Any) -> Arrays:
    """Which of the two `array` is. Raises `ProblemError`, with `name`, for anything else."""
    if isinstance(array, np.ndarray):
        return "numpy"
    if (torch := sys.modules.get("torch")) is not None and isinstance(array, torch.Tensor):
        return "torch"
    raise ProblemError(f"{name} is of type {type(array).__name__}; it should be a NumPy array or a torch tensor.")


def dtype_of(name: str, array: Any) -> Dtype:
    """The dtype of `array`. Raises `ProblemError`, with `name`, for one that no convolution has."""
    word = array.dtype.name if isinstance(array, np.ndarray) else str(array.dtype).removeprefix("torch.")
    for dtype in DTYPES:
        if word == dtype and getattr(array.dtype, "isnative", True):
            return dtype
    swapped = "" if getattr(array.dtype, "isnative", True) else " in the byte order of other machines"
    raise ProblemError(f"{name} is {word}{swapped}; it should be one of {', '.join(DTYPES)}.")


def device_of(array: Any) -> str:
    """One of "cpu", "cuda" and "mps"."""
    return "cpu" if isinstance(array, np.ndarray) else str(array.device.type)


def shape_of(array: Any) -> tuple[int, ...]:
    return tuple(map(int, array.shape))


def owned(array: Any) -> NDArray[Any]:
    """A contiguous, read-only copy."""
    copy = np.array(as_numpy(array), order="C")
    copy.flags.writeable = False
    return copy


def changed_since(array: Any, copy: NDArray[Any]) -> Changed:
    """A function that says whether the numbers of this array may differ from those in `copy`, which it has now.

    That is quick for a tensor, which counts its changes, and for a NumPy array that is read-only. For a writeable array
    and for an inference tensor all numbers are compared.
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
    """Whether the array and every array that it is a view of are read-only."""
    part: Any = array
    while isinstance(part, np.ndarray):
        if part.flags.writeable:
            return False
        part = part.base
    return part is None or isinstance(part, bytes)


def _bits(array: NDArray[Any]) -> NDArray[Any]:
    """The numbers as integers, in which NaN equals itself and 0 differs from -0."""
    return np.ascontiguousarray(array).view(f"u{array.itemsize}")
