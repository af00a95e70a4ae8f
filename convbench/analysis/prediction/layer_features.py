"""A problem as numbers in which the time of its convolution is smooth: what predictions are made from.

Logarithms of sizes, since times go by ratios; what vectors, caches and kernel selection look at besides. Two layers
are alike where all of these are.
"""

from __future__ import annotations

import math

from convbench.problem import ITEMSIZE_BYTES, ConvProblem

LANES = 16
"""Channels that a kernel takes at a time: float32 lanes of a 512-bit vector, and what blocked layouts come in."""
CACHE_BYTES = 2**20
"""Where a layer's operands begin to leave the caches next to a core, about."""

NAMES = (
    "macs", "bytes", "output pixels", "input channels", "output channels", "groups", "taps", "kernel shape", "stride",
    "dilation", "image shape", "padding", "cache", "lanes in", "lanes out", "row lanes", "depthwise", "grouped",
    "pointwise", "3x3",
)  # fmt: skip


def features(problem: ConvProblem) -> tuple[float, ...]:
    """The numbers of `NAMES` for `problem`, in natural logarithms where they are sizes or ratios of sizes."""
    n, _, height, width = problem.input_shape
    out_channels, per_group, tall, wide = problem.weight_shape
    out_per_group = out_channels // problem.groups
    (top, bottom), (left, right) = problem.padding
    pixels = n * problem.out_height * problem.out_width
    padded = (height + top + bottom) * (width + left + right)
    floats = problem.bytes / ITEMSIZE_BYTES[problem.dtype] * ITEMSIZE_BYTES["float32"]
    kind = problem.kind
    # A depthwise kernel goes through groups as others go through channels.
    lanes_in = problem.groups if kind == "depthwise" else per_group
    lanes_out = problem.groups if kind == "depthwise" else out_per_group
    # Most libraries have code of its own for it: Winograd's algorithm where dense, a loop written out for depthwise.
    its_own_code = (
        problem.kernel_size == (3, 3)
        and problem.dilation == (1, 1)
        and (kind == "depthwise" or (kind == "dense" and problem.stride == (1, 1)))
    )
    return (
        math.log(problem.macs),
        math.log(floats),
        math.log(pixels),
        math.log(per_group),
        math.log(out_per_group),
        math.log(problem.groups),
        math.log(tall * wide),
        math.log(tall / wide),
        math.log(problem.stride[0] * problem.stride[1]),
        math.log(problem.dilation[0] * problem.dilation[1]),
        math.log(problem.out_height / problem.out_width),
        math.log(padded / (height * width)),
        math.log1p(floats / CACHE_BYTES),
        _waste(lanes_in),
        _waste(lanes_out),
        _waste(problem.out_width),
        float(kind == "depthwise"),
        float(kind == "grouped"),
        float(kind == "pointwise"),
        float(its_own_code),
    )


def _waste(size: int) -> float:
    """Logarithm of how many times more lanes are computed than `size` fills."""
    return math.log(-(-size // LANES) * LANES / size)
