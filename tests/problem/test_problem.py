"""`ConvProblem` against torch: the same shapes, the same refusals; and the value itself.

Where the two differ on purpose:

* Negative padding is a crop, which torch's `Conv2d` refuses (or, by device, takes); the oracle is `F.pad`, which crops.
* A crop of the whole image is refused here; `F.pad` goes on with nothing but padding.
* Negative padding in another mode than zeros is refused here; `F.pad(mode="circular")` takes some.
"""

from __future__ import annotations

import itertools
import json
import pickle
import warnings
from dataclasses import FrozenInstanceError
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from strategies import arguments, forward_problems, problems
from torch.nn import functional

from convbench.errors import ConvbenchError, ProblemError
from convbench.problem import DTYPES, ITEMSIZE_BYTES, PADDING_MODES, ConvProblem, Epilogue, output_size

LAYER: dict[str, Any] = {"in_channels": 4, "height": 8, "width": 6, "out_channels": 6, "kernel_size": 3}

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")


def problem(**changes: Any) -> ConvProblem:
    return ConvProblem(**(LAYER | changes))


def refused(**changes: Any) -> str:
    with pytest.raises(ProblemError) as caught:
        problem(**changes)
    return str(caught.value)


def meta(*shape: int) -> torch.Tensor:
    return torch.empty(*shape, device="meta")


# --- torch as the oracle ------------------------------------------------------------------------------------------


def test_output_size_is_torchs_on_every_small_axis() -> None:
    compared = 0
    grid = itertools.product(range(1, 9), range(1, 5), range(1, 4), range(1, 4), range(-2, 4), range(-2, 4))
    for size, kernel, stride, dilation, before, after in grid:
        if max(0, -before) + max(0, -after) >= size:
            continue
        padded = functional.pad(meta(1, 1, size, 1), (0, 0, before, after))
        expected = output_size(size, kernel, stride, before, after, dilation)
        if padded.shape[2] < dilation * (kernel - 1) + 1:
            assert expected < 1
            continue
        out = functional.conv2d(padded, meta(1, 1, kernel, 1), stride=(stride, 1), dilation=(dilation, 1))
        assert out.shape[2] == expected
        compared += 1
    assert compared > 5000


def torch_shape(a: dict[str, Any]) -> tuple[int, ...] | None:
    """The shape torch computes for arguments in its own forms, by `Conv2d`; sides of their own go through `F.pad`."""
    padding, mode = a["padding"], a["padding_mode"]
    nested = isinstance(padding, tuple) and isinstance(padding[0], tuple)
    x = meta(a["batch"], a["in_channels"], a["height"], a["width"])
    try:
        if nested:
            (top, bottom), (left, right) = padding
            x = functional.pad(x, (left, right, top, bottom), mode="constant" if mode == "zeros" else mode)
        layer = torch.nn.Conv2d(
            a["in_channels"],
            a["out_channels"],
            a["kernel_size"],
            a["stride"],
            0 if nested else padding,
            a["dilation"],
            a["groups"],
            a["bias"],
            "zeros" if nested else mode,
            device="meta",
        )
        return tuple(layer(x).shape)
    except (RuntimeError, ValueError):
        return None


@settings(max_examples=1500)
@given(arguments())
@example(LAYER | {"batch": 1, "stride": 1, "padding": "same", "dilation": (3, 1), "groups": 1, "bias": True}
         | {"padding_mode": "reflect", "kernel_size": (2, 4)})  # fmt: skip
def test_shapes_and_refusals_are_torchs(given_arguments: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # 'same' with an even kernel copies the input
        expected = torch_shape(given_arguments)
    try:
        found = ConvProblem(**given_arguments).output_shape
    except ProblemError:
        assert expected is None
    else:
        assert found == expected


@settings(max_examples=400)
@given(arguments(least_padding=-4))
def test_negative_padding_is_f_pads_crop(given_arguments: dict[str, Any]) -> None:
    padding = given_arguments["padding"]
    try:
        found = ConvProblem(**(given_arguments | {"padding_mode": "zeros"}))
    except ProblemError:
        return
    (top, bottom), (left, right) = found.padding
    padded = functional.pad(meta(*found.input_shape), (left, right, top, bottom))
    out = functional.conv2d(padded, meta(*found.weight_shape), None, found.stride, 0, found.dilation, found.groups)
    assert found.output_shape == tuple(out.shape), padding


@settings(max_examples=150)
@given(forward_problems())
def test_macs_are_the_products_counted_on_ones(p: ConvProblem) -> None:
    # On an image of ones, padded with ones, each output element is the number of products summed for it.
    (top, bottom), (left, right) = p.padding
    padded = torch.ones(p.batch, p.in_channels, p.height + top + bottom, p.width + left + right)
    out = functional.conv2d(padded, torch.ones(p.weight_shape), None, p.stride, 0, p.dilation, p.groups)
    assert (out == p.reduction_length).all()
    assert p.macs == int(out.sum()) and p.flops == 2 * p.macs


# --- what it costs ------------------------------------------------------------------------------------------------


def test_groups_divide_the_flops() -> None:
    dense, grouped = problem(in_channels=8, out_channels=8), problem(in_channels=8, out_channels=8, groups=4)
    assert dense.flops == 4 * grouped.flops


def test_bytes_touch_each_operand_once() -> None:
    p = problem(batch=2, bias=True)
    residual = p.replace(epilogue="add_relu")
    assert residual.bytes == p.bytes + 2 * 6 * 6 * 4 * 4 and p.replace(epilogue="relu").bytes == p.bytes
    assert residual.flops == p.flops and residual.operand_shapes["r"] == p.output_shape
    elements = 2 * 4 * 8 * 6 + 6 * 4 * 3 * 3 + 2 * 6 * 6 * 4 + 6
    for dtype in DTYPES:
        assert p.replace(dtype=dtype).bytes == elements * ITEMSIZE_BYTES[dtype]
        assert ITEMSIZE_BYTES[dtype] == getattr(torch, dtype).itemsize
    assert p.arithmetic_intensity == p.flops / p.bytes
    assert p.bias_shape == (6,) and problem().bias_shape is None


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, "dense"),
        ({"kernel_size": 1}, "pointwise"),
        ({"kernel_size": (1, 3)}, "dense"),
        ({"groups": 2}, "grouped"),
        ({"groups": 2, "kernel_size": 1}, "grouped"),
        ({"groups": 4, "out_channels": 4}, "depthwise"),
        ({"groups": 4, "out_channels": 8}, "depthwise"),
        ({"in_channels": 1, "out_channels": 1}, "dense"),
    ],
)
def test_kind(changes: dict[str, Any], kind: str) -> None:
    assert problem(**changes).kind == kind


# --- the value ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"kernel_size": 3}, {"kernel_size": (3, 3)}),
        ({"stride": 2}, {"stride": [2, 2]}),
        ({"dilation": 2}, {"dilation": (2, 2)}),
        ({"padding": 1}, {"padding": (1, 1)}),
        ({"padding": (1, 2)}, {"padding": ((1, 1), (2, 2))}),
        ({"padding": [1, (2, 3)]}, {"padding": ((1, 1), (2, 3))}),
        ({"padding": "valid"}, {"padding": 0}),
        ({"padding": "same"}, {"padding": 1}),
        ({"padding": "same", "kernel_size": (2, 4)}, {"padding": ((0, 1), (1, 2)), "kernel_size": (2, 4)}),
        ({"padding": "same", "dilation": 2}, {"padding": 2, "dilation": 2}),
        ({"batch": np.int64(3)}, {"batch": 3}),
        ({"batch": True + 1}, {"batch": 2}),
    ],
)
def test_forms_of_one_problem_are_equal(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert problem(**one) == problem(**other)
    assert hash(problem(**one)) == hash(problem(**other))
    assert type(problem(**one).batch) is int


@settings(max_examples=200)
@given(problems())
def test_every_form_gives_the_problem_back(p: ConvProblem) -> None:
    assert ConvProblem(**p.as_dict()) == p
    assert ConvProblem(**json.loads(json.dumps(p.as_dict()))) == p
    assert pickle.loads(pickle.dumps(p)) == p
    assert eval(repr(p), {"ConvProblem": ConvProblem, "Epilogue": Epilogue}) == p
    assert p.replace() == p


def test_it_is_frozen_and_replace_checks_again() -> None:
    p = problem(padding="same")
    with pytest.raises(FrozenInstanceError):
        p.batch = 2  # type: ignore[misc]
    assert p.replace(batch=2).batch == 2 and p.batch == 1
    with pytest.raises(ProblemError, match="height"):
        p.replace(kernel_size=99)


# --- refusals say the numbers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"batch": 0}, ["batch", "0", "at least 1"]),
        ({"height": -3}, ["height", "-3"]),
        ({"width": 2.0}, ["width", "2.0", "integer"]),
        ({"width": "7"}, ["width", "'7'", "integer"]),
        ({"width": True}, ["width", "True", "integer"]),
        ({"width": int}, ["width", "integer"]),
        ({"width": np.arange(2)}, ["width", "integer"]),
        ({"width": 2**63}, ["width", "64 bits", str(2**63 - 1)]),
        ({"height": 10**5000}, ["height", "bits"]),
        ({"padding": -(10**5000)}, ["padding", "bits"]),
        ({"kernel_size": (3, 3, 3)}, ["kernel_size", "(3, 3, 3)", "(height, width)"]),
        ({"kernel_size": (3, 0)}, ["kernel_size", "0"]),
        ({"stride": 0}, ["stride", "0"]),
        ({"dilation": None}, ["dilation", "None"]),
        ({"bias": 1}, ["bias", "1", "true or false"]),
        ({"padding": (1, 2, 3, 4)}, ["(1, 2, 3, 4)", "((top, bottom), (left, right))"]),
        ({"padding": ((1, 2, 3), 0)}, ["(1, 2, 3)", "(before, after)"]),
        ({"padding": "smae"}, ["'smae'", "'same'", "'valid'"]),
        ({"padding": "same", "stride": (1, 2)}, ["same", "(1, 2)", "stride 1"]),
        ({"padding_mode": "zero"}, ["'zero'", "Did you mean 'zeros'"]),
        ({"dtype": "float"}, ["'float'", "float64, float32, float16, bfloat16"]),
        ({"direction": "backward"}, ["'backward'", "weight_gradient"]),
        ({"direction": "input_gradient", "epilogue": "relu"}, ["input_gradient", "'forward'", "relu"]),
        ({"epilogue": "rellu"}, ["'rellu'", "Did you mean 'relu'"]),
        ({"epilogue": 6}, ["6", "add_relu"]),
        ({"in_channels": 5, "groups": 2}, ["in_channels", "5", "2 groups"]),
        ({"out_channels": 5, "groups": 2}, ["out_channels", "5", "2 groups"]),
        ({"kernel_size": 9}, ["height", "spans 9", "only 8 (8 + 0 + 0)"]),
        ({"kernel_size": (1, 4), "dilation": 3}, ["width", "spans 10", "kernel 4", "dilation 3", "6"]),
        ({"padding": ((-4, -4), 0)}, ["(-4, -4)", "height 8"]),
        ({"padding": ((-9, 4), 0)}, ["(-9, 4)", "height 8"]),
        ({"padding": -1, "padding_mode": "replicate"}, ["(-1, -1)", "negative", "'replicate'"]),
        ({"padding": (0, 6), "padding_mode": "reflect"}, ["(6, 6)", "width 6", "at most 5"]),
        ({"padding": (0, 7), "padding_mode": "circular"}, ["(7, 7)", "width 6", "at most 6"]),
    ],
)
def test_refusals_say_the_numbers(changes: dict[str, Any], words: list[str]) -> None:
    message = refused(**changes)
    assert [word for word in words if word not in message] == []
    assert len(message) < 400


def test_refusals_are_value_errors_of_convbench() -> None:
    assert issubclass(ProblemError, ValueError) and issubclass(ProblemError, ConvbenchError)


@pytest.mark.parametrize("mode", PADDING_MODES)
def test_a_one_pixel_image_is_possible(mode: str) -> None:
    assert problem(height=1, width=1, kernel_size=1, padding_mode=mode).output_shape == (1, 6, 1, 1)
