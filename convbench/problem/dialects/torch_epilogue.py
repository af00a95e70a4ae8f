"""An epilogue as lines of torch, `y = torch.relu(y + r)`, written, and read from a syntax tree."""

from __future__ import annotations

import ast
from typing import Any

from convbench.errors import ProblemError
from convbench.problem.epilogue import Activation, Epilogue, Residual

_FUNCTIONS: dict[str, Activation] = {
    "relu": "relu", "relu6": "relu6", "leaky_relu": "leaky_relu", "clamp": "clip", "hardswish": "hard_swish",
    "silu": "silu", "sigmoid": "sigmoid", "gelu": "gelu",
}  # fmt: skip
FUNCTION_NAMES = tuple(_FUNCTIONS)
"""torch's names of the activations that are read."""
_NUMBERS: dict[str, tuple[str, ...]] = {"leaky_relu": ("slope",), "clip": ("low", "high")}
_WORDS = {"negative_slope": "slope", "min": "low", "max": "high", "approximate": "approximate"}


def epilogue_lines(epilogue: Epilogue) -> list[str]:
    """The lines after `y = conv(x)`."""
    value = "y + r" if epilogue.residual == "before" else "y"
    e, functional = epilogue, "torch.nn.functional"
    calls: dict[Activation | None, str] = {
        None: value,
        "relu": f"torch.relu({value})",
        "relu6": f"{functional}.relu6({value})",
        "leaky_relu": f"{functional}.leaky_relu({value}, {e.slope!r})",
        "clip": f"torch.clamp({value}, {e.low!r}, {e.high!r})",
        "hard_swish": f"{functional}.hardswish({value})",
        "silu": f"{functional}.silu({value})",
        "sigmoid": f"torch.sigmoid({value})",
        "gelu": f"{functional}.gelu({value})",
        "gelu_tanh": f'{functional}.gelu({value}, approximate="tanh")',
    }
    call = calls[e.activation] + (" + r" if e.residual == "after" else "")
    return ["r = torch.randn_like(y)"] * (e.residual is not None) + [f"y = {call}"]


def read_epilogue(tree: ast.Module) -> Epilogue | None:
    """The epilogue of a snippet: one call of an activation, and one sum of two names or calls. Raises `ProblemError`
    where there are more of them, or a number is no literal."""
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and _name(n.func) in _FUNCTIONS]
    sums = [n for n in ast.walk(tree) if isinstance(n, ast.BinOp) and _adds_arrays(n)]
    if len(calls) > 1 or len(sums) > 1:
        raise ProblemError(
            f"the torch snippet has {len(calls)} activations and {len(sums)} sums after the convolution; it should "
            "have one of each at the most, as in y = torch.relu(y + r)."
        )
    arguments = _arguments(calls[0]) if calls else {}
    if not calls and not sums:
        return None
    within = bool(calls) and bool(sums) and sums[0] in ast.walk(calls[0])
    residual: Residual | None = None if not sums else "before" if within or not calls else "after"
    return Epilogue(residual=residual, **arguments)


def _adds_arrays(node: ast.BinOp) -> bool:
    return isinstance(node.op, ast.Add) and all(isinstance(s, (ast.Name, ast.Call)) for s in (node.left, node.right))


def _name(function: ast.expr) -> str:
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _arguments(call: ast.Call) -> dict[str, Any]:
    """The arguments of `Epilogue` that a call of an activation names."""
    activation = _FUNCTIONS[_name(call.func)]
    names = _NUMBERS.get(activation, ())
    nodes = dict(zip(names, call.args[1:], strict=False))
    nodes |= {_WORDS[k.arg]: k.value for k in call.keywords if k.arg in _WORDS}
    try:
        values = {name: ast.literal_eval(node) for name, node in nodes.items()}
    except (ValueError, TypeError, RecursionError, MemoryError):
        raise ProblemError(f"{_name(call.func)} in the torch snippet has an argument that is no number.") from None
    if activation == "leaky_relu":
        values.setdefault("slope", 0.01)
    if values.pop("approximate", "none") == "tanh":
        return {"activation": "gelu_tanh"}
    return {"activation": activation, **values}
