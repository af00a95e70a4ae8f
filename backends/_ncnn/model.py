"""A problem as the text of an ncnn net."""

from __future__ import annotations

from typing import Any

from convbench.problem import Activation, ConvProblem, Epilogue

from .._fusion import SUM, parts_of

LOSES_NAN = ("relu", "relu6", "clip", "sigmoid")
"""The activations that ncnn computes by minima and maxima of vectors, which make numbers of NaN."""
PADDING_TYPE = {"zeros": 0, "replicate": 1, "reflect": 2}  # ncnn has no circular padding


def layer_type(problem: ConvProblem) -> str:
    """The type of the ncnn layer that computes `problem`."""
    return "Convolution" if problem.groups == 1 else "ConvolutionDepthWise"


_LAYERS: dict[Activation, tuple[str, dict[int, Any]]] = {
    "relu": ("ReLU", {}),
    "relu6": ("Clip", {0: "0.0", 1: "6.0"}),
    "hard_swish": ("HardSwish", {0: repr(1 / 6), 1: "0.5"}),
    "silu": ("Swish", {}),
    "sigmoid": ("Sigmoid", {}),
    "gelu": ("GELU", {0: 0}),
    "gelu_tanh": ("GELU", {0: 1}),
}
_FUSED: dict[Activation, tuple[int, tuple[str, ...]]] = {
    "relu": (1, ()), "relu6": (3, ("0.0", "6.0")), "sigmoid": (4, ()), "hard_swish": (6, (repr(1 / 6), "0.5")),
}  # fmt: skip
"""activation_type of a convolution, and its numbers."""


def fused_in_layer(epilogue: Epilogue) -> tuple[str, ...]:
    """The parts of the epilogue that ncnn's convolution takes over: an activation that comes first, if it has that."""
    if epilogue.activation in (*_FUSED, "leaky_relu", "clip") and epilogue.residual != "before":
        return (epilogue.activation,)
    return ()


def epilogue_layers(epilogue: Epilogue, numbers: dict[int, Any]) -> list[tuple[str, dict[int, Any]]]:
    """The layers after the convolution; what that takes over is written into its `numbers`."""
    activation, fused = epilogue.activation, fused_in_layer(epilogue)
    own = [_decimal(number) for number in (epilogue.slope, epilogue.low, epilogue.high) if number is not None]
    if fused and activation is not None:
        of_slope = {"leaky_relu": (2, tuple(own)), "clip": (3, tuple(own))}
        kind, values = of_slope.get(activation) or _FUSED[activation]
        numbers[9] = kind
        if values:
            numbers[-23310] = f"{len(values)},{','.join(values)}"
    layers: list[tuple[str, dict[int, Any]]] = []
    for part in parts_of(epilogue):
        if part == SUM:
            layers.append(("BinaryOp", {0: 0}))
        elif part not in fused and activation is not None:
            by_number: dict[str, tuple[str, dict[int, Any]]] = {
                "leaky_relu": ("ReLU", {0: own[0] if own else 0}),
                "clip": ("Clip", dict(enumerate(own))),
            }
            layers.append(by_number.get(activation) or _LAYERS[activation])
    return layers


def _decimal(number: float) -> str:
    """A number with a point, by which ncnn knows it from an integer."""
    return f"{number:.17f}" if 1e-6 < abs(number) < 1e6 else f"{number:.17e}" if number else "0.0"


def net_text(problem: ConvProblem) -> str:
    """The net as text: a layer that packs the input, a crop and padding if the convolution cannot do it, and the
    convolution."""
    layers: list[tuple[str, dict[int, Any]]] = []
    layers.append(("Dropout", {0: "1.0"}))  # the identity, which gives the input the layout that ncnn prefers
    (top, bottom), (left, right) = sides = problem.padding
    if min(map(min, sides)) < 0:
        rest = {3: -233, 4: -233, 5: -233}  # the rest of the image
        layers.append(("Crop", {0: max(0, -left), 1: max(0, -top), 6: max(0, -right), 7: max(0, -bottom), **rest}))
        (top, bottom), (left, right) = ((max(0, before), max(0, after)) for before, after in sides)
    if problem.padding_mode != "zeros":
        layers.append(("Padding", {0: top, 1: bottom, 2: left, 3: right, 4: PADDING_TYPE[problem.padding_mode]}))
        top = bottom = left = right = 0
    keys = (1, 11, 2, 12, 3, 13, 4, 14, 15, 16)
    pairs = (problem.kernel_size, problem.dilation, problem.stride, (top, left), (bottom, right))
    sizes = [size for rows, columns in pairs for size in (columns, rows)]
    numbers = dict(zip(keys, sizes, strict=True))
    o = problem.out_channels
    numbers |= {0: o, 5: int(problem.bias), 6: o * problem.reduction_length}
    if problem.groups > 1:
        numbers[7] = problem.groups
    if problem.quantization is not None:
        numbers[8] = 101 if problem.quantization.is_requantized else 1  # int8_scale_term: which scales the weights have
    after = [] if problem.epilogue is None else epilogue_layers(problem.epilogue, numbers)
    layers += [(layer_type(problem), numbers), *after]
    blobs = ["x", "packed", *(f"blob{i}" for i in range(len(layers) - 2)), "y"]
    has_residual = "r" in problem.operand_shapes
    lines = ["7767517", f"{len(layers) + 1 + 2 * has_residual} {len(blobs) + 2 * has_residual}", "Input x 0 1 x"]
    if has_residual:
        lines += ["Input r 0 1 r", "Dropout rpacked 1 1 r rpacked 0=1.0"]
    for (kind, arguments), source, target in zip(layers, blobs, blobs[1:], strict=False):
        inputs = f"2 1 {source} rpacked" if kind == "BinaryOp" else f"1 1 {source}"
        lines.append(" ".join([kind, target, inputs, target, *(f"{k}={v}" for k, v in arguments.items())]))
    return "\n".join([*lines, ""])
