"""The gradients of a convolution by TensorFlow's operations, which its own autograd calls, in NHWC.

oneDNN computes them in TensorFlow where the padding has a word, VALID or SAME, and never where it is given in numbers.
So what is not SAME is padded before, as by a layer ZeroPadding2D. What oneDNN does not compute (float64, float16 on
most CPUs) is Eigen's, which has no dilation, and groups only as a depthwise convolution.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

from convbench.problem import ConvProblem

ORDER = {"g": (0, 2, 3, 1), "x": (0, 2, 3, 1), "w": (2, 3, 1, 0)}


def reason_against(problem: ConvProblem) -> str | None:
    """What TensorFlow refuses of a gradient, of all that its convolution computes. May import TensorFlow."""
    plain = problem.dilation == (1, 1) and problem.groups == 1
    if problem.direction in ("forward", "bias_gradient") or plain or onednn_computes(problem.dtype):
        return None
    of_it = f"by Eigen, which computes gradients in {problem.dtype} here,"
    if problem.dilation != (1, 1):
        return f"takes dilation 1 only {of_it} not {problem.dilation}"
    if problem.groups < problem.in_channels:
        return f"takes one group, or one for each channel, only {of_it} not {problem.groups}"
    if problem.stride[0] != problem.stride[1]:
        return f"takes equal strides only {of_it} of a depthwise convolution, not {problem.stride}"
    return None


@cache
def onednn_computes(dtype: str) -> bool:
    """Whether oneDNN computes gradients in `dtype` here: a gradient with dilation, which Eigen refuses, is tried."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # or the import prints a page
    import tensorflow as tf

    with tf.device("CPU:0"):
        image, weight = tf.ones((1, 3, 3, 1), dtype), tf.ones((3, 3, 1, 1), dtype)
        try:
            tf.raw_ops.Conv2DBackpropInput(
                input_sizes=[1, 3, 3, 1],
                filter=weight,
                out_backprop=image,
                strides=[1] * 4,
                padding="SAME",
                dilations=[1, 2, 2, 1],
            )
        except tf.errors.InvalidArgumentError:
            return False
    return True


def gradient(problem: ConvProblem, x: Any, w: Any, padded: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A function from the gradient of the output to that of the input, the weight or the bias. `x` and `w` are tensors,
    None where the direction does not take them. `padded` does all of the problem's padding and cropping."""
    import tensorflow as tf

    ops, depthwise = tf.raw_ops, problem.groups > 1 and not onednn_computes(problem.dtype)
    if problem.direction == "bias_gradient":
        return lambda g: ops.BiasAddGrad(out_backprop=g)
    same = is_same(problem)
    settings: dict[str, Any] = {"strides": [1, *problem.stride, 1], "padding": "SAME" if same else "VALID"}
    settings |= {} if depthwise else {"dilations": [1, *problem.dilation, 1]}
    n, c, height, width = problem.input_shape
    image = tf.zeros((n, height, width, c), problem.dtype) if x is None else x
    arriving = image if same else padded(image)
    shape = _weight_shape(problem, depthwise)
    if problem.direction == "weight_gradient":
        by_weight = ops.DepthwiseConv2dNativeBackpropFilter if depthwise else ops.Conv2DBackpropFilter
        arrive = (lambda: x) if arriving is x else (lambda: padded(x))
        return lambda g: by_weight(input=arrive(), filter_sizes=shape, out_backprop=g, **settings)
    by_input = ops.DepthwiseConv2dNativeBackpropInput if depthwise else ops.Conv2DBackpropInput
    sizes, weight = arriving.shape.as_list(), tf.reshape(w, shape)
    back = lambda g: by_input(input_sizes=sizes, filter=weight, out_backprop=g, **settings)  # noqa: E731
    if arriving is image:
        return back
    unpad = _padding_back(padded, image, arriving)
    return lambda g: unpad(back(g))


def is_same(problem: ConvProblem) -> bool:
    """Whether the padding is what TensorFlow calls SAME: as much as gives ceil(size / stride) outputs, an odd row or
    column at the end."""
    if problem.padding_mode != "zeros":
        return False
    spans = zip(problem.input_shape[2:], problem.kernel_size, problem.stride, problem.dilation, strict=True)
    totals = [max(0, (-(-size // s) - 1) * s + d * (k - 1) + 1 - size) for size, k, s, d in spans]
    return problem.padding == tuple((total // 2, total - total // 2) for total in totals)


def gradient_call(problem: ConvProblem) -> str:
    """The code of the operation that `gradient` calls, with `{x}` for its input, padded, or for the shape of that."""
    if problem.direction == "bias_gradient":
        return "tf.raw_ops.BiasAddGrad(out_backprop=g)"
    depthwise = problem.groups > 1 and not onednn_computes(problem.dtype)
    name = "DepthwiseConv2dNativeBackprop" if depthwise else "Conv2DBackprop"
    settings = f'strides={[1, *problem.stride, 1]}, padding="{"SAME" if is_same(problem) else "VALID"}"'
    settings += "" if depthwise else f", dilations={[1, *problem.dilation, 1]}"
    shape = _weight_shape(problem, depthwise)
    if problem.direction == "weight_gradient":
        return f"tf.raw_ops.{name}Filter(input={{x}}, filter_sizes={shape}, out_backprop=g, {settings})"
    return f"tf.raw_ops.{name}Input(input_sizes={{x}}, filter=tf.reshape(w, {shape}), out_backprop=g, {settings})"


def to_numpy_code(problem: ConvProblem) -> str:
    """The code of `to_numpy`, to be appended to a tensor's."""
    o, own, *kernel = problem.weight_shape
    if problem.direction == "weight_gradient":
        return f".numpy().reshape{(*kernel, own, o)}.transpose(3, 2, 0, 1)"
    return ".numpy()" if problem.direction == "bias_gradient" else ".numpy().transpose(0, 3, 1, 2)"


def _padding_back(padded: Callable[[Any], Any], image: Any, arriving: Any) -> Callable[[Any], Any]:
    """The gradient of the input from that of the padded one, as TensorFlow's autograd has it, compiled to a graph.
    The values of `image` and `arriving` matter to nothing."""
    import tensorflow as tf

    def back(g: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(image)
            y = padded(image)
        return tape.gradient(y, image, g)

    graph: Callable[[Any], Any] = tf.function(back).get_concrete_function(arriving)
    return graph


def _weight_shape(problem: ConvProblem, depthwise: bool) -> list[int]:
    """(kh, kw, C/groups, O), or for the depthwise operations (kh, kw, C, O/C), which is the same memory."""
    (o, own, *kernel), groups = problem.weight_shape, problem.groups
    return [*kernel, groups, o // groups] if depthwise else [*kernel, own, o]


def to_numpy(problem: ConvProblem) -> Callable[[Any], Any]:
    """From the layout of a gradient in TensorFlow to the problem's."""
    o, own, *kernel = problem.weight_shape
    if problem.direction == "weight_gradient":
        return lambda out: out.numpy().reshape(*kernel, own, o).transpose(3, 2, 0, 1)
    return lambda out: out.numpy().transpose(0, 3, 1, 2) if out.ndim == 4 else out.numpy()
