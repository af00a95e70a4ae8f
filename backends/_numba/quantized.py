"""Quantised convolutions of numba-direct: exact sums of pairs of int16, then one float32 multiplier for each channel.

Zero points are taken off before anything is multiplied: x - x_zero and w - w_zero are within [-255, 255], so int16
holds them, padding is 0, and two products and their sum are far from the limits of int32. Two channels side by side
are one number of 32 bits. With these the convolution is that of half as many channels in float32, with the same plan
and tiles, whose multiply-add is vpmaddwd, or vpdpwssd of VNNI, on CPUs that have them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convbench.backend import QuantizedArithmetic, QuantizedSupport, Ready, touching
from convbench.problem import ConvProblem, Scales

if TYPE_CHECKING:
    import numpy as np

    from .plan import Register, Scratch
    from .tasks import Job

SUPPORT = QuantizedSupport(
    {f"{first}:{result}" for first in ("u8", "s8") for result in ("u8", "s8", "s32", "f32")}, weight_zero_point=True
)
ARITHMETIC = QuantizedArithmetic("even")  # a sum in float32, times a multiplier in float32, rounded to an integer


def paired_problem(problem: ConvProblem) -> ConvProblem:
    """The convolution of 32-bit numbers, each of which is two channels of a group."""
    pairs = problem.groups * _pairs(problem)
    return problem.replace(quantization=None, dtype="float32", in_channels=pairs, bias=False)


def paired_weight(problem: ConvProblem, w: np.ndarray, w_zero: np.ndarray) -> np.ndarray:
    """The weight (O, pairs, kh, kw) as int32, each of two int16 without zero points. A missing second one is 0."""
    import numpy as np

    _, own, *_ = w.shape
    paired = np.zeros((problem.out_channels, _pairs(problem) * 2, *problem.kernel_size), np.int16)
    paired[:, :own] = w.astype(np.int16) - w_zero.astype(np.int16).reshape(-1, 1, 1, 1)
    first, second = paired[:, 0::2].astype(np.int32), paired[:, 1::2].astype(np.int32)
    return (first & 0xFFFF) | (second << 16)


def prepared(
    problem: ConvProblem,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    scales: Scales,
    register: Register,
    convolution: Callable[..., Job],
    lock: Any,
) -> Ready:
    """Pad and pair the input, convolve, and round. One thread at a time computes, under `lock`.

    `convolution(scratch, register, by_pixels, w, bias)` makes the second step.
    """
    import numpy as np

    from . import plan

    assert problem.quantization is not None
    result = np.dtype(problem.quantization.dtypes["y"])
    scratch = plan.Scratch.of(paired_problem(problem))
    by_pixels = plan.pixels_fit_better(scratch, register)
    bias = np.zeros(problem.out_channels, np.int32) if b is None else np.array(b, np.int32, order="C")
    convolve = convolution(scratch, register, by_pixels, paired_weight(problem, w, scales.w_zero), bias)
    x = np.array(x, order="C")
    # Pixels in the lanes are read up to a tile beyond the image; what that gives is not stored.
    size = problem.batch * scratch.problem.in_channels * scratch.channel + register.columns
    padded = np.zeros(size, np.int32)
    pair = _pairing(problem, scratch, scales.x_zero, x, padded)
    convolve.point(x=padded)
    requantize = None
    if result.name != "int32":
        sums = plan.aligned_empty(problem.output_shape, np.dtype(np.int32))
        convolve.point(out=sums)
        requantize = _requantization(problem, scales, result, sums)

    def run() -> np.ndarray:
        out = plan.aligned_empty(problem.output_shape, result)
        with lock:
            pair.run()
            if requantize is None:
                convolve.point(out=out)
                convolve.run()
            else:
                convolve.run()
                requantize.point(out=out)
                requantize.run()
        return out

    lanes = f"direct {'pixels' if by_pixels else 'channels'} {register.lanes} lanes of int16 pairs"
    return Ready(run, touch=touching(x), explain=lambda: lanes)


def _pairs(problem: ConvProblem) -> int:
    """Pairs of input channels in each group; the last may have one channel."""
    return -(-problem.in_channels // problem.groups // 2)


def _pairing(problem: ConvProblem, scratch: Scratch, zero: int, x: np.ndarray, padded: np.ndarray) -> Job:
    import numba
    import numpy as np

    from . import quantized_kernel as kernel
    from .tasks import Job

    margins = scratch.margins(numba.get_num_threads())
    numbers = kernel.Pairing(
        own=problem.in_channels // problem.groups,
        pairs=_pairs(problem),
        step=margins.column_step,
        zero=zero,
        **{name: value for name, value in margins._asdict().items() if name in kernel.Pairing._fields},
    )
    return Job(
        kernel.pair_task(x.dtype.name),
        numbers,
        x=x,
        row_sources=np.ascontiguousarray(scratch.rows.source),
        column_sources=np.ascontiguousarray(scratch.columns.source),
        column_runs=scratch.columns.runs(margins.column_step),
        missing=np.full(problem.width, zero, x.dtype),
        padded=padded,
    )


def _requantization(problem: ConvProblem, scales: Scales, result: np.dtype, sums: np.ndarray) -> Job:
    import numba
    import numpy as np

    from . import quantized_kernel as kernel
    from .plan import TASKS_PER_THREAD
    from .tasks import Job

    planes, pixels = problem.batch * problem.out_channels, problem.out_height * problem.out_width
    pieces = min(pixels, -(-TASKS_PER_THREAD * numba.get_num_threads() // planes))
    limits = (0, 0) if result.kind == "f" else (np.iinfo(result).min, np.iinfo(result).max)
    multiplier = scales.x_scale * scales.w_scale.astype(np.float64) / scales.y_scale
    multipliers = np.array(np.broadcast_to(multiplier, (problem.out_channels,)), np.float32)
    numbers = kernel.Requantization(
        tasks=planes * pieces,
        pieces=pieces,
        channels=problem.out_channels,
        pixels=pixels,
        zero=scales.y_zero,
        low=limits[0],
        high=limits[1],
    )
    return Job(kernel.requantize_task(result.name), numbers, sums=sums, multipliers=multipliers)
