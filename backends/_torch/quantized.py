"""Quantised convolutions of PyTorch: the operators of its eager mode, and those that a model of PT2E lowers to.

Both take uint8 alone and add the bias as float32, of the scale of the sums.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from convbench.backend import QuantizedArithmetic, QuantizedSupport, Ready
from convbench.problem import ConvProblem, Scales

from .._onednn.int8 import ARITHMETIC as ONEDNN
from .kernels import explained
from .script import TORCH_MODE
from .tensors import tensor, to_numpy, touch_of

if TYPE_CHECKING:
    import numpy as np

Engine = Literal["x86", "fbgemm", "onednn", "qnnpack"]


EAGER = QuantizedSupport({"u8:u8"})
EXPORTED = QuantizedSupport({"u8:u8", "u8:s8", "u8:f32"})
_PADS = (
    "zeros",
    "reflect",
)  # "Could not run 'aten::replication_pad2d.out' with arguments from the 'QuantizedCPU' backend"


# FBGEMM adds the zero point to rounded numbers, and oneDNN before it rounds. The engine x86 takes either. Where the CPU
# has no VNNI, and FBGEMM in its kernels for depthwise convolutions everywhere, pairs of products are added in 16 bits:
# hence the `reduce_range` in PyTorch's default settings for both, which leaves 7 bits to activations.
ARITHMETIC: dict[Engine, QuantizedArithmetic] = {
    "x86": QuantizedArithmetic("any", saturates=True),
    "fbgemm": QuantizedArithmetic("even", saturates=True),
    "onednn": ONEDNN,
    "qnnpack": QuantizedArithmetic("even"),
}


def reason_against_eager(problem: ConvProblem, engine: Engine) -> str | None:
    """Why eager mode does not compute `problem`, which it has the formats for; None when it does."""
    if problem.padding_mode not in _PADS:
        return f"pads quantised tensors with {' and '.join(_PADS)} only, not {problem.padding_mode}"
    return engine_missing(engine)


def engine_missing(engine: Engine) -> str | None:
    """Why torch cannot compute by `engine` here; None when it can."""
    import torch

    known = torch.backends.quantized.supported_engines
    return None if engine in known else f"this build of torch has no engine {engine}, only {', '.join(sorted(known))}"


def prepared_eager(
    problem: ConvProblem,
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None,
    scales: Scales,
    engine: Engine,
    *,
    channels_last: bool,
) -> Ready:
    """`torch.ops.quantized.conv2d` by `engine`, which is the layer of `torch.ao.nn.quantized.Conv2d`."""
    import torch

    input_ = _in_layout(tensor(x), channels_last)
    with warnings.catch_warnings():  # of the deprecation of quantised tensors, at the first one
        warnings.simplefilter("ignore", UserWarning)
        quantized = torch._make_per_tensor_quantized_tensor(input_, scales.x_scale, scales.x_zero)
        weight = _quantized_weight(w, scales)
    pad, sides = _padding(problem, 0)  # in real numbers
    arguments = [list(problem.stride), list(sides), list(problem.dilation), problem.groups]
    with _engine(engine):
        packed = torch.ops.quantized.conv2d_prepack(weight, _float_bias(b, scales), *arguments)
    convolve, scale, zero = torch.ops.quantized.conv2d.new, scales.y_scale, scales.y_zero
    run = lambda: convolve(pad(quantized), packed, scale, zero)  # noqa: E731
    return Ready(
        run,
        to_numpy=lambda y: to_numpy(y.int_repr()),
        touch=lambda: quantized.copy_(quantized),
        explain=explained(run, "cpu"),
    )


def prepared_exported(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales
) -> Ready:
    """`torch.ops.onednn.qconv2d_pointwise`, to which inductor lowers a model that PT2E quantised, with weights packed
    as its freezing does. The input is channels-last, as between layers."""
    import torch

    assert problem.quantization is not None
    operators, result = torch.ops.onednn, problem.quantization.dtypes["y"]
    input_ = _in_layout(tensor(x), channels_last=True)
    pad, sides = _padding(problem, scales.x_zero)
    arguments = [list(problem.stride), list(sides), list(problem.dilation), problem.groups]
    w_scale, w_zero = (torch.from_numpy(a.copy()) for a in (scales.w_scale, scales.w_zero.astype("int64")))
    x_scale, x_zero = scales.x_scale, scales.x_zero
    packed = operators.qconv_prepack(tensor(w), w_scale, x_scale, x_zero, *arguments, list(pad(input_).shape))
    bias, convolve = _float_bias(b, scales), operators.qconv2d_pointwise.default
    end = [scales.y_scale, scales.y_zero, getattr(torch, result), "none", [], ""]

    def on(x: Any) -> Any:
        return convolve(pad(x), x_scale, x_zero, packed, w_scale, w_zero, bias, *arguments, *end)

    run = lambda: on(input_)  # noqa: E731
    return Ready(run, to_numpy=to_numpy, touch=touch_of(input_), explain=explained(run, "cpu"))


def _in_layout(values: Any, channels_last: bool) -> Any:
    import torch

    return values.to(memory_format=torch.channels_last if channels_last else torch.contiguous_format)


def _quantized_weight(w: np.ndarray, scales: Scales) -> Any:
    import torch

    if scales.w_scale.size == 1:
        return torch._make_per_tensor_quantized_tensor(tensor(w), float(scales.w_scale[0]), int(scales.w_zero[0]))
    scale, zero = (torch.from_numpy(a.astype(t)) for a, t in ((scales.w_scale, "float64"), (scales.w_zero, "int64")))
    return torch._make_per_channel_quantized_tensor(tensor(w), scale, zero, 0)


def _float_bias(b: np.ndarray | None, scales: Scales) -> Any:
    """The bias as the number that it stands for, in float32."""
    import torch

    if b is None:
        return None
    return torch.from_numpy((b * (scales.x_scale * scales.w_scale.astype("float64"))).astype("float32"))


def _padding(problem: ConvProblem, zero: int) -> tuple[Callable[[Any], Any], tuple[int, int]]:
    """A function that pads the input, with `zero` for zeros, and the padding of the operator itself."""
    from torch.nn.functional import pad

    (top, bottom), (left, right) = problem.padding
    zeros = problem.padding_mode == "zeros"
    if zeros and top == bottom >= 0 and left == right >= 0:
        return lambda x: x, (top, left)
    value = zero if zeros else None
    return lambda x: pad(x, (left, right, top, bottom), TORCH_MODE[problem.padding_mode], value), (0, 0)


@contextmanager
def _engine(engine: Engine) -> Iterator[None]:
    """torch's engine within a block. It decides how weights are packed, and packed weights how they are computed."""
    import torch

    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = engine
    try:
        yield
    finally:
        torch.backends.quantized.engine = before
