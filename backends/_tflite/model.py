"""TFLite models of a few nodes in a row, built with the schema that LiteRT ships."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from convbench.problem import Scales


_LARGEST_DEPRECATED_CODE = 127  # it has 8 bits, and stands for every larger one


class TfliteModel:
    """A TFLite model of nodes in a row. Each reads the output of the one before it, and constants."""

    def __init__(self, shape: tuple[int, ...], dtype: str) -> None:
        from ai_edge_litert import schema_py_generated as schema

        self.schema, self.dtype = schema, dtype
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []
        self.graph.inputs = self.graph.outputs = [self._tensor(shape, dtype)]

    def add(
        self,
        kind: str,
        shape: tuple[int, ...],
        constants: Sequence[np.ndarray],
        options: str,
        others: Sequence[int] = (),
        **fields: Any,
    ) -> None:
        """Add a node `kind` with an output of `shape` and the `fields` of `options`, which also reads the tensors
        `others`."""
        inputs = [*self.graph.outputs, *others, *(self._tensor(c.shape, c.dtype.name, c) for c in constants)]
        self.graph.outputs = [self._tensor(shape, self.dtype)]
        code, node = self.schema.OperatorCodeT(), self.schema.OperatorT()
        code.builtinCode = getattr(self.schema.BuiltinOperator, kind)
        code.deprecatedBuiltinCode = min(code.builtinCode, _LARGEST_DEPRECATED_CODE)
        node.opcodeIndex, node.inputs, node.outputs = len(self.graph.operators), inputs, self.graph.outputs
        node.builtinOptionsType = getattr(self.schema.BuiltinOptions, options)
        if options != "NONE":
            node.builtinOptions = getattr(self.schema, f"{options}T")()
            vars(node.builtinOptions).update(fields)
        self.model.operatorCodes.append(code)
        self.graph.operators.append(node)

    @property
    def last(self) -> int:
        """The tensor that the last node gives."""
        return int(self.graph.outputs[0])

    def add_input(self, shape: tuple[int, ...]) -> int:
        """A further input of the model: its tensor."""
        tensor = self._tensor(shape, self.dtype)
        self.graph.inputs = [*self.graph.inputs, tensor]
        return tensor

    def quantize_convolution(self, scales: Scales, channel_axis: int) -> None:
        """Give scales and zero points to all tensors of a model that ends in a convolution: those of the input to each
        but the last, and to the weight and the bias their own. `channel_axis` is that of the weight's output channels.
        """
        import numpy as np

        _, weight, bias = self.graph.operators[-1].inputs
        (end,) = self.graph.outputs
        bias_scale = np.float32(scales.x_scale) * scales.w_scale
        for place, tensor in enumerate(self.graph.tensors):
            if place in (weight, bias):
                scale, axis = (scales.w_scale, channel_axis) if place == weight else (bias_scale, 0)
                self._quantize(tensor, scale, np.zeros(scale.size), axis)
            elif place == end:
                self._quantize(tensor, [scales.y_scale], [scales.y_zero])
            elif not tensor.buffer:
                self._quantize(tensor, [scales.x_scale], [scales.x_zero])

    def _quantize(self, tensor: Any, scale: Any, zero: Any, axis: int = 0) -> None:
        import numpy as np

        tensor.quantization = self.schema.QuantizationParametersT()
        tensor.quantization.scale, tensor.quantization.quantizedDimension = np.array(scale, np.float32), axis
        tensor.quantization.zeroPoint = np.array(zero, np.int64)

    def packed(self) -> bytes:
        import flatbuffers

        builder = flatbuffers.Builder(0)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _tensor(self, shape: Sequence[int], dtype: str, data: np.ndarray | None = None) -> int:
        import numpy as np

        tensor = self.schema.TensorT()
        tensor.shape, tensor.type = list(shape), getattr(self.schema.TensorType, dtype.upper())
        if data is not None:
            tensor.buffer = len(self.model.buffers)
            buffer = self.schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1
