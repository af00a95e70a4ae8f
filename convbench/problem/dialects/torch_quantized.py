"""A quantised problem as lines of torch, by fake quantization: written, and read from a syntax tree.

`torch.fake_quantize_per_tensor_affine(x, scale, zero_point, quant_min, quant_max)` rounds to integers q and gives
scale * (q - zero_point). So the lines compute what the formats mean, in real numbers, and padding holds 0 there. The
bounds name the format. Scales are examples, and so are zero points other than 0.
"""

from __future__ import annotations

import ast
from typing import Any

from convbench.errors import ProblemError
from convbench.problem.quantization import LIMITS, Quantization
from convbench.problem.vocabulary import Problem

_PER_TENSOR, _PER_CHANNEL = "fake_quantize_per_tensor_affine", "fake_quantize_per_channel_affine"
FUNCTION_NAMES = (_PER_TENSOR, _PER_CHANNEL, "full")
"""torch's functions that these lines call."""
_ARGUMENTS = {
    _PER_TENSOR: ("input", "scale", "zero_point", "quant_min", "quant_max"),
    _PER_CHANNEL: ("input", "scale", "zero_point", "axis", "quant_min", "quant_max"),
}
_SCALES = {"x": 0.03125, "w": 0.0078125, "y": 0.03125}
_ZEROS = {"u8": 128, "s8": 8}
_EXAMPLE = f"torch.{_PER_TENSOR}(torch.randn(1, 64, 56, 56), 0.03125, 128, 0, 255)"


def input_line(quantization: Quantization, made: str) -> str:
    """The line that quantises the input, which the expression `made` makes."""
    return f"x = {_call(made, 'x', quantization.input, quantization.input_zero_point)}"


def weight_line(problem: Problem, quantization: Quantization) -> str:
    """The line behind that of the layer `conv`."""
    weight, zero = "conv.weight.data", quantization.weight_zero_point
    if not quantization.per_channel:
        return f"{weight} = {_call(weight, 'w', 's8', zero)}"
    size, low_high = f"({problem.out_channels},)", ", ".join(map(str, LIMITS["s8"]))
    scale = f"torch.full({size}, {_SCALES['w']})"
    zeros = f"torch.full({size}, {_ZEROS['s8'] if zero else 0}, dtype=torch.int32)"
    return f"{weight} = torch.{_PER_CHANNEL}({weight}, {scale}, {zeros}, 0, {low_high})"


def result_line(problem: Problem, quantization: Quantization, convolved: str) -> str:
    """The line that computes the result from the expression `convolved`. Raises `ProblemError` for sums of 32 bits."""
    if quantization.result == "s32":
        raise ProblemError(
            f"torch's fake quantization has no result of 32 bits, as {problem} has; give its case id, or benchdnn's or "
            "ONNX's text."
        )
    if quantization.result == "f32":
        return f"y = {convolved}"
    return f"y = {_call(convolved, 'y', quantization.result, quantization.result_zero_point)}"


def _call(argument: str, operand: str, format_: str, shifted: bool) -> str:
    low, high = LIMITS[format_]
    return f"torch.{_PER_TENSOR}({argument}, {_SCALES[operand]}, {_ZEROS[format_] if shifted else 0}, {low}, {high})"


def read_quantization(tree: ast.Module, tensors: tuple[str, ...]) -> Quantization | None:
    """The formats of a snippet whose input one of the functions `tensors` makes; None if it calls no fake quantization.

    Raises `ProblemError` where input and weight are not both quantised once, or to bounds that are of no format.
    """
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and _name(node.func) in _ARGUMENTS]
    if not calls:
        return None
    inputs = _names_of_inputs(tree, tensors)
    by_operand: dict[str, list[ast.Call]] = {"x": [], "w": [], "y": []}
    for call in calls:
        by_operand[_operand(_arguments(call).get("input"), inputs, tensors)].append(call)
    x, w, y = by_operand.values()
    if (len(x), len(w)) != (1, 1) or len(y) > 1:
        raise ProblemError(
            f"the torch snippet quantises its input {len(x)} times, its weight {len(w)} times and its result {len(y)} "
            f"times; input and weight should be quantised once, and the result once or not at all, as in {_EXAMPLE}."
        )
    (input_, x_zero), (weight, w_zero) = _format(x[0]), _format(w[0])
    result, y_zero = _format(y[0]) if y else ("f32", False)
    if weight != "s8":
        raise ProblemError("the torch snippet quantises its weight to 0 ... 255; a weight has -128 ... 127.")
    words: dict[str, Any] = {"input": input_, "input_zero_point": x_zero, "weight_zero_point": w_zero}
    words |= {"per_channel": _name(w[0].func) == _PER_CHANNEL, "result": result, "result_zero_point": y_zero}
    return Quantization(**words)


def _names_of_inputs(tree: ast.Module, tensors: tuple[str, ...]) -> set[str]:
    """The variables that hold what one of the functions `tensors` makes, and no result of a layer."""
    assigned = (node for node in tree.body if isinstance(node, ast.Assign) and len(node.targets) == 1)
    made = (node for node in assigned if isinstance(node.value, ast.Call) and _name(node.value.func) in tensors)
    return {node.targets[0].id for node in made if isinstance(node.targets[0], ast.Name)}


def _operand(argument: ast.expr | None, inputs: set[str], tensors: tuple[str, ...]) -> str:
    if isinstance(argument, ast.Call) and _name(argument.func) in tensors:
        return "x"
    if isinstance(argument, ast.Name) and argument.id in inputs:
        return "x"
    nodes = list(ast.walk(argument)) if isinstance(argument, ast.Attribute) else []
    return "w" if any(isinstance(node, ast.Attribute) and node.attr == "weight" for node in nodes) else "y"


def _format(call: ast.Call) -> tuple[Any, bool]:
    """The format that the bounds name, and whether the zero point is other than 0."""
    arguments = _arguments(call)
    bounds = tuple(_number(arguments.get(name), name) for name in ("quant_min", "quant_max"))
    known = [name for name, limits in LIMITS.items() if limits == bounds]
    if not known:
        raise ProblemError(
            f"{_name(call.func)} has the bounds {bounds[0]} ... {bounds[1]}; they should be 0 ... 255 or -128 ... 127."
        )
    zero = arguments.get("zero_point")
    if isinstance(zero, ast.Call) and _name(zero.func) == "full" and len(zero.args) > 1:
        zero = zero.args[1]
    return known[0], _number(zero, "zero_point") != 0


def _arguments(call: ast.Call) -> dict[str | None, ast.expr]:
    names = _ARGUMENTS[_name(call.func)]
    return dict(zip(names, call.args, strict=False)) | {keyword.arg: keyword.value for keyword in call.keywords}


def _number(node: ast.expr | None, name: str) -> Any:
    try:
        value = ast.literal_eval(node) if node is not None else None
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        value = None
    if type(value) is not int:
        raise ProblemError(f"{name} in the torch snippet is no integer; the call should be like {_EXAMPLE}.")
    return value


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""
