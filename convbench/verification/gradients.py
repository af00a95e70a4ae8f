"""The gradients of conv2d, computed anew in float64 or int64, and the reference for every direction.

With g the gradient of the output, each is the adjoint of a linear map: for all x and w

    <conv(x, w), g> = <x, input_gradient(g, w)> = <w, weight_gradient(x, g)>.

So the gradient of the input sends every element of g back through the taps that it was computed with, and then, where
padding repeated an element, adds up what came back to each copy. No code is shared with any backend.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem
from convbench.verification.operands import Operands
from convbench.verification.reference import NUMPY_MODES, contract, convolve, gathered_taps, parts_of_row


def computed(problem: ConvProblem, operands: Operands, dtype: Any = np.float64) -> NDArray[Any]:
    """What `problem` computes from `operands`, of `problem.result_shape`, in `dtype`: float64 or int64."""
    if problem.direction == "step":
        return np.concatenate([computed(part, operands.of(part), dtype).reshape(-1) for part in problem.parts])
    if problem.direction == "forward":
        return convolve(problem, operands.x, operands.w, operands.b, dtype)
    g = np.asarray(operands.g, dtype=dtype)
    if problem.direction == "bias_gradient":
        return np.asarray(g.sum((0, 2, 3)))
    if problem.direction == "weight_gradient":
        return weight_gradient(problem, np.asarray(operands.x, dtype=dtype), g)
    return input_gradient(problem, g, np.asarray(operands.w, dtype=dtype))


def input_gradient(problem: ConvProblem, g: NDArray[Any], w: NDArray[Any]) -> NDArray[Any]:
    """The gradient of the input (N, C, H, W) from that of the output (N, O, out_h, out_w) and the weight."""
    n, groups, out_h, out_w = problem.batch, problem.groups, problem.out_height, problem.out_width
    (sh, sw), (dh, dw), (kh, kw) = problem.stride, problem.dilation, problem.kernel_size
    own, filters = problem.in_channels // groups, problem.out_channels // groups
    back = w.reshape(groups, filters, own, kh, kw).transpose(0, 2, 3, 4, 1)  # (G, C/G, kh, kw, O/G)
    g = g.reshape(n, groups, filters, out_h * out_w)
    extent = (size + sum(sides) for size, sides in zip(problem.input_shape[2:], problem.padding, strict=True))
    padded = np.zeros((n, groups, own, *extent), g.dtype)
    for i in range(kh):
        rows = padded[..., i * dh : i * dh + (out_h - 1) * sh + 1 : sh, :]
        for taps in parts_of_row(problem):
            products = contract(back[:, :, i, taps].reshape(groups, -1, filters), g)
            products = products.reshape(n, groups, own, -1, out_h, out_w)
            for j in range(taps.start, taps.stop):
                rows[..., j * dw : j * dw + (out_w - 1) * sw + 1 : sw] += products[:, :, :, j - taps.start]
    return unpad(problem, padded.reshape(n, problem.in_channels, *padded.shape[3:]))


def weight_gradient(problem: ConvProblem, x: NDArray[Any], g: NDArray[Any]) -> NDArray[Any]:
    """The gradient of the weight (O, C/groups, kh, kw) from the input and the gradient of the output."""
    (o, own, kh, kw), groups = problem.weight_shape, problem.groups
    g = g.reshape(problem.batch, groups, o // groups, -1)
    out = np.zeros((groups, o // groups, own, kh, kw), g.dtype)
    for rows, taps, gathered in gathered_taps(problem, x):
        part = out[:, :, :, rows, taps]
        columns = np.ascontiguousarray(gathered.swapaxes(2, 3))
        for image, of_outputs in zip(columns, g, strict=True):
            part += np.matmul(of_outputs, image).reshape(part.shape)
    return out.reshape(problem.weight_shape)


def unpad(problem: ConvProblem, padded: NDArray[Any]) -> NDArray[Any]:
    """The adjoint of `reference.pad`: what lies on copies of an element is added to it, what lies on zeros is lost,
    and elements that were cropped get zero."""
    for axis, (before, after) in enumerate(problem.padding, 2):
        size = problem.input_shape[axis]
        if before or after:
            padded = _unpadded(padded, axis, _sources(problem, size, before, after), size)
    return padded


def _sources(problem: ConvProblem, size: int, before: int, after: int) -> NDArray[np.int64]:
    """The index in the axis that each place of the padded axis is a copy of; `size` for zeros."""
    places = np.arange(max(0, -before), size - max(0, -after))
    sides, constant = (max(0, before), max(0, after)), problem.padding_mode == "zeros"
    return np.pad(places, sides, NUMPY_MODES[problem.padding_mode], **({"constant_values": size} if constant else {}))


def _unpadded(padded: NDArray[Any], axis: int, sources: NDArray[np.int64], size: int) -> NDArray[Any]:
    moved = np.moveaxis(padded, axis, 0)
    out = np.zeros((size + 1, *moved.shape[1:]), padded.dtype)
    np.add.at(out, sources, moved)
    return np.ascontiguousarray(np.moveaxis(out[:size], 0, axis))
