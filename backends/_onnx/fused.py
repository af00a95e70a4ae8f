"""Epilogues as ONNX nodes after the convolution, as exporters write them: engines fuse what they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from convbench.problem import ConvProblem, Epilogue

from .._fusion import SUM, parts_of
from .model import ELEMENT, onnx_model

if TYPE_CHECKING:
    import numpy as np

_WITH_GELU = (20, 9)  # the operator set that Gelu came with
OPERATIONS = {
    SUM: ("Add", "Sum"),
    "relu": ("Relu",),
    "relu6": ("Clip",),
    "clip": ("Clip",),
    "leaky_relu": ("LeakyRelu",),
    "hard_swish": ("HardSwish", "HardSigmoid"),
    "silu": ("Sigmoid", "Mul", "QuickGelu"),
    "sigmoid": ("Sigmoid",),
    "gelu": ("Gelu", "BiasGelu", "Erf"),
    "gelu_tanh": ("Gelu", "FastGelu", "Tanh"),
}
"""The types of nodes that compute a part of an epilogue where the convolution does not."""


def onnx_model_with_epilogue(problem: ConvProblem, w: np.ndarray, b: np.ndarray | None) -> bytes:
    """The serialised model from the input "x", and the residual "r" where there is a sum, to the output "y". Nodes of
    the epilogue have the names of its parts (`_fusion.parts_of`), and the convolution is called "conv"."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    epilogue = problem.epilogue
    assert epilogue is not None
    model = onnx.ModelProto.FromString(onnx_model(problem.replace(epilogue=None), w, b))
    graph, element = model.graph, getattr(TensorProto, ELEMENT[problem.dtype])
    graph.node[-1].name, graph.node[-1].output[0] = "conv", "convolved"
    if epilogue.residual:
        graph.input.append(helper.make_tensor_value_info("r", element, problem.output_shape))
    for name, limit in clip_limits(epilogue).items():
        graph.initializer.append(numpy_helper.from_array(np.array(limit, w.dtype), name))
    for node in epilogue_nodes(epilogue, "convolved", "y"):
        graph.node.append(helper.make_node(node.kind, node.inputs, [node.output], name=node.name, **node.attributes))
    versions = model.opset_import[0].version, model.ir_version
    model.opset_import[0].version, model.ir_version = with_activation(epilogue, versions)
    serialised: bytes = model.SerializeToString()
    return serialised


class EpilogueNode(NamedTuple):
    """A node of one output. The last one of each part has its name."""

    kind: str
    inputs: list[str]
    output: str
    name: str
    attributes: dict[str, Any]


def epilogue_nodes(epilogue: Epilogue, convolved: str, result: str) -> list[EpilogueNode]:
    """The nodes from the value `convolved`, and the residual "r", to `result`. A clip reads the constants of
    `clip_limits`."""
    value, made = convolved, []
    for part in parts_of(epilogue):
        nodes = [("Add", [value, "r"], {})] if part == SUM else _activation(epilogue, value)
        for number, (kind, inputs, attributes) in enumerate(nodes):
            value = f"after_{part}_{number}"
            name = part if number == len(nodes) - 1 else f"{part}_{number}"
            made.append(EpilogueNode(kind, inputs, value, name, attributes))
    made[-1] = made[-1]._replace(output=result)
    return made


def clip_limits(epilogue: Epilogue) -> dict[str, float]:
    """The constants that a clip reads; none without one."""
    if epilogue.activation == "relu6":
        return {"low": 0.0, "high": 6.0}
    return {"low": epilogue.low or 0.0, "high": epilogue.high or 0.0} if epilogue.activation == "clip" else {}


def with_activation(epilogue: Epilogue, versions: tuple[int, int]) -> tuple[int, int]:
    """The versions of the operator set and of the format: `versions`, or newer ones that have the activation."""
    newer = epilogue.activation in ("gelu", "gelu_tanh") and versions[0] < _WITH_GELU[0]
    return _WITH_GELU if newer else versions


def _activation(epilogue: Epilogue, value: str) -> list[tuple[str, list[str], dict[str, Any]]]:
    """The nodes of the activation, each with its type, inputs and attributes."""
    if limits := clip_limits(epilogue):
        return [("Clip", [value, *limits], {})]
    plain: dict[str, tuple[str, dict[str, Any]]] = {
        "relu": ("Relu", {}),
        "leaky_relu": ("LeakyRelu", {"alpha": epilogue.slope}),
        "hard_swish": ("HardSwish", {}),
        "sigmoid": ("Sigmoid", {}),
        "gelu": ("Gelu", {"approximate": "none"}),
        "gelu_tanh": ("Gelu", {"approximate": "tanh"}),
    }
    if epilogue.activation == "silu":
        return [("Sigmoid", [value], {}), ("Mul", [value, "after_silu_0"], {})]
    kind, attributes = plain[epilogue.activation or ""]
    return [(kind, [value], attributes)]
