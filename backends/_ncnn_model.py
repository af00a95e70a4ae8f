"""A problem as the text of an ncnn net."""

from __future__ import annotations

from typing import Any

from convbench.problem import ConvProblem

PADDING_TYPE = {"zeros": 0, "replicate": 1, "reflect": 2}  # ncnn has no circular padding


def layer_type(problem: ConvProblem) -> str:
    """The type of the ncnn layer that computes `problem`."""
    return "Convolution" if problem.groups == 1 else "ConvolutionDepthWise"


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
    layers.append((layer_type(problem), numbers))
    blobs = ["x", "packed", *(f"blob{i}" for i in range(len(layers) - 2)), "y"]
    lines = ["7767517", f"{len(layers) + 1} {len(blobs)}", "Input x 0 1 x"]
    for (kind, arguments), source, target in zip(layers, blobs, blobs[1:], strict=False):
        lines.append(" ".join([kind, target, "1 1", source, target, *(f"{k}={v}" for k, v in arguments.items())]))
    return "\n".join([*lines, ""])
