"""ONNX's text form of a model of one convolution, written only: `onnx.parser.parse_model` makes a model of it.

    <ir_version: 10, opset_import: ["" : 22]>
    convolution (float[1,64,56,56] x, float[64,64,3,3] w) => (float[1,64,56,56] y)
    {
      y = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x, w)
    }

A quantised one is QLinearConv; ConvInteger, whose sums have 32 bits; or Conv of dequantised integers, whose result is
float32. Scales are inputs of the model. So are zero points that may be other than 0; the others are constants, or left
out.
"""

from __future__ import annotations

from convbench.errors import ProblemError
from convbench.problem.quantization import NUMPY_NAMES, Quantization
from convbench.problem.vocabulary import Dtype, Problem

_TYPES: dict[Dtype, str] = {
    "float64": "double", "float32": "float", "float16": "float16", "bfloat16": "bfloat16",
}  # fmt: skip
_HEADER = '<ir_version: 10, opset_import: ["" : 22]>'


def to_onnx(problem: Problem) -> str:
    """The text of a model of `problem`. Raises `ProblemError` for what one convolution of ONNX cannot express."""
    if problem.direction != "forward":
        what = problem.direction.replace("_", " ")
        raise ProblemError(f"ONNX has no operator for the {what} of a convolution, and {problem} is one.")
    if problem.epilogue is not None:
        raise ProblemError(f"a convolution of ONNX has no epilogue; {problem} has {problem.epilogue}.")
    if problem.padding_mode != "zeros" or min(sum(problem.padding, ())) < 0:
        raise ProblemError(f"ONNX's convolution only adds zeros around the image, and {problem} pads in another way.")
    tensors, constants, nodes = _parts(problem)
    y = problem.quantization.dtypes["y"] if problem.quantization else problem.dtype
    inputs = ", ".join(f"{type_} {name}" for name, type_ in tensors.items())
    output = f"{_tensor(_type(y), problem.output_shape)} y"
    fixed = [f"<{', '.join(f'{type_} {name} = {{0}}' for name, type_ in constants.items())}>"] if constants else []
    lines = [_HEADER, f"convolution ({inputs}) => ({output})", *fixed, "{", *(f"  {node}" for node in nodes), "}"]
    return "\n".join(lines) + "\n"


_Parts = tuple[dict[str, str], dict[str, str], list[str]]
"""The types of the model's inputs and of its constants of 0, by name, and its nodes."""


def _parts(problem: Problem) -> _Parts:
    q = problem.quantization
    if q is None:
        tensors = _operands(problem, problem.dtype, problem.dtype, problem.dtype)
        return tensors, {}, [f"y = Conv {_attributes(problem)} ({', '.join(tensors)})"]
    if q.result == "s32":
        return _integer_sums(problem, q)
    return _requantised(problem, q) if q.is_requantized else _dequantised(problem, q)


def _requantised(problem: Problem, q: Quantization) -> _Parts:
    tensors = _operands(problem, NUMPY_NAMES[q.input], "int8", "int32")
    w_scale, w_zero = _of_weight(problem, q)
    zeros = {
        "x_zero": (q.input_zero_point, NUMPY_NAMES[q.input]),
        "w_zero": (q.weight_zero_point, w_zero if q.weight_zero_point else "int8"),
        "y_zero": (q.result_zero_point, NUMPY_NAMES[q.result]),
    }
    tensors |= {"x_scale": "float", "w_scale": w_scale, "y_scale": "float"}
    tensors |= {name: type_ for name, (shifted, type_) in zeros.items() if shifted}
    constants = {name: type_ for name, (shifted, type_) in zeros.items() if not shifted}
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", *(["b"] if problem.bias else [])]
    return tensors, constants, [f"y = QLinearConv {_attributes(problem)} ({', '.join(names)})"]


def _integer_sums(problem: Problem, q: Quantization) -> _Parts:
    tensors = _operands(problem, NUMPY_NAMES[q.input], "int8", "int32")
    tensors |= {"b": _tensor("int32", (problem.out_channels, 1, 1))} if problem.bias else {}
    names, constants = ["x", "w"], dict[str, str]()
    if q.input_zero_point or q.weight_zero_point:
        names.append("x_zero")
        (tensors if q.input_zero_point else constants)["x_zero"] = NUMPY_NAMES[q.input]
    if q.weight_zero_point:
        names.append("w_zero")
        tensors["w_zero"] = _of_weight(problem, q)[1]
    node = f"ConvInteger {_attributes(problem)} ({', '.join(names)})"
    return tensors, constants, [f"sums = {node}", "y = Add (sums, b)"] if problem.bias else [f"y = {node}"]


def _dequantised(problem: Problem, q: Quantization) -> _Parts:
    tensors = _operands(problem, NUMPY_NAMES[q.input], "int8", "float32")
    w_scale, w_zero = _of_weight(problem, q)
    tensors |= {"x_scale": "float", "w_scale": w_scale}
    tensors |= {"x_zero": NUMPY_NAMES[q.input]} if q.input_zero_point else {}
    tensors |= {"w_zero": w_zero} if q.weight_zero_point else {}
    of_x, of_w = ("x", "x_scale", "x_zero"), ("w", "w_scale", "w_zero")
    nodes = [
        f"image = DequantizeLinear ({', '.join(name for name in of_x if name in tensors)})",
        f"weight = DequantizeLinear <axis = 0> ({', '.join(name for name in of_w if name in tensors)})",
        f"y = Conv {_attributes(problem)} (image, weight{', b' if problem.bias else ''})",
    ]
    return tensors, {}, nodes


def _operands(problem: Problem, x: str, w: str, b: str) -> dict[str, str]:
    """The types of the operands, by name and in the order of Conv, for their dtypes."""
    tensors = {"x": _tensor(_type(x), problem.input_shape), "w": _tensor(_type(w), problem.weight_shape)}
    return tensors | ({"b": _tensor(_type(b), (problem.out_channels,))} if problem.bias else {})


def _of_weight(problem: Problem, q: Quantization) -> tuple[str, str]:
    """The types of the weight's scale and zero point."""
    shape = f"[{problem.out_channels}]" if q.per_channel else ""
    return f"float{shape}", f"int8{shape}"


def _type(dtype: str) -> str:
    """ONNX's word for a dtype; those of integers are NumPy's."""
    return next((word for known, word in _TYPES.items() if known == dtype), dtype)


def _tensor(type_: str, shape: tuple[int, ...]) -> str:
    return f"{type_}[{','.join(map(str, shape))}]"


def _attributes(problem: Problem) -> str:
    p = problem
    (top, bottom), (left, right) = p.padding
    values: dict[str, list[int] | int] = {"kernel_shape": [*p.kernel_size]}
    values |= {"strides": [*p.stride]} if p.stride != (1, 1) else {}
    values |= {"pads": [top, left, bottom, right]} if any((top, left, bottom, right)) else {}
    values |= {"dilations": [*p.dilation]} if p.dilation != (1, 1) else {}
    values |= {"group": p.groups} if p.groups != 1 else {}
    return f"<{', '.join(f'{name} = {value}' for name, value in values.items())}>"
