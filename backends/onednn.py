"""conv2d of oneDNN itself, through its C library, in layouts that it chooses. PyTorch and TensorFlow build on it."""

from __future__ import annotations

import importlib.metadata
import sys
from typing import TYPE_CHECKING

from convbench.backend import Arithmetic, Backend, Ready, Supports, in_turn
from convbench.problem import ACTIVATIONS, DIRECTIONS, RESIDUALS, ConvProblem, Scales

from ._issue_forms import ONEDNN
from ._onednn import fused, gradients, quantized
from ._onednn import int8 as onednn_int8
from ._onednn import isa as onednn_isa
from ._onednn import library as dnnl
from ._onednn.execution import executed
from ._onednn.log import LOSES_NAN

if TYPE_CHECKING:
    import numpy as np

_FORWARD_TRAINING, _FORWARD_INFERENCE, _DIRECT = 64, 96, 1  # in dnnl_types.h


class _OneDnn(Backend):
    name = "onednn"
    install = "onednn"
    issue_form = ONEDNN
    summary = "oneDNN's primitive called directly, every layout chosen by the library"
    # Convolutions in float64 are "unimplemented" on CPUs, and no primitive pads. Negative padding is possible only at
    # the end of an axis, and only less than a stride: "left padding value (-1) must be non-negative", "right padding
    # (-1) and stride (1) must sum up to a positive value".
    supports = Supports(
        dtypes=set(dnnl.DTYPE),
        negative_padding=True,
        directions=set(DIRECTIONS),
        quantized=quantized.SUPPORT,
        activations=set(ACTIVATIONS),
        residuals=set(RESIDUALS),
    )
    # In bfloat16, on CPUs with AMX, pairs are multiplied, some of them zero weights with values beside the window.
    arithmetic = Arithmetic("direct", taints=("bfloat16",), loses_nan=LOSES_NAN, quantized=onednn_int8.ARITHMETIC)
    prepacks = ("input", "weight", "output")
    isa_switches = onednn_isa.switches()

    def unavailable(self) -> str | None:
        if sys.platform != "linux":
            return "needs libdnnl.so, which the wheel of onednn has on Linux only"
        try:
            importlib.metadata.distribution("onednn")  # a C library in a wheel, without a module
        except importlib.metadata.PackageNotFoundError:
            return f"onednn not installed: pip install {self.install}"
        other = dnnl.foreign_tbb()
        return other and f"cannot share a process with the older {other}, which is loaded already"

    def unsupported(self, problem: ConvProblem) -> str | None:
        reason = super().unsupported(problem)
        may_refuse = problem.dtype != "float32" or min(map(min, problem.padding)) < 0 or problem.direction != "forward"
        may_refuse |= problem.epilogue is not None
        if reason is None and may_refuse and self.unavailable() is None:
            try:
                for part in problem.parts[:3]:  # a step needs no primitive for the gradient of the bias
                    _describe(part)
            except dnnl.RefusedError as refusal:
                return f"oneDNN refuses {problem.dtype} with padding {problem.padding} on this CPU: {refusal}"
        return reason

    def limit_threads(self, n: int) -> None:
        dnnl.limit_tbb(n)
        dnnl.engine()  # started here and not in prepare, which is timed

    def isa_in_use(self) -> str | None:
        return dnnl.effective_isa()

    def prepare(self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None) -> Ready:
        return executed(problem, _describe(problem), _operands(problem, x, w, b))

    def prepare_quantized(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
    ) -> Ready:
        return quantized.prepared(problem, _describe(problem), _shapes(problem), x, w, b, scales)

    def prepare_fused(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, r: np.ndarray | None
    ) -> Ready:
        return fused.prepared(problem, _describe(problem), _operands(problem, x, w, b), r)

    def prepare_gradient(
        self, problem: ConvProblem, g: np.ndarray, x: np.ndarray | None, w: np.ndarray | None
    ) -> Ready:
        return gradients.prepared(problem, _describe(problem), _shapes(problem), g, x, w)

    def prepare_step(
        self, problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, g: np.ndarray
    ) -> Ready:
        """The parts in turn, of which the one for the weight computes the bias's gradient as well."""
        forward, of_input, of_weight, *_ = problem.parts
        both = gradients.prepared(
            of_weight, _describe(of_weight), _shapes(of_weight), g, x, None, with_bias=b is not None
        )
        return in_turn([self.prepare(forward, x, w, b), self.prepare_gradient(of_input, g, None, w), both])


def _describe(problem: ConvProblem) -> dnnl.Owned:
    """The convolution or its gradient, with layouts that oneDNN chooses."""
    if problem.quantization is not None:
        return quantized.described(problem, _shapes(problem))
    if problem.direction == "forward":
        return _described_forward(problem, _FORWARD_INFERENCE)
    return gradients.described(problem, _shapes(problem), _described_forward(problem, _FORWARD_TRAINING))


def _described_forward(problem: ConvProblem, kind: int) -> dnnl.Owned:
    layouts = {argument: dnnl.any_layout(shape, problem.dtype) for argument, shape in _shapes(problem).items()}
    operands = (layouts.get(argument) for argument in (dnnl.SRC, dnnl.WEIGHTS, dnnl.BIAS, dnnl.DST))
    sizes = dnnl.convolution_sizes(problem)
    create = "dnnl_convolution_forward_primitive_desc_create"
    return dnnl.Owned(
        "primitive_desc", create, dnnl.engine(), kind, _DIRECT, *operands, *sizes, fused.attributes(problem)
    )


def _shapes(problem: ConvProblem) -> dict[int, tuple[int, ...]]:
    """The shape of each argument. A weight with groups has an axis for them."""
    o, *filters = problem.weight_shape
    weights = (problem.groups, o // problem.groups, *filters) if problem.groups > 1 else (o, *filters)
    shapes = {dnnl.SRC: problem.input_shape, dnnl.WEIGHTS: weights, dnnl.DST: problem.output_shape}
    return shapes | ({dnnl.BIAS: (o,)} if problem.bias else {})


def _operands(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None
) -> dict[int, tuple[np.ndarray, tuple[int, ...]]]:
    shapes = _shapes(problem)
    arrays = {dnnl.SRC: x, dnnl.WEIGHTS: w} | ({} if b is None else {dnnl.BIAS: b})
    return {argument: (array, shapes[argument]) for argument, array in arrays.items()}


BACKENDS = (_OneDnn(),)
