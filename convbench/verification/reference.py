"""The reference: conv2d computed anew in float64 or int64, sharing no code with any backend.

One matrix product per row of kernel taps, summed over rows: the definition, rearranged so that real layers are quick.
In float64 on integer data below 2^53 the answer is exact, which is how the exact mode uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from convbench.problem import ConvProblem

NUMPY_MODES: dict[str, Any] = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
# Taps are gathered a row at a time, or fewer where a row would take more than this (256 MiB in float64).
_GATHERED_ELEMENTS = 2**25


def pad(problem: ConvProblem, x: NDArray[Any]) -> NDArray[Any]:
    """`x` (N, C, H, W) with the problem's padding around it; negative padding crops."""
    (top, bottom), (left, right) = problem.padding
    height, width = x.shape[2:]
    x = x[:, :, max(0, -top) : height - max(0, -bottom), max(0, -left) : width - max(0, -right)]
    sides = ((0, 0), (0, 0), (max(0, top), max(0, bottom)), (max(0, left), max(0, right)))
    if not any(map(any, sides)):
        return x
    return np.pad(x, sides, mode=NUMPY_MODES[problem.padding_mode])


def convolve(
    problem: ConvProblem, x: NDArray[Any], w: NDArray[Any], b: NDArray[Any] | None, dtype: Any = np.float64
) -> NDArray[Any]:
    """The convolution of `x` (N, C, H, W) with `w` (O, C/groups, kh, kw) plus `b` (O,), as (N, O, out_h, out_w) in
    `dtype`, which is float64 or int64; operands are converted to it first."""
    weight = np.asarray(w, dtype=dtype).reshape(problem.groups, -1, *problem.weight_shape[1:])
    groups, filters = weight.shape[:2]
    out = np.zeros((problem.batch, groups, filters, problem.out_height * problem.out_width), dtype)
    for i, taps, gathered in gathered_taps(problem, np.asarray(x, dtype=dtype)):
        out += contract(weight[:, :, :, i, taps].reshape(groups, filters, -1), gathered)
    if b is not None:
        out += np.asarray(b, dtype=dtype).reshape(groups, -1, 1)
    return out.reshape(problem.output_shape)


def gathered_taps(problem: ConvProblem, x: NDArray[Any]) -> Iterator[tuple[int, slice, NDArray[Any]]]:
    """What each tap of the kernel meets: a row of taps, or a part of one, at a time. The row, its columns, and the
    elements of the padded `x`, (N, groups, C/groups * taps, pixels of the output)."""
    n, groups, out_h, out_w = problem.batch, problem.groups, problem.out_height, problem.out_width
    (sh, sw), (dh, dw), (kh, kw) = problem.stride, problem.dilation, problem.kernel_size
    padded = pad(problem, x)
    padded = padded.reshape(n, groups, problem.in_channels // groups, *padded.shape[2:])
    for i in range(kh):
        rows = padded[:, :, :, i * dh : i * dh + (out_h - 1) * sh + 1 : sh]
        # Every column of taps of this row: (N, G, C/G, out_h, kw, out_w), a view.
        columns = sliding_window_view(rows, (out_w - 1) * sw + 1, axis=-1)[..., : (kw - 1) * dw + 1 : dw, ::sw]
        for taps in parts_of_row(problem):
            yield i, taps, columns[..., taps, :].swapaxes(3, 4).reshape(n, groups, -1, out_h * out_w)


def parts_of_row(problem: ConvProblem) -> list[slice]:
    """The columns of a row of taps, in parts of which each takes no more memory than is sensible."""
    kw = problem.kernel_size[1]
    of_a_tap = problem.batch * problem.in_channels * problem.out_height * problem.out_width
    taps_at_once = max(1, _GATHERED_ELEMENTS // of_a_tap)
    return [slice(first, min(kw, first + taps_at_once)) for first in range(0, kw, taps_at_once)]


def contract(weight: NDArray[Any], taps: NDArray[Any]) -> NDArray[Any]:
    # weight (G, O/G, K) times taps (N, G, K, pixels); with a single product there is nothing to sum.
    if weight.shape[2] == 1:
        return np.asarray(weight * taps)
    return np.asarray(np.matmul(weight, taps))
