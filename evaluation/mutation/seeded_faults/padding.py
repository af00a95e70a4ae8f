"""Faults at the boundary: the padding's sides and modes, and outputs at the edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from convbench.problem import ConvProblem
from seeded_faults.changes import axes, image, output, plan, swapped, zeroed
from seeded_faults.convolution import (
    OUTSIDE,
    Array,
    Axis,
    Border,
    Plan,
    Positions,
    Steps,
    fill,
    plan_of,
    reflect,
    replicate,
    zeros,
)
from seeded_faults.fault import Fault


def _to_edge_behind(axis: Axis) -> Axis:
    # A buffer padded behind as it is in front: taps beyond it stop at its last pixel.
    def border(at: Positions, size: int) -> Positions:
        return axis.border(np.minimum(at, size - 1 + max(0, axis.before)), size)

    return replace(axis, border=border)


def _symmetric(at: Positions, size: int) -> Positions:
    at = np.where(at < 0, -1 - at, at)
    return np.where(at >= size, 2 * size - 1 - at, at)


def _one_too_far(at: Positions, size: int) -> Positions:
    return np.where(at < 0, (at - 1) % size, at % size)


def _bordered(border: Border) -> Steps:
    return axes(lambda axis: replace(axis, border=border))


def _replicated_where_all_of_it_is_padding(axis: Axis) -> Axis:
    return replace(axis, border=replicate) if axis.size in (axis.before, axis.after) else axis


def _beside(axis: Axis) -> Any:
    at = axis.positions()
    return (at < 0) | (at >= axis.size)


def _fill_corners_too(plan: Plan, patches: Array) -> Array:
    corners = _beside(plan.rows)[:, None, :, None] & _beside(plan.columns)[None, :, None, :]
    patches[:, :, corners] = 0
    return patches


def _multiplied_with_zero(plan: Plan, patches: Array) -> Array:
    return np.asarray(patches * fill(plan, np.ones_like(patches)))


def _without_bias_on_padding(problem: ConvProblem, out: Array) -> Array:
    plan = plan_of(problem)
    rows, columns = ((axis.pixels() == OUTSIDE).all(axis=0) for axis in (plan.rows, plan.columns))
    out[..., rows[:, None] | columns] = 0
    return out


def _rest_of_tiles(out: Array) -> Array:
    return zeroed(..., slice(out.shape[3] // 8 * 8, None))(out)


FAULTS = (
    Fault(
        "padding-swapped-between-axes",
        "boundary",
        "rows are padded as columns should be",
        "n1c2h6w6_o3k3_p1x0",
        "unequal padding",
        steps=swapped("before", "after"),
    ),
    Fault(
        "padding-swapped-between-sides",
        "boundary",
        "the top is padded as the bottom should be, the left as the right",
        "n1c2h6w6_o3k3_pt1b0l2r0",
        "asymmetric padding",
        steps=axes(lambda axis: replace(axis, before=axis.after)),
    ),
    Fault(
        "padding-left-out",
        "boundary",
        "nothing is padded in front",
        "n1c2h6w6_o3k3_p1",
        "padded",
        steps=axes(lambda axis: replace(axis, before=min(0, axis.before))),
    ),
    Fault(
        "bottom-padded-as-top",
        "boundary",
        "the buffer is padded behind as in front, and taps beyond it stop at its end",
        "n1c2h6w6_o3k3_pt0b2l0r1",
        "zeros & padded after only",
        steps=axes(_to_edge_behind),
    ),
    Fault(
        "same-lower-for-same-upper",
        "boundary",
        "where padding is odd, the one more goes in front instead of behind",
        "n1c2h6w6_o3k2_pt0b1l0r1",
        "one more after than before",
        steps=axes(lambda axis: replace(axis, before=axis.before + (axis.after - axis.before == 1))),
    ),
    Fault(
        "padding-dilated-too",
        "boundary",
        "padding is multiplied by the dilation",
        "n1c2h9w9_o3k3_p1_d2",
        "dilated & padded",
        steps=axes(lambda axis: replace(axis, before=axis.before * axis.dilation)),
    ),
    Fault(
        "negative-padding-ignored",
        "boundary",
        "negative padding crops nothing",
        "n1c2h6w6_o3k3_p-1",
        "negative padding",
        steps=axes(lambda axis: replace(axis, before=max(0, axis.before))),
    ),
    Fault(
        "negative-padding-as-positive",
        "boundary",
        "the sign of negative padding is lost",
        "n1c2h6w6_o3k3_p-1",
        "negative padding",
        steps=axes(lambda axis: replace(axis, before=abs(axis.before))),
    ),
    Fault(
        "asymmetric-even-batch",
        "boundary",
        "sides of the padding are swapped for even kernels and more than one image",
        "n2c2h6w6_o3k2_pt1b0l0r2",
        "asymmetric padding & even kernel & batch 2+",
        steps=axes(lambda axis: replace(axis, before=axis.after)),
    ),
    Fault(
        "reflect-as-symmetric",
        "boundary",
        "reflection repeats the edge",
        "n1c2h6w6_o3k3_p1_reflect",
        "reflect & padded",
        steps=_bordered(_symmetric),
    ),
    Fault(
        "reflect-as-replicate",
        "boundary",
        "the edge is repeated instead of reflected",
        "n1c2h6w6_o3k5_p2_reflect",
        "reflect & padded",
        steps=_bordered(replicate),
    ),
    Fault(
        "replicate-as-reflect",
        "boundary",
        "pixels are reflected instead of the edge repeated",
        "n1c2h6w6_o3k3_p1_replicate",
        "replicate & padded",
        steps=_bordered(reflect),
    ),
    Fault(
        "circular-off-by-one",
        "boundary",
        "what wraps round in front comes from one pixel too far",
        "n1c2h6w6_o3k3_p1_circular",
        "circular & padded",
        steps=_bordered(_one_too_far),
    ),
    Fault(
        "circular-all-the-way-round",
        "boundary",
        "an axis padded with all of the image repeats the edge instead of wrapping round",
        "n1c2h3w6_o3k5_p3x1_circular",
        "circular & padding as wide as the image",
        steps=axes(_replicated_where_all_of_it_is_padding),
    ),
    Fault(
        "columns-padded-with-zeros",
        "boundary",
        "the padding mode applies to rows only",
        "n1c2h6w6_o3k3_p1_replicate",
        "padding not of zeros",
        steps=plan(lambda plan: replace(plan, columns=replace(plan.columns, border=zeros))),
    ),
    Fault(
        "corners-left-zero",
        "boundary",
        "corners of a padding that is not of zeros stay zero",
        "n1c2h6w6_o3k3_p1_reflect",
        "padding not of zeros",
        steps=Steps(fill=_fill_corners_too),
    ),
    Fault(
        "reflect-biased-bfloat16",
        "boundary",
        "reflection repeats the edge in bfloat16 with a bias",
        "n1c2h6w6_o3k3_p1_bias_reflect_bf16",
        "reflect & padded & biased & bfloat16",
        steps=_bordered(_symmetric),
    ),
    Fault(
        "nothing-but-padding",
        "boundary",
        "outputs that see nothing but padding are skipped, bias and all",
        "n1c2h3w3_o3k1_p1_bias",
        "zeros & padding over kernel & biased",
        steps=Steps(output=_without_bias_on_padding),
    ),
    Fault(
        "padding-by-multiplying-with-zero",
        "boundary",
        "taps beside the image are multiplied with zero, which makes NaN of infinity",
        "n1c2h6w6_o3k3_p2",
        "zeros & padded",
        values="special",
        steps=Steps(fill=_multiplied_with_zero),
    ),
    Fault(
        "last-row-left-out",
        "boundary",
        "the last row of outputs stays zero",
        "n1c2h5w5_o3k3",
        steps=output(zeroed(..., -1, slice(None))),
    ),
    Fault(
        "last-column-left-out",
        "boundary",
        "columns of outputs are computed in pairs; a single last one stays zero",
        "n1c2h5w5_o3k3",
        "odd width out",
        steps=output(zeroed(..., -1)),
    ),
    Fault(
        "last-tile-left-out",
        "boundary",
        "columns of outputs are computed in tiles of eight; the rest stays zero",
        "n1c2h4w14_o3k3",
        "8+ columns out, not in eights",
        steps=output(_rest_of_tiles),
    ),
    Fault(
        "first-pixel-left-out",
        "boundary",
        "the first pixel of the last image's last channel is taken for zero",
        "n1c2h5w5_o3k3",
        steps=image(zeroed(-1, -1, 0, 0)),
    ),
)
