"""The reference: conv2d computed anew in float64 or int64, sharing no code with any backend.

One matrix product per row of kernel taps, summed over rows: the definition, rearranged so that real layers are quick.
Small problems take one product for all rows. In float64 on integer data below 2^53 the answer is exact, which is how
the exact mode uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem, PaddingMode
from convbench.problem.vocabulary import Pair

NUMPY_MODES: dict[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
"""Padding modes as `numpy.pad` calls them."""
# Taps are gathered a row at a time, or fewer where a row would take more than this (256 MiB in float64).
_GATHERED_ELEMENTS = 2**25
_SMALL_ELEMENTS = 2**16  # all taps of a small problem are gathered at once: half a MiB


def pad(problem: ConvProblem, x: NDArray[Any]) -> NDArray[Any]:
    """`x` (N, C, H, W) with the problem's padding around it; negative padding crops."""
    (top, bottom), (left, right) = problem.padding
    height, width = x.shape[2:]
    x = x[:, :, max(0, -top) : height - max(0, -bottom), max(0, -left) : width - max(0, -right)]
    sides = ((0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
    if not any(map(any, sides)):
        return x
    if problem.padding_mode != "zeros":
        rows, columns = (_indices(problem.padding_mode, *around) for around in zip(x.shape[2:], sides[2:], strict=True))
        return x.take(rows, 2).take(columns, 3)
    padded = np.zeros([size + sum(around) for size, around in zip(x.shape, sides, strict=True)], x.dtype)
    padded[tuple(slice(before, before + size) for size, (before, _) in zip(x.shape, sides, strict=True))] = x
    return padded


def _indices(mode: PaddingMode, size: int, around: Pair) -> NDArray[np.intp]:
    """Of an axis of `size`, the elements that stand at each place of the padded one. What is padded is at most as wide
    as `ConvProblem` allows."""
    before, after = around
    places = np.arange(-before, size + after)
    if mode == "replicate":
        return places.clip(0, size - 1)
    if mode == "circular":
        return places % size
    return size - 1 - abs(size - 1 - abs(places))


def convolve(
    problem: ConvProblem, x: NDArray[Any], w: NDArray[Any], b: NDArray[Any] | None, dtype: Any = np.float64
) -> NDArray[Any]:
    """The convolution of `x` (N, C, H, W) with `w` (O, C/groups, kh, kw) plus `b` (O,), as (N, O, out_h, out_w) in
    `dtype`, which is float64 or int64; operands are converted to it first."""
    weight = np.asarray(w, dtype=dtype).reshape(problem.groups, -1, *problem.weight_shape[1:])
    groups, filters = weight.shape[:2]
    out = np.zeros((problem.batch, groups, filters, problem.out_height * problem.out_width), dtype)
    for rows, columns, gathered in gathered_taps(problem, np.asarray(x, dtype=dtype)):
        out += contract(weight[:, :, :, rows, columns].reshape(groups, filters, -1), gathered)
    if b is not None:
        out += np.asarray(b, dtype=dtype).reshape(groups, -1, 1)
    return out.reshape(problem.output_shape)


def gathered_taps(problem: ConvProblem, x: NDArray[Any]) -> Iterator[tuple[slice, slice, NDArray[Any]]]:
    """What each tap of the kernel meets: all taps of a small problem, else a row of taps, or a part of one, at a time.
    The rows, the columns, and the elements of the padded `x`, (N, groups, C/groups * taps, pixels of the output)."""
    kh, taps = problem.kernel_size[0], _taps(problem, np.ascontiguousarray(pad(problem, x)))
    rows_at_once = kh if taps.size <= _SMALL_ELEMENTS else 1
    for first in range(0, kh, rows_at_once):
        rows = slice(first, first + rows_at_once)
        for columns in parts_of_row(problem):
            part = taps[:, :, :, rows, columns]
            yield rows, columns, part.reshape(*part.shape[:2], -1, problem.out_height * problem.out_width)


def parts_of_row(problem: ConvProblem) -> list[slice]:
    """The columns of a row of taps, in parts of which each takes no more memory than is sensible."""
    kw = problem.kernel_size[1]
    of_a_tap = problem.batch * problem.in_channels * problem.out_height * problem.out_width
    taps_at_once = max(1, _GATHERED_ELEMENTS // of_a_tap)
    return [slice(first, min(kw, first + taps_at_once)) for first in range(0, kw, taps_at_once)]


def _taps(problem: ConvProblem, padded: NDArray[Any]) -> NDArray[Any]:
    """The element of the contiguous `padded` input that each tap meets at each pixel, as a view: (N, G, C/G, kh, kw,
    out_h, out_w). NumPy refuses strides that lead out of `padded`."""
    (sh, sw), (dh, dw), channels = problem.stride, problem.dilation, problem.in_channels // problem.groups
    image, plane, row, column = padded.strides
    shape = (problem.batch, problem.groups, channels, *problem.kernel_size, problem.out_height, problem.out_width)
    strides = (image, channels * plane, plane, dh * row, dw * column, sh * row, sw * column)
    return np.ndarray(shape, padded.dtype, padded, 0, strides)


def contract(weight: NDArray[Any], taps: NDArray[Any]) -> NDArray[Any]:
    # weight (G, O/G, K) times taps (N, G, K, pixels); with a single product there is nothing to sum.
    if weight.shape[2] == 1:
        return np.asarray(weight * taps)
    return np.asarray(np.matmul(weight, taps))
