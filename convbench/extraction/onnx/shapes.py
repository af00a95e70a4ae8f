"""Shapes, element types and small constants of the tensors in an ONNX graph. Reads no external data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convbench.errors import ModelError

MOST_NUMBERS = 4096  # larger tensors are not used to compute shapes
_EXTERNAL = 1  # TensorProto.DataLocation


class Shapes:
    """What is known of the tensors of `graph`, by name."""

    def __init__(self, path: Path | str, graph: Any) -> None:
        self._path = path
        self._types = {entry.name: entry.type.tensor_type for entry in (*graph.value_info, *graph.input, *graph.output)}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._inputs = {entry.name for entry in graph.input}
        self._made_by = {name: node for node in graph.node for name in node.output if name}

    def known(self, name: str) -> tuple[int, ...] | None:
        """The shape, with 0 for an unknown size; None when even the number of dimensions is unknown."""
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        tensor_type = self._types.get(name)
        if tensor_type is None or not tensor_type.HasField("shape"):
            return None
        return tuple(max(dim.dim_value, 0) for dim in tensor_type.shape.dim)

    def complete(self, name: str) -> tuple[int, ...] | None:
        """The shape when all its sizes are known; None otherwise."""
        shape = self.known(name)
        return None if shape is None or min(shape, default=1) < 1 else shape

    def is_constant(self, name: str) -> bool:
        """Whether the file has the numbers of a tensor, or names the file that has them."""
        maker = self._made_by.get(name)
        return name in self._initializers or (maker is not None and maker.op_type == "Constant")

    def maker(self, name: str) -> Any:
        """The node that makes a tensor; None for inputs and initializers."""
        return self._made_by.get(name)

    def reason_unknown(self, name: str, reader: str) -> Any:
        """The node because of which the shape of a tensor is unknown: all that it reads is known.

        Raises `ModelError` when it is an input of the model, or a tensor that is nowhere in the file.
        """
        seen: set[str] = set()
        while name not in seen:
            seen.add(name)
            node = self._made_by.get(name)
            if node is None and name in self._inputs:
                raise ModelError(
                    f"{self._path}: {reader} depends on the input {name!r}, whose shape is dynamic; give it, such as "
                    f"--input {name}=1,3,224,224."
                )
            if node is None:
                raise ModelError(
                    f"{self._path}: {reader} reads {name!r}, which is nowhere in the file: an initializer is missing."
                )
            name = next((source for source in node.input if source and self.complete(source) is None), name)
        return self._made_by[name]

    def element_type(self, name: str) -> int:
        """The number of the element type in TensorProto.DataType; 0 when it is unknown."""
        if name in self._initializers:
            return int(self._initializers[name].data_type)
        return int(self._types[name].elem_type) if name in self._types else 0

    def constant(self, name: str) -> Sequence[Any] | None:
        """The numbers of a small constant, flat; None for any other tensor, and for external data."""
        array = self.array(name)
        return None if array is None else list(array.ravel().tolist())

    def array(self, name: str) -> Any:
        """A small constant as a NumPy array; None for any other tensor, and for external data."""
        tensor = self._initializers.get(name)
        node = self._made_by.get(name)
        if tensor is None and node is not None and node.op_type == "Constant" and not node.domain:
            return _constant_of(node)
        return None if tensor is None else _array(tensor)


def _constant_of(node: Any) -> Any:
    import numpy as np
    from onnx.helper import get_attribute_value

    for attribute in node.attribute:
        if attribute.name == "value" and attribute.HasField("t"):
            return _array(attribute.t)
        if attribute.name in ("value_int", "value_ints"):
            return np.array(get_attribute_value(attribute), np.int64)
        if attribute.name in ("value_float", "value_floats"):
            return np.array(get_attribute_value(attribute), np.float32)
    return None


def _array(tensor: Any) -> Any:
    from onnx.numpy_helper import to_array

    if tensor.data_location == _EXTERNAL or not 0 <= math.prod(tensor.dims) <= MOST_NUMBERS:
        return None
    try:
        return to_array(tensor)
    except Exception:  # its data are not those of its type and shape, so it is not known
        return None
