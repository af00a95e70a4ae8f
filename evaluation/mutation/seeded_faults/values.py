"""Faults of values: NaN, infinity, signs and sizes of outputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from convbench.problem import ConvProblem
from seeded_faults.changes import image, output
from seeded_faults.convolution import Array, Plan, Steps
from seeded_faults.fault import Fault


def _without_nan(array: Array) -> Array:
    return np.where(np.isnan(array), 0, array).astype(array.dtype)


def _clipped(out: Array) -> Array:
    largest = {"float16": 65504.0, "bfloat16": 3.3895313892515355e38, "float32": float(np.finfo(np.float32).max)}
    limit = largest.get(out.dtype.name, float(np.finfo(np.float64).max))
    return np.clip(out.astype(np.float64), -limit, limit).astype(out.dtype)


def _dense(plan: Plan) -> Plan:
    return replace(plan, groups=1)


def _block_diagonal(problem: ConvProblem, x: Array, w: Array, b: Array | None) -> tuple[Array, Array, Array | None]:
    dense = np.zeros((problem.out_channels, problem.in_channels, *problem.kernel_size), w.dtype)
    outs, ins = problem.out_channels // problem.groups, problem.in_channels // problem.groups
    for g in range(problem.groups):
        dense[g * outs : (g + 1) * outs, g * ins : (g + 1) * ins] = w[g * outs : (g + 1) * outs]
    return x, dense, b


def _undilated(plan: Plan) -> Plan:
    axes = [replace(a, kernel=a.dilation * (a.kernel - 1) + 1, dilation=1) for a in (plan.rows, plan.columns)]
    return replace(plan, rows=axes[0], columns=axes[1])


def _spread(problem: ConvProblem, x: Array, w: Array, b: Array | None) -> tuple[Array, Array, Array | None]:
    (kh, kw), (dh, dw) = problem.kernel_size, problem.dilation
    spread = np.zeros((*w.shape[:2], dh * (kh - 1) + 1, dw * (kw - 1) + 1), w.dtype)
    spread[:, :, ::dh, ::dw] = w
    return x, spread, b


FAULTS = (
    Fault("zeros", "values", "every output is zero", "n1c2h5w5_o3k3", steps=output(np.zeros_like)),
    Fault(
        "zeros-when-large",
        "values",
        "an output of more than 4096 elements is all zeros",
        "n1c2h20w20_o16k3",
        "large",
        steps=output(np.zeros_like),
    ),
    Fault(
        "negative-outputs-cut",
        "values",
        "an unrequested activation is fused in: negative outputs are zero",
        "n1c2h5w5_o3k3",
        steps=output(lambda out: np.maximum(out, out.dtype.type(0))),
    ),
    Fault(
        "nan-swallowed",
        "values",
        "outputs that should be NaN are zero",
        "n1c2h5w5_o3k3",
        values="special",
        steps=output(_without_nan),
    ),
    Fault(
        "nan-in-input-is-zero",
        "values",
        "NaN in the input counts as zero where there is padding",
        "n1c2h5w5_o3k3_p1",
        "padded",
        values="special",
        steps=image(_without_nan),
    ),
    Fault(
        "infinity-clipped",
        "values",
        "infinite outputs are the largest number of the format",
        "n1c2h5w5_o3k3",
        values="special",
        steps=output(_clipped),
    ),
    Fault(
        "groups-by-zero-weights",
        "values",
        "groups are one dense convolution with zeros between: NaN and infinity spread to other groups",
        "n1c4h5w5_o4k3_g2",
        "grouped",
        values="special",
        steps=Steps(plan=_dense, operands=_block_diagonal),
    ),
    Fault(
        "dilation-by-zero-weights",
        "values",
        "dilation is zeros between the weights: NaN and infinity between the taps spread",
        "n1c2h6w6_o3k2_d2",
        "dilated",
        values="special",
        steps=Steps(plan=_undilated, operands=_spread),
    ),
)
