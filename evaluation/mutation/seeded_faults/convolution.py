"""A correct conv2d in replaceable steps: which pixels each tap meets, patches gathered by index, one matrix product.

It shares no code with convbench's reference nor with any backend. Sums are kept in float64 for float64 and in float32
for the rest, unless `Steps.accumulate` says otherwise, and are rounded once. A fault replaces a step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem

Array = NDArray[Any]
Positions = NDArray[np.int64]
Border = Callable[[Positions, int], Positions]

OUTSIDE = -1  # the position of a tap that meets no pixel


def zeros(at: Positions, size: int) -> Positions:
    return np.where((at < 0) | (at >= size), OUTSIDE, at)


def reflect(at: Positions, size: int) -> Positions:
    at = np.abs(at)
    return np.where(at >= size, 2 * (size - 1) - at, at)


def replicate(at: Positions, size: int) -> Positions:
    return np.clip(at, 0, size - 1)


def circular(at: Positions, size: int) -> Positions:
    return at % size


BORDERS: dict[str, Border] = {"zeros": zeros, "reflect": reflect, "replicate": replicate, "circular": circular}


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution. `border` maps positions beside the image to pixels, or to `OUTSIDE`.

    Negative padding needs no care: it moves the first tap into the image, and what is cropped behind no tap meets.
    """

    size: int
    outputs: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int
    border: Border

    def positions(self) -> Positions:
        """Where each tap lies for each output, from the first pixel on: (kernel, outputs)."""
        taps = self.dilation * np.arange(self.kernel)[:, None]
        return np.asarray(taps + self.stride * np.arange(self.outputs) - self.before)

    def pixels(self) -> Positions:
        """The pixel that each tap meets for each output: (kernel, outputs)."""
        # Clipped for the sake of faults, so that none reads memory that is not the image's.
        return np.clip(self.border(self.positions(), self.size), OUTSIDE, self.size - 1)


@dataclass(frozen=True)
class Plan:
    """What is computed, ready to be changed by a fault: the two axes and the groups."""

    problem: ConvProblem
    rows: Axis
    columns: Axis
    groups: int


def plan_of(problem: ConvProblem) -> Plan:
    rows, columns = (
        Axis(size, outputs, kernel, stride, dilation, before, after, BORDERS[problem.padding_mode])
        for size, outputs, kernel, stride, dilation, (before, after) in zip(
            problem.input_shape[2:],
            problem.output_shape[2:],
            problem.kernel_size,
            problem.stride,
            problem.dilation,
            problem.padding,
            strict=True,
        )
    )
    return Plan(problem, rows, columns, problem.groups)


def fill(plan: Plan, patches: Array) -> Array:
    """`patches` (N, C, kh, kw, out_h, out_w) with zeros for the taps that meet no pixel."""
    outside_rows, outside_columns = plan.rows.pixels() == OUTSIDE, plan.columns.pixels() == OUTSIDE
    if outside_rows.any() or outside_columns.any():
        patches[:, :, outside_rows[:, None, :, None] | outside_columns[None, :, None, :]] = 0
    return patches


def add_bias(problem: ConvProblem, sums: Array, b: Array) -> Array:
    return np.asarray(sums + b[:, None, None])


@dataclass(frozen=True)
class Steps:
    """The steps, in order. x (N, C, H, W), w (O, C/groups, kh, kw) and b (O,) or None are as the caller gave them,
    strides and all; `multiply` takes filters (G, O/G, K) and patches (N, G, K, pixels) in the accumulator's format."""

    accumulate: type[np.floating[Any]] | None = None
    plan: Callable[[Plan], Plan] = lambda plan: plan
    operands: Callable[[ConvProblem, Array, Array, Array | None], tuple[Array, Array, Array | None]] = (
        lambda problem, x, w, b: (x, w, b)
    )
    fill: Callable[[Plan, Array], Array] = fill
    multiply: Callable[[ConvProblem, Array, Array], Array] = lambda problem, filters, patches: filters @ patches
    add_bias: Callable[[ConvProblem, Array, Array], Array] = add_bias
    rounded: Callable[[Array, np.dtype[Any]], Array] = lambda sums, dtype: sums.astype(dtype)
    output: Callable[[ConvProblem, Array], Array] = lambda problem, out: out


SOUND = Steps()


def convolve(problem: ConvProblem, x: Array, w: Array, b: Array | None, steps: Steps = SOUND) -> Array:
    """The answer, (N, O, out_h, out_w) in the dtype of `x`."""
    dtype = x.dtype
    wide = steps.accumulate or (np.float64 if problem.dtype == "float64" else np.float32)
    plan = steps.plan(plan_of(problem))
    x, w, b = steps.operands(problem, x, w, b)
    with np.errstate(all="ignore"):  # of NaN and infinity, and of halves that overflow, the answer tells
        rows, columns = plan.rows.pixels(), plan.columns.pixels()
        patches = x.astype(wide)[:, :, rows[:, None, :, None], columns[None, :, None, :]]
        patches = steps.fill(plan, patches).reshape(len(x), plan.groups, -1, rows.shape[1] * columns.shape[1])
        filters = w.astype(wide).reshape(plan.groups, problem.out_channels // plan.groups, -1)
        sums = steps.multiply(problem, filters, patches).reshape(problem.output_shape)
        if b is not None:
            sums = steps.add_bias(problem, sums, b.astype(wide))
        return steps.output(problem, steps.rounded(sums, dtype))
