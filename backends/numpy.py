"""conv2d in NumPy alone: the loops of a textbook, and products of patch matrices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING

from convbench.backend import WITH_EPILOGUES, Algorithm, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem, Scales

from ._fusion import implementation_with
from ._issue_forms import NUMPY
from ._numpy import quantized
from ._numpy.arrays import ISA_SWITCHES, WITHOUT_ISA_SWITCH, isa_in_use, prepared
from ._numpy.fused import WITHOUT_ERF
from ._numpy.gradients import padded_shape, prepared_gradient

if TYPE_CHECKING:
    import numpy as np

_BLOCK_BYTES = 2 * 2**20  # patches in one product: 1 to 2 MiB, the size of a core's own cache, was the fastest
_SMALL_IMAGE_BYTES = 2**20  # images whose patches are smaller than this are multiplied several at a time...
_SMALL_IMAGES_BYTES = 8 * 2**20  # ...up to this size: with few columns per product BLAS rereads the weights too often

_FEW_FILTERS = 4  # on one channel: a product with so few rows gains nothing


class _NumPy(Backend):
    requires = ("numpy",)
    issue_form = NUMPY
    supports = replace(WITH_EPILOGUES, activations=WITHOUT_ERF, quantized=quantized.SUPPORT)
    thread_safe = True
    isa_switches = ISA_SWITCHES
    without_isa_switch = WITHOUT_ISA_SWITCH

    def __init__(self, name: str, algorithm: Algorithm, summary: str) -> None:
        self.name, self.summary = name, summary
        self.arithmetic = Arithmetic(algorithm, quantized=quantized.ARITHMETIC)
        if algorithm == "gemm":
            self.stands_in_for = "numpy"

    def isa_in_use(self) -> str | None:
        return isa_in_use()

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return self.prepare_fused(problem, x, w, b, None)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        import numpy as np

        convolve = _loop if self.arithmetic.algorithm == "direct" else _gemm
        x, w = np.ascontiguousarray(x), np.ascontiguousarray(w)
        ready = prepared(problem, x, w, b, lambda x, w: convolve(problem, x, w), r)
        path = "loop" if convolve is _loop else _gemm_path(problem)
        return replace(ready, explain=lambda: implementation_with(path, problem, ()))

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        # NumPy multiplies matrices of integers by plain loops, and of float64 by BLAS.
        convolve, wide = (_loop, "int32") if self.arithmetic.algorithm == "direct" else (_gemm, "float64")
        ready = quantized.prepared(problem, x, w, b, scales, wide, lambda x, w: convolve(problem, x, w))
        kernel = f"{'loop' if convolve is _loop else _gemm_path(problem)} in {wide}"
        return replace(ready, explain=lambda: kernel)

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        back, sums = (
            (_loop_back, _loop_weights) if self.arithmetic.algorithm == "direct" else (_gemm_back, _gemm_weights)
        )
        return prepared_gradient(problem, g, x, w, lambda g, w: back(problem, g, w), lambda x, g: sums(problem, x, g))


def _loop(problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One output pixel at a time: every filter times the input patch under it."""
    import numpy as np

    groups, reduction = problem.groups, problem.reduction_length
    filters = w.reshape(groups, -1, reduction)
    out = np.empty(problem.output_shape, x.dtype)
    for n, i, j in product(range(problem.batch), range(problem.out_height), range(problem.out_width)):
        rows, columns = _under_kernel(problem, 0, i), _under_kernel(problem, 1, j)
        patch = x[n, :, rows, columns].reshape(groups, reduction, 1)
        out[n, :, i, j] = np.matmul(filters, patch).ravel()
    return out


def _loop_back(problem: ConvProblem, g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The gradient of the padded input, one output pixel at a time: back to the patch under the kernel."""
    import numpy as np

    groups = problem.groups
    filters = w.reshape(groups, -1, *w.shape[1:])
    padded = np.zeros(padded_shape(problem), g.dtype)
    for n, i, j in product(range(problem.batch), range(problem.out_height), range(problem.out_width)):
        rows, columns = _under_kernel(problem, 0, i), _under_kernel(problem, 1, j)
        patch = np.einsum("gocij,go->gcij", filters, g[n, :, i, j].reshape(groups, -1))
        padded[n, :, rows, columns] += patch.reshape(problem.in_channels, *problem.kernel_size)
    return padded


def _loop_weights(problem: ConvProblem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient of the weight, one output pixel at a time: every filter's output times the patch under it."""
    import numpy as np

    groups = problem.groups
    out = np.zeros((groups, problem.out_channels // groups, *problem.weight_shape[1:]), g.dtype)
    for n, i, j in product(range(problem.batch), range(problem.out_height), range(problem.out_width)):
        patch = x[n, :, _under_kernel(problem, 0, i), _under_kernel(problem, 1, j)]
        of_outputs = g[n, :, i, j].reshape(groups, -1)
        out += np.einsum("go,gcij->gocij", of_outputs, patch.reshape(groups, -1, *problem.kernel_size))
    return out.reshape(problem.weight_shape)


def _under_kernel(problem: ConvProblem, axis: int, position: int) -> slice:
    """The rows (axis 0) or columns (axis 1) of the padded input under the kernel at one output position."""
    start = position * problem.stride[axis]
    step = problem.dilation[axis]
    return slice(start, start + step * (problem.kernel_size[axis] - 1) + 1, step)


def _gemm(problem: ConvProblem, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """One matrix product per group and block of output rows, written into the output."""
    import numpy as np

    n, groups, reduction = problem.batch, problem.groups, problem.reduction_length
    out_h, out_w = problem.out_height, problem.out_width
    x = x.reshape(n, groups, -1, *x.shape[2:])
    filters = w.reshape(groups, -1, reduction)
    out = np.empty((n, groups, filters.shape[1], out_h, out_w), x.dtype)
    path = _gemm_path(problem)
    if path == "planes":
        _depthwise(problem, x[:, :, 0], filters, out)
    elif path == "gemm":  # the input is its own matrix of patches
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


def _gemm_path(problem: ConvProblem) -> str:
    """How `_gemm` computes: in planes, by one product with the input, or by products with gathered patches."""
    taps = problem.kernel_size[0] * problem.kernel_size[1]
    if problem.reduction_length == taps and problem.out_channels // problem.groups <= _FEW_FILTERS:
        return "planes"
    return "gemm" if problem.kernel_size == problem.stride == (1, 1) else "im2col gemm"


def _blocks(problem: ConvProblem, itemsize: int) -> Iterator[tuple[slice, slice]]:
    """The images and output rows of each product: several small images, or some rows of a large one."""
    taps = problem.in_channels * problem.kernel_size[0] * problem.kernel_size[1]
    row_bytes = taps * problem.out_width * itemsize
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


def _gemm_back(problem: ConvProblem, g: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The gradient of the padded input: one matrix product per block gives that of the patches, which are added."""
    import numpy as np

    groups, (n, c, *extent) = problem.groups, padded_shape(problem)
    filters = w.reshape(groups, problem.out_channels // groups, -1).swapaxes(1, 2)
    g = g.reshape(n, groups, -1, *g.shape[2:])
    padded = np.zeros((n, groups, c // groups, *extent), g.dtype)
    for images, rows in _blocks(problem, g.itemsize):
        block = g[images, :, :, rows].transpose(1, 2, 0, 3, 4)
        patches = np.matmul(filters, block.reshape(groups, block.shape[1], -1))
        patches = patches.reshape(groups, c // groups, *problem.kernel_size, *block.shape[2:])
        for a, b in np.ndindex(problem.kernel_size):
            under = padded[images, :, :, _under_tap(problem, 0, a, rows), _under_tap(problem, 1, b)]
            under += patches[:, :, a, b].transpose(2, 0, 1, 3, 4)
    return padded.reshape(n, c, *extent)


def _gemm_weights(problem: ConvProblem, x: np.ndarray, g: np.ndarray) -> np.ndarray:
    """The gradient of the weight: one matrix product per block, of the output's gradient with the patches."""
    import numpy as np

    n, groups = problem.batch, problem.groups
    x, g = x.reshape(n, groups, -1, *x.shape[2:]), g.reshape(n, groups, -1, *g.shape[2:])
    filters, (own, kh, kw) = g.shape[2], problem.weight_shape[1:]
    out = np.zeros((groups, filters, own * kh * kw), g.dtype)
    for images, rows in _blocks(problem, x.itemsize):
        columns = _patches(problem, x[images], rows).reshape(groups, out.shape[2], -1)
        of_outputs = g[images, :, :, rows].transpose(1, 2, 0, 3, 4).reshape(groups, filters, -1)
        out += np.matmul(of_outputs, columns.swapaxes(1, 2))
    return out.reshape(problem.weight_shape)


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
