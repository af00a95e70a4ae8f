"""Faults of quantised convolutions: zero points, scales, sums, rounding, clamping, formats, and what is remembered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from convbench.problem import ConvProblem, Quantization
from convbench.problem.quantization import LIMITS
from seeded_faults.quantized import (
    Array,
    QuantizedCall,
    QuantizedFault,
    clamped,
    halves_away,
    halves_even_with_zero_point,
    halves_up,
)

_BYTE, _INT16 = 256, 2**15
_LAYER = "n1c4h5w5_o6k3_p1_bias"

When = Callable[[ConvProblem, Quantization], bool]


def _requantized(_: ConvProblem, q: Quantization) -> bool:
    return q.is_requantized


def _scaled(_: ConvProblem, q: Quantization) -> bool:
    return q.result != "s32"


def _per_channel(p: ConvProblem, q: Quantization) -> bool:
    return q.result != "s32" and q.per_channel and p.out_channels > 1


def _fault(name: str, wrong: str, example: str, change: Callable[[QuantizedCall], Array], when: When) -> QuantizedFault:
    return QuantizedFault(name, wrong, example, change, when)


def _always(_: ConvProblem, __: Quantization) -> bool:
    return True


# --- zero points ------------------------------------------------------------------------------------------------------


def _padded_with(value: Callable[[QuantizedCall], int]) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.result(call.sums(border=value(call)))


def _is_padded(p: ConvProblem, q: Quantization) -> bool:
    return q.input_zero_point and p.padding_mode == "zeros" and max(map(max, p.padding)) > 0


def _of_x(center: Callable[[QuantizedCall], Array]) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.result(call.sums(x=center(call)))


def _of_w(center: Callable[[QuantizedCall], Array]) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.result(call.sums(w=center(call)))


def _has_x_zero(_: ConvProblem, q: Quantization) -> bool:
    return q.input_zero_point


def _has_w_zero(_: ConvProblem, q: Quantization) -> bool:
    return q.weight_zero_point


def _has_y_zero(_: ConvProblem, q: Quantization) -> bool:
    return q.result_zero_point


def _compensated_by_first_filter(call: QuantizedCall) -> Array:
    """The correction for the input's zero point is one sum of weights, that of the group's first filter, for all."""
    w = call.w - call.w_zero.reshape(-1, 1, 1, 1)
    bare = call.sums(x=call.x, w=w, border=call.scales.x_zero)
    of_filters = w.sum((1, 2, 3)).reshape(call.problem.groups, -1)
    return call.result(bare - call.scales.x_zero * np.repeat(of_filters[:, 0], of_filters.shape[1]).reshape(-1, 1, 1))


def _compensation_remembered(call: QuantizedCall) -> Array:
    """The correction is computed when a shape is first seen, and kept."""
    w = call.w - call.w_zero.reshape(-1, 1, 1, 1)
    kept = call.kept.setdefault((call.problem, "sums of weights"), w.sum((1, 2, 3)))
    bare = call.sums(x=call.x, w=w, border=call.scales.x_zero)
    return call.result(bare - call.scales.x_zero * kept.reshape(-1, 1, 1))


ZERO_POINTS = (
    _fault(
        "padding-of-zeros",
        "padding holds 0, not the input's zero point",
        f"{_LAYER}_u8zs8u8z",
        _padded_with(lambda call: -call.scales.x_zero),
        _is_padded,
    ),
    _fault("x-zero-ignored", "the input's zero point is 0", f"{_LAYER}_u8zs8u8z", _of_x(lambda c: c.x), _has_x_zero),
    _fault(
        "x-zero-added",
        "the input's zero point is added",
        f"{_LAYER}_s8zs8s8",
        _of_x(lambda call: call.x + call.scales.x_zero),
        _has_x_zero,
    ),
    _fault("w-zero-ignored", "weights have no zero points", f"{_LAYER}_u8s8zu8", _of_w(lambda c: c.w), _has_w_zero),
    _fault(
        "w-zero-of-first-channel",
        "the zero point of the first channel's weights is taken for all",
        f"{_LAYER}_u8s8zs32",
        _of_w(lambda call: call.w - call.w_zero[0]),
        lambda p, q: q.weight_zero_point and q.per_channel and p.out_channels > 1,
    ),
    _fault(
        "y-zero-ignored",
        "the result's zero point is 0",
        f"{_LAYER}_u8s8u8z",
        lambda call: replace(call, scales=replace(call.scales, y_zero=0)).compute(),
        _has_y_zero,
    ),
    _fault(
        "y-zero-of-input",
        "the result gets the input's zero point",
        f"{_LAYER}_u8zs8u8z",
        lambda call: replace(call, scales=replace(call.scales, y_zero=call.scales.x_zero)).compute(),
        lambda p, q: q.is_requantized and q.input_zero_point,
    ),
    _fault(
        "correction-of-first-filter",
        "the correction for the input's zero point is that of the first filter",
        f"{_LAYER}_u8zs8s32",
        _compensated_by_first_filter,
        lambda p, q: q.input_zero_point and p.out_channels > p.groups,
    ),
    _fault(
        "correction-remembered",
        "the correction for the input's zero point is kept from the first weights of a shape",
        f"{_LAYER}_u8zs8s32",
        _compensation_remembered,
        _has_x_zero,
    ),
)

# --- scales -----------------------------------------------------------------------------------------------------------


def _by(multiplier: Callable[[QuantizedCall], Array]) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.result(call.sums(), multiplier(call))


def _of_group(call: QuantizedCall) -> Array:
    filters = call.problem.out_channels // call.problem.groups
    return call.multiplier(w_scale=np.tile(call.w_scale[:filters], call.problem.groups))


def _bias_in_results(call: QuantizedCall) -> Array:
    """The bias is taken for one in units of the result."""
    multiplier = call.multiplier()
    real = call.sums(bias=np.zeros_like(call.bias)) * multiplier.reshape(-1, 1, 1) + call.bias.reshape(-1, 1, 1)
    return call.result(real, np.ones_like(multiplier))


def _bias_by_first_scale(call: QuantizedCall) -> Array:
    multiplier = call.multiplier()
    bias = call.bias * multiplier[0]
    real = call.sums(bias=np.zeros_like(call.bias)) * multiplier.reshape(-1, 1, 1) + bias.reshape(-1, 1, 1)
    return call.result(real, np.ones_like(multiplier))


def _rounded_to(dtype: Any) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.multiplier().astype(dtype).astype(np.float64)


SCALES = (
    _fault(
        "scale-of-next-channel",
        "each channel is scaled as the next one",
        f"{_LAYER}_u8s8u8",
        _by(lambda call: np.roll(call.multiplier(), -1)),
        _per_channel,
    ),
    _fault(
        "scale-of-first-channel",
        "the first channel's scale is taken for the tensor's",
        f"{_LAYER}_u8zs8f32",
        _by(lambda call: np.full_like(call.multiplier(), call.multiplier()[0])),
        _per_channel,
    ),
    _fault(
        "scale-within-group",
        "every group is scaled as the first one",
        "n1c4h5w5_o6k3_p1_g2_bias_s8s8s8",
        _by(_of_group),
        lambda p, q: _per_channel(p, q) and p.groups > 1,
    ),
    _fault(
        "input-scale-ignored",
        "the input's scale is 1",
        f"{_LAYER}_u8s8tu8",
        _by(lambda call: call.multiplier(x_scale=1.0)),
        _scaled,
    ),
    _fault(
        "result-scale-multiplied",
        "the result's scale is multiplied with",
        f"{_LAYER}_u8s8tu8",
        _by(lambda call: call.multiplier(y_scale=1 / call.scales.y_scale)),
        _requantized,
    ),
    _fault(
        "bias-in-units-of-result",
        "the bias is added behind the scaling",
        f"{_LAYER}_u8s8u8",
        _bias_in_results,
        lambda p, q: p.bias and q.result != "s32",
    ),
    _fault(
        "bias-by-first-scale",
        "the bias is scaled as the first channel's",
        f"{_LAYER}_u8s8f32",
        _bias_by_first_scale,
        lambda p, q: p.bias and _per_channel(p, q),
    ),
    _fault(
        "bias-of-next-channel",
        "each channel has the next one's bias",
        f"{_LAYER}_u8s8s32",
        lambda call: call.result(call.sums(bias=np.roll(call.bias, -1))),
        lambda p, q: p.bias and p.out_channels > 1,
    ),
    _fault(
        "multiplier-in-bfloat16",
        "scales are rounded to bfloat16",
        f"{_LAYER}_u8s8u8 normal",
        _by(_rounded_to(ml_dtypes.bfloat16)),
        _scaled,
    ),
    _fault(
        "scales-remembered",
        "the scales of the first call of a shape are used ever after",
        f"{_LAYER}_u8s8u8 seed=1",
        lambda call: call.result(call.sums(), call.kept.setdefault((call.problem, "m"), call.multiplier())),
        _scaled,
    ),
)

# --- sums -------------------------------------------------------------------------------------------------------------


def _saturating_pairs(call: QuantizedCall) -> Array:
    """vpmaddubsw: unsigned inputs, and sums of two products clamped to 16 bits. Signed inputs are shifted by 128."""
    shift = 128 if call.quantization.input == "s8" else 0
    raw, zero = call.x + shift, call.scales.x_zero + shift

    def add(w: Array, taps: Array) -> Array:
        if w.shape[2] % 2:
            w = np.concatenate([w, np.zeros_like(w[:, :, :1])], 2)
            taps = np.concatenate([taps, np.zeros_like(taps[:, :, :1])], 2)
        products = w[None, :, :, :, None] * taps[:, :, None]
        pairs = products.reshape(*products.shape[:3], -1, 2, products.shape[4]).sum(4)
        return np.asarray(pairs.clip(-_INT16, _INT16 - 1).sum(3))

    of_weights = zero * call.w.sum((1, 2, 3)).reshape(-1, 1, 1)
    return call.result(call.sums(x=raw, w=call.w, border=zero, add=add) - of_weights)


def _wrapping(bits: int) -> Callable[[QuantizedCall], Array]:
    half = 2 ** (bits - 1)
    return lambda call: call.result((call.sums() + half) % (2 * half) - half)


def _without_tail_of_four(call: QuantizedCall) -> Array:
    """vpdpbusd takes four products at once; what is left over is forgotten."""

    def add(w: Array, taps: Array) -> Array:
        whole = w.shape[2] // 4 * 4
        return np.matmul(w[:, :, :whole], taps[:, :, :whole])

    return call.result(call.sums(add=add))


SUMS = (
    _fault(
        "pairs-saturate",
        "sums of two products are clamped to 16 bits, as by AVX2 without VNNI",
        f"{_LAYER}_u8s8s32 positive",
        _saturating_pairs,
        lambda p, q: not q.weight_zero_point and p.reduction_length > 1,
    ),
    _fault("sums-in-16-bits", "sums wrap around at 16 bits", f"{_LAYER}_u8s8u8 positive", _wrapping(16), _always),
    _fault("sums-in-20-bits", "sums wrap around at 20 bits", "n1c16h5w5_o6k3_u8s8s32 positive", _wrapping(20), _always),
    _fault(
        "tail-of-four",
        "products beyond a multiple of four are left out",
        f"{_LAYER.replace('c4', 'c3')}_u8s8s32",
        _without_tail_of_four,
        lambda p, q: p.reduction_length % 4 > 0,
    ),
)

# --- rounding and clamping --------------------------------------------------------------------------------------------


def _rounding(rounded: Callable[[Array], Array]) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.result(call.sums(), rounded=rounded)


def _finishing(finish: Callable[[QuantizedCall, Array], Array]) -> Callable[[QuantizedCall], Array]:
    return lambda call: call.result(call.sums(), finish=finish)


def _limits(call: QuantizedCall) -> tuple[int, int]:
    return LIMITS[call.quantization.result]


def _wrapped(call: QuantizedCall, rounded: Array) -> Array:
    low, _ = _limits(call)
    return (rounded + call.scales.y_zero - low) % _BYTE + low


ROUNDING = (
    _fault("truncated", "v is cut off towards 0", f"{_LAYER}_s8s8s8", _rounding(np.trunc), _requantized),
    _fault("floored", "v is cut off downwards", f"{_LAYER}_s8s8s8", _rounding(np.floor), _requantized),
    _fault("halves-up", "halves go up", f"{_LAYER}_s8s8s8 one-tap", _rounding(halves_up), _requantized),
    _fault("halves-away", "halves go away from 0", f"{_LAYER}_s8s8s8 one-tap", _rounding(halves_away), _requantized),
    _fault(
        "halves-even-with-zero-point",
        "halves go to what is even behind the zero point",
        f"{_LAYER}_s8s8s8z one-tap seed=1",
        lambda call: call.result(call.sums(), rounded=halves_even_with_zero_point(call)),
        _has_y_zero,
    ),
    _fault(
        "rounded-twice",
        "v is rounded to sixteenths before it is rounded",
        "n1c4h20w20_o6k3_p1_bias_s8s8s8 normal",
        _rounding(lambda real: np.rint(np.rint(real * 16) / 16)),
        _requantized,
    ),
    _fault(
        "clamped-before-zero-point",
        "the result is clamped, and then gets its zero point",
        f"{_LAYER}_s8s8s8z",
        _finishing(lambda call, rounded: _wrapped(call, rounded.clip(*_limits(call)))),
        _has_y_zero,
    ),
    _fault("not-clamped", "the result wraps around", f"{_LAYER}_s8s8s8 wide", _finishing(_wrapped), _requantized),
    _fault(
        "clamped-as-signed",
        "unsigned results are clamped at 127",
        f"{_LAYER}_u8s8u8",
        _finishing(lambda call, rounded: clamped(call, rounded).clip(0, 127)),
        lambda p, q: q.result == "u8",
    ),
    _fault(
        "cut-at-zero-point",
        "negative numbers become 0, as behind a ReLU",
        f"{_LAYER}_u8s8u8z",
        _finishing(lambda call, rounded: clamped(call, np.maximum(rounded, 0))),
        lambda p, q: q.is_requantized and (q.result_zero_point or q.result == "s8"),
    ),
)

# --- formats ----------------------------------------------------------------------------------------------------------


def _as_signed(array: Array) -> Array:
    return (array + 128) % _BYTE - 128


FORMATS_MISREAD = (
    _fault(
        "input-as-signed",
        "unsigned inputs are read as signed ones",
        f"{_LAYER}_u8s8u8",
        _of_x(lambda call: _as_signed(call.x) - call.scales.x_zero),
        lambda p, q: q.input == "u8",
    ),
    _fault(
        "weight-as-unsigned",
        "weights are read as unsigned ones",
        f"{_LAYER}_u8s8u8",
        _of_w(lambda call: call.w % _BYTE - call.w_zero.reshape(-1, 1, 1, 1)),
        _always,
    ),
    _fault(
        "weight-without-128",
        "a weight of -128 is read as -127",
        f"{_LAYER}_u8s8s32",
        _of_w(lambda call: call.w.clip(-127, 127) - call.w_zero.reshape(-1, 1, 1, 1)),
        _always,
    ),
)

FAULTS = (*ZERO_POINTS, *SCALES, *SUMS, *ROUNDING, *FORMATS_MISREAD)
