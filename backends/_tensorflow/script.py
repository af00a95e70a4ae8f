"""A problem as plain TensorFlow code, for bug reports."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.problem import ConvProblem

from .fused import epilogue_lines
from .gradients import ORDER, gradient_call, is_same, to_numpy_code


def tensorflow_script(problem: ConvProblem, padded: str, sides: Sequence[Sequence[int]]) -> str:
    """Code from NumPy's `x`, `w` and `b`, and perhaps a residual `r`, to `out`. `padded` is the code of the input as
    conv2d takes it, which pads `sides` with zeros itself."""
    convolved = f"tf.nn.conv2d({padded}, w, {list(problem.stride)}, {sides}, dilations={list(problem.dilation)})"
    if problem.bias:
        convolved = f"tf.nn.bias_add({convolved}, b)"
    images = "x, r" if "r" in problem.operand_shapes else "x"
    is_graph = problem.bias or problem.epilogue is not None
    lines = [
        "import tensorflow as tf",
        "tf.config.threading.set_intra_op_parallelism_threads(1)",
        "x, w = tf.constant(x.transpose(0, 2, 3, 1)), tf.constant(w.transpose(2, 3, 1, 0))",
        *(["r = tf.constant(r.transpose(0, 2, 3, 1))"] if images != "x" else []),
        *_function(problem, images, convolved),
        f"convolve = {'tf.function(plain)' if is_graph else 'plain'}",
    ]
    if is_graph and problem.groups > 1:
        lines += [
            "try:",
            f"    convolve({images})",
            "except tf.errors.UnimplementedError:  # where oneDNN is off: nothing is joined to groups",
            "    convolve = plain",
        ]
    return "\n".join([*lines, f"out = convolve({images}).numpy().transpose(0, 3, 1, 2)"])


def tensorflow_gradient_script(problem: ConvProblem, padded: str, sides: Sequence[Sequence[int]]) -> str:
    """Code from NumPy's `g`, and `x` or `w`, to the gradient `out`, by the operations that TensorFlow's autograd calls.
    `padded` is the code of the input `x` that is padded or cropped, all but the zeros of `sides`."""
    call, result = gradient_call(problem), to_numpy_code(problem)
    lines = [
        "import tensorflow as tf",
        "tf.config.threading.set_intra_op_parallelism_threads(1)",
        f"g = tf.constant(g.transpose{ORDER['g']})",
    ]
    if problem.direction == "bias_gradient":
        return "\n".join([*lines, f"out = {call}{result}"])
    n, c, *size = problem.input_shape
    arriving = "x" if is_same(problem) else _with_zeros(padded, sides)
    if problem.direction == "weight_gradient":
        return "\n".join(
            [*lines, f"x = tf.constant(x.transpose{ORDER['x']})", f"out = {call.format(x=arriving)}{result}"]
        )
    lines += [
        f"w, x = tf.constant(w.transpose{ORDER['w']}), tf.zeros({(n, *size, c)}, g.dtype)",
        f"back = lambda: {call.format(x=f'{arriving}.shape')}",
    ]
    if arriving == "x":
        return "\n".join([*lines, f"out = back(){result}"])
    lines += [
        "def unpadded(g):",
        "    with tf.GradientTape() as tape:",
        "        tape.watch(x)",
        f"        y = {arriving}",
        "    return tape.gradient(y, x, g)",
    ]
    return "\n".join([*lines, f"out = unpadded(back()){result}"])


def _with_zeros(padded: str, sides: Sequence[Sequence[int]]) -> str:
    return f"tf.pad({padded}, {list(sides)})" if any(map(any, sides)) else padded


def _function(problem: ConvProblem, images: str, convolved: str) -> list[str]:
    if problem.epilogue is None:
        return [f"plain = lambda {images}: {convolved}"]
    body = [f"y = {convolved}", *epilogue_lines(problem.epilogue), "return y"]
    return [f"def plain({images}):", *(f"    {line}" for line in body)]
