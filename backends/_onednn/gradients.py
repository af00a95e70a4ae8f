"""The gradients of a convolution by oneDNN's own primitives, in layouts that it chooses.

`backward_data` gives the gradient of the input and `backward_weights` that of the weight. Of a layer with a bias
`backward_weights` computes both in one primitive, as in benchdnn's BWD_WB. The gradient of a bias alone is oneDNN's
`reduction` of the output's gradient.
"""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

from convbench.backend import Ready

from . import library as dnnl

if TYPE_CHECKING:
    import numpy as np

    from convbench.problem import ConvProblem

# Arguments and a kind of algorithm in dnnl_types.h.
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS = 129, 145, 161, 169
_DIRECT, _SUM = 1, 0x2FFF4
_RESULT = {"input_gradient": DIFF_SRC, "weight_gradient": DIFF_WEIGHTS, "bias_gradient": dnnl.DST}


def described(problem: ConvProblem, shapes: dict[int, tuple[int, ...]], forward: dnnl.Owned) -> dnnl.Owned:
    """The gradient that `problem` asks for. `shapes` are those of the forward arguments, and `forward` describes that
    convolution."""
    if problem.direction == "bias_gradient":
        return _reduction(problem)
    layouts = {argument: dnnl.any_layout(shape, problem.dtype) for argument, shape in shapes.items()}
    x, w, b, y = (layouts.get(argument) for argument in (dnnl.SRC, dnnl.WEIGHTS, dnnl.BIAS, dnnl.DST))
    word, operands = ("data", (x, w, y)) if problem.direction == "input_gradient" else ("weights", (x, w, b, y))
    create = f"dnnl_convolution_backward_{word}_primitive_desc_create"
    sizes = dnnl.convolution_sizes(problem)
    return dnnl.Owned("primitive_desc", create, dnnl.engine(), _DIRECT, *operands, *sizes, forward, None)


def _reduction(problem: ConvProblem) -> dnnl.Owned:
    source = dnnl.row_major_layout(problem.output_shape, problem.dtype)
    target = dnnl.row_major_layout((1, problem.out_channels, 1, 1), problem.dtype)
    none = ctypes.c_float(0)
    create = "dnnl_reduction_primitive_desc_create"
    return dnnl.Owned("primitive_desc", create, dnnl.engine(), _SUM, source, target, none, none, None)


def prepared(
    problem: ConvProblem,
    description: dnnl.Owned,
    shapes: dict[int, tuple[int, ...]],
    g: np.ndarray,
    x: np.ndarray | None,
    w: np.ndarray | None,
    *,
    with_bias: bool = False,
) -> Ready:
    """A call of what `described` returned. `with_bias` gives the gradient of the bias, too, which the primitive for
    the weight's gradient of a layer with a bias computes."""
    import numpy as np

    upstream = dnnl.SRC if problem.direction == "bias_gradient" else DIFF_DST
    memory = {}
    for argument, operand in ((upstream, g), (dnnl.SRC, x), (dnnl.WEIGHTS, w)):
        if operand is not None:
            plain = np.ascontiguousarray(operand)
            memory[argument] = dnnl.chosen_memory(description, argument)
            shape = shapes[dnnl.WEIGHTS] if argument == dnnl.WEIGHTS else operand.shape
            dnnl.reorder(dnnl.row_major(shape, problem.dtype, plain.ctypes.data), memory[argument])
    result = _RESULT[problem.direction]
    written = [result, DIFF_BIAS] if result == DIFF_WEIGHTS and problem.bias else [result]
    memory |= {argument: dnnl.chosen_memory(description, argument) for argument in written}
    of_result = {DIFF_SRC: problem.input_shape, DIFF_WEIGHTS: shapes[dnnl.WEIGHTS]}

    def read(argument: int, shape: tuple[int, ...], as_given: tuple[int, ...]) -> np.ndarray:
        output = np.empty(shape, g.dtype)
        dnnl.reorder(memory[argument], dnnl.row_major(as_given, problem.dtype, output.ctypes.data))
        return output

    def to_numpy(_: Any) -> np.ndarray | tuple[np.ndarray, ...]:
        channels = (problem.out_channels,)
        answer = read(result, problem.result_shape, of_result.get(result, (1, *channels, 1, 1)))
        return (answer, read(DIFF_BIAS, channels, channels)) if with_bias else answer

    plain_upstream = np.array(g, order="C")
    source = dnnl.row_major(problem.output_shape, problem.dtype, plain_upstream.ctypes.data)
    load = dnnl.reordering(source, memory[upstream])

    def touch() -> np.ndarray:
        load()  # keeps no array alive by itself
        to_numpy(None)  # reads the result's memory
        return plain_upstream

    run = dnnl.execution(description, memory)
    return Ready(run, to_numpy=to_numpy, touch=touch, kernel=dnnl.implementation(description))
