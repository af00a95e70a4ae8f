"""The quantization of a convolution in an exported program: conversions around it, as PT2E writes them.

Weights are taken as symmetric, because zero points of channels are numbers that the graph does not have. PT2E's
quantizers for CPUs make no others.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from convbench.extraction.exported.node import Arguments, Operator
from convbench.problem import Quantization

_LIBRARY = "quantized_decomposed"
_FORMATS: Mapping[int, Literal["u8", "s8"]] = {1: "u8", 2: "s8"}  # ScalarType in torch's export schema
_INT8 = 2
_CLAMPED = ("relu", "relu_", "hardtanh", "hardtanh_", "relu6", "clamp", "clamp_")


class Quantizations:
    """Finds the quantization of convolutions in one graph of a program."""

    def __init__(self, graph: Any) -> None:
        self._tensors: Mapping[str, Any] = graph["tensor_values"]
        self._makers: dict[str, Any] = {}
        self._readers: dict[str, list[Any]] = {}
        for node in graph["nodes"]:
            for name in Arguments(node).tensors:
                self._readers.setdefault(name, []).append(node)
            for output in node["outputs"]:
                if "as_tensor" in output:
                    self._makers[str(output["as_tensor"]["name"])] = node

    def of(self, node: Any) -> Quantization | None:
        """That of a convolution; None for one in real numbers, and for formats that convbench does not have."""
        operands = Arguments(node).single
        makers = [self._makers.get(operands.get(name, "")) for name in ("input", "weight")]
        if not all(_calls(maker, "dequantize_") for maker in makers):
            return None
        x, w = (Arguments(maker) for maker in makers)
        first, end = self._format(x), self._quantizer_behind(str(node["outputs"][0]["as_tensor"]["name"]))
        if first is None or self._element(w) != _INT8:
            return None
        y = None if end is None else Arguments(end)
        result = "f32" if y is None else _FORMATS.get(int(y.get("dtype", 0)))
        if result is None:
            return None
        return Quantization(
            input=first,
            input_zero_point=_is_other_than_zero(x),
            per_channel=_calls(makers[1], "dequantize_per_channel"),
            result=result,
            result_zero_point=y is not None and _is_other_than_zero(y),
        )

    def _quantizer_behind(self, name: str) -> Any:
        """The quantizer that alone reads a tensor, or what a relu or clamp makes of it."""
        readers = self._readers.get(name, [])
        if len(readers) != 1:
            return None
        (reader,) = readers
        operator = Operator.of(str(reader["target"]))
        if operator.library == "aten" and operator.name in _CLAMPED and "as_tensor" in reader["outputs"][0]:
            return self._quantizer_behind(str(reader["outputs"][0]["as_tensor"]["name"]))
        return reader if _calls(reader, "quantize_per_tensor") else None

    def _format(self, arguments: Arguments) -> Literal["u8", "s8"] | None:
        return _FORMATS.get(self._element(arguments))

    def _element(self, arguments: Arguments) -> int:
        return int(self._tensors[arguments.single["input"]]["dtype"])


def _calls(node: Any, beginning: str) -> bool:
    if node is None:
        return False
    operator = Operator.of(str(node["target"]))
    return operator.library == _LIBRARY and operator.name.startswith(beginning)


def _is_other_than_zero(arguments: Arguments) -> bool:
    """Whether the zero point is another number than 0; one that is a tensor may be."""
    return bool(arguments.get("zero_point", 1) != 0)
