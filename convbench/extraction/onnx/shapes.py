"""The shapes in an ONNX graph: of its input as requested, and of every tensor as inferred. Reads no external data.

Exporters write sizes and paddings as chains of nodes that ONNX's shape inference does not follow. The operators named
here are computed by ONNX's own reference implementation in NumPy, and only on few numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from convbench.errors import ModelError

_EXTERNAL = 1  # TensorProto.DataLocation
_MOST_NUMBERS = 4096  # larger tensors are not used to compute shapes
_OPERATORS = {
    *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Min", "Max", "Clip", "Relu", "Floor", "Ceil", "Round", "Cast"),
    *("Equal", "Less", "Greater", "Not", "And", "Or", "Where", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"),
    *("Concat", "ConstantOfShape", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
}
_ROUNDS = 20


def check_external_data(path: Path, model: Any) -> None:
    """Raise `ModelError` if a tensor's data is outside the model's folder."""
    folder = path.resolve().parent
    of_functions = (_tensors_of_nodes(function.node) for function in model.functions)
    for tensor in chain(_tensors_of(model.graph), *of_functions):
        if tensor.data_location != _EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        if "\0" in location or Path(location).is_absolute() or not (folder / location).resolve().is_relative_to(folder):
            raise ModelError(
                f"{path}: the data of its tensor {tensor.name!r} is in {location!r}, outside the model's own folder; "
                "such a file is not read. Save the model with its data beside it."
            )


def with_input_shape(path: Path, model: Any, batch: int | None, requested: tuple[int, ...] | None) -> tuple[int, ...]:
    """Write the shape of the model's input into `model`, and return it: `requested`, or its own, with `batch`, or 1.

    This also drops data that no shape depends on. Raises `ModelError` when a size is neither fixed nor given.
    """
    graph = model.graph
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > _MOST_NUMBERS:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    entry = _image_input(path, graph)
    dims = entry.type.tensor_type.shape.dim
    own = tuple(dim.dim_value for dim in dims)
    if requested is not None and len(requested) != len(own):
        text = ",".join(map(str, requested))
        raise ModelError(
            f"{path}: its input {entry.name!r} has {len(own)} dimensions, and {text} has {len(requested)}."
        )
    shape = list(requested or (own[0] or 1, *own[1:]))
    if batch is not None:
        shape[0] = batch
    if min(shape) < 1:
        named = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims)
        raise ModelError(
            f"{path}: the shape of its input {entry.name!r} is dynamic ({named}); give it, such as --input 1,3,224,224."
        )
    if tuple(shape) != own:
        for dim, size in zip(dims, shape, strict=True):
            dim.dim_value = size
        for other_dims in (other.type.tensor_type.shape.dim for other in graph.input):
            if other_dims and not other_dims[0].dim_value:
                other_dims[0].dim_value = shape[0]
        del graph.value_info[:]  # of other sizes
        for output in graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
    return tuple(shape)


class Shapes:
    """Shapes, element types and small constants of tensors, by name."""

    def __init__(self, path: Path | str, graph: Any) -> None:
        self._path = path
        self._types = {entry.name: entry.type.tensor_type for entry in (*graph.value_info, *graph.input, *graph.output)}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._made_by = {name: node for node in graph.node for name in node.output}

    def known(self, name: str) -> tuple[int, ...] | None:
        """The shape, with 0 for an unknown size; None when even the number of dimensions is unknown."""
        if name in self._initializers:
            return tuple(self._initializers[name].dims)
        tensor_type = self._types.get(name)
        if tensor_type is None or not tensor_type.HasField("shape"):
            return None
        return tuple(dim.dim_value for dim in tensor_type.shape.dim)

    def of(self, name: str, reader: Any = None) -> tuple[int, ...]:
        """The shape. Raises `ModelError` when it is unknown, or the tensor is missing."""
        shape = self.known(name)
        if shape is not None and all(size > 0 for size in shape):
            return shape
        where = f"{self._path}: {(reader.name or reader.op_type) if reader else 'a node'} reads {name!r}, "
        if shape is None and name not in self._made_by and name not in self._types:
            raise ModelError(f"{where}which is nowhere in the file: an initializer is missing.")
        raise ModelError(
            f"{where}whose shape is dynamic; give the shape of the input, such as --input 1,3,224,224, or export "
            "the model with fixed shapes."
        )

    def of_image(self, name: str, reader: Any = None) -> tuple[int, int, int, int]:
        """(batch, channels, height, width). Raises `ModelError`."""
        shape = self.of(name, reader)
        if len(shape) != 4:
            raise ModelError(f"{self._path}: {name!r} has {len(shape)} dimensions; an image has 4.")
        return (shape[0], shape[1], shape[2], shape[3])

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
        from onnx.numpy_helper import to_array

        tensor = self._initializers.get(name)
        node = self._made_by.get(name)
        if tensor is None and node is not None and node.op_type == "Constant":
            return _constant_of(node)
        if tensor is None or tensor.data_location == _EXTERNAL or math.prod(tensor.dims) > _MOST_NUMBERS:
            return None
        try:
            return to_array(tensor)
        except (ValueError, TypeError):
            return None


def _constant_of(node: Any) -> Any:
    import numpy as np
    from onnx.helper import get_attribute_value
    from onnx.numpy_helper import to_array

    for attribute in node.attribute:
        if attribute.name == "value" and attribute.t.data_location != _EXTERNAL:
            return to_array(attribute.t) if math.prod(attribute.t.dims) <= _MOST_NUMBERS else None
        if attribute.name in ("value_int", "value_ints"):
            return np.array(get_attribute_value(attribute), np.int64)
        if attribute.name in ("value_float", "value_floats"):
            return np.array(get_attribute_value(attribute), np.float32)
    return None


def with_inferred_shapes(model: Any) -> Any:
    """`model` with the shapes of its tensors, as far as they are known without running it."""
    from onnx.shape_inference import infer_shapes

    for _ in range(_ROUNDS):
        model = infer_shapes(model, data_prop=True)
        if not _fold_constants(model.graph):
            break
    return model


def _fold_constants(graph: Any) -> bool:
    """Replace nodes that compute constants by these constants. Returns whether there were any."""
    shapes = Shapes("", graph)
    known: dict[str, Any] = {}
    kept = []
    for node in graph.node:
        value = _value(node, shapes, known)
        if value is None:
            kept.append(node)
        else:
            known[node.output[0]] = value
    if not known:
        return False
    from onnx.numpy_helper import from_array

    graph.initializer.extend(from_array(value, name) for name, value in known.items())
    del graph.node[:]
    graph.node.extend(kept)
    return True


def _value(node: Any, shapes: Shapes, known: dict[str, Any]) -> Any:
    """The array that a node computes; None when it is not known, or too large."""
    import numpy as np

    if node.domain not in ("", "ai.onnx") or len(node.output) != 1:
        return None
    if node.op_type == "Shape":
        shape = shapes.known(node.input[0])
        if not shape or min(shape) < 1 or node.attribute:
            return None
        return np.array(shape, np.int64)
    if node.op_type not in _OPERATORS or not any(node.input):
        return None
    inputs = {name: known[name] if name in known else shapes.array(name) for name in node.input if name}
    if any(array is None for array in inputs.values()):
        return None
    if node.op_type == "ConstantOfShape" and np.prod(next(iter(inputs.values())), dtype=np.float64) > _MOST_NUMBERS:
        return None
    return _evaluated(node, inputs)


def _evaluated(node: Any, inputs: dict[str, Any]) -> Any:
    import numpy as np
    from onnx.reference import ReferenceEvaluator

    try:
        with np.errstate(all="ignore"):
            (value,) = ReferenceEvaluator(node).run(None, inputs)
    except Exception:  # the node is wrong in some way, so its value is not known
        return None
    array = np.asarray(value)
    return array if array.size <= _MOST_NUMBERS and array.dtype.kind in "iufb" else None


def _image_input(path: Path, graph: Any) -> Any:
    """The input that the caller gives; one of four dimensions if there is any."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [i for i in graph.input if i.name not in constants and i.type.tensor_type.HasField("shape")]
    if not inputs:
        raise ModelError(f"{path}: none of its inputs has a shape, not even a dynamic one; export it with one.")
    return next((entry for entry in inputs if len(entry.type.tensor_type.shape.dim) == 4), inputs[0])


def _tensors_of(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for graph in (attribute.g, *attribute.graphs):
                yield from _tensors_of(graph)
