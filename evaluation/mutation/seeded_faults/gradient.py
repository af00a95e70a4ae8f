"""A correct gradient of conv2d by index, and what a fault may change of it.

The pixels that taps meet are those of `convolution.py`; gradients are sent back to them one by one. It shares no code
with convbench's reference nor with any backend. Sums are kept in float64 for float64 and in float32 for the rest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from convbench.problem import ConvProblem
from seeded_faults.convolution import OUTSIDE, Array, Axis, fill, plan_of

Places = tuple[Array, ...]


def add(out: Array, places: Places, values: Array) -> None:
    """Add each value at its place, however often a place occurs."""
    np.add.at(out, places, values)


@dataclass
class GradientCall:
    """One call of a prepared gradient: the `number`-th, from 1. `kept` lives as long as the backend does."""

    problem: ConvProblem
    g: Array
    x: Array | None
    w: Array | None
    number: int
    kept: dict[Any, Any]

    def compute(
        self,
        *,
        axes: Callable[[Axis], Axis] = lambda axis: axis,
        scatter: Callable[[Array, Places, Array], None] = add,
        accumulate: Any = None,
        images: slice = slice(None),
        **operands: Array,
    ) -> Array:
        """The gradient; with other axes, operands, images, sums in another format, or another way of adding."""
        arrays = {"g": self.g, "x": self.x, "w": self.w} | operands
        wide = accumulate or (np.float64 if self.problem.dtype == "float64" else np.float32)
        g, x, w = (None if arrays[name] is None else arrays[name].astype(wide) for name in ("g", "x", "w"))
        assert g is not None
        with np.errstate(all="ignore"):  # of NaN and infinity, and of halves that overflow, the answer tells
            if w is not None:
                out = self._input_gradient(g, w, axes, scatter)
            elif x is not None:
                out = self._weight_gradient(g[images], x[images], axes)
            else:
                out = _sum(g[images], accumulate)
            return out.astype(self.g.dtype)

    def _input_gradient(self, g: Array, w: Array, axes: Callable[[Axis], Axis], scatter: Any) -> Array:
        n, groups = len(g), self.problem.groups
        rows, columns, plan = _met(self.problem, axes)
        filters = w.reshape(groups, len(w) // groups, -1)
        back = filters.swapaxes(1, 2) @ g.reshape(n, groups, filters.shape[1], -1)
        back = fill(plan, back.reshape(n, self.problem.in_channels, *w.shape[2:], *g.shape[2:]))
        out = np.zeros(self.problem.input_shape, g.dtype)
        places = (slice(None), slice(None), rows[:, None, :, None], columns[None, :, None, :])
        scatter(out, places, back)
        return out

    def _weight_gradient(self, g: Array, x: Array, axes: Callable[[Axis], Axis]) -> Array:
        n, groups = len(g), self.problem.groups
        rows, columns, plan = _met(self.problem, axes)
        patches = fill(plan, x[:, :, rows[:, None, :, None], columns[None, :, None, :]])
        patches = patches.reshape(n, groups, -1, g.shape[2] * g.shape[3])
        g = g.reshape(n, groups, -1, g.shape[2] * g.shape[3])
        out = np.zeros((groups, g.shape[2], patches.shape[2]), g.dtype)
        for of_outputs, of_image in zip(g, patches, strict=True):
            if g.dtype.itemsize == 2:  # NumPy's product of halves sums in float32
                for at in range(g.shape[3]):
                    out += of_outputs[:, :, None, at] * of_image[:, None, :, at]
            else:
                out += of_outputs @ of_image.swapaxes(1, 2)
        return out.reshape(self.problem.weight_shape)


def _sum(g: Array, accumulate: Any) -> Array:
    if accumulate is None:
        return np.asarray(g.sum((0, 2, 3)))
    rows = np.moveaxis(g, 1, 0).reshape(g.shape[1], -1)
    out = np.zeros(len(rows), accumulate)
    for column in rows.T:
        out += column
    return out


def _met(problem: ConvProblem, change: Callable[[Axis], Axis]) -> tuple[Array, Array, Any]:
    plan = plan_of(problem)
    plan = replace(plan, rows=change(plan.rows), columns=change(plan.columns))
    rows, columns = plan.rows.pixels(), plan.columns.pixels()
    assert rows.min() >= OUTSIDE and columns.min() >= OUTSIDE
    return rows, columns, plan
