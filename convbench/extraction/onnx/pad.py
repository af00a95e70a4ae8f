"""The Pad nodes of an ONNX graph, as paddings of a convolution."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import Padding
from convbench.extraction.onnx.attributes import Attributes, layer_of
from convbench.extraction.onnx.shapes import Shapes
from convbench.problem import PaddingMode

_MODES: dict[str, PaddingMode] = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}


def padding_of(path: Path, node: Any, shapes: Shapes) -> Padding | None:
    """The padding that a Pad node does; None when it is known only at run time or no convolution pads like that.

    Raises `ModelError` for attributes and constants that contradict the shape.
    """
    attributes = Attributes(path, node)
    mode = _MODES[attributes.word("mode", "constant", _MODES)]
    shape = shapes.complete(node.input[0]) if node.input else None
    if node.domain or shape is None or len(shape) != 4 or not node.output:
        return None
    names = [*node.input, "", "", ""][:4]
    axes = _axes(path, node, shapes, names[3])
    pads = _pads(path, node, attributes, shapes.constant(names[1]) if names[1] else None, axes)
    value = attributes.number("value", 0.0)
    if names[2]:
        constant = shapes.constant(names[2])
        value = constant[0] if constant else float("nan")
    if pads is None or axes is None or (mode == "zeros" and value != 0):
        return None
    sides = {axis: (pads[i], pads[len(axes) + i]) for i, axis in enumerate(axes)}
    if any(sides.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
        return None
    return Padding((sides.get(2, (0, 0)), sides.get(3, (0, 0))), mode)


def _axes(path: Path, node: Any, shapes: Shapes, name: str) -> Sequence[int] | None:
    """The padded axes from 0 to 3; None when they are known only at run time."""
    if not name:
        return range(4)
    axes = shapes.constant(name)
    if axes is None:
        return None
    if any(not isinstance(axis, int) or not -4 <= axis < 4 for axis in axes) or len({a % 4 for a in axes}) < len(axes):
        raise ModelError(f"{path}: Pad {layer_of(node)}: its axes are {axes}; they should be different, from -4 to 3.")
    return [axis % 4 for axis in axes]


def _pads(
    path: Path, node: Any, attributes: Attributes, constant: Sequence[Any] | None, axes: Sequence[int] | None
) -> tuple[int, ...] | None:
    """The number of elements before each axis, and then those behind each; None when they are not known."""
    count = 2 * len(axes) if axes is not None else 0
    for name in ("pads", "paddings"):
        if name in attributes:
            return attributes.integers(name, 8, "the beginnings of all axes and then their ends")
    if constant is None or axes is None:
        return None
    if len(constant) != count or not all(isinstance(number, int) for number in constant):
        raise ModelError(
            f"{path}: Pad {layer_of(node)}: its pads are {list(constant)[:10]}; they should be {count} integers, the "
            "beginnings of its axes and then their ends."
        )
    return tuple(constant)
