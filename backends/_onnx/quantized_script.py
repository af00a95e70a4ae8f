"""A quantised problem as plain code that makes its ONNX model, for bug reports: the model's own nodes, printed."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem, Scales

if TYPE_CHECKING:
    import numpy as np

Form = Callable[[ConvProblem, "np.ndarray", "np.ndarray | None", Scales], bytes]
_TENSORS = {"uint8": "UINT8", "int8": "INT8", "int32": "INT32", "float32": "FLOAT"}


def quantized_onnx_lines(problem: ConvProblem, form: Form) -> list[str]:
    """Lines from NumPy's `x`, `w`, `b` and the scales to `model`, which is what `form` makes of them."""
    import onnx

    assert problem.quantization is not None
    dtypes = problem.quantization.dtypes
    made = onnx.load_from_string(_of_zeros(problem, form))
    constants = [tensor.name for tensor in made.graph.initializer]
    [opset] = made.opset_import
    return [
        "from onnx import TensorProto, helper, numpy_helper",
        "nodes = [",
        *(f"    {_node(node)}," for node in made.graph.node),
        "]",
        "constants = {",
        *(f'    "{name}": {_value(name, problem)},' for name in constants),
        "}",
        "tensors = [numpy_helper.from_array(np.array(a, order='C'), name) for name, a in constants.items()]",
        f'x_info = helper.make_tensor_value_info("x", TensorProto.{_TENSORS[dtypes["x"]]}, {problem.input_shape})',
        f'y_info = helper.make_tensor_value_info("y", TensorProto.{_TENSORS[dtypes["y"]]}, {problem.output_shape})',
        'graph = helper.make_graph(nodes, "conv2d", [x_info], [y_info], tensors)',
        f'opset = helper.make_opsetid("", {opset.version})',
        f"model = helper.make_model(graph, opset_imports=[opset], ir_version={made.ir_version})",
    ]


def _of_zeros(problem: ConvProblem, form: Form) -> bytes:
    """The model with zeros for its weights: the nodes and the names of the constants are the same."""
    import numpy as np

    assert problem.quantization is not None
    count = problem.out_channels if problem.quantization.per_channel else 1
    scales = Scales(1.0, 0, np.ones(count, np.float32), np.zeros(count, np.int8), 1.0, 0)
    b = np.zeros(problem.out_channels, np.int32) if problem.bias else None
    return form(problem, np.zeros(problem.weight_shape, np.int8), b, scales)


def _node(node: Any) -> str:
    from onnx import helper

    named = {each.name: helper.get_attribute_value(each) for each in node.attribute}
    words = [f"{name}={_plain(value)!r}" for name, value in named.items()]
    return f"helper.make_node({', '.join([repr(node.op_type), str(list(node.input)), str(list(node.output)), *words])})"


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value if isinstance(value, int | float) else list(value)


def _value(name: str, problem: ConvProblem) -> str:
    """The constant, as code."""
    assert problem.quantization is not None
    one = "" if problem.quantization.per_channel else "[0]"
    (top, bottom), (left, right) = problem.padding
    by_form = "b.reshape(-1, 1, 1)" if problem.quantization.result in ("s32", "f32") else "b"
    return {
        "x_scale": "np.float32(x_scale)",
        "x_zero": "np.array(x_zero, x.dtype)",
        "y_scale": "np.float32(y_scale)",
        "y_zero": f"np.array(y_zero, np.{problem.quantization.dtypes['y']})",
        "w_scale": f"w_scale{one}",
        "w_zero": f"w_zero{one}",
        "b": by_form,
        "b_scale": "np.broadcast_to(np.float32(x_scale) * w_scale, b.shape)",
        "b_zero": "np.zeros(b.shape, np.int32)",
        "scale": "(np.float32(x_scale) * w_scale).reshape(-1, 1, 1)",
        "sides": f"np.array({[0, 0, top, left, 0, 0, bottom, right]})",
    }.get(name, name)
