"""conv2d in NumPy alone: the textbook's loops, and patches multiplied as matrices."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

from convbench.backend import WHOLE_OF_CONV2D, Algorithm, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem

from ._numpy_padding import pad

if TYPE_CHECKING:
    import numpy as np

_BLOCK_BYTES = 2 * 2**20  # patches multiplied at once: 1 to 2 MiB, what a core's own cache holds, was the fastest
_SMALL_IMAGE_BYTES = 2**20  # patches of images smaller than this are multiplied several images at a time...
_SMALL_IMAGES_BYTES = 8 * 2**20  # ...up to this: few columns a product leave BLAS reading the weights over and over


class _NumPy(Backend):
    requires = ("numpy",)
    supports = WHOLE_OF_CONV2D
    thread_safe = True

    def __init__(self, name: str, algorithm: Algorithm, summary: str) -> None:
        self.name, self.arithmetic, self.summary = name, Arithmetic(algorithm), summary
        if algorithm == "gemm":
            self.stands_in_for = "numpy"

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        import numpy as np

        convolve = _loop if self.arithmetic.algorithm == "direct" else _gemm
        computed_in = np.float64 if problem.dtype == "float64" else np.float32
        x, w = np.ascontiguousarray(x), np.ascontiguousarray(w)

        def on(x: np.ndarray) -> np.ndarray:
            # Halves are widened once and rounded once; where that gives an infinity, it is the answer, not a warning.
            with np.errstate(over="ignore", invalid="ignore"):
                out = convolve(
                    problem,
                    pad(problem, x.astype(computed_in, copy=False)),
                    w.astype(computed_in, copy=False),
                )
                if b is not None:
                    out += b.astype(computed_in, copy=False)[:, None, None]
                return out.astype(x.dtype, copy=False)

        return Ready(lambda: on(x), on={"numpy": on})


def _loop(problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One output pixel at a time: all its channels are each filter times the patch of input under it."""
    import numpy as np

    groups, reduction = problem.groups, problem.reduction_length
    filters = w.reshape(groups, -1, reduction)
    out = np.empty(problem.output_shape, x.dtype)
    for n, i, j in product(range(problem.batch), range(problem.out_height), range(problem.out_width)):
        rows, columns = _under_kernel(problem, 0, i), _under_kernel(problem, 1, j)
        patch = x[n, :, rows, columns].reshape(groups, reduction, 1)
        out[n, :, i, j] = np.matmul(filters, patch).ravel()
    return out


def _under_kernel(problem: ConvProblem, axis: int, position: int) -> slice:
    """The rows (axis 0) or columns (axis 1) of the padded input that the kernel touches for one output position."""
    start = position * problem.stride[axis]
    step = problem.dilation[axis]
    return slice(start, start + step * (problem.kernel_size[axis] - 1) + 1, step)


def _gemm(problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One matrix product per group and block of output rows, written where the answer belongs."""
    import numpy as np

    n, groups, reduction = problem.batch, problem.groups, problem.reduction_length
    out_h, out_w = problem.out_height, problem.out_width
    x = x.reshape(n, groups, -1, *x.shape[2:])
    filters = w.reshape(groups, -1, reduction)
    out = np.empty((n, groups, filters.shape[1], out_h, out_w), x.dtype)
    if reduction == problem.kernel_size[0] * problem.kernel_size[1] and filters.shape[1] <= 4:
        _depthwise(problem, x[:, :, 0], filters, out)
    elif problem.kernel_size == problem.stride == (1, 1):  # the input is its own matrix of patches
        np.matmul(filters, x.reshape(n, groups, reduction, -1), out=out.reshape(n, groups, -1, out_h * out_w))
    else:
        for images, rows in _blocks(problem, x.itemsize):
            patches = _patches(problem, x[images], rows)
            columns = patches.reshape(groups, reduction, -1)
            if patches.shape[4] == 1:
                block = slice(rows.start * out_w, rows.stop * out_w)
                np.matmul(filters, columns, out=out[images.start].reshape(groups, -1, out_h * out_w)[:, :, block])
            else:
                answer = np.matmul(filters, columns).reshape(groups, -1, *patches.shape[4:])
                out[images] = answer.transpose(2, 0, 1, 3, 4)
    return out.reshape(problem.output_shape)


def _blocks(problem: ConvProblem, itemsize: int) -> Iterator[tuple[slice, slice]]:
    """(images, output rows) to multiply at once: several small images, or some rows of a large one."""
    row_bytes = problem.groups * problem.reduction_length * problem.out_width * itemsize
    image_bytes = row_bytes * problem.out_height
    images = _SMALL_IMAGES_BYTES // image_bytes if image_bytes < _SMALL_IMAGE_BYTES else 1
    rows = problem.out_height if images > 1 else max(1, _BLOCK_BYTES // row_bytes)
    for n, i in product(range(0, problem.batch, images), range(0, problem.out_height, rows)):
        yield slice(n, min(n + images, problem.batch)), slice(i, min(i + rows, problem.out_height))


def _patches(problem: ConvProblem, x: np.ndarray, rows: slice) -> np.ndarray:
    """im2col of some images and output rows: (groups, in_channels/groups, kh, kw, images, rows, out_width)."""
    import numpy as np

    images, groups, channels = x.shape[:3]
    shape = (groups, channels, *problem.kernel_size, images, rows.stop - rows.start, problem.out_width)
    patches = np.empty(shape, x.dtype)
    for a, b in np.ndindex(problem.kernel_size):
        patches[:, :, a, b] = x[:, :, :, _under_tap(problem, 0, a, rows), _under_tap(problem, 1, b)].transpose(
            1, 2, 0, 3, 4
        )
    return patches


def _under_tap(problem: ConvProblem, axis: int, tap: int, outputs: slice | None = None) -> slice:
    """The rows or columns of the padded input that one tap of the kernel meets, one for each output position."""
    first, stop = (outputs.start, outputs.stop) if outputs else (0, problem.output_shape[2 + axis])
    stride, offset = problem.stride[axis], tap * problem.dilation[axis]
    return slice(offset + first * stride, offset + (stop - 1) * stride + 1, stride)


def _depthwise(problem: ConvProblem, x: np.ndarray, filters: np.ndarray, out: np.ndarray) -> None:
    """One channel in, a few out: a matrix product of one row gains nothing, so whole planes are multiplied by taps."""
    import numpy as np

    taps = list(np.ndindex(problem.kernel_size))
    for image, answer in zip(x, out, strict=True):
        part = np.empty_like(answer)
        for t, (a, b) in enumerate(taps):
            plane = image[:, None, _under_tap(problem, 0, a), _under_tap(problem, 1, b)]
            np.multiply(plane, filters[:, :, t, None, None], out=part if t else answer)
            if t:
                answer += part


BACKENDS = (
    _NumPy("numpy-loop", "direct", "the textbook's loops, one output pixel at a time"),
    _NumPy("numpy-gemm", "gemm", "patches gathered in blocks and multiplied by BLAS"),
)
