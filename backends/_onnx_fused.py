"""Epilogues as ONNX nodes after the convolution, as exporters write them: engines fuse what they know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem, Epilogue

from ._fusion import SUM, parts_of
from ._onnx_model import ELEMENT, onnx_model

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
    import onnx
    from onnx import TensorProto, helper

    epilogue = problem.epilogue
    assert epilogue is not None
    model = onnx.ModelProto.FromString(onnx_model(problem.replace(epilogue=None), w, b))
    graph, element = model.graph, getattr(TensorProto, ELEMENT[problem.dtype])
    graph.node[-1].name, graph.node[-1].output[0] = "conv", "convolved"
    if epilogue.residual:
        graph.input.append(helper.make_tensor_value_info("r", element, problem.output_shape))
    value = "convolved"
    for part in parts_of(epilogue):
        nodes = [("Add", [value, "r"], {})] if part == SUM else _activation(epilogue, value, graph, w.dtype)
        for number, (kind, inputs, attributes) in enumerate(nodes):
            value = f"after_{part}_{number}"
            name = part if number == len(nodes) - 1 else f"{part}_{number}"
            graph.node.append(helper.make_node(kind, inputs, [value], name=name, **attributes))
    graph.node[-1].output[0] = "y"
    if epilogue.activation in ("gelu", "gelu_tanh") and model.opset_import[0].version < _WITH_GELU[0]:
        model.opset_import[0].version, model.ir_version = _WITH_GELU
    serialised: bytes = model.SerializeToString()
    return serialised


def _activation(
    epilogue: Epilogue, value: str, graph: Any, dtype: np.dtype
) -> list[tuple[str, list[str], dict[str, Any]]]:
    """The nodes of the activation, each with its type, inputs and attributes; constants are added to the graph."""
    import numpy as np
    from onnx import numpy_helper

    if epilogue.activation in ("relu6", "clip"):
        low, high = (0.0, 6.0) if epilogue.activation == "relu6" else (epilogue.low or 0.0, epilogue.high or 0.0)
        for name, limit in (("low", low), ("high", high)):
            graph.initializer.append(numpy_helper.from_array(np.array(limit, dtype), name))
        return [("Clip", [value, "low", "high"], {})]
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
