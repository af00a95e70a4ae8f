"""Epilogues in PyTorch: separate calls, out of place or in place, and the attributes of oneDNN's packed convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convbench.problem import Activation, Epilogue

from .._fusion import in_order


def activation(epilogue: Epilogue, *, in_place: bool = False) -> Callable[[Any], Any] | None:
    """torch's function for the activation, which overwrites its argument where `in_place`; None without one."""
    import torch
    from torch.nn import functional

    slope, low, high = epilogue.slope or 0.0, epilogue.low, epilogue.high
    aten = torch.ops.aten
    functions: dict[Activation, tuple[Callable[[Any], Any], Callable[[Any], Any]]] = {
        "relu": (torch.relu, torch.relu_),
        "relu6": (functional.relu6, lambda y: functional.relu6(y, inplace=True)),
        "leaky_relu": (lambda y: functional.leaky_relu(y, slope), lambda y: functional.leaky_relu_(y, slope)),
        "clip": (lambda y: torch.clamp(y, low, high), lambda y: torch.clamp_(y, low, high)),
        "hard_swish": (functional.hardswish, lambda y: functional.hardswish(y, inplace=True)),
        "silu": (functional.silu, lambda y: functional.silu(y, inplace=True)),
        "sigmoid": (torch.sigmoid, torch.sigmoid_),
        "gelu": (functional.gelu, aten.gelu_),
        "gelu_tanh": (
            lambda y: functional.gelu(y, approximate="tanh"),
            lambda y: aten.gelu_(y, approximate="tanh"),
        ),
    }
    return None if epilogue.activation is None else functions[epilogue.activation][in_place]


def separately(epilogue: Epilogue, *, in_place: bool = False) -> Callable[[Any, Any], Any]:
    """A function from the convolution and the residual (None without one) to the result, by a call for each part. Where
    `in_place` it overwrites the convolution, and never the residual."""
    activate = activation(epilogue, in_place=in_place) or (lambda y: y)
    add = (lambda y, r: y.add_(r)) if in_place else (lambda y, r: y + r)
    return in_order(epilogue, activate, add)


def activation_code(epilogue: Epilogue, y: str, *, in_place: bool = False) -> str:
    """`activation` of the expression `y`, as code with torch's `functional`; `y` itself without one."""
    slope, low, high, end = epilogue.slope, epilogue.low, epilogue.high, "_" * in_place
    more = ", inplace=True" * in_place
    gelu = "torch.ops.aten.gelu_" if in_place else "functional.gelu"
    codes: dict[Activation | None, str] = {
        None: y,
        "relu": f"torch.relu{end}({y})",
        "relu6": f"functional.relu6({y}{more})",
        "leaky_relu": f"functional.leaky_relu{end}({y}, {slope})",
        "clip": f"torch.clamp{end}({y}, {low}, {high})",
        "hard_swish": f"functional.hardswish({y}{more})",
        "silu": f"functional.silu({y}{more})",
        "sigmoid": f"torch.sigmoid{end}({y})",
        "gelu": f"{gelu}({y})",
        "gelu_tanh": f'{gelu}({y}, approximate="tanh")',
    }
    return codes[epilogue.activation]


def epilogue_code(epilogue: Epilogue, y: str, *, in_place: bool = False) -> str:
    """`separately` of the expression `y` and the residual `r`, as code."""
    add = (lambda y: f"({y}).add_(r)") if in_place else (lambda y: f"({y} + r)")
    if epilogue.residual == "before":
        return activation_code(epilogue, add(y), in_place=in_place)
    y = activation_code(epilogue, y, in_place=in_place)
    return add(y) if epilogue.residual == "after" else y


_ATTRIBUTES: dict[Activation | None, tuple[str, str]] = {
    None: ("none", ""), "relu": ("relu", ""), "relu6": ("hardtanh", ""), "leaky_relu": ("leaky_relu", ""),
    "clip": ("hardtanh", ""), "hard_swish": ("hardswish", ""), "silu": ("swish", ""), "sigmoid": ("sigmoid", ""),
    "gelu": ("gelu", "none"), "gelu_tanh": ("gelu", "tanh"),
}  # fmt: skip
"""The attribute of `_convolution_pointwise` for an activation, and its algorithm."""


def packed(epilogue: Epilogue, w: Any, b: Any, *settings: Any) -> Callable[[Any, Any], Any]:
    """A function from the input and the residual to the result, by oneDNN's convolution with all that its attributes
    can say: an activation, or a residual before none or a ReLU ("Unary Fusion behavior undefined" before others). What
    else there is to do is a call of its own, in place."""
    import torch

    attribute, algorithm = _ATTRIBUTES[epilogue.activation]
    scalars = {"relu6": [0.0, 6.0], "clip": [epilogue.low, epilogue.high], "leaky_relu": [epilogue.slope]}
    numbers = scalars.get(epilogue.activation or "", [])
    if epilogue.residual == "before":
        binary = torch.ops.mkldnn._convolution_pointwise.binary
        unary: tuple[Any, ...] = ("relu", [], "") if epilogue.activation == "relu" else (None, [], None)
        rest = None if epilogue.activation == "relu" else activation(epilogue, in_place=True)
        fused = lambda x, r: binary(x, r, w, b, *settings, "add", 1.0, *unary)  # noqa: E731
        return fused if rest is None else lambda x, r: rest(fused(x, r))
    alone = torch.ops.mkldnn._convolution_pointwise.default
    if epilogue.residual == "after":
        return lambda x, r: alone(x, w, b, *settings, attribute, numbers, algorithm).add_(r)
    return lambda x, r: alone(x, w, b, *settings, attribute, numbers, algorithm)


def packed_code(epilogue: Epilogue, settings: str) -> str:
    """`packed` as code, of the input `{x}`, with `ops` for torch.ops.mkldnn."""
    attribute, algorithm = _ATTRIBUTES[epilogue.activation]
    scalars = {"relu6": [0.0, 6.0], "clip": [epilogue.low, epilogue.high], "leaky_relu": [epilogue.slope]}
    numbers = scalars.get(epilogue.activation or "", [])
    if epilogue.residual == "before":
        is_relu = epilogue.activation == "relu"
        unary = '"relu", [], ""' if is_relu else "None, [], None"
        fused = f'ops._convolution_pointwise.binary({{x}}, r, packed, b, {settings}, "add", 1.0, {unary})'
        return fused if is_relu else activation_code(epilogue, fused, in_place=True)
    alone = f'ops._convolution_pointwise({{x}}, packed, b, {settings}, "{attribute}", {numbers}, "{algorithm}")'
    return f"{alone}.add_(r)" if epilogue.residual == "after" else alone
