"""How operands lie in memory: the same numbers behind other strides, offsets and flags, as users' arrays have them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from convbench.verification.question import Layout

_ALIGNMENT_BYTES = 64
_ODD_STRIDE = 5  # elements: what a size-1 axis, which no loop steps over, may well have


def lay_out(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """A copy of `array` in the given layout, equal to it element by element.

    "channels-last" has the second axis innermost in memory, where there are four; "sliced" is every other element of a
    larger array of NaN or the largest integer; "reversed" has negative strides on every axis; "misaligned" starts one
    element after a cache line's boundary, "contiguous" and "read-only" on it; "odd-strides" has strides that mean
    nothing on its axes of size 1.
    """
    if layout == "channels-last" and array.ndim == 4:
        return np.array(array.transpose(0, 2, 3, 1), order="C").transpose(0, 3, 1, 2)
    if layout == "sliced":
        filler = np.iinfo(array.dtype).max if array.dtype.kind in "iu" else np.nan
        around = np.full([2 * size + 1 for size in array.shape], filler, array.dtype)
        inner = around[(slice(1, None, 2),) * array.ndim]
        inner[...] = array
        return inner
    if layout == "reversed":
        back = (slice(None, None, -1),) * array.ndim
        return np.array(array[back], order="C")[back]
    copy = _copy(array, offset_bytes=array.dtype.itemsize if layout == "misaligned" else 0)
    if layout == "odd-strides":
        odd = _ODD_STRIDE * array.dtype.itemsize
        strides = [odd if size == 1 else stride for size, stride in zip(copy.shape, copy.strides, strict=True)]
        return as_strided(copy, copy.shape, strides)
    copy.flags.writeable = layout != "read-only"
    return copy


def memory_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    """All bytes of the array that `array` is a view of: what a stray write would change."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _copy(array: NDArray[Any], offset_bytes: int) -> NDArray[Any]:
    raw = np.empty(array.nbytes + 2 * _ALIGNMENT_BYTES, np.uint8)
    start = -raw.__array_interface__["data"][0] % _ALIGNMENT_BYTES + offset_bytes
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy
