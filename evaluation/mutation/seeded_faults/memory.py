"""Faults of memory: what is read or written that should not be, and operands in strides that were not thought of."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided

from seeded_faults.changes import bias, image, kernel
from seeded_faults.convolution import Array
from seeded_faults.fault import Call, Fault

VECTOR_BYTES = 16


def _last_row_unwritten(call: Call) -> Array:
    out = np.empty(call.problem.output_shape, call.x.dtype)  # before anything else: dirty where the heap is
    out[:, :, :-1] = call.compute()[:, :, :-1]
    return out


def _rest_unwritten(call: Call) -> Array:
    out = np.empty(call.problem.output_shape, call.x.dtype)
    written = out.size // 16 * 16
    out.reshape(-1)[:written] = call.compute().reshape(-1)[:written]
    return out


def _then_written(name: str) -> Any:
    """The right answer, and an operand changed where nothing forbids it."""

    def around(call: Call) -> Array:
        out = call.compute()
        operand = getattr(call, name)
        if operand.flags.writeable:
            operand[(-1,) * operand.ndim] += 1
        return out

    return around


def _input_scaled_in_place(call: Call) -> Array:
    out = call.compute()
    if call.x.flags.c_contiguous and call.x.flags.writeable:  # else a copy was made, and that was scaled
        np.multiply(call.x, call.x.dtype.type(2), out=call.x)
    return out


def _written_behind_the_input(call: Call) -> Array:
    out = call.compute()
    whole = call.x
    while isinstance(whole.base, np.ndarray):
        whole = whole.base
    if whole is not call.x and whole.flags.writeable and not np.may_share_memory(call.x, whole.reshape(-1)[-1:]):
        whole.reshape(-1)[-1:] = 1
    return out


def _in_memory_order(array: Array) -> Array:
    return array.ravel(order="K").reshape(array.shape)


def _as_if_contiguous(array: Array) -> Array:
    # Only where the array spans as much memory as that takes.
    steps = [stride for size, stride in zip(array.shape, array.strides, strict=True) if size > 1]
    if array.flags.c_contiguous or min(steps, default=0) <= 0:
        return array
    return as_strided(array, array.shape, np.empty(array.shape, array.dtype).strides)


def _signs_of_strides_lost(array: Array) -> Array:
    return array[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in array.strides)]


def _from_aligned_address(array: Array) -> Array:
    return np.roll(array, 1) if array.ctypes.data % VECTOR_BYTES and array.flags.c_contiguous else array


def _stride_of_one_taken_for_pitch(array: Array) -> Array:
    dense = np.empty(array.shape, array.dtype).strides
    odd = any(n == 1 and s != d for n, s, d in zip(array.shape, array.strides, dense, strict=True))
    return np.roll(array, 1) if odd else array


def _channels_last_with_groups(array: Array) -> Array:
    last = array.strides[1] == array.itemsize and not array.flags.c_contiguous
    return np.roll(array, 1, axis=1) if last else array


def _insisting_on_writeable(call: Call) -> Array:
    for operand in (call.x, call.w):
        if not operand.flags.writeable:
            raise ValueError("buffer source array is read-only")
    return call.compute()


FAULTS = (
    Fault(
        "last-row-unwritten",
        "memory",
        "the last row of outputs is never written",
        "n1c2h20w20_o3k3",
        seen="heap",
        around=_last_row_unwritten,
    ),
    Fault(
        "rest-unwritten",
        "memory",
        "outputs are written in sixteens, and the rest never",
        "n1c2h9w9_o9k3",
        "outputs not in 16s",
        seen="heap",
        around=_rest_unwritten,
    ),
    Fault(
        "input-written",
        "memory",
        "the last element of the input is changed after use",
        "n1c2h5w5_o3k3",
        seen="operands",
        around=_then_written("x"),
    ),
    Fault(
        "weight-written",
        "memory",
        "the last element of the weight is changed after use",
        "n1c2h5w5_o3k3",
        seen="operands",
        around=_then_written("w"),
    ),
    Fault(
        "bias-written",
        "memory",
        "the last element of the bias is changed after use",
        "n1c2h5w5_o3k3_bias",
        "biased",
        seen="operands",
        around=_then_written("b"),
    ),
    Fault(
        "input-scaled-in-place",
        "memory",
        "the input is scaled in place where no copy of it was needed, in float32 with reflection",
        "n1c2h5w5_o3k3_p1_reflect",
        "float32 & reflect",
        seen="operands",
        around=_input_scaled_in_place,
    ),
    Fault(
        "written-behind-the-input",
        "memory",
        "one element of the memory behind the input, which is a view, is written",
        "n1c2h5w5_o3k3",
        seen="operands",
        layout="sliced",
        around=_written_behind_the_input,
    ),
    Fault(
        "channels-last-input-read-in-order",
        "layout",
        "the input is read in the order of its memory",
        "n1c2h5w5_o3k3",
        layout="channels-last",
        steps=image(_in_memory_order),
    ),
    Fault(
        "channels-last-weight-read-in-order",
        "layout",
        "the weight is read in the order of its memory",
        "n1c2h5w5_o3k3",
        layout="channels-last",
        steps=kernel(_in_memory_order),
    ),
    Fault(
        "slice-read-as-contiguous",
        "layout",
        "strides of a sliced input are ignored",
        "n1c2h5w5_o3k3",
        layout="sliced",
        steps=image(_as_if_contiguous),
    ),
    Fault(
        "sliced-bias-read-as-contiguous",
        "layout",
        "the stride of a sliced bias is ignored",
        "n1c2h5w5_o3k3_bias",
        "biased",
        layout="sliced",
        steps=bias(_as_if_contiguous),
    ),
    Fault(
        "negative-strides-as-positive",
        "layout",
        "the signs of the input's strides are lost",
        "n1c2h5w5_o3k3",
        layout="reversed",
        steps=image(_signs_of_strides_lost),
    ),
    Fault(
        "misaligned-input",
        "layout",
        "an input is read from the 16 bytes' boundary before it",
        "n1c2h5w5_o3k3",
        layout="misaligned",
        steps=image(_from_aligned_address),
    ),
    Fault(
        "misaligned-weight-of-a-grouped-half",
        "layout",
        "in half formats with groups, a weight is read from the 16 bytes' boundary before it",
        "n1c4h5w5_o4k3_g2_f16",
        "a half format & grouped",
        layout="misaligned",
        steps=kernel(_from_aligned_address),
    ),
    Fault(
        "stride-of-an-axis-of-one",
        "layout",
        "the stride of an axis of size 1 is taken for something",
        "n1c2h5w5_o3k3",
        "one image",
        layout="odd-strides",
        steps=image(_stride_of_one_taken_for_pitch),
    ),
    Fault(
        "channels-last-with-groups",
        "layout",
        "groups of a channels-last input start one channel too early",
        "n1c4h5w5_o4k3_g2",
        "grouped & several channels a group",
        layout="channels-last",
        steps=image(_channels_last_with_groups),
    ),
    Fault(
        "read-only-refused",
        "layout",
        "operands that are read-only raise",
        "n1c2h5w5_o3k3",
        seen="breakdown",
        layout="read-only",
        around=_insisting_on_writeable,
    ),
)
