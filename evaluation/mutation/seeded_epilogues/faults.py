"""Faults of epilogues: of the order, the residual, the activation, and what is kept between calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
from seeded_faults.convolution import Array

from convbench.problem import ConvProblem, Epilogue
from seeded_epilogues.epilogue import EpilogueFault, FusedCall, activate, gelu, gelu_tanh, relu6, sigmoid

Change = Callable[[FusedCall], Array]
Acts = Callable[[ConvProblem], bool]

_BASE = "n2c3h9w7_o5k3_p1"
_BIASED = f"{_BASE}_bias"
_VECTOR = 8


def _of(*activations: str) -> Acts:
    return lambda p: p.epilogue is not None and p.epilogue.activation in activations


def _with_sum(*where: str) -> Acts:
    return lambda p: p.epilogue is not None and p.epilogue.residual in (where or ("before", "after"))


def _both(*conditions: Acts) -> Acts:
    return lambda p: all(condition(p) for condition in conditions)


def _is_biased(p: ConvProblem) -> bool:
    return p.bias


def _is_active(p: ConvProblem) -> bool:
    return p.epilogue is not None and p.epilogue.activation is not None


def _by(function: Callable[[Epilogue, Array], Any]) -> Change:
    """The activation is another function."""
    return lambda call: call.compute(activation=lambda e, y: np.asarray(function(e, y), y.dtype))


def _bias_after_activation(call: FusedCall) -> Array:
    assert call.b is not None
    out = call.compute(y=call.convolved(biased=False)).astype(call.wide)
    return (out + call.b.astype(call.wide)[:, None, None]).astype(call.x.dtype)


def _tail_not_activated(call: FusedCall) -> Array:
    """What is left of each plane after whole vectors."""

    def activation(e: Epilogue, y: Array) -> Array:
        flat = y.reshape(*y.shape[:2], -1)
        whole = flat.shape[2] // _VECTOR * _VECTOR
        return np.concatenate([activate(e, flat[..., :whole]), flat[..., whole:]], 2).reshape(y.shape)

    return call.compute(activation=activation)


def _last_channels_not_activated(call: FusedCall) -> Array:
    """Those beyond the last block of 4."""

    def activation(e: Epilogue, y: Array) -> Array:
        whole = y.shape[1] // 4 * 4
        return np.concatenate([activate(e, y[:, :whole]), y[:, whole:]], 1)

    return call.compute(activation=activation)


def _sum_in_place(call: FusedCall) -> Array:
    """The residual's memory takes the result, as a post-op that accumulates does."""
    out = call.compute()
    if call.r is not None and call.r.flags.writeable:
        call.r[...] = out
    return out


def _added_to_the_last_output(call: FusedCall) -> Array:
    """The sum reads what lies in the output, which was the residual in the first call only."""
    key = (call.problem, id(call.r))
    out = call.compute(r=call.kept.get(key) if call.number > 1 else None)
    call.kept[key] = out.astype(call.wide)
    return out


def _remembered_residual(call: FusedCall) -> Array:
    """By shape alone."""
    return call.compute(r=call.kept.setdefault(call.problem.output_shape, call.residual))


def _in_memory_order(call: FusedCall) -> Array:
    """The residual is read as if it lay in NHWC."""
    n, c, h, w = call.problem.output_shape
    return call.compute(r=np.ascontiguousarray(call.residual).reshape(n, h, w, c).transpose(0, 3, 1, 2))


def _residual(change: Callable[[Array], Array]) -> Change:
    return lambda call: call.compute(r=change(call.residual))


def _activated_apart(call: FusedCall) -> Array:
    """Both summands are activated, and then added."""
    own = activate(call.epilogue, call.convolved()) + activate(call.epilogue, call.residual)
    return own.astype(call.x.dtype)


def _fast_exponential(y: Array) -> Array:
    """By the bits of a float (Schraudolph 1999): some 3 % off."""
    bits = np.clip(y.astype(np.float64) * 2**23 / np.log(2) + (127 * 2**23 - 366000), 0, 254 * 2**23)
    return bits.astype(np.int32).view(np.float32).astype(y.dtype)


FAULTS: tuple[EpilogueFault, ...] = (
    EpilogueFault("bias-last", "the bias is added after the activation", f"{_BIASED}_relu", _bias_after_activation,
                  _both(_is_active, _is_biased)),
    EpilogueFault("no-six", "ReLU6 does not clamp at 6", f"{_BASE}_relu6", _by(lambda e, y: np.maximum(y, 0)),
                  _of("relu6")),
    EpilogueFault("sum-twice", "the residual is added twice", f"{_BASE}_add_relu", _residual(lambda r: 2 * r),
                  _with_sum()),
    EpilogueFault("sum-left-out", "the residual is not added", f"{_BASE}_add", _residual(np.zeros_like), _with_sum()),
    EpilogueFault("sum-after", "the residual is added after the activation instead of before", f"{_BASE}_add_relu",
                  lambda call: call.compute(residual="after"), _both(_is_active, _with_sum("before"))),
    EpilogueFault("sum-before", "the residual is added before the activation instead of after", f"{_BASE}_relu_add",
                  lambda call: call.compute(residual="before"), _with_sum("after")),
    EpilogueFault("sum-of-activations", "the residual is activated by itself", f"{_BASE}_add_relu", _activated_apart,
                  _both(_is_active, _with_sum("before"))),
    EpilogueFault("sum-of-first-image", "every image gets the residual of the first", f"{_BASE}_add_relu",
                  _residual(lambda r: np.broadcast_to(r[:1], r.shape)), _with_sum()),
    EpilogueFault("sum-in-nhwc", "the residual is read in the wrong memory order", f"{_BASE}_add", _in_memory_order,
                  _with_sum()),
    EpilogueFault("sum-in-bfloat16", "the residual is rounded to bfloat16", f"{_BASE}_add",
                  _residual(lambda r: r.astype(ml_dtypes.bfloat16).astype(r.dtype)), _with_sum(), values="normal"),
    EpilogueFault("sum-in-place", "the sum is written over the residual", f"{_BASE}_add_relu", _sum_in_place,
                  _with_sum()),
    EpilogueFault("sum-accumulates", "the second call adds to the first one's output", f"{_BASE}_add",
                  _added_to_the_last_output, _with_sum()),
    EpilogueFault("sum-remembered", "the residual of the first problem of a shape is kept", f"{_BASE}_add",
                  _remembered_residual, _with_sum()),
    EpilogueFault("tail-bare", "what is left after whole vectors is not activated", f"{_BASE}_relu",
                  _tail_not_activated, _is_active),
    EpilogueFault("last-channels-bare", "channels beyond the last block are not activated", f"{_BASE}_relu",
                  _last_channels_not_activated, _is_active),
    EpilogueFault("slope-above", "the slope is for positive numbers", f"{_BASE}_leaky0.25",
                  _by(lambda e, y: np.where(y > 0, (e.slope or 0.0) * y, y)), _of("leaky_relu")),
    EpilogueFault("slope-default", "the slope is always 0.01", f"{_BASE}_leaky0.25",
                  _by(lambda e, y: np.where(y > 0, y, 0.01 * y)), _of("leaky_relu")),
    EpilogueFault("leaky-as-relu", "leaky ReLU is ReLU", f"{_BASE}_leaky0.25", _by(lambda e, y: np.maximum(y, 0)),
                  _of("leaky_relu")),
    EpilogueFault("gelu-by-tanh", "GELU is its approximation by tanh", f"{_BASE}_gelu", _by(lambda e, y: gelu_tanh(y)),
                  _of("gelu")),
    EpilogueFault("gelu-by-erf", "GELU by tanh is the exact one", f"{_BASE}_gelutanh", _by(lambda e, y: gelu(y)),
                  _of("gelu_tanh")),
    EpilogueFault("gelu-quick", "GELU is y sigmoid(1.702 y)", f"{_BASE}_gelu",
                  _by(lambda e, y: y * sigmoid(1.702 * y)), _of("gelu", "gelu_tanh")),
    EpilogueFault("hard-swish-offset", "hard swish without the 3 in ReLU6", f"{_BASE}_hswish",
                  _by(lambda e, y: y * relu6(y) / 6), _of("hard_swish")),
    EpilogueFault("hard-swish-fifth", "hard swish with a slope of 1/5", f"{_BASE}_hswish",
                  _by(lambda e, y: y * np.clip(0.2 * y + 0.5, 0, 1)), _of("hard_swish")),
    EpilogueFault("hard-swish-for-silu", "SiLU is hard swish", f"{_BASE}_silu", _by(lambda e, y: y * relu6(y + 3) / 6),
                  _of("silu")),
    EpilogueFault("silu-gate-only", "SiLU is sigmoid", f"{_BASE}_silu", _by(lambda e, y: sigmoid(y)), _of("silu")),
    EpilogueFault("sigmoid-fast", "the exponential is that of Schraudolph, 3 % off", f"{_BASE}_sigmoid",
                  _by(lambda e, y: 1 / (1 + _fast_exponential(-y))), _of("sigmoid")),
    EpilogueFault("clip-no-low", "clip has no lower limit", f"{_BASE}_clip-1.5x2.5",
                  _by(lambda e, y: np.minimum(y, e.high)), _of("clip")),
    EpilogueFault("clip-symmetric", "clip has its upper limit on both sides", f"{_BASE}_clip-1.5x2.5",
                  _by(lambda e, y: np.clip(y, -(e.high or 0.0), e.high)), _of("clip")),
    EpilogueFault("twice", "the activation is applied twice", f"{_BASE}_silu",
                  _by(lambda e, y: activate(e, activate(e, y))), _of("silu", "leaky_relu", "hard_swish", "gelu")),
    EpilogueFault("not-activated", "there is no activation", f"{_BASE}_relu", _by(lambda e, y: y), _is_active),
    EpilogueFault("nan-lost", "ReLU makes 0 of a NaN", f"{_BASE}_relu", _by(lambda e, y: np.where(y > 0, y, 0)),
                  _of("relu"), values="special"),
)  # fmt: skip
