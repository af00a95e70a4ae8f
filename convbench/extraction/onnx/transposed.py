"""ONNX's ConvTranspose: its padding and the size of its result, from `pads`, `auto_pad`, `output_shape` and
`output_padding`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from convbench.extraction.onnx.attributes import AUTO_PADS, Attributes
from convbench.extraction.transposed import TransposedConvolution
from convbench.problem import Pair

_Axis = tuple[Pair, int]
"""The padding (before, after), and the size of the result."""


def transposed_call(
    attributes: Attributes, image: tuple[int, int, int, int], weight: tuple[int, ...], words: Mapping[str, Any]
) -> TransposedConvolution:
    """The call of a node with these operands, with `stride`, `dilation`, `groups` and `dtype` in `words`.

    As the operator has it: without `output_shape`, SAME gives size * stride results. Where the size of the result is
    fixed, the padding follows from it, whatever `pads` has. An odd row or column of it is at the end with SAME_UPPER,
    and at the beginning otherwise.
    """
    auto = attributes.word("auto_pad", "NOTSET", AUTO_PADS)
    pads = attributes.integers("pads", 4, "the beginnings of height and width and then their ends", least=0)
    more = attributes.integers("output_padding", 2, "for height and width", least=0) or (0, 0)
    fixed = attributes.integers("output_shape", 2, "the height and width of the result", least=1)
    if fixed is None and auto.startswith("SAME"):
        fixed = (image[2] * words["stride"][0], image[3] * words["stride"][1])
    axes = []
    for axis in (0, 1):
        spacing, taps = words["dilation"][axis], weight[2 + axis]
        whole = (image[2 + axis] - 1) * words["stride"][axis] + more[axis] + spacing * (taps - 1) + 1
        sides = (pads[axis], pads[axis + 2]) if pads is not None and auto == "NOTSET" else (0, 0)
        axes.append(_padded(whole, sides) if fixed is None else _of_size(whole, fixed[axis], auto))
    (height, width), (rows, columns) = (axes[0][1], axes[1][1]), (axes[0][0], axes[1][0])
    return TransposedConvolution(image, weight, (height, width), (rows, columns), words)


def _padded(whole: int, sides: Pair) -> _Axis:
    return sides, whole - sum(sides)


def _of_size(whole: int, size: int, auto: str) -> _Axis:
    total = max(0, whole - size)
    less, more = total // 2, total - total // 2
    return ((less, more) if auto == "SAME_UPPER" else (more, less)), size
