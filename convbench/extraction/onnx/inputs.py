"""The inputs of an ONNX graph: the shapes that are asked for, written into it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.inputs import InputRequest, Inputs
from convbench.extraction.onnx.shapes import MOST_NUMBERS


def with_inputs(path: Path, model: Any, inputs: Inputs) -> tuple[int, ...]:
    """Write the shapes of `inputs` into `model`, and return that of its image, the first input of four dimensions.

    An open size of one name is the same in all inputs. The image's own batch is 1 if it is open, and so is that of
    inputs whose batch has no name. This also drops data that no shape depends on. Raises `ModelError` for sizes that
    contradict each other, and for an image whose size is neither fixed nor given.
    """
    graph = model.graph
    for tensor in graph.initializer:
        if math.prod(tensor.dims) > MOST_NUMBERS:
            tensor.ClearField("raw_data")
            tensor.ClearField("float_data")
    constants = {tensor.name for tensor in graph.initializer}
    entries = [entry for entry in graph.input if entry.name not in constants]
    image = _image(path, entries, inputs.requested)
    requested = inputs.by_name([entry.name for entry in entries], image.name, f"{path}")
    before = [_sizes(entry) for entry in entries]
    batches = {entry.name: dim.dim_param for entry in entries for dim in entry.type.tensor_type.shape.dim[:1]}
    symbols: dict[str, int] = {}
    for entry in entries:
        if entry.name in requested:
            _set_shape(path, entry, requested[entry.name], symbols)
    shape = _set_image(path, image, inputs.batch, symbols, several=len(entries) > 1)
    for entry in entries:
        for axis, dim in enumerate(entry.type.tensor_type.shape.dim):
            is_batch = axis == 0 and batches[entry.name] == batches.get(image.name)
            if is_batch and inputs.batch is not None and (batches[entry.name] or dim.dim_value < 1):
                dim.dim_value = inputs.batch
            elif dim.dim_value < 1 and (dim.dim_param in symbols or (axis == 0 and not dim.dim_param and shape)):
                dim.dim_value = symbols[dim.dim_param] if dim.dim_param else shape[0]
    if [_sizes(entry) for entry in entries] != before:
        del graph.value_info[:]  # of other sizes
        for output in graph.output:
            if output.type.HasField("tensor_type"):
                output.type.tensor_type.ClearField("shape")
    return shape


def _image(path: Path, entries: Sequence[Any], requested: Sequence[InputRequest]) -> Any:
    """The input that is an image: one of four dimensions if there is any."""
    shapes = {one.name: one.shape for one in requested}
    with_shape = [e for e in entries if e.type.tensor_type.HasField("shape") or e.name in shapes]
    if not with_shape and entries and requested:
        return entries[0]
    if not with_shape:
        raise ModelError(
            f"{path}: none of its inputs has a shape, not even a dynamic one; give the shapes, such as "
            "--input 1,3,224,224."
        )

    def rank(entry: Any) -> int:
        return len(shapes.get(entry.name, ())) or len(entry.type.tensor_type.shape.dim)

    return next((entry for entry in with_shape if rank(entry) == 4), with_shape[0])


def _sizes(entry: Any) -> tuple[int, ...]:
    return tuple(dim.dim_value for dim in entry.type.tensor_type.shape.dim)


def _set_shape(path: Path, entry: Any, requested: InputRequest, symbols: dict[str, int]) -> None:
    if requested.value is not None:
        raise ModelError(f"{path}: its input {entry.name!r} is a tensor; give its shape, not the value {requested}.")
    tensor_type = entry.type.tensor_type
    if not tensor_type.HasField("shape"):
        for size in requested.shape:
            tensor_type.shape.dim.add(dim_value=size)
        return
    dims = tensor_type.shape.dim
    if len(requested.shape) != len(dims):
        text = ",".join(map(str, requested.shape))
        raise ModelError(
            f"{path}: its input {entry.name!r} has {len(dims)} dimensions, and {text} has {len(requested.shape)}."
        )
    for dim, size in zip(dims, requested.shape, strict=True):
        _set(path, entry, dim, size, symbols)


def _set(path: Path, entry: Any, dim: Any, size: int, symbols: dict[str, int]) -> None:
    name = dim.dim_param
    if name and symbols.setdefault(name, size) != size:
        raise ModelError(
            f"{path}: {name} is {symbols[name]} in one of its inputs and {size} in {entry.name!r}; it should be one "
            "number."
        )
    dim.dim_value = size


def _set_image(path: Path, entry: Any, batch: int | None, symbols: dict[str, int], *, several: bool) -> tuple[int, ...]:
    """Give the image its batch, and the sizes that follow from other inputs; returns its shape."""
    dims = entry.type.tensor_type.shape.dim
    names = ", ".join(dim.dim_param or str(dim.dim_value or "?") for dim in dims)
    for axis, dim in enumerate(dims):
        name, size = dim.dim_param, dim.dim_value if dim.dim_value > 0 else symbols.get(dim.dim_param, 0)
        size = (batch or size or 1) if axis == 0 else size
        if size > 0:
            dim.dim_value = size
            symbols |= {name: size} if name else {}
    shape = _sizes(entry)
    if min(shape, default=1) < 1:
        example = f"--input {entry.name}=1,3,224,224" if several else "--input 1,3,224,224"
        raise ModelError(
            f"{path}: the shape of its input {entry.name!r} is dynamic ({names}); give it, such as {example}."
        )
    return shape
