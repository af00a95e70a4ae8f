"""The quantization of a convolution in an ONNX graph: of QLinearConv and ConvInteger, and of Conv between conversions.

A Conv that reads what DequantizeLinear makes of integers is computed in integers by runtimes that know this (QDQ).
Its result is of 8 bits where QuantizeLinear alone reads it, perhaps behind a Relu or Clip, which clamping has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from convbench.extraction.onnx.shapes import Shapes
from convbench.problem import Quantization

_FORMATS: Mapping[int, Literal["u8", "s8"]] = {2: "u8", 3: "s8"}  # TensorProto.DataType
_INT8 = 3
_TO_FLOAT, _FROM_FLOAT = "DequantizeLinear", ("QuantizeLinear", "DynamicQuantizeLinear")
_CLAMPED = ("Relu", "Clip")
IMAGE_AND_WEIGHT: Mapping[str, tuple[int, int, int]] = {
    "Conv": (0, 1, 2),
    "ConvTranspose": (0, 1, 2),
    "QLinearConv": (0, 3, 8),
    "ConvInteger": (0, 1, -1),
}
"""Which inputs of each operator are the image, the weight and the bias; -1 for an operator without one."""


class Quantizations:
    """Finds the quantization of convolutions in `graph`."""

    def __init__(self, graph: Any, shapes: Shapes) -> None:
        self._shapes = shapes
        self._readers: dict[str, list[Any]] = {}
        for node in graph.node:
            for name in node.input:
                self._readers.setdefault(name, []).append(node)
        self._ends = {output.name for output in graph.output}

    def of(self, node: Any) -> Quantization | None:
        """That of a convolution; None for one in real numbers, and for formats that convbench does not have, such as
        weights of uint8."""
        names = [*node.input, *[""] * 9]
        if node.op_type == "QLinearConv":
            (x, _, x_zero, w, w_scale, w_zero, _, y_zero), result = names[:8], node.output[0]
            return self._made(x, x_zero, w, w_scale, w_zero, self._format(result, y_zero), y_zero)
        if node.op_type == "ConvInteger":
            x, w, x_zero, w_zero = names[:4]
            return self._made(x, x_zero, w, "", w_zero, self._behind_integers(node), "")
        return self._of_conv(names[0], names[1], node)

    def _of_conv(self, x: str, w: str, node: Any) -> Quantization | None:
        """That of a Conv in real numbers, both of whose operands were integers."""
        makers = [self._shapes.maker(name) for name in (x, w)]
        if any(maker is None or maker.op_type != _TO_FLOAT for maker in makers):
            return None
        (x, _, x_zero), (w, w_scale, w_zero) = ([*maker.input, "", ""][:3] for maker in makers)
        end = self._quantizer_behind(node.output[0])
        if end is None:
            return self._made(x, x_zero, w, w_scale, w_zero, "f32", "")
        y_zero = [*end.input, "", ""][2]
        return self._made(x, x_zero, w, w_scale, w_zero, self._format(end.output[0], y_zero), y_zero)

    def _made(
        self, x: str, x_zero: str, w: str, w_scale: str, w_zero: str, result: Any, y_zero: str
    ) -> Quantization | None:
        first = self._format(x, x_zero)
        if first is None or result is None or self._element(w, w_zero) != _INT8:
            return None
        return Quantization(
            input=first,
            input_zero_point=self._is_other_than_zero(x_zero),
            per_channel=not w_scale or self._size(w_scale) != 1,
            weight_zero_point=self._is_other_than_zero(w_zero),
            result=result,
            result_zero_point=self._is_other_than_zero(y_zero),
        )

    def _quantizer_behind(self, name: str) -> Any:
        """The QuantizeLinear that alone reads a tensor, or the Relu or Clip behind it."""
        readers = self._readers.get(name, [])
        if len(readers) != 1 or name in self._ends:
            return None
        (reader,) = readers
        if reader.op_type in _CLAMPED and reader.input[0] == name:
            return self._quantizer_behind(reader.output[0])
        return reader if reader.op_type == "QuantizeLinear" else None

    def _behind_integers(self, node: Any) -> str:
        """Sums of integers are made real numbers by the Cast that alone reads them."""
        readers = self._readers.get(node.output[0], [])
        return "f32" if len(readers) == 1 and readers[0].op_type == "Cast" else "s32"

    def _format(self, name: str, zero_point: str) -> Literal["u8", "s8"] | None:
        return _FORMATS.get(self._element(name, zero_point))

    def _element(self, name: str, zero_point: str) -> int:
        """The type of a tensor, or of its zero point, which has the same."""
        return self._shapes.element_type(name) or self._shapes.element_type(zero_point)

    def _size(self, name: str) -> int:
        shape = self._shapes.complete(name) or ()
        size = 1
        for extent in shape:
            size *= extent
        return size

    def _is_other_than_zero(self, name: str) -> bool:
        """Whether a zero point is, or may be, another number than 0. One that is left out is 0."""
        if not name:
            return False
        array = self._shapes.array(name)
        return array is None or bool(array.any())
