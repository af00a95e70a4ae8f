"""How much one problem's times tell of another's: the more they differ, the less.

A backend that is far behind on one layer is likely to be behind on the next, and certainly not on every one: FFT loses
on 3x3 and wins on 31x31, and a library may have a fast kernel for one size and stride and a loop for the others, or for
channels that fill its vectors and not for the rest. `log_ratio_tolerance` says by how much the ratio between two backends may shift
from one problem to another, on the natural logarithm's scale. It is meant to be generous: too much of it costs time,
too little a backend that should have been asked. Torch took 73 times as long as the fastest for a depthwise 1x1 kernel
and was the fastest for 7x7 ones; ncnn 5 times as long with 147 channels, and was the fastest with 624.
"""

from __future__ import annotations

import math

from convbench.problem import ConvProblem

_PER_OCTAVE_OF_KERNEL_AREA = 0.5
_PER_OCTAVE = 0.06  # of channels, of pixels, of images
_OTHER_KIND = 1.5  # pointwise, depthwise, grouped, dense: other algorithms
_OTHER_KERNEL = 1.2  # code of its own for each size that is common
_PER_OCTAVE_OF_ALIGNMENT = 0.3
_VECTOR = 16  # channels: a library's loops over 4, 8 or 16 at a time have no other for what is left
_OTHER_STRIDE, _OTHER_DILATION, _OTHER_PADDING_MODE = 1.2, 1.2, 1.0


def log_ratio_tolerance(known: ConvProblem, asked: ConvProblem) -> float:
    """By how much the logarithm of two backends' ratio may differ between the two problems; infinite where the dtypes
    or the directions differ."""
    if known.dtype != asked.dtype or known.direction != asked.direction:
        return math.inf
    octaves = sum(
        abs(math.log2(a / b))
        for a, b in (
            (known.in_channels / known.groups, asked.in_channels / asked.groups),
            (known.out_channels, asked.out_channels),
            (known.out_height * known.out_width, asked.out_height * asked.out_width),
            (known.batch, asked.batch),
        )
    )
    kernel = abs(math.log2(math.prod(known.kernel_size) / math.prod(asked.kernel_size)))
    alignments = [
        abs(math.log2(_aligned_to(a) / _aligned_to(b)))
        for a, b in ((known.in_channels, asked.in_channels), (known.out_channels, asked.out_channels))
    ]
    # Depthwise, the channels in are the channels out, or those times a whole number.
    misaligned = max(alignments) if known.kind == asked.kind == "depthwise" else sum(alignments)
    return (
        _PER_OCTAVE * octaves
        + _PER_OCTAVE_OF_KERNEL_AREA * kernel
        + _OTHER_KERNEL * (known.kernel_size != asked.kernel_size)
        + _PER_OCTAVE_OF_ALIGNMENT * misaligned
        + _OTHER_KIND * (known.kind != asked.kind)
        + _OTHER_STRIDE * (known.stride != asked.stride)
        + _OTHER_DILATION * (known.dilation != asked.dilation)
        + _OTHER_PADDING_MODE * (known.padding_mode != asked.padding_mode)
    )


def _aligned_to(channels: int) -> int:
    """The largest power of two, up to a whole vector, that divides them."""
    return math.gcd(channels, _VECTOR)
