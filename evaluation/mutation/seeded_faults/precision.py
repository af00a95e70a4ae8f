"""Faults of precision: more is rounded than was declared, or rounded wrongly."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem
from seeded_faults.changes import bias, image_and_kernel, kernel, output
from seeded_faults.convolution import Array, Steps
from seeded_faults.fault import Call, Fault

BFLOAT16 = np.dtype(ml_dtypes.bfloat16)


def significant(array: Array, bits: int) -> Array:
    """`array` rounded to so many bits of significand, ties to even, in its own dtype."""
    fraction, exponent = np.frexp(array.astype(np.float64))
    return np.asarray(np.ldexp(np.rint(np.ldexp(fraction, bits)), exponent - bits), array.dtype)


def _through(dtype: Any) -> Steps:
    return image_and_kernel(lambda array: array.astype(dtype).astype(array.dtype))


def _summed_in(dtype: Any) -> Steps:
    """Sums of products kept in `dtype`, one after another."""

    def multiply(problem: ConvProblem, filters: Array, patches: Array) -> Array:
        sums = np.zeros((len(patches), *filters.shape[:2], patches.shape[-1]), dtype)
        for k in range(filters.shape[2]):
            sums = (sums + filters[:, :, k, None] * patches[:, :, None, k]).astype(dtype)
        return sums.astype(patches.dtype)

    return Steps(multiply=multiply)


def _partial_sums_rounded(problem: ConvProblem, filters: Array, patches: Array) -> Array:
    dtype = np.dtype(np.float16) if problem.dtype == "float16" else BFLOAT16
    sums: Any = 0.0
    for part in np.array_split(np.arange(filters.shape[2]), 2):
        sums = sums + (filters[:, :, part] @ patches[:, :, part]).astype(dtype).astype(np.float32)
    return np.asarray(sums)


def _bits(sums: Array) -> NDArray[np.uint32]:
    return np.ascontiguousarray(sums, np.float32).view(np.uint32)


def _cut(sums: Array, dtype: np.dtype[Any]) -> Array:
    return (_bits(sums) & np.uint32(0xFFFF0000)).view(np.float32).astype(dtype)


def _half_away_from_zero(sums: Array, dtype: np.dtype[Any]) -> Array:
    return ((_bits(sums) + np.uint32(0x8000)) & np.uint32(0xFFFF0000)).view(np.float32).astype(dtype)


def _rounded_twice(sums: Array, dtype: np.dtype[Any]) -> Array:
    return significant(sums, 11).astype(dtype)


def _quantized(w: Array) -> Array:
    step = np.abs(w).max() / 127
    return np.asarray(np.rint(w / step) * step, w.dtype)


def _last_element(change: Any) -> Steps:
    def changed(out: Array) -> Array:
        out = out.copy()
        out[-1, -1, -1, -1] = change(out[-1, -1, -1, -1])
        return out

    return output(changed)


def _just_above_the_bound(call: Call) -> Array:
    # One element is off by twice what summing K products of these sizes can do.
    out = call.compute()
    sizes = call.compute(x=np.abs(call.x), w=np.abs(call.w), b=None if call.b is None else np.abs(call.b))
    terms = call.problem.reduction_length + call.problem.bias
    unit = float(np.finfo(out.dtype).eps) / 2
    out[0, 0, 0, 0] += out.dtype.type(2 * (terms + 1) * unit * float(sizes[0, 0, 0, 0]))
    return out


FAULTS = (
    Fault(
        "float16-summed-in-float16",
        "precision",
        "float16 is summed in float16, not float32",
        "n1c1h4w4_o3k3_f16",
        "float16",
        steps=_summed_in(np.float16),
    ),
    Fault(
        "bfloat16-summed-in-bfloat16",
        "precision",
        "bfloat16 is summed in bfloat16, not float32",
        "n1c16h4w4_o3k3_bf16",
        "bfloat16",
        steps=_summed_in(BFLOAT16),
    ),
    Fault(
        "halves-rounded-between-blocks",
        "precision",
        "half formats are summed in two blocks, each rounded to the format",
        "n1c8h4w4_o3k3_bf16",
        "a half format",
        steps=Steps(multiply=_partial_sums_rounded),
    ),
    Fault(
        "float64-summed-in-float32",
        "precision",
        "float64 is summed in float32",
        "n1c2h5w5_o3k3_f64",
        "float64",
        steps=Steps(accumulate=np.float32),
    ),
    Fault(
        "float64-bias-in-float32",
        "precision",
        "the bias of float64 goes through float32",
        "n1c1h5w5_o3k1_bias_f64",
        "float64 & biased",
        values="wide",
        steps=bias(lambda b: b.astype(np.float32)),
    ),
    Fault(
        "float64-operands-in-float32",
        "precision",
        "operands of float64 go through float32, and only the sums are in float64",
        "n1c2h5w5_o3k3_f64",
        "float64",
        steps=_through(np.float32),
    ),
    Fault(
        "tf32-operands",
        "precision",
        "operands of float32 are rounded to the 11 bits of tf32",
        "n1c2h5w5_o3k3",
        "float32",
        values="normal",
        steps=image_and_kernel(lambda array: significant(array, 11)),
    ),
    Fault(
        "tf32-for-long-sums",
        "precision",
        "operands of float32 are rounded to the 11 bits of tf32, in sums of more than 256 products only",
        "n1c32h4w4_o2k3",
        "float32 & long sums",
        values="normal",
        steps=image_and_kernel(lambda array: significant(array, 11)),
    ),
    Fault(
        "bfloat16-operands",
        "precision",
        "operands of float32 are rounded to bfloat16",
        "n1c2h5w5_o3k3",
        "float32",
        steps=_through(BFLOAT16),
    ),
    Fault(
        "bfloat16-through-float16",
        "precision",
        "bfloat16 is computed on operands in float16, whose range is smaller",
        "n1c2h5w5_o3k3_bf16",
        "bfloat16",
        values="wide",
        steps=_through(np.float16),
    ),
    Fault(
        "weights-in-eight-bits",
        "precision",
        "weights of float32 are quantized to 255 steps",
        "n1c2h5w5_o3k3",
        "float32",
        steps=kernel(_quantized),
    ),
    Fault(
        "bfloat16-cut",
        "precision",
        "bfloat16 is made by cutting bits off, not by rounding",
        "n1c4h5w5_o3k3_bf16",
        "bfloat16",
        steps=Steps(rounded=_cut),
    ),
    Fault(
        "bfloat16-half-away-from-zero",
        "precision",
        "ties are rounded away from zero in bfloat16, not to even",
        "n1c4h9w9_o8k3_bf16",
        "bfloat16",
        steps=Steps(rounded=_half_away_from_zero),
    ),
    Fault(
        "bfloat16-rounded-twice",
        "precision",
        "results are rounded to 11 bits, then to the 8 of bfloat16",
        "n1c4h9w9_o8k3_bf16",
        "bfloat16",
        steps=Steps(rounded=_rounded_twice),
    ),
    Fault(
        "one-ulp",
        "precision",
        "the last element is one unit in its last place too large",
        "n1c2h5w5_o3k3",
        "float32",
        steps=_last_element(lambda value: np.nextafter(value, np.float32(np.inf))),
    ),
    Fault(
        "a-thousandth-of-one-element",
        "precision",
        "of a large output one element is larger by a thousandth",
        "n1c2h20w20_o16k3",
        "large & float32",
        steps=_last_element(lambda value: value * np.float32(1.001)),
    ),
    Fault(
        "just-above-the-bound",
        "precision",
        "the first element is off by twice what rounding explains",
        "n1c2h5w5_o3k3",
        "float32",
        values="normal",
        around=_just_above_the_bound,
    ),
)
