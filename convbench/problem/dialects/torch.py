"""A torch snippet that runs on its own, read and written: an input made by `torch.randn`, and a `torch.nn.Conv2d`.

The reader parses a snippet into a syntax tree and reads only literals. It runs nothing. It also reads the text that
torch prints for a layer, `Conv2d(64, 64, kernel_size=(3, 3), ...)`, if the snippet has the input's shape as well.
"""

from __future__ import annotations

import ast
import warnings
from typing import Any

from convbench.errors import ProblemError, did_you_mean
from convbench.problem.dialects import torch_epilogue, torch_quantized
from convbench.problem.dialects.torch_epilogue import epilogue_lines, read_epilogue
from convbench.problem.vocabulary import DTYPES, Direction, Dtype, Problem

_CONV2D = (
    "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation", "groups", "bias", "padding_mode",
    "device", "dtype",
)  # fmt: skip
_PAD = ("input", "pad", "mode", "value")
_TENSORS = ("randn", "rand", "zeros", "ones", "empty")
_TENSOR_WORDS = ("size", "dtype", "device", "requires_grad")
_GRADIENTS = {"input_gradient": "x.grad", "weight_gradient": "conv.weight.grad", "bias_gradient": "conv.bias.grad"}
_HARMLESS_METHODS = ("backward", "randn_like", "ones_like", "manual_seed", "sum")
_OF_OTHER_MODULES = (*torch_epilogue.FUNCTION_NAMES, *torch_quantized.FUNCTION_NAMES)
_OF_A_STEP = ("grad", "parameters")
_DTYPES: dict[str, Dtype] = {"float": "float32", "double": "float64", "half": "float16"}
_DTYPES |= {dtype: dtype for dtype in DTYPES}


def looks_like_torch(text: str) -> bool:
    """Whether `text` mentions torch's layer."""
    return "Conv2d" in text


def parse_torch(text: str) -> dict[str, Any]:
    """The arguments that a snippet names, with one `Conv2d(...)` and one input such as `torch.randn(1, 64, 56, 56)`.

    Raises `ProblemError` for any other snippet, and when something that matters to the problem is not a literal.
    """
    tree = _syntax_tree(text)
    calls = _calls(tree)
    shape, input_dtype = _input(calls)
    layer = _arguments(_only(calls, ("Conv2d",), "torch.nn.Conv2d(64, 64, 3)"), _CONV2D)
    layer.pop("device", None)
    layer.setdefault("bias", True)
    for needed in _CONV2D[:3]:
        if needed not in layer:
            raise ProblemError(f"Conv2d lacks {needed}; it should be like Conv2d(64, 64, 3, padding=1, bias=False).")
    dtype = layer.pop("dtype", "float32")
    if dtype != input_dtype:
        raise ProblemError(f"the input is {input_dtype} and the Conv2d {dtype}; give both the same dtype.")
    if shape[1] != layer["in_channels"]:
        raise ProblemError(f"the input {shape} has {shape[1]} channels, and the Conv2d takes {layer['in_channels']}.")
    if any(_name(call) == "pad" for call in calls):
        _move_padding(calls, layer)
    n, _, h, w = shape
    arguments = dict(**layer, batch=n, height=h, width=w, dtype=dtype, direction=_direction(tree))
    further = {"epilogue": read_epilogue(tree), "quantization": torch_quantized.read_quantization(tree, _TENSORS)}
    return arguments | {name: value for name, value in further.items() if value is not None}


def to_torch(problem: Problem) -> str:
    """Lines of Python that compute `problem` on random data with torch alone."""
    p = problem
    (top, bottom), (left, right) = p.padding
    in_layer = top == bottom and left == right and min(top, left) >= 0
    q = p.quantization
    dtype = "" if q or p.dtype == "float32" else f", dtype=torch.{p.dtype}"
    gradient = ", requires_grad=True" if p.direction in ("input_gradient", "step") else ""
    words = [f"{p.in_channels}, {p.out_channels}, kernel_size={_pair(p.kernel_size)}"]
    words += [f"stride={_pair(p.stride)}"] if p.stride != (1, 1) else []
    words += [f"padding={_pair((top, left))}"] if in_layer and (top or left) else []
    words += [f"dilation={_pair(p.dilation)}"] if p.dilation != (1, 1) else []
    words += [f"groups={p.groups}"] if p.groups != 1 else []
    words += [] if p.bias else ["bias=False"]
    words += [f'padding_mode="{p.padding_mode}"'] if in_layer and p.padding_mode != "zeros" else []
    mode = "" if p.padding_mode == "zeros" else f', mode="{p.padding_mode}"'
    padded = "x" if in_layer else f"torch.nn.functional.pad(x, ({left}, {right}, {top}, {bottom}){mode})"
    made = f"torch.randn({', '.join(map(str, p.input_shape))}{dtype}{gradient})"
    lines = [
        "import torch",
        torch_quantized.input_line(q, made) if q else f"x = {made}",
        f"conv = torch.nn.Conv2d({', '.join(words)}{dtype})",
        *([torch_quantized.weight_line(p, q)] if q else []),
        torch_quantized.result_line(p, q, f"conv({padded})") if q else f"y = conv({padded})",
    ]
    lines += epilogue_lines(p.epilogue) if p.epilogue else []
    if p.direction == "step":
        lines.append("gradients = torch.autograd.grad(y, (x, *conv.parameters()), torch.randn_like(y))")
    elif p.direction != "forward":
        lines += ["y.backward(torch.randn_like(y))", f"gradient = {_GRADIENTS[p.direction]}"]
    return "\n".join(lines) + "\n"


def _pair(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else f"({pair[0]}, {pair[1]})"


def _syntax_tree(text: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the style of the snippet
            return ast.parse(text.strip())
    except SyntaxError as error:
        raise ProblemError(f"the torch snippet is not Python: {error.msg} (line {error.lineno}).") from None
    except (ValueError, RecursionError, MemoryError):
        raise ProblemError("the torch snippet is not Python that can be read.") from None


def _calls(tree: ast.Module) -> list[ast.Call]:
    """Every call. Raises `ProblemError` for a call whose effect on the problem is unknown."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    for call in calls:
        name = _name(call)
        known = (*_TENSORS, *_HARMLESS_METHODS, *_OF_OTHER_MODULES, *_OF_A_STEP, "Conv2d", "pad")
        if isinstance(call.func, ast.Attribute) and name not in known:
            raise ProblemError(
                f"the torch snippet calls {name}(), which is not understood; it should make one input with "
                "torch.randn(...) and one torch.nn.Conv2d(...), each with its dtype=, and call it."
            )
    return calls


def _name(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _only(calls: list[ast.Call], names: tuple[str, ...], example: str) -> ast.Call:
    matches = [call for call in calls if _name(call) in names]
    if len(matches) != 1:
        raise ProblemError(f"the torch snippet should have one {example}, and has {len(matches)}.")
    return matches[0]


def _input(calls: list[ast.Call]) -> tuple[tuple[int, int, int, int], Dtype]:
    call = _only(calls, _TENSORS, "input that says its size, such as x = torch.randn(1, 64, 56, 56),")
    words = _arguments(ast.Call(func=call.func, args=[], keywords=call.keywords), _TENSOR_WORDS)
    sizes: Any = [_literal(node, "size") for node in call.args] or words.get("size")
    if isinstance(sizes, list) and len(sizes) == 1:
        sizes = sizes[0]
    if not isinstance(sizes, (list, tuple)) or not all(type(size) is int for size in sizes):
        raise ProblemError(f"the input's size {sizes!r} should be four integers (batch, channels, height, width).")
    if len(sizes) == 3:  # the form without a batch
        sizes = (1, *sizes)
    if len(sizes) != 4:
        raise ProblemError(f"the input's size {tuple(sizes)} should be (batch, channels, height, width).")
    n, c, h, w = sizes
    return (n, c, h, w), words.get("dtype", "float32")


def _arguments(call: ast.Call, names: tuple[str, ...]) -> dict[str, Any]:
    """The literal arguments of `call` by name."""
    if len(call.args) > len(names):
        raise ProblemError(f"{_name(call)} has {len(call.args)} arguments; it takes at most {len(names)}.")
    nodes = list(zip(names, call.args, strict=False))
    for keyword in call.keywords:
        if keyword.arg not in names:
            shown = keyword.arg or "**"
            raise ProblemError(f"{_name(call)} has no argument {shown!r}.{did_you_mean(shown, names)}")
        nodes.append((keyword.arg, keyword.value))
    return {name: _literal(node, name) for name, node in nodes if name != "input"}


def _literal(node: ast.expr, name: str) -> Any:
    if name == "dtype":
        word = node.attr if isinstance(node, ast.Attribute) else ast.unparse(node)
        if word not in _DTYPES:
            raise ProblemError(
                f"dtype {word} should be one of torch.{', torch.'.join(dict.fromkeys(_DTYPES.values()))}."
            )
        return _DTYPES[word]
    if name in ("padding", "padding_mode") and isinstance(node, ast.Name):
        return node.id  # torch prints padding=same and padding_mode=reflect without quotes
    if name == "device":
        return None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ProblemError(f"{name} in the torch snippet is not a plain number, pair or word.") from None


def _move_padding(calls: list[ast.Call], layer: dict[str, Any]) -> None:
    """Move the padding of `F.pad` into the layer's arguments, if the layer itself does not pad."""
    pad = _arguments(_only(calls, ("pad",), "torch.nn.functional.pad"), _PAD)
    if layer.get("padding", 0) not in (0, (0, 0), [0, 0], "valid"):
        raise ProblemError("the torch snippet pads twice, with pad() and in Conv2d; one of them should do it all.")
    if pad.get("value") not in (None, 0):
        raise ProblemError(f"pad() fills with {pad['value']!r}; convbench pads with zeros or from the image.")
    sides = pad.get("pad")
    if not isinstance(sides, (tuple, list)) or len(sides) not in (2, 4):
        raise ProblemError(f"pad() has sides {sides!r}; they should be (left, right, top, bottom).")
    left, right, top, bottom = (*sides, 0, 0)[:4]
    mode = pad.get("mode", "constant")
    layer["padding"] = ((top, bottom), (left, right))
    layer["padding_mode"] = "zeros" if mode == "constant" else mode


def _direction(tree: ast.Module) -> Direction:
    if any(_name(call) in _OF_A_STEP for call in _calls(tree)):
        return _step(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr == "grad":
            parameter = node.value.attr if isinstance(node.value, ast.Attribute) else ""
            directions: dict[str, Direction] = {"weight": "weight_gradient", "bias": "bias_gradient"}
            return directions.get(parameter, "input_gradient")
    return "forward"


def _step(tree: ast.Module) -> Direction:
    """A training step, by the one call that asks for all gradients at once."""
    for call in _calls(tree):
        wanted = call.args[1] if _name(call) == "grad" and len(call.args) > 1 else None
        if isinstance(wanted, ast.Tuple) and [type(each) for each in wanted.elts] == [ast.Name, ast.Starred]:
            return "step"
    raise ProblemError(
        "the torch snippet asks for some gradients; a training step asks for all of them, as "
        "torch.autograd.grad(y, (x, *conv.parameters()), torch.randn_like(y))."
    )
