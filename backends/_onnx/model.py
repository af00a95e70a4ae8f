"""A problem as an ONNX model of one Conv node, after a Pad node if that is needed. Several engines read it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from convbench.problem import ConvProblem

if TYPE_CHECKING:
    import numpy as np

# The operator set, and the file format of its time. By default onnx writes its newest, which slightly older engines
# refuse. These are the oldest possible, so that past releases read them: Pad wraps from 19 on, and Conv takes bfloat16
# from 22 on.
_OLDEST = (19, 9)
_OF_BFLOAT16 = (22, 10)
PAD_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
ELEMENT = {"float64": "DOUBLE", "float32": "FLOAT", "float16": "FLOAT16", "bfloat16": "BFLOAT16"}


def onnx_model(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None) -> bytes:
    """The serialised model from the input "x" to the output "y", with weight and bias as constants.

    Conv pads each side with zeros. ONNX allows negative padding and other modes only in Pad.
    """
    import numpy as np
    from onnx import ModelProto, numpy_helper

    constants = {"w": w} if b is None else {"w": w, "b": b}
    if needs_pad(problem):
        (top, bottom), (left, right) = problem.padding
        constants["sides"] = np.array([0, 0, top, left, 0, 0, bottom, right])
    model = ModelProto.FromString(_without_constants(problem, b is not None))
    model.graph.initializer.extend(
        numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in constants.items()
    )
    serialised: bytes = model.SerializeToString()
    return serialised


@lru_cache(maxsize=16)  # `convbench verify` prepares a problem with several weights
def _without_constants(problem: ConvProblem, has_bias: bool) -> bytes:
    from onnx import TensorProto, helper

    element = getattr(TensorProto, ELEMENT[problem.dtype])
    operands = ["x", "w", "b"] if has_bias else ["x", "w"]
    (top, bottom), (left, right) = problem.padding
    sides, nodes = [top, left, bottom, right], []
    if needs_pad(problem):
        nodes = [helper.make_node("Pad", ["x", "sides"], ["padded"], mode=PAD_MODE[problem.padding_mode])]
        operands[0], sides = "padded", [0, 0, 0, 0]
    convolution = helper.make_node(
        "Conv",
        operands,
        ["y"],
        kernel_shape=problem.kernel_size,
        strides=problem.stride,
        pads=sides,
        dilations=problem.dilation,
        group=problem.groups,
    )
    graph = helper.make_graph(
        [*nodes, convolution],
        problem.case_id,
        [helper.make_tensor_value_info("x", element, problem.input_shape)],
        [helper.make_tensor_value_info("y", element, problem.output_shape)],
    )
    opset, ir_version = opset_and_ir_version(problem)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir_version)
    serialised: bytes = model.SerializeToString()
    return serialised


def needs_pad(problem: ConvProblem) -> bool:
    sides = [side for axis in problem.padding for side in axis]
    return min(sides) < 0 or (problem.padding_mode != "zeros" and any(sides))


def opset_and_ir_version(problem: ConvProblem) -> tuple[int, int]:
    """The oldest operator set and file format that can express `problem`."""
    return _OF_BFLOAT16 if problem.dtype == "bfloat16" else _OLDEST
