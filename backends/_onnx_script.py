"""A problem as plain code that makes an ONNX model, for bug reports."""

from __future__ import annotations

from convbench.problem import ConvProblem

from ._onnx_model import ELEMENT, PAD_MODE, opset_and_ir_version


def onnx_lines(problem: ConvProblem) -> list[str]:
    """Lines from NumPy's `x`, `w` and `b` to `model`, of one Conv node, after a Pad node if that is needed."""
    (top, bottom), (left, right) = problem.padding
    opset, ir_version = opset_and_ir_version(problem)
    pads, nodes, constants = [top, left, bottom, right], [], ["w", "b"] if problem.bias else ["w"]
    source = "x"
    lines = ["from onnx import TensorProto, helper, numpy_helper"]
    if min(pads) < 0 or (problem.padding_mode != "zeros" and any(pads)):
        mode = PAD_MODE[problem.padding_mode]
        lines.append(f"sides = np.array({[0, 0, top, left, 0, 0, bottom, right]})")
        nodes.append(f'helper.make_node("Pad", ["x", "sides"], ["padded"], mode="{mode}")')
        source, pads, constants = "padded", [0, 0, 0, 0], [*constants, "sides"]
    operands = ", ".join(f'"{name}"' for name in (source, *constants) if name != "sides")
    geometry = f"kernel_shape={list(problem.kernel_size)}, pads={pads}, strides={list(problem.stride)}"
    rest = f"dilations={list(problem.dilation)}, group={problem.groups}"
    nodes.append(f'helper.make_node(\n    "Conv", [{operands}], ["y"], {geometry}, {rest}\n)')
    kept = ", ".join(f'numpy_helper.from_array(np.ascontiguousarray({name}), "{name}")' for name in constants)
    element = f"TensorProto.{ELEMENT[problem.dtype]}"
    return [
        *lines,
        f"nodes = [{', '.join(nodes)}]",
        f"constants = [{kept}]",
        f'x_info = helper.make_tensor_value_info("x", {element}, {problem.input_shape})',
        f'y_info = helper.make_tensor_value_info("y", {element}, {problem.output_shape})',
        'graph = helper.make_graph(nodes, "conv2d", [x_info], [y_info], constants)',
        f'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", {opset})], ir_version={ir_version})',
    ]
