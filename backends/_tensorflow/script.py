"""A problem as plain TensorFlow code, for bug reports."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.problem import ConvProblem

from .fused import epilogue_lines


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


def _function(problem: ConvProblem, images: str, convolved: str) -> list[str]:
    if problem.epilogue is None:
        return [f"plain = lambda {images}: {convolved}"]
    body = [f"y = {convolved}", *epilogue_lines(problem.epilogue), "return y"]
    return [f"def plain({images}):", *(f"    {line}" for line in body)]
