"""Faults of a training step: most have a right output and a wrong gradient, or results that belong to other calls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from convbench.problem import Direction
from seeded_faults.convolution import Array, zeros
from seeded_faults.operands import memory_order, through_bfloat16, without_nan
from seeded_faults.step import Results, StepCall
from seeded_faults.training import TrainingFault

Change = Callable[[StepCall], Results]

_LEARNING_RATE = 0.5  # exact in every format, so that an updated weight stays one


def _replaced(direction: Direction, result: Callable[[StepCall], Array]) -> Change:
    """The results, with one of its own for `direction`."""
    return lambda call: call.results(**{direction: result(call)})


def _of_operands(direction: Direction, **operands: Callable[[StepCall], Array]) -> Change:
    """One result is computed from other operands."""
    return _replaced(
        direction, lambda call: call.result(direction, **{name: of(call) for name, of in operands.items()})
    )


def _kept(call: StepCall, name: str, value: Array) -> Array:
    """The first `value` of this name for the problem, whoever asked."""
    return np.array(call.kept.setdefault((call.problem, name), np.array(value)))


def _from_remembered_input(call: StepCall) -> Results:
    """What forward saved for the way back is found by shape alone."""
    return call.results(weight_gradient=call.result("weight_gradient", x=_kept(call, "x", call.x)))


def _from_remembered_weight(call: StepCall) -> Results:
    return call.results(input_gradient=call.result("input_gradient", w=_kept(call, "w", call.w)))


def _all_of_former_operands(call: StepCall) -> Results:
    """The gradients are those for the operands of the step before, as where forward of the next one overtakes them."""
    right = call.results()
    former = call.kept.get(call.problem, right)
    call.kept[call.problem] = right
    return [np.array(result) for result in (right[0], *former[1:])]


def _accumulated(call: StepCall) -> Results:
    """As in a framework that adds to `.grad`, and does not clear it."""
    key = call.problem, id(call.x)
    call.kept[key] = call.kept.get(key, 0) + call.result("weight_gradient")
    return call.results(weight_gradient=np.array(call.kept[key], call.w.dtype))


def _updated(call: StepCall) -> Array:
    """The weight after the optimiser's step."""
    with np.errstate(all="ignore"):
        step = call.result("weight_gradient") * call.w.dtype.type(_LEARNING_RATE)
        return np.asarray(call.w - step, call.w.dtype)


def _weight_updated_in_place(call: StepCall) -> Results:
    results = call.results()
    if call.w.flags.writeable:
        call.w[...] = _updated(call)
    return results


def _output_over_input(call: StepCall) -> Results:
    """Forward computes in place where the shapes allow it; the gradients were computed before."""
    results = call.results()
    if call.x.shape == results[0].shape and call.x.flags.writeable:
        call.x[...] = results[0]
    return results


def _output_gradient_scaled_in_place(call: StepCall) -> Results:
    results = call.results()
    if call.g.flags.writeable:
        call.g *= call.g.dtype.type(2)
    return results


def _one_buffer(call: StepCall) -> Results:
    """The gradient of the input is written where the output lies, because both have the same shape."""
    results = call.results()
    if results[0].shape == results[1].shape:
        results[0] = results[1]
    return results


def _one_workspace(call: StepCall) -> Results:
    """All steps of a problem write their results to the same memory."""
    workspace = call.kept.setdefault(call.problem, [np.empty_like(result) for result in call.results()])
    for mine, result in zip(workspace, call.results(), strict=True):
        mine[...] = result
    return list(workspace)


def _unwritten(direction: Direction) -> Change:
    """Of the shape of the operand; nothing is computed before that would leave the answer in this memory."""
    operand = {"input_gradient": "x", "weight_gradient": "w"}[direction]
    return _replaced(direction, lambda call: np.empty(getattr(call, operand).shape, call.g.dtype))


def _as_zeros(direction: Direction) -> Change:
    return _replaced(direction, lambda call: np.zeros_like(call.result(direction)))


def _mean_over_batch(call: StepCall) -> Results:
    output, *gradients = call.results()
    return [output, *(np.asarray(each / call.problem.batch, each.dtype) for each in gradients)]


def _of_group_before(x: Array, groups: int) -> Array:
    return np.roll(x, x.shape[1] // groups, axis=1)


def _fault(name: str, wrong: str, example: str, change: Change, when: str = "", **more: Any) -> TrainingFault:
    return TrainingFault(f"step-{name}", "step", wrong, f"{example}_step", change, when, **more)


_BARE, _BIASED, _SAME = "n1c2h5w5_o3k3", "n2c2h5w5_o3k3_bias", "n1c3h5w5_o3k3_p1"

_OF_OTHER_CALLS = (
    _fault(
        "input-remembered", "the weight's gradient is for the first input of this shape", _BARE, _from_remembered_input
    ),
    _fault(
        "weight-remembered",
        "the input's gradient is by the first weight of this shape",
        _BARE,
        _from_remembered_weight,
    ),
    _fault(
        "output-remembered",
        "the output is that of the first step of this shape, and the gradients are right",
        _BARE,
        lambda call: call.results(forward=_kept(call, "y", call.result("forward"))),
    ),
    _fault(
        "bias-remembered",
        "the bias of the first step is added ever after",
        _BIASED,
        lambda call: call.results(forward=call.result("forward", b=_kept(call, "b", np.asarray(call.b)))),
        "biased",
    ),
    _fault(
        "gradients-of-former-operands",
        "the gradients are those of the step before",
        _BARE,
        _all_of_former_operands,
    ),
    _fault("added-to-the-last", "the weight's gradient is added to the last one", _BARE, _accumulated),
    _fault("one-workspace", "every step writes its results to the same memory", _BARE, _one_workspace),
)

_OF_OTHER_OPERANDS = (
    _fault(
        "gradient-of-the-output-itself",
        "the output is taken for its own gradient",
        _BARE,
        _of_operands("weight_gradient", g=lambda call: call.result("forward")),
    ),
    _fault(
        "gradient-of-ones",
        "the input's gradient is that of the sum of all outputs",
        _BARE,
        _of_operands("input_gradient", g=lambda call: np.ones_like(call.g)),
    ),
    _fault(
        "by-updated-weight",
        "the weight is updated before it takes the gradient back to the input",
        _BARE,
        _of_operands("input_gradient", w=_updated),
    ),
    _fault(
        "input-saved-in-bfloat16",
        "what forward saves for the weight's gradient is rounded to bfloat16",
        _BARE,
        _of_operands("weight_gradient", x=lambda call: through_bfloat16(call.x)),
        "float32",
        values="one-tap",
    ),
    _fault(
        "input-saved-as-contiguous",
        "what forward saves is the memory of the input, whatever its strides",
        _BARE,
        _of_operands("weight_gradient", x=lambda call: memory_order(call.x)),
        layout="channels-last",
    ),
    _fault(
        "groups-shifted-on-the-way-back",
        "each group's gradient meets the channels of the next group",
        "n1c4h5w5_o4k3_g2",
        _of_operands("weight_gradient", x=lambda call: _of_group_before(call.x, call.problem.groups)),
        "grouped",
    ),
    _fault(
        "border-lost-on-the-way-back",
        "forward pads by reflection, and the weight's gradient by zeros",
        "n1c2h5w5_o3k3_p1_reflect",
        _replaced(
            "weight_gradient",
            lambda call: call.result("weight_gradient", axes=lambda axis: replace(axis, border=zeros)),
        ),
        "reflect & padded",
    ),
    _fault(
        "nan-lost-on-the-way-back",
        "NaN in the input is 0 in the weight's gradient",
        _BARE,
        _of_operands("weight_gradient", x=lambda call: without_nan(call.x)),
        values="special",
    ),
    _fault(
        "first-image-alone",
        "the weight's gradient is that of the first image",
        "n2c2h5w5_o3k3",
        _replaced("weight_gradient", lambda call: call.result("weight_gradient", images=slice(1))),
        "batch 2+",
    ),
    _fault("mean-over-batch", "gradients are those of the mean over the batch", _BIASED, _mean_over_batch, "batch 2+"),
)

_OF_RESULTS = (
    _fault(
        "input-gradient-skipped",
        "the input's gradient is zeros, as of a first layer, which needs none",
        _BARE,
        _as_zeros("input_gradient"),
    ),
    _fault("input-gradient-unwritten", "the input's gradient is not written", _BARE, _unwritten("input_gradient")),
    _fault("weight-gradient-unwritten", "the weight's gradient is not written", _BARE, _unwritten("weight_gradient")),
    _fault(
        "bias-gradient-skipped",
        "with groups, the bias's gradient is zeros",
        "n1c4h5w5_o4k3_g2_bias",
        _as_zeros("bias_gradient"),
        "biased & grouped",
    ),
    _fault(
        "bias-gradient-missing", "the bias's gradient is not returned", _BIASED, lambda c: c.results()[:3], "biased"
    ),
    _fault(
        "bias-not-added",
        "the output is without the bias, and every gradient is right",
        _BIASED,
        lambda call: call.results(forward=call.result("forward", b=None)),
        "biased",
    ),
    _fault("output-left-out", "only the gradients are returned", _BARE, lambda call: call.results()[1:]),
    _fault("one-buffer", "the input's gradient is written over an output of its shape", _SAME, _one_buffer),
)

_OF_MEMORY = (
    _fault("weight-updated-in-place", "the weight is updated where it lies", _BARE, _weight_updated_in_place),
    _fault("output-over-input", "the output is written over an input of its shape", _SAME, _output_over_input),
    _fault(
        "output-gradient-scaled",
        "the output's gradient is scaled where it lies",
        _BARE,
        _output_gradient_scaled_in_place,
    ),
)

FAULTS = (*_OF_OTHER_CALLS, *_OF_OTHER_OPERANDS, *_OF_RESULTS, *_OF_MEMORY)
