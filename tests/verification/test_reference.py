"""The reference against torch's own conv2d in int64, which shares no code with it, and against what must hold of any
convolution. Whole numbers throughout, so that equal means equal."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import forward_problems
from torch.nn import functional

from convbench.problem import ConvProblem
from convbench.verification import reference
from convbench.verification.reference import convolve, pad

Arrays = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64] | None]
TORCH_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
seeds = st.integers(0, 2**32 - 1)


def integers(problem: ConvProblem, seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    draw = [rng.integers(-100, 101, shape) for shape in (problem.input_shape, problem.weight_shape)]
    return draw[0], draw[1], rng.integers(-100, 101, problem.out_channels) if problem.bias else None


def padded_by_torch(problem: ConvProblem, x: NDArray[Any]) -> torch.Tensor:
    """Crop by slicing, then pad by F.pad; in float64, for F.pad reflects no integers."""
    (top, bottom), (left, right) = problem.padding
    cropped = torch.from_numpy(x).double()
    for axis, (before, after) in ((2, (top, bottom)), (3, (left, right))):
        start, end = max(0, -before), cropped.shape[axis] - max(0, -after)
        cropped = cropped.narrow(axis, start, end - start)
    sides = [max(0, side) for side in (left, right, top, bottom)]
    return functional.pad(cropped, sides, mode=TORCH_MODE[problem.padding_mode])


def convolved_by_torch(problem: ConvProblem, x: NDArray[Any], w: NDArray[Any], b: Any) -> NDArray[np.int64]:
    out = functional.conv2d(
        padded_by_torch(problem, x).long(),
        torch.from_numpy(w),
        None if b is None else torch.from_numpy(b),
        problem.stride,
        0,
        problem.dilation,
        problem.groups,
    )
    return np.asarray(out.numpy())


def in_int64(problem: ConvProblem, x: Any, w: Any, b: Any = None) -> NDArray[np.int64]:
    return convolve(problem, x, w, b, np.int64)


def plain(problem: ConvProblem, **changes: Any) -> ConvProblem:
    """A problem on an input padded already."""
    return problem.replace(padding=0, padding_mode="zeros", **changes)


# --- against torch ----------------------------------------------------------------------------------------------------


@given(forward_problems(), seeds)
@settings(max_examples=150)
def test_int64_and_float64_answers_are_those_of_torch_in_int64(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    expected = convolved_by_torch(problem, x, w, b)
    in_float = convolve(problem, x, w, b)
    assert in_float.dtype == np.float64
    assert np.array_equal(in_int64(problem, x, w, b), expected)
    assert np.array_equal(in_float, expected)
    assert in_float.shape == problem.output_shape


@given(forward_problems(), seeds, st.integers(1, 200))
@settings(max_examples=40)
def test_gathering_fewer_taps_at_once_changes_nothing(problem: ConvProblem, seed: int, elements: int) -> None:
    x, w, b = integers(problem, seed)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reference, "_GATHERED_ELEMENTS", elements)
        patch.setattr(reference, "_SMALL_ELEMENTS", 0)
        assert np.array_equal(in_int64(problem, x, w, b), convolved_by_torch(problem, x, w, b))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_padding_is_that_of_torch(problem: ConvProblem, seed: int) -> None:
    x, _, _ = integers(problem, seed)
    assert np.array_equal(pad(problem, x), padded_by_torch(problem, x).numpy())


LAYERS = {
    "resnet's first": ConvProblem(
        in_channels=3, height=112, width=112, out_channels=16, kernel_size=7, stride=2, padding=3
    ),
    "depthwise": ConvProblem(
        batch=2, in_channels=48, height=28, width=28, out_channels=48, kernel_size=5, padding="same", groups=48,
        bias=True,
    ),
    "depthwise, two filters each": ConvProblem(
        in_channels=24, height=14, width=14, out_channels=48, kernel_size=3, padding=1, groups=24
    ),
    "dilated": ConvProblem(in_channels=32, height=33, width=33, out_channels=16, kernel_size=3, padding=6, dilation=6),
    "grouped": ConvProblem(in_channels=64, height=14, width=14, out_channels=64, kernel_size=3, padding=1, groups=32),
    "pointwise": ConvProblem(in_channels=64, height=28, width=28, out_channels=32, kernel_size=1, bias=True),
}  # fmt: skip


@pytest.mark.parametrize("problem", LAYERS.values(), ids=LAYERS)
def test_real_layers_are_those_of_torch(problem: ConvProblem) -> None:
    x, w, b = integers(problem, 1)
    assert np.array_equal(convolve(problem, x, w, b), convolved_by_torch(problem, x, w, b))


# --- what holds of any convolution ------------------------------------------------------------------------------------


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_linear_in_the_input_and_in_the_weight(problem: ConvProblem, seed: int) -> None:
    (x, w, b), (y, v, _) = integers(problem, seed), integers(problem, seed + 1)
    together = in_int64(problem, 3 * x + y, w, b)
    assert np.array_equal(together, in_int64(problem, 3 * x, w) + in_int64(problem, y, w, b))
    assert np.array_equal(in_int64(problem, x, 3 * w - v), 3 * in_int64(problem, x, w) - in_int64(problem, x, v))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_adjoint_to_torchs_gradients(problem: ConvProblem, seed: int) -> None:
    """<conv(x, w), g> = <x, dgrad(g, w)> = <w, wgrad(x, g)>, with the gradients by torch."""
    x, w, _ = integers(problem, seed)
    g = np.random.default_rng(seed).integers(-100, 101, problem.output_shape)
    padded, weight, out = pad(problem, x), torch.from_numpy(w).double(), torch.from_numpy(g).double()
    rest = (problem.stride, 0, problem.dilation, problem.groups)
    by_input = torch.nn.grad.conv2d_input(padded.shape, weight, out, *rest).numpy()
    by_weight = torch.nn.grad.conv2d_weight(torch.from_numpy(padded).double(), w.shape, out, *rest).numpy()
    product = int((in_int64(problem, x, w) * g).sum())
    assert product == round((padded * by_input).sum()) == round((w * by_weight).sum())


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_groups_are_weights_in_blocks_on_the_diagonal(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    whole = np.zeros((problem.out_channels, problem.in_channels, *problem.kernel_size), np.int64)
    outs, ins = problem.out_channels // problem.groups, problem.in_channels // problem.groups
    for g in range(problem.groups):
        whole[g * outs : (g + 1) * outs, g * ins : (g + 1) * ins] = w[g * outs : (g + 1) * outs]
    assert np.array_equal(in_int64(problem.replace(groups=1), x, whole, b), in_int64(problem, x, w, b))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_dilation_is_zeros_between_the_weights(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    (kh, kw), (dh, dw) = problem.kernel_size, problem.dilation
    spread = np.zeros((*w.shape[:2], dh * (kh - 1) + 1, dw * (kw - 1) + 1), np.int64)
    spread[:, :, ::dh, ::dw] = w
    undilated = problem.replace(dilation=1, kernel_size=spread.shape[2:])
    assert np.array_equal(in_int64(undilated, x, spread, b), in_int64(problem, x, w, b))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_stride_leaves_out_outputs(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    every = in_int64(problem.replace(stride=1), x, w, b)
    assert np.array_equal(every[:, :, :: problem.stride[0], :: problem.stride[1]], in_int64(problem, x, w, b))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_images_of_a_batch_are_convolved_each_on_its_own(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    singly = [in_int64(problem.replace(batch=1), x[i : i + 1], w, b) for i in range(problem.batch)]
    assert np.array_equal(np.concatenate(singly), in_int64(problem, x, w, b))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_transposing_everything_transposes_the_output(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    turned = problem.replace(
        height=problem.width,
        width=problem.height,
        **{name: getattr(problem, name)[::-1] for name in ("kernel_size", "stride", "padding", "dilation")},
    )
    out = in_int64(turned, x.swapaxes(2, 3), w.swapaxes(2, 3), b)
    assert np.array_equal(out.swapaxes(2, 3), in_int64(problem, x, w, b))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_permuting_filters_permutes_output_channels_and_permuting_channels_changes_nothing(
    problem: ConvProblem, seed: int
) -> None:
    dense = problem.replace(groups=1)
    x, w, b = integers(dense, seed)
    rng = np.random.default_rng(seed)
    outs, ins = rng.permutation(dense.out_channels), rng.permutation(dense.in_channels)
    expected = in_int64(dense, x, w, b)
    assert np.array_equal(in_int64(dense, x, w[outs], None if b is None else b[outs]), expected[:, outs])
    assert np.array_equal(in_int64(dense, x[:, ins], w[:, ins], b), expected)


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_moving_a_circular_image_by_the_stride_moves_the_output(problem: ConvProblem, seed: int) -> None:
    halves = [min(k // 2, n) for k, n in zip(problem.kernel_size, (problem.height, problem.width), strict=True)]
    same = plain(problem, kernel_size=1, dilation=1, stride=1).replace(
        padding_mode="circular", padding=tuple(halves), kernel_size=tuple(2 * half + 1 for half in halves)
    )
    x, w, b = integers(same, seed)
    moved = np.roll(x, (1, 2), (2, 3))
    assert np.array_equal(in_int64(same, moved, w, b), np.roll(in_int64(same, x, w, b), (1, 2), (2, 3)))


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_padding_first_and_convolving_then_is_the_same(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    padded = pad(problem, x)
    explicit = plain(problem, height=padded.shape[2], width=padded.shape[3])
    assert np.array_equal(in_int64(explicit, padded, w, b), in_int64(problem, x, w, b))


# --- the operands -----------------------------------------------------------------------------------------------------


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_operands_stay_as_they_were_and_may_be_read_only_and_of_any_strides(problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    expected = in_int64(problem, x, w, b)
    doubled = np.repeat(x.transpose(2, 3, 1, 0).astype(np.float32), 2, axis=0)
    strange = doubled[::2].transpose(3, 2, 0, 1)
    filters = np.asfortranarray(w.astype(np.float64))
    before = doubled.copy(), filters.copy()
    doubled.flags.writeable = filters.flags.writeable = False
    assert np.array_equal(convolve(problem, strange, filters, b), expected)
    assert np.array_equal(doubled, before[0])
    assert np.array_equal(filters, before[1])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16, np.float32, np.int8], ids=lambda d: np.dtype(d).name)
@given(problem=forward_problems(), seed=seeds)
@settings(max_examples=30)
def test_narrow_operands_are_widened_before_anything_is_summed(dtype: Any, problem: ConvProblem, seed: int) -> None:
    x, w, b = integers(problem, seed)
    narrow = [None if part is None else part.astype(dtype) for part in (x, w, b)]
    expected = convolved_by_torch(problem, x, w, b)
    assert np.array_equal(convolve(problem, *narrow), expected)
    assert np.array_equal(in_int64(problem, *narrow), expected)


@given(forward_problems(), seeds)
@settings(max_examples=30)
def test_the_output_shares_no_memory_with_an_operand(problem: ConvProblem, seed: int) -> None:
    x, w, b = (None if part is None else part.astype(np.float64) for part in integers(problem, seed))
    out = convolve(problem, x, w, b)
    assert not any(np.shares_memory(out, part) for part in (x, w, b) if part is not None)
    assert out.flags.writeable
