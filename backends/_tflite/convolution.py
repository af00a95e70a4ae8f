"""A problem as a TFLite model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem, Scales

from .epilogue import add_epilogue, fused_field
from .model import TfliteModel

if TYPE_CHECKING:
    import numpy as np

_SAME, _VALID, _REFLECT = 0, 1, 0  # in the enumerations Padding and MirrorPadMode


def tflite_model(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None, scales: Scales | None = None) -> bytes:
    """The model: a crop and padding if the convolution cannot do it, and the convolution. With `scales` its tensors are
    quantised: int8 padding holds the zero point then."""
    import numpy as np

    n, c, *extent = problem.input_shape
    model = TfliteModel((n, *extent, c), problem.dtype)
    sides = np.array(problem.padding)
    if sides.min() < 0:
        begin, extent = np.maximum(0, -sides[:, 0]), np.array(extent) + np.minimum(0, sides).sum(1)
        constants = [np.array([0, *begin, 0], np.int32), np.array([n, *extent, c], np.int32)]
        model.add("SLICE", (n, *extent, c), constants, "SliceOptions")
        sides = np.maximum(0, sides)
    padding = _padding(problem, extent, sides)
    if padding is None:
        extent, padding = np.array(extent) + sides.sum(1), _VALID
        constants = [np.array([(0, 0), *sides, (0, 0)], np.int32)]
        if problem.padding_mode == "zeros":
            model.add("PAD", (n, *extent, c), constants, "PadOptions")
        else:
            model.add("MIRROR_PAD", (n, *extent, c), constants, "MirrorPadOptions", mode=_REFLECT)
    words = ("strideH", "strideW", "dilationHFactor", "dilationWFactor")
    fields: dict[str, Any] = dict(zip(words, problem.stride + problem.dilation, strict=True))
    kind, options, order = "CONV_2D", "Conv2DOptions", (0, 2, 3, 1)
    if problem.kind == "depthwise":
        kind, options, order = "DEPTHWISE_CONV_2D", "DepthwiseConv2DOptions", (1, 2, 3, 0)
        fields["depthMultiplier"] = problem.out_channels // c
    o, out_height, out_width = problem.output_shape[1:]
    bias_dtype = w.dtype if scales is None else "int32"
    bias = np.zeros(o, bias_dtype) if b is None else b  # CONV_2D: "has_bias was not true"
    model.add(
        kind,
        (n, out_height, out_width, o),
        [w.transpose(order), bias],
        options,
        padding=padding,
        **(fields | fused_field(problem)),
    )
    if scales is not None:
        model.quantize_convolution(scales, channel_axis=order.index(0))
    if problem.epilogue is not None:
        add_epilogue(model, problem.epilogue, (n, out_height, out_width, o), np.dtype(w.dtype))
    return model.packed()


def _padding(problem: ConvProblem, extent: Sequence[int], sides: np.ndarray) -> int | None:
    """TensorFlow's word for `sides` around an input of `extent`; None without a word. SAME depends on the stride."""
    if not sides.any():
        return _VALID
    same = []
    for size, kernel, stride, dilation in zip(
        extent, problem.kernel_size, problem.stride, problem.dilation, strict=True
    ):
        total = max(0, (-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size)
        same.append([total // 2, total - total // 2])
    return _SAME if problem.padding_mode == "zeros" and sides.tolist() == same else None
