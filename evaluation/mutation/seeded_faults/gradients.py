"""Faults of the gradients: of the input, of the weight and of the bias."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import ml_dtypes
import numpy as np

from seeded_faults.convolution import Array, Axis, zeros
from seeded_faults.gradient import GradientCall, Places
from seeded_faults.operands import memory_order, through_bfloat16, without_nan
from seeded_faults.training import TrainingFault

Change = Callable[[GradientCall], Array]


def _axes(**changes: Any) -> Change:
    """Every axis with these fields."""
    return lambda call: call.compute(axes=lambda axis: replace(axis, **changes))


def _each_axis(change: Callable[[Axis], Axis]) -> Change:
    return lambda call: call.compute(axes=change)


def _operand(name: str, change: Callable[[GradientCall, Array], Array]) -> Change:
    return lambda call: call.compute(**{name: change(call, getattr(call, name))})


def _result(change: Callable[[GradientCall, Array], Array]) -> Change:
    return lambda call: change(call, call.compute())


def _assign(out: Array, places: Places, values: Array) -> None:
    """Tap by tap, the last value stays."""
    rows, columns = places[2][:, 0, :, 0], places[3][0, :, 0, :]
    for i, j in np.ndindex(len(rows), len(columns)):
        seen = (rows[i] >= 0)[:, None] & (columns[j] >= 0)[None, :]
        at = np.ix_(np.arange(len(out)), np.arange(out.shape[1]), rows[i], columns[j])
        out[at] = np.where(seen, values[:, :, i, j], out[at])


def _zeroed(index: Any) -> Callable[[GradientCall, Array], Array]:
    def change(_: GradientCall, array: Array) -> Array:
        array = array.copy()
        array[index] = 0
        return array

    return change


def _untouched_unwritten(call: GradientCall) -> Array:
    """The gradient is computed in a buffer that nobody cleared."""
    ones = replace(call, g=np.ones_like(call.g), w=np.ones(call.problem.weight_shape, call.g.dtype)).compute()
    out = np.empty(call.problem.input_shape, call.g.dtype)
    np.copyto(out, call.compute(), where=ones != 0)
    return out


def _added_to_the_last(call: GradientCall) -> Array:
    """As in a framework that adds to `.grad`, and does not clear it."""
    key = call.problem, id(call.g)
    call.kept[key] = call.kept.get(key, 0) + call.compute()
    return np.array(call.kept[key], call.g.dtype)


def _remembered(call: GradientCall) -> Array:
    """By shape alone."""
    return np.array(call.kept.setdefault((call.problem, "answer"), call.compute()))


def _turned_weight_kept(call: GradientCall) -> Array:
    """The weight is turned round when a problem is first seen, and kept."""
    assert call.w is not None
    kept = call.kept.setdefault((call.problem, "weight"), call.w.copy())
    return call.compute(w=kept)


def _output_gradient_scaled_in_place(call: GradientCall) -> Array:
    out = call.compute()
    if call.g.flags.writeable:
        call.g *= call.g.dtype.type(2)
    return out


def _first_group_for_all(call: GradientCall, w: Array) -> Array:
    filters = len(w) // call.problem.groups
    return np.tile(w[:filters], (call.problem.groups, 1, 1, 1))


def _next_group(call: GradientCall, x: Array) -> Array:
    return np.roll(x, x.shape[1] // call.problem.groups, axis=1)


def _with_g(change: Callable[[Array], Array]) -> Change:
    return _operand("g", lambda _, g: change(g))


def _without_last_column(g: Array) -> Array:
    g = g.copy()
    g[..., g.shape[-1] // 8 * 8 :] = 0
    return g


def _of_input() -> tuple[TrainingFault, ...]:
    def fault(name: str, wrong: str, example: str, change: Change, when: str = "", **more: Any) -> TrainingFault:
        return TrainingFault(f"dx-{name}", "input_gradient", wrong, f"{example}_dgrad", change, when, **more)

    return (
        fault("stride-ignored", "every stride is 1", "n1c2h7w7_o3k3_s2", _axes(stride=1), "strided"),
        fault("dilation-ignored", "every dilation is 1", "n1c2h9w9_o3k3_d2", _axes(dilation=1), "dilated"),
        fault(
            "kernel-not-turned",
            "the kernel is turned round once too often",
            "n1c2h5w5_o3k3",
            _operand("w", lambda _, w: w[:, :, ::-1, ::-1]),
        ),
        fault(
            "kernel-transposed",
            "rows and columns of a square kernel are swapped",
            "n1c2h5w5_o3k3",
            _operand("w", lambda _, w: w.swapaxes(2, 3)),
            "square kernel",
        ),
        fault("padding-ignored", "padding is left out", "n1c2h5w5_o3k3_p1", _axes(before=0), "padded"),
        fault(
            "sides-swapped",
            "padding before and after are swapped",
            "n1c2h5w5_o3k3_pt2b0l0r0",
            _each_axis(lambda axis: replace(axis, before=axis.after, after=axis.before)),
            "asymmetric padding",
        ),
        fault(
            "crop-shifted",
            "what negative padding crops is not skipped",
            "n1c2h7w7_o3k3_p-1",
            _each_axis(lambda axis: replace(axis, before=max(0, axis.before))),
            "negative padding",
        ),
        *(
            fault(
                f"{mode}-border-lost",
                f"what comes back to {mode} padding is lost",
                f"n1c2h5w5_o3k3_p1_{mode}",
                _axes(border=zeros),
                f"{mode} & padded",
            )
            for mode in ("reflect", "replicate", "circular")
        ),
        fault(
            "overlap-assigned",
            "where windows overlap, the last tap's product stays and is not added",
            "n1c2h5w5_o3k3",
            lambda call: call.compute(scatter=_assign),
        ),
        fault(
            "overlap-assigned-of-repeats",
            "of repeated pixels only one copy counts",
            "n1c2h5w5_o3k2_p1_circular",
            lambda call: call.compute(scatter=_assign),
            "circular & padded",
        ),
        fault(
            "untouched-unwritten",
            "pixels that no output reads are not written",
            "n1c8h13w13_o3k1_s3",
            _untouched_unwritten,
            "stride over kernel",
        ),
        fault(
            "first-group-for-all",
            "the first group's filters are used for all groups",
            "n1c4h5w5_o4k3_g2",
            _operand("w", _first_group_for_all),
            "grouped",
        ),
        fault(
            "second-image-is-the-first",
            "every image gets the first one's gradient",
            "n2c2h5w5_o3k3",
            _operand("g", lambda _, g: np.broadcast_to(g[:1], g.shape)),
            "batch 2+",
        ),
        fault(
            "last-filter-of-many",
            "the last filters, beyond a multiple of 8, are left out",
            "n1c2h5w5_o9k3",
            _operand("g", lambda _, g: _zeroed((slice(None), slice(g.shape[1] // 8 * 8, None)))(_, g)),
            "8+ filters, not in eights",
        ),
        fault(
            "sums-in-bfloat16",
            "sums are kept in bfloat16",
            "n1c2h5w5_o33k3_bf16",
            lambda call: call.compute(accumulate=ml_dtypes.bfloat16),
            "bfloat16",
        ),
        fault(
            "operands-through-bfloat16",
            "float32 is rounded to bfloat16 before it is multiplied",
            "n1c2h5w5_o3k3",
            _with_g(through_bfloat16),
            "float32",
            values="one-tap",
        ),
        fault(
            "turned-weight-kept",
            "the weight of the first call is used ever after",
            "n1c2h5w5_o3k3",
            _turned_weight_kept,
        ),
        fault("nan-lost", "NaN becomes 0", "n1c2h5w5_o3k3", _with_g(without_nan), values="special"),
        fault(
            "strides-of-memory",
            "every output gradient is taken for contiguous",
            "n1c2h5w5_o3k3",
            _with_g(memory_order),
            layout="channels-last",
        ),
    )


def _of_weight() -> tuple[TrainingFault, ...]:
    def fault(name: str, wrong: str, example: str, change: Change, when: str = "", **more: Any) -> TrainingFault:
        return TrainingFault(f"dw-{name}", "weight_gradient", wrong, f"{example}_wgrad", change, when, **more)

    return (
        fault(
            "stride-and-dilation-swapped",
            "stride and dilation are swapped",
            "n1c2h9w9_o3k3_s2",
            _each_axis(lambda axis: replace(axis, stride=axis.dilation, dilation=axis.stride)),
            "strided",
        ),
        fault(
            "last-image-left-out",
            "the last image is not added",
            "n2c2h5w5_o3k3",
            lambda call: call.compute(images=slice(-1)),
            "batch 2+",
        ),
        fault(
            "mean-of-images",
            "the mean over the batch instead of the sum",
            "n2c2h5w5_o3k3",
            _result(lambda call, out: (out / call.problem.batch).astype(out.dtype)),
            "batch 2+",
        ),
        fault("padding-ignored", "padding is left out", "n1c2h5w5_o3k3_p1", _axes(before=0), "padded"),
        fault(
            "border-of-zeros",
            "padding of any mode is zeros",
            "n1c2h5w5_o3k3_p1_reflect",
            _axes(border=zeros),
            "padding not of zeros",
        ),
        fault(
            "groups-shifted",
            "each group meets the channels of the next one",
            "n1c4h5w5_o4k3_g2",
            _operand("x", _next_group),
            "grouped",
        ),
        fault(
            "depthwise-order",
            "filters of a depthwise multiplier come in another order",
            "n1c2h5w5_o4k3_g2",
            _result(
                lambda call, out: out.reshape(call.problem.groups, -1, *out.shape[1:]).swapaxes(0, 1).reshape(out.shape)
            ),
            "multiplier",
        ),
        fault(
            "last-columns-left-out",
            "columns of the output beyond a multiple of 8 are left out",
            "n1c2h4w13_o3k3",
            _with_g(_without_last_column),
            "8+ columns out, not in eights",
        ),
        fault(
            "kernel-over-image",
            "the last row of a kernel that is larger than the image gets nothing",
            "n1c2h2w4_o3k3_p1",
            _result(_zeroed((slice(None), slice(None), -1))),
            "kernel over image",
        ),
        fault(
            "kernel-turned",
            "the result is turned round",
            "n1c2h5w5_o3k3",
            _result(lambda _, out: out[:, :, ::-1, ::-1]),
        ),
        fault(
            "sums-in-float16",
            "sums are kept in float16",
            "n2c2h16w16_o3k3_f16",
            lambda call: call.compute(accumulate=np.float16),
            "float16",
            values="positive",
        ),
        fault("added-to-the-last", "the last call's result is added to", "n1c2h5w5_o3k3", _added_to_the_last),
        fault(
            "output-gradient-scaled",
            "the output's gradient is scaled where it lies",
            "n1c2h5w5_o3k3",
            _output_gradient_scaled_in_place,
        ),
        fault(
            "operands-through-bfloat16",
            "float32 is rounded to bfloat16 before it is multiplied",
            "n1c2h5w5_o3k3",
            _operand("x", lambda _, x: through_bfloat16(x)),
            "float32",
            values="one-tap",
        ),
    )


def _of_bias() -> tuple[TrainingFault, ...]:
    def fault(name: str, wrong: str, example: str, change: Change, when: str = "", **more: Any) -> TrainingFault:
        return TrainingFault(f"db-{name}", "bias_gradient", wrong, f"{example}_bias_bgrad", change, when, **more)

    return (
        fault(
            "first-image-alone",
            "only the first image is summed",
            "n2c2h5w5_o3k3",
            lambda call: call.compute(images=slice(1)),
            "batch 2+",
        ),
        fault(
            "mean",
            "the mean instead of the sum",
            "n1c2h5w5_o3k3",
            _result(lambda call, out: (out / (call.g.size // call.g.shape[1])).astype(out.dtype)),
        ),
        fault(
            "last-row-left-out",
            "the last row of outputs is left out",
            "n1c2h5w5_o3k3",
            _operand("g", _zeroed((slice(None), slice(None), -1))),
        ),
        fault("remembered", "the answer to the first call of a shape is given again", "n1c2h5w5_o3k3", _remembered),
    )


FAULTS = (*_of_input(), *_of_weight(), *_of_bias())
