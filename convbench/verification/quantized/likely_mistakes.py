"""What a wrong answer looks like: known mistakes in quantised convolutions, each computed, and compared with it.

An answer that is what a mistake gives, at every element, is described in these words. Others have no description.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from convbench.backend.quantized import Halves, QuantizedArithmetic
from convbench.problem import ConvProblem
from convbench.problem.quantization import LIMITS
from convbench.verification.operands import Operands
from convbench.verification.quantized.requantization import Admitted, Floats, Requantization
from convbench.verification.reference import convolve, gathered_taps

_HALVES: dict[Halves, str] = {
    "even": "as if halves went to the even integer",
    "even-with-zero-point": "as if halves went to what is even behind the zero point",
    "away": "as if halves went away from 0",
    "up": "as if halves went up",
}
_CUTS: dict[str, Callable[[Floats], Floats]] = {
    "as if numbers were cut off towards 0 and not rounded": np.trunc,
    "as if numbers were cut off downwards and not rounded": np.floor,
}
_MOST_PRODUCTS = 2**21  # of which each is computed by itself
_INT16 = 2**15
_NEAR = 2.0**-20


def likely_mistake(
    problem: ConvProblem,
    operands: Operands,
    right: Requantization,
    arithmetic: QuantizedArithmetic,
    got: Floats,
) -> str | None:
    """The mistake that gives `got`, as a clause such as "as if padding held 0 and not the zero point"; None when it is
    none that is known."""
    for words, answers in _mistakes(problem, operands, right, arithmetic):
        if all(((answers.least <= got) & (got <= answers.largest)).ravel()):
            return words
    return None


def _mistakes(
    problem: ConvProblem, operands: Operands, right: Requantization, arithmetic: QuantizedArithmetic
) -> Iterator[tuple[str, Admitted]]:
    for words, sums in _sums(problem, operands):
        yield words, _answers(replace(right, sums=sums), arithmetic)
    scales = right.scales
    if len(scales.w_scale) > 1 and right.quantization.result != "s32":
        of_first = replace(scales, w_scale=scales.w_scale[:1])
        yield "as if the first channel's scale held for all", _answers(replace(right, scales=of_first), arithmetic)
    if not right.quantization.is_requantized:
        return
    if scales.y_zero:
        without = replace(scales, y_zero=0)
        yield "as if the result's zero point were 0", _answers(replace(right, scales=without), arithmetic)
    for halves, words in _HALVES.items():
        if halves != arithmetic.halves:
            yield words, right.admitted(replace(arithmetic, halves=halves))
    low, high = LIMITS[right.quantization.result]
    for words, cut in _CUTS.items():
        yield words, _only(np.clip(cut(right.real) + scales.y_zero, low, high))
    yield "as if it wrapped around and were not clamped", _only((np.rint(right.real) + scales.y_zero - low) % 256 + low)


def _answers(changed: Requantization, arithmetic: QuantizedArithmetic) -> Admitted:
    result = changed.quantization.result
    if result == "s32":
        return _only(changed.sums)
    if result == "f32":
        error = _NEAR * (np.abs(changed.real) + 2 * np.abs(changed.bias).reshape(-1, 1, 1) * changed.multiplier)
        return Admitted(changed.real, changed.real - error, changed.real + error)
    return changed.admitted(arithmetic)


def _only(answer: Floats) -> Admitted:
    return Admitted(answer, answer, answer)


def _sums(problem: ConvProblem, operands: Operands) -> Iterator[tuple[str, Floats]]:
    """Sums as mistakes give them."""
    scales, x = operands.scales, operands.x.astype(np.float64)
    w_zero = scales.w_zero.astype(np.float64).reshape(-1, 1, 1, 1)
    w = operands.w.astype(np.float64) - w_zero
    of_weights = (scales.x_zero * w.sum((1, 2, 3))).reshape(-1, 1, 1)
    padded_with_0 = convolve(problem, x, w, operands.b)
    if scales.x_zero:
        if max(map(max, problem.padding)) > 0 and problem.padding_mode == "zeros":
            yield "as if padding held 0 and not the input's zero point", padded_with_0 - of_weights
        yield "as if the input's zero point were 0", padded_with_0
    if scales.w_zero.any():
        bare = convolve(problem, x - scales.x_zero, operands.w.astype(np.float64), operands.b)
        yield "as if the weights' zero points were 0", bare
    if problem.bias:
        yield "as if there were no bias", convolve(problem, x - scales.x_zero, w, None)
    if problem.macs <= _MOST_PRODUCTS and not scales.w_zero.any():
        for order, words in ((False, "rows of the kernel"), (True, "channels")):
            clause = f"as if sums of two products, in pairs along {words}, were clamped to 16 bits"
            yield clause, _saturated(problem, operands, along_channels=order)


def _saturated(problem: ConvProblem, operands: Operands, *, along_channels: bool) -> Floats:
    """vpmaddubsw's sums: unsigned inputs, and every two products added up in 16 bits. Signed inputs are shifted."""
    shift = 128 if operands.x.dtype == np.int8 else 0
    x, zero = operands.x.astype(np.float64) + shift, operands.scales.x_zero + shift
    groups, own, taps = problem.groups, problem.in_channels // problem.groups, problem.reduction_length
    w = operands.w.astype(np.float64).reshape(groups, -1, own, taps // own)
    seen = _taps(problem, x - zero) + zero  # padding holds the zero point
    seen = seen.reshape(problem.batch, groups, own, taps // own, -1)
    if along_channels:
        w, seen = w.swapaxes(2, 3), seen.swapaxes(2, 3)
    products = w.reshape(groups, -1, taps)[None, :, :, :, None] * seen.reshape(problem.batch, groups, 1, taps, -1)
    odd = [(0, 0)] * 3 + [(0, taps % 2), (0, 0)]
    pairs = np.pad(products, odd).reshape(*products.shape[:3], -1, 2, products.shape[4]).sum(4)
    sums = pairs.clip(-_INT16, _INT16 - 1).sum(3).reshape(problem.output_shape)
    bias = 0 if operands.b is None else operands.b.astype(np.float64).reshape(-1, 1, 1)
    return np.asarray(sums - zero * operands.w.astype(np.float64).sum((1, 2, 3)).reshape(-1, 1, 1) + bias)


def _taps(problem: ConvProblem, x: Floats) -> NDArray[np.float64]:
    """What all taps meet: (N, groups, C/groups, taps of the kernel, pixels)."""
    own, (kh, kw) = problem.in_channels // problem.groups, problem.kernel_size
    pixels = problem.out_height * problem.out_width
    out = np.empty((problem.batch, problem.groups, own, kh, kw, pixels))
    for rows, columns, gathered in gathered_taps(problem, x):
        part = out[:, :, :, rows, columns]
        part[...] = gathered.reshape(part.shape)
    return out.reshape(problem.batch, problem.groups, own, kh * kw, pixels)
