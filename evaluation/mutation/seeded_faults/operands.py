"""What faults of gradients and of training steps do to an operand."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from seeded_faults.convolution import Array


def memory_order(array: Array) -> Array:
    """What a library reads that takes every array for contiguous, and does not copy it."""
    base = array if array.flags.c_contiguous else array.transpose(np.argsort([-s for s in array.strides]))
    return np.ascontiguousarray(base).reshape(array.shape)


def through_bfloat16(array: Array) -> Array:
    return array.astype(ml_dtypes.bfloat16).astype(array.dtype)


def without_nan(array: Array) -> Array:
    return np.where(np.isnan(array), array.dtype.type(0), array)
