"""`FILE.onnx`: the Conv nodes of a graph, with the shapes that ONNX's own inference finds.

Only the graph is read, and no weights in files beside it, because the graph has their shapes.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import CallLog, Convolution, Padding, Reading
from convbench.extraction.onnx.shapes import Shapes, check_external_data, with_inferred_shapes, with_input_shape
from convbench.problem import Sides

_DTYPES = {1: "float32", 10: "float16", 11: "float64", 16: "bfloat16"}  # TensorProto.DataType
_MODES = {"constant": "zeros", "reflect": "reflect", "edge": "replicate", "wrap": "circular"}
_OTHER_CONVOLUTIONS = {
    "ConvTranspose": "A transposed convolution",
    "QLinearConv": "A convolution of integers (QLinearConv)",
    "ConvInteger": "A convolution of integers (ConvInteger)",
    "DeformConv": "A deformable convolution",
}
_SAME = ("Identity", "Dropout")


def read_onnx(path: Path, batch: int | None, input_shape: tuple[int, ...] | None) -> Reading:
    """The convolutions of the model in `path`. `input_shape` and `batch` fill in shapes that it leaves open.

    Raises `ModelError`, also when the model refers to external data outside its own folder.
    """
    onnx = _onnx()
    try:
        model = onnx.load(str(path), load_external_data=False)
    except FileNotFoundError:
        raise ModelError(f"{path}: there is no such file; give the path of an ONNX model.") from None
    except Exception as error:  # protobuf's own, of whichever implementation is installed
        raise ModelError(f"{path}: this cannot be read as an ONNX model: {str(error).splitlines()[0]}") from None
    if not model.graph.node:
        raise ModelError(f"{path}: there is no graph in this file; it should be an ONNX model.")
    check_external_data(path, model)
    shape = with_input_shape(path, model, batch, input_shape)
    try:
        if model.functions:
            model = onnx.inliner.inline_local_functions(model)
        graph = with_inferred_shapes(model).graph
    except Exception as error:
        raise ModelError(f"{path}: ONNX cannot infer its shapes: {str(error).splitlines()[0]}") from error
    return _Graph(path, graph).reading(shape)


def _onnx() -> Any:
    try:
        onnx = importlib.import_module("onnx")
        importlib.import_module("onnx.inliner")
        importlib.import_module("onnx.shape_inference")
    except ImportError:
        raise ModelError("onnx is not installed; type: pip install onnx") from None
    return onnx


class _Graph:
    """Reads a graph with inferred shapes."""

    def __init__(self, path: Path, graph: Any) -> None:
        self._path = path
        self._graph = graph
        self._shapes = Shapes(path, graph)
        self._calls = CallLog()

    def reading(self, input_shape: tuple[int, ...]) -> Reading:
        for output in self._graph.output:
            self._calls.read(output.name)
        for node in self._graph.node:
            self._note(node)
        return self._calls.reading(input_shape)

    def _note(self, node: Any) -> None:
        standard = node.domain in ("", "ai.onnx")
        if standard and node.op_type == "Conv":
            self._convolution(node)
        elif standard and node.op_type == "Pad" and (padding := self._padding(node)) is not None:
            height, width = self._shapes.of_image(node.input[0])[2:]
            self._calls.padded(node.output[0], node.input[0], (height, width), padding)
        elif standard and node.op_type in _SAME:
            self._calls.same(node.output[0], node.input[0])
        else:
            if "Conv" in node.op_type:
                self._calls.left_out.append(
                    (_OTHER_CONVOLUTIONS.get(node.op_type, f"{node.op_type} is no Conv"), _layer(node))
                )
            for nested in _nested(node):
                if nested.op_type == "Conv":
                    kind = f"A convolution in a branch or loop ({node.op_type}), which may run or not"
                    self._calls.left_out.append((kind, _layer(nested)))
            for name in node.input:
                self._calls.read(name)

    def _convolution(self, node: Any) -> None:
        weight = self._shapes.of(node.input[1], node)
        if len(weight) != 4:
            self._calls.left_out.append((f"A convolution in {len(weight) - 2}-D", _layer(node)))
            return
        attributes = _attributes(node)
        image = self._shapes.of_image(node.input[0], node)
        if (read := weight[1] * attributes.get("group", 1)) != image[1]:
            raise ModelError(
                f"{self._path}: {_layer(node)} has weights for {read} channels, and its image has {image[1]}."
            )
        stride, dilation = (tuple(attributes.get(name, (1, 1))) for name in ("strides", "dilations"))
        dtype = _DTYPES.get(self._shapes.element_type(node.input[0]))
        if dtype is None:
            self._calls.left_out.append(
                ("A convolution of another format than float64, 32, 16 or bfloat16", _layer(node))
            )
            return
        arguments = {
            "stride": stride,
            "dilation": dilation,
            "groups": attributes.get("group", 1),
            "bias": len(node.input) > 2 and bool(node.input[2]),
            "dtype": dtype,
        }
        call = Convolution(image, weight, _sides(attributes, image[2:], weight[2:], stride, dilation), arguments)
        self._calls.convolutions.append((_layer(node), node.input[0], call))

    def _padding(self, node: Any) -> Padding | None:
        """The padding that a Pad node does; None when it is known only at run time or no convolution pads like that."""
        attributes = _attributes(node)
        mode = _MODES.get(attributes.get("mode", b"constant").decode())
        pads, value, axes = attributes.get("pads", attributes.get("paddings")), attributes.get("value", 0.0), None
        if pads is None and len(node.input) > 1:
            pads = self._shapes.constant(node.input[1])
        if len(node.input) > 2 and node.input[2]:
            constant = self._shapes.constant(node.input[2])
            value = constant[0] if constant else None
        if len(node.input) > 3 and node.input[3]:
            axes = self._shapes.constant(node.input[3])
            if axes is None:
                return None
        if mode is None or pads is None or (mode == "zeros" and value != 0):
            return None
        axes = [axis % 4 for axis in (axes if axes is not None else range(len(pads) // 2))]
        if len(pads) != 2 * len(axes) or len(self._shapes.known(node.input[0]) or ()) != 4:
            return None
        sides = {axis: (int(pads[i]), int(pads[len(axes) + i])) for i, axis in enumerate(axes)}
        if any(sides.get(axis, (0, 0)) != (0, 0) for axis in (0, 1)):
            return None
        return Padding((sides.get(2, (0, 0)), sides.get(3, (0, 0))), mode)  # type: ignore[arg-type]


def _attributes(node: Any) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {attribute.name: get_attribute_value(attribute) for attribute in node.attribute}


def _nested(node: Any) -> Iterator[Any]:
    """All nodes of the graphs that are attributes of a node: branches and bodies of loops."""
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield inner
                yield from _nested(inner)


def _layer(node: Any) -> str:
    return str(node.name or (node.output[0] if node.output else ""))


def _sides(attributes: Mapping[str, Any], *axes: tuple[int, ...]) -> Sides:
    """The padding of a Conv node, from the sizes of image, kernel, stride and dilation along its `axes`.

    SAME_UPPER and SAME_LOWER give ceil(size / stride) outputs, and put an odd row or column at the end or at the
    beginning (ONNX's Conv, `auto_pad`)."""
    auto = attributes.get("auto_pad", b"NOTSET").decode()
    if auto == "VALID":
        return ((0, 0), (0, 0))
    if not auto.startswith("SAME"):
        top, left, bottom, right = attributes.get("pads", (0, 0, 0, 0))
        return ((top, bottom), (left, right))
    sides = []
    for size, taps, step, spacing in zip(*axes, strict=True):
        total = max(0, (-(-size // step) - 1) * step + spacing * (taps - 1) + 1 - size)
        less, more = total // 2, total - total // 2
        sides.append((more, less) if auto == "SAME_LOWER" else (less, more))
    return (sides[0], sides[1])
