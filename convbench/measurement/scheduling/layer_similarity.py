"""How much the times of one problem say about another: the more the problems differ, the less.

A backend that is far behind on one layer is likely to be behind on the next, but certainly not on all: FFT loses on 3x3
and wins on 31x31, and a library may have a fast kernel for one size and stride, or for channels that fill its vectors,
and a plain loop for the rest. `log_ratio_tolerance` bounds how far the ratio of two backends may move from one problem
to another. It is generous on purpose: too large a tolerance costs time, too small a one leaves out a backend that might
have won. Torch took 73 times as long as the fastest on a depthwise 1x1 kernel and was the fastest on 7x7 ones; ncnn
took 5 times as long with 147 channels, and was the fastest with 624.
"""

from __future__ import annotations

import math

from convbench.problem import ConvProblem

_PER_OCTAVE_OF_KERNEL_AREA = 0.5
_PER_OCTAVE = 0.06  # of channels, of pixels, of images
_OTHER_KIND = 1.5  # pointwise, depthwise, grouped, dense: other algorithms
_OTHER_KERNEL = 1.2  # libraries have special code for each common size
_PER_OCTAVE_OF_ALIGNMENT = 0.3
_VECTOR = 16  # channels: loops over 4, 8 or 16 at a time handle a remainder badly
_OTHER_STRIDE, _OTHER_DILATION, _OTHER_PADDING_MODE = 1.2, 1.2, 1.0


def log_ratio_tolerance(known: ConvProblem, problem: ConvProblem) -> float:
    """How much the logarithm of two backends' ratio may differ between the problems; infinite across dtypes and
    directions."""
    if known.dtype != problem.dtype or known.direction != problem.direction:
        return math.inf
    octaves = sum(
        abs(math.log2(a / b))
        for a, b in (
            (known.in_channels / known.groups, problem.in_channels / problem.groups),
            (known.out_channels, problem.out_channels),
            (known.out_height * known.out_width, problem.out_height * problem.out_width),
            (known.batch, problem.batch),
        )
    )
    kernel = abs(math.log2(math.prod(known.kernel_size) / math.prod(problem.kernel_size)))
    alignments = [
        abs(math.log2(_alignment(a) / _alignment(b)))
        for a, b in ((known.in_channels, problem.in_channels), (known.out_channels, problem.out_channels))
    ]
    # A depthwise layer has as many output channels as input channels, or a whole multiple.
    misaligned = max(alignments) if known.kind == problem.kind == "depthwise" else sum(alignments)
    return (
        _PER_OCTAVE * octaves
        + _PER_OCTAVE_OF_KERNEL_AREA * kernel
        + _OTHER_KERNEL * (known.kernel_size != problem.kernel_size)
        + _PER_OCTAVE_OF_ALIGNMENT * misaligned
        + _OTHER_KIND * (known.kind != problem.kind)
        + _OTHER_STRIDE * (known.stride != problem.stride)
        + _OTHER_DILATION * (known.dilation != problem.dilation)
        + _OTHER_PADDING_MODE * (known.padding_mode != problem.padding_mode)
    )


def _alignment(channels: int) -> int:
    """The largest power of two, up to a whole vector, that divides them."""
    return math.gcd(channels, _VECTOR)
