"""The gradients of numba-direct: that of the input is a convolution, those of weight and bias are sums over pixels."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convbench.backend import Ready, touching

from .._numpy.gradients import padded_shape, unpad

if TYPE_CHECKING:
    import numpy as np

    from convbench.problem import ConvProblem

    from .plan import Register
    from .tasks import Job


def spread_shape(problem: ConvProblem) -> tuple[int, int, int, int]:
    """That of the output's gradient with zeros for the positions that the stride leaves out."""
    n, o, *extent = problem.output_shape
    height, width = ((out - 1) * stride + 1 for out, stride in zip(extent, problem.stride, strict=True))
    return (n, o, height, width)


def back_problem(problem: ConvProblem, dtype: Any) -> ConvProblem:
    """The convolution that gives the gradient of the padded input: every position that a tap of the kernel reaches, and
    the rows and columns at the end that none does."""
    spread, padded = spread_shape(problem)[2:], padded_shape(problem)[2:]
    reach = [dilation * (kernel - 1) for kernel, dilation in zip(problem.kernel_size, problem.dilation, strict=True)]
    return problem.replace(
        direction="forward",
        bias=False,
        dtype=dtype,
        in_channels=problem.out_channels,
        out_channels=problem.in_channels,
        height=spread[0],
        width=spread[1],
        stride=1,
        padding=tuple((reach[axis], padded[axis] - spread[axis]) for axis in (0, 1)),
        padding_mode="zeros",
    )


def turned_weight(problem: ConvProblem, w: np.ndarray) -> np.ndarray:
    """The weight (C, O/groups, kh, kw) of that convolution: turned round, channels and filters exchanged."""
    groups, (o, own, *kernel) = problem.groups, problem.weight_shape
    turned = w.reshape(groups, o // groups, own, *kernel).swapaxes(1, 2)[..., ::-1, ::-1]
    return turned.reshape(groups * own, o // groups, *kernel)


def by_convolution(
    problem: ConvProblem, g: np.ndarray, dtype: np.dtype, convolve: Callable[[np.ndarray], np.ndarray]
) -> Callable[[], np.ndarray]:
    """The gradient of the input by `convolve`, which computes `back_problem`."""
    import numpy as np

    shape, (sh, sw), g = spread_shape(problem), problem.stride, np.ascontiguousarray(g)

    def run() -> np.ndarray:
        spread = g.astype(dtype, copy=False)
        if problem.stride != (1, 1):
            spread = np.zeros(shape, dtype)
            spread[:, :, ::sh, ::sw] = g
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are an answer and no reason for a warning
            return np.ascontiguousarray(unpad(problem, convolve(spread)).astype(g.dtype, copy=False))

    return run


def weight_gradient(
    problem: ConvProblem,
    g: np.ndarray,
    x: np.ndarray,
    dtype: np.dtype,
    register: Register,
    padding: Callable[..., Job],
    lock: Any,
) -> Ready:
    """Pad the input into a scratch image where need be, pack it and `g`, and add up products pixel by pixel.

    `padding(scratch, register, padded)` makes the first step. One thread at a time computes, under `lock`.
    """
    import numba
    import numpy as np

    from . import gradient_kernel as kernel
    from . import plan
    from .gradient_plan import WeightPlan
    from .tasks import Job

    threads, most_threads = numba.get_num_threads(), numba.config.NUMBA_NUM_THREADS
    scratch = plan.Scratch.of(problem)
    weights = WeightPlan.of(scratch, register, dtype.itemsize, threads)
    zeros, tile = np.zeros(register.columns, dtype), (dtype.name, register.lanes, register.max_height)

    def packing(numbers: Any) -> tuple[Job, np.ndarray]:
        packed = np.zeros(numbers.tasks // numbers.pieces * numbers.plane * numbers.block + 64, dtype)
        return Job(kernel.pack_task(*tile), numbers, zeros=zeros, packed=packed), packed

    padded = np.zeros(0 if scratch.is_input else problem.batch * problem.in_channels * scratch.channel, dtype)
    pad = None if scratch.is_input else padding(scratch, register, padded)
    (pack_x, packed_x), (pack_g, packed_g) = packing(weights.of_input), packing(weights.of_gradient)
    add = Job(
        (kernel.groups_sums if weights.groups_in_lanes else kernel.channels_sums)(*tile),
        weights.sums,
        x=packed_x,
        g=packed_g,
        places=weights.places,
        shifts=weights.shifts,
        starts=weights.starts,
        zeros=zeros,
        sums=plan.aligned_empty((most_threads, weights.sums.sums_size), dtype),
    )
    g, x = np.ascontiguousarray(g), np.ascontiguousarray(x)

    def run() -> np.ndarray:
        with lock:
            image, upstream = x.astype(dtype, copy=False), g.astype(dtype, copy=False)
            if pad is not None:
                pad.point(x=image)
                pad.run()
            pack_x.point(source=padded if pad is not None else image)
            pack_x.run()
            pack_g.point(source=upstream)
            pack_g.run()
            out = plan.aligned_empty(problem.weight_shape, dtype)
            add.point(out=out)
            add.run()
        with np.errstate(over="ignore", invalid="ignore"):  # infinities are an answer and no reason for a warning
            return out.astype(g.dtype, copy=False)

    lanes = f"sums {'groups' if weights.groups_in_lanes else 'channels'} {register.lanes} lanes"
    return Ready(run, touch=touching(g), explain=lambda: lanes)


def bias_gradient(problem: ConvProblem, g: np.ndarray, dtype: np.dtype, lock: Any) -> Ready:
    """The sum of each channel's planes."""
    import numpy as np

    from . import gradient_kernel as kernel
    from .tasks import Job

    n, o, out_h, out_w = problem.output_shape
    add = Job(kernel.planes_sums(dtype.name), kernel.Planes(o, n, out_h * out_w))
    g = np.ascontiguousarray(g)

    def run() -> np.ndarray:
        upstream, out = g.astype(dtype, copy=False), np.empty(o, dtype)
        with lock:
            add.point(g=upstream, out=out)
            add.run()
        with np.errstate(over="ignore", invalid="ignore"):
            return out.astype(g.dtype, copy=False)

    return Ready(run, touch=touching(g), explain=lambda: "sums of planes")
