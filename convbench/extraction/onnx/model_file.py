"""An ONNX file, loaded without external data, and checked where ONNX's own functions would hang or crash."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.file_kinds import ONNX, check_is_model
from convbench.files.user_file import read_bytes, real_path

_EXTERNAL = 1  # TensorProto.DataLocation
_MOST_NODES = 1_000_000  # with all functions expanded; the largest exported models have some 50,000


def load(path: Path) -> Any:
    """The model, its functions expanded. Raises `ModelError`, also for external data outside the model's folder."""
    onnx = _onnx()
    content = read_bytes(path, ONNX)
    check_is_model(path, ONNX, content[:200])
    try:
        model = onnx.load_model_from_string(content)
    except Exception as error:  # protobuf's own, of whichever implementation is installed
        raise ModelError(f"{path}: this cannot be read as an ONNX model: {first_line(error)}") from None
    if not model.graph.node:
        raise ModelError(f"{path}: there is no graph in this file; it should be an ONNX model.")
    _check_names(path, model)
    _check_external_data(path, model)
    if model.functions:
        model = _expanded_functions(path, model, onnx.inliner.inline_local_functions)
    _import_all_domains(model)
    return model


def graphs_of(node: Any) -> Iterator[Any]:
    """The graphs that are attributes of a node: branches, and bodies of loops."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def nodes_within(node: Any) -> Iterator[Any]:
    """All nodes of the graphs of a node, at any depth."""
    for graph in graphs_of(node):
        for inner in graph.node:
            yield inner
            yield from nodes_within(inner)


def first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _onnx() -> Any:
    try:
        onnx = importlib.import_module("onnx")
        importlib.import_module("onnx.inliner")
        importlib.import_module("onnx.shape_inference")
    except ImportError:
        raise ModelError("onnx is not installed; type: pip install onnx") from None
    return onnx


def _check_names(path: Path, model: Any) -> None:
    """Raise `ModelError` for a name that is not UTF-8; some implementations of protobuf give it as bytes."""
    tops = [*model.graph.node, *(node for function in model.functions for node in function.node)]
    nodes = [inner for node in tops for inner in (node, *nodes_within(node))]
    names = [name for node in nodes for name in (node.op_type, node.domain, node.name, *node.input, *node.output)]
    names += [entry.name for entry in (*model.graph.input, *model.graph.output, *model.graph.initializer)]
    names += [text for entry in model.functions for text in (entry.domain, entry.name)]
    if not all(isinstance(name, str) for name in names):
        raise ModelError(f"{path}: a name in this file is no text in UTF-8.")


def _check_external_data(path: Path, model: Any) -> None:
    folder = real_path(path).parent
    of_functions = (_tensors_of_nodes(function.node) for function in model.functions)
    for tensor in chain(_tensors_of(model.graph), *of_functions):
        if tensor.data_location != _EXTERNAL:
            continue
        location = next((entry.value for entry in tensor.external_data if entry.key == "location"), "")
        is_outside = not real_path(folder / location).is_relative_to(folder)
        if "\0" in location or Path(location).is_absolute() or is_outside:
            raise ModelError(
                f"{path}: the data of its tensor {tensor.name!r} is in {location!r}, outside the model's own folder; "
                "such a file is not read. Save the model with its data beside it."
            )


def _tensors_of(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _tensors_of_nodes(graph.node)


def _tensors_of_nodes(nodes: Any) -> Iterator[Any]:
    for node in nodes:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
        for graph in graphs_of(node):
            yield from _tensors_of(graph)


def _expanded_functions(path: Path, model: Any, inline: Callable[[Any], Any]) -> Any:
    """The model with the nodes of its functions in the place of their calls. Raises `ModelError`."""
    _check_expansion(path, model)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    for function in model.functions:
        for entry in function.opset_import:  # ONNX leaves a function alone whose versions are not the model's
            entry.version = versions.get(entry.domain, entry.version)
    names = {(function.domain, function.name) for function in model.functions}
    try:
        model = inline(model)
    except Exception as error:
        raise ModelError(f"{path}: its functions cannot be expanded: {first_line(error)}") from None
    nodes = (inner for node in model.graph.node for inner in (node, *nodes_within(node)))
    if left := next((node for node in nodes if (node.domain, node.op_type) in names), None):
        raise ModelError(
            f"{path}: its function {left.op_type} cannot be expanded by ONNX; export it without functions."
        )
    return model


def _check_expansion(path: Path, model: Any) -> None:
    """Raise if the functions make more nodes than any model has: some that call each other twice double each time."""
    functions = {(function.domain, function.name): function for function in model.functions}
    sizes: dict[tuple[str, str], int] = {}
    total = sum(_expanded(node, functions, sizes, frozenset()) for node in model.graph.node)
    if total > _MOST_NODES:
        raise ModelError(f"{path}: its functions expand to more than {_MOST_NODES:,} nodes; export it without them.")


def _expanded(
    node: Any, functions: Mapping[tuple[str, str], Any], sizes: dict[tuple[str, str], int], within: frozenset[Any]
) -> int:
    key = (node.domain, node.op_type)
    inner = sum(_expanded(other, functions, sizes, within) for graph in graphs_of(node) for other in graph.node)
    if key not in functions or key in within:  # the second is a circle, which ONNX refuses
        return 1 + inner
    if key not in sizes:
        sizes[key] = sum(_expanded(other, functions, sizes, within | {key}) for other in functions[key].node)
    return sizes[key] + inner


def _import_all_domains(model: Any) -> None:
    """Declare a version of every domain that nodes have; ONNX infers no shape at all where one lacks it."""
    nodes = [inner for node in model.graph.node for inner in (node, *nodes_within(node))]
    for node in nodes:
        if node.domain == "ai.onnx":
            node.domain = ""
    for domain in {node.domain for node in nodes} - {entry.domain for entry in model.opset_import}:
        model.opset_import.add(domain=domain, version=1 if domain else 18)
