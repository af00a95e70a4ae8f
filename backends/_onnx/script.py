"""A problem as plain code that makes an ONNX model, for bug reports."""

from __future__ import annotations

from convbench.problem import ConvProblem

from .fused import EpilogueNode, clip_limits, epilogue_nodes, with_activation
from .model import ELEMENT, PAD_MODE, opset_and_ir_version


def onnx_lines(problem: ConvProblem) -> list[str]:
    """Lines from NumPy's `x`, `w` and `b` to `model`, of one Conv node, after a Pad node if that is needed, and before
    those of an epilogue. With a sum the model has an input "r"."""
    epilogue = problem.epilogue
    (top, bottom), (left, right) = problem.padding
    opset, ir_version = opset_and_ir_version(problem)
    if epilogue is not None:
        opset, ir_version = with_activation(epilogue, (opset, ir_version))
    pads, nodes, constants = [top, left, bottom, right], [], ["w", "b"] if problem.bias else ["w"]
    source = "x"
    lines = ["from onnx import TensorProto, helper, numpy_helper"]
    if min(pads) < 0 or (problem.padding_mode != "zeros" and any(pads)):
        mode = PAD_MODE[problem.padding_mode]
        lines.append(f"sides = np.array({[0, 0, top, left, 0, 0, bottom, right]})")
        nodes.append(f'helper.make_node("Pad", ["x", "sides"], ["padded"], mode="{mode}")')
        source, pads, constants = "padded", [0, 0, 0, 0], [*constants, "sides"]
    convolved = "y" if epilogue is None else "convolved"
    operands = ", ".join(f'"{name}"' for name in (source, *constants) if name != "sides")
    geometry = f"kernel_shape={list(problem.kernel_size)}, pads={pads}, strides={list(problem.stride)}"
    rest = f"dilations={list(problem.dilation)}, group={problem.groups}"
    nodes.append(f'helper.make_node(\n    "Conv", [{operands}], ["{convolved}"], {geometry}, {rest}\n)')
    if epilogue is not None:
        nodes += [_node(node) for node in epilogue_nodes(epilogue, convolved, "y")]
        for name, limit in clip_limits(epilogue).items():
            lines.append(f"{name} = np.array({limit}, x.dtype)")
            constants = [*constants, name]
    element = f"TensorProto.{ELEMENT[problem.dtype]}"
    arrays = {name: name if name in ("low", "high") else f"np.ascontiguousarray({name})" for name in constants}
    kept = ", ".join(f'numpy_helper.from_array({array}, "{name}")' for name, array in arrays.items())
    infos = "x_info, r_info" if "r" in problem.operand_shapes else "x_info"
    added = [f'r_info = helper.make_tensor_value_info("r", {element}, {problem.output_shape})'] * (", " in infos)
    return [
        *lines,
        f"nodes = [{', '.join(nodes)}]",
        f"constants = [{kept}]",
        f'x_info = helper.make_tensor_value_info("x", {element}, {problem.input_shape})',
        f'y_info = helper.make_tensor_value_info("y", {element}, {problem.output_shape})',
        *added,
        f'graph = helper.make_graph(nodes, "conv2d", [{infos}], [y_info], constants)',
        f'model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", {opset})], ir_version={ir_version})',
    ]


def _node(node: EpilogueNode) -> str:
    attributes = "".join(f", {name}={value!r}" for name, value in node.attributes.items())
    inputs = ", ".join(f'"{name}"' for name in node.inputs)
    return f'helper.make_node("{node.kind}", [{inputs}], ["{node.output}"]{attributes})'
