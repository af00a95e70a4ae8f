"""Relations of the image and the kernel: dilation, stride, padding, batch, mirror images, parts of the output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from convbench.problem import ConvProblem, Pair
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import (
    Array,
    Part,
    Relation,
    cut,
    input_zero,
    relation,
    weight_zeros,
)

_MOST_IMAGES = 16


@relation(
    "spread kernel", "dilation is a kernel with zeros between its taps", lambda problem: problem.dilation != (1, 1)
)
def _spread_kernel(problem: ConvProblem, operands: Operands) -> list[Part]:
    (kh, kw), (dh, dw) = problem.kernel_size, problem.dilation
    spread = np.empty((*operands.w.shape[:2], dh * (kh - 1) + 1, dw * (kw - 1) + 1), operands.w.dtype)
    spread[...] = weight_zeros(operands)
    spread[:, :, ::dh, ::dw] = operands.w
    part = problem.replace(kernel_size=spread.shape[2:], dilation=1)
    return [(part, replace(operands, w=spread))]


@relation(
    "every position",
    "a stride leaves out positions of the output at stride 1",
    lambda problem: problem.stride != (1, 1),
    lambda problem, outputs: outputs[0][:, :, :: problem.stride[0], :: problem.stride[1]],
)
def _every_position(problem: ConvProblem, operands: Operands) -> list[Part]:
    return [(problem.replace(stride=1), operands)]


@relation(
    "padded image",
    "padding of any mode is a larger image, negative padding a smaller one",
    lambda problem: problem.padding != ((0, 0), (0, 0)),
)
def _padded_image(problem: ConvProblem, operands: Operands) -> list[Part]:
    x = operands.x
    for axis in (0, 1):
        x = _padded(x, 2 + axis, problem.padding[axis], problem.padding_mode, input_zero(operands))
    part = problem.replace(height=x.shape[2], width=x.shape[3], padding=0, padding_mode="zeros")
    return [(part, replace(operands, x=x))]


def _padded(x: Array, axis: int, sides: Pair, mode: str, zero: int) -> Array:
    """Row by row, each found by its index: not by `numpy.pad`, which the reference uses."""
    size = x.shape[axis]
    index = np.arange(-sides[0], size + sides[1])
    if mode == "reflect":
        index = np.abs(index)
        index = np.minimum(index, 2 * (size - 1) - index)
    elif mode == "circular":
        index = index % size
    inside = (index >= 0) & (index < size)
    padded = np.take(x, np.clip(index, 0, size - 1), axis)
    if mode == "zeros":
        padded[(slice(None),) * axis + (~inside,)] = zero
    return padded


@relation(
    "single images",
    "the images of a batch know nothing of each other",
    lambda problem: 1 < problem.batch <= _MOST_IMAGES,
    lambda _, outputs: np.concatenate(outputs),
)
def _single_images(problem: ConvProblem, operands: Operands) -> list[Part]:
    one = problem.replace(batch=1)
    return [(one, replace(operands, x=operands.x[n : n + 1])) for n in range(problem.batch)]


@relation("transposed", "height and width may change places", combine=lambda _, outputs: outputs[0].swapaxes(2, 3))
def _transposed(problem: ConvProblem, operands: Operands) -> list[Part]:
    part = problem.replace(
        height=problem.width,
        width=problem.height,
        **{name: getattr(problem, name)[::-1] for name in ("kernel_size", "stride", "dilation", "padding")},
    )
    x, w = (np.ascontiguousarray(array.swapaxes(2, 3)) for array in (operands.x, operands.w))
    return [(part, replace(operands, x=x, w=w))]


def _can_be_mirrored(problem: ConvProblem) -> bool:
    """Whether no side of the padding becomes negative that was not, as not all backends take that."""
    return all(_unread(problem, axis) <= max(0, problem.padding[axis][1]) for axis in (0, 1))


@relation(
    "mirrored",
    "a mirrored image under a mirrored kernel gives the mirrored output",
    _can_be_mirrored,
    lambda _, outputs: outputs[0][:, :, ::-1, ::-1],
)
def _mirrored(problem: ConvProblem, operands: Operands) -> list[Part]:
    """With the padding's sides exchanged, less the rows and columns behind the last output, which no output reads."""
    x, w = (np.ascontiguousarray(array[:, :, ::-1, ::-1]) for array in (operands.x, operands.w))
    padding = [(after - _unread(problem, axis), before) for axis, (before, after) in enumerate(problem.padding)]
    return [(problem.replace(padding=tuple(padding)), replace(operands, x=x, w=w))]


def _unread(problem: ConvProblem, axis: int) -> int:
    padded = problem.input_shape[2 + axis] + sum(problem.padding[axis])
    return (padded - problem.dilation[axis] * (problem.kernel_size[axis] - 1) - 1) % problem.stride[axis]


def _outputs_apart(axis: int, name: str, summary: str) -> Relation:
    """The upper outputs (axis 0) or the left ones (axis 1), and the others, each from what they see of the image."""

    def halves(problem: ConvProblem) -> list[tuple[range, Pair]]:
        """(rows or columns of the image, padding before and after them) of either part."""
        out, size, before = problem.output_shape[2 + axis], problem.input_shape[2 + axis], problem.padding[axis][0]
        span = problem.dilation[axis] * (problem.kernel_size[axis] - 1) + 1
        parts = []
        for first, last in ((0, cut(out) - 1), (cut(out), out - 1)):
            start = first * problem.stride[axis] - before
            stop = last * problem.stride[axis] - before + span
            parts.append((range(max(0, start), min(size, stop)), (max(0, -start), max(0, stop - size))))
        return parts

    def concerns(problem: ConvProblem) -> bool:
        if problem.padding_mode != "zeros" or problem.output_shape[2 + axis] < 2:
            return False
        return all(seen for seen, _ in halves(problem))  # a half may see padding alone

    @relation(name, summary, concerns, lambda _, outputs: np.concatenate(outputs, 2 + axis))
    def apart(problem: ConvProblem, operands: Operands) -> list[Part]:
        parts = []
        for seen, sides in halves(problem):
            x = np.ascontiguousarray(np.take(operands.x, seen, 2 + axis))
            padding = (sides, problem.padding[1]) if axis == 0 else (problem.padding[0], sides)
            part = problem.replace(height=x.shape[2], width=x.shape[3], padding=padding)
            parts.append((part, replace(operands, x=x)))
        return parts

    return apart


OF_GEOMETRY = (
    *(_spread_kernel, _every_position, _padded_image, _single_images, _transposed, _mirrored),
    _outputs_apart(0, "rows apart", "upper and lower rows of the output are each computed alone"),
    _outputs_apart(1, "columns apart", "left and right columns of the output are each computed alone"),
)
