"""ONNX models for the tests of `extract`, made of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import onnx.numpy_helper
import pytest

from convbench.errors import ModelError
from convbench.extraction.extract import layers_of

Node = Any


def weights(name: str, *shape: int) -> Any:
    array = np.random.default_rng(len(name)).standard_normal(shape).astype(np.float32)
    return onnx.numpy_helper.from_array(array, name)


def integers(name: str, *values: int) -> Any:
    return onnx.numpy_helper.from_array(np.array(values, np.int64), name)


def truth(name: str, value: bool) -> Any:
    return onnx.numpy_helper.from_array(np.array(value), name)


def node(operator: str, inputs: str, output: str, **attributes: Any) -> Node:
    """A node; `inputs` in one text, `-` for one that is left out."""
    names = ["" if word == "-" else word for word in inputs.split()]
    return onnx.helper.make_node(operator, names, [output], name=output, **attributes)


def branch(nodes: Sequence[Node], tensors: Sequence[Any] = ()) -> Any:
    """A graph that reads the tensors around it, and gives the output of its last node."""
    output = onnx.helper.make_tensor_value_info(nodes[-1].output[0], 1, None)
    return onnx.helper.make_graph(list(nodes), "branch", [], [output], list(tensors))


def model(
    nodes: Sequence[Node],
    tensors: Sequence[Any],
    shape: Any = (1, 3, 16, 17),
    more_outputs: Sequence[str] = (),
    inputs: Sequence[tuple[str, Any]] = (),
    functions: Sequence[Any] = (),
    sparse: Sequence[Any] = (),
) -> Any:
    """A model whose input is `x`, or `inputs` with their shapes, and whose output is the last node's."""
    outputs = [onnx.helper.make_tensor_value_info(name, 1, None) for name in (nodes[-1].output[0], *more_outputs)]
    entries = [onnx.helper.make_tensor_value_info(name, 1, dims) for name, dims in inputs or [("x", shape)]]
    graph = onnx.helper.make_graph(list(nodes), "graph", entries, outputs, list(tensors))
    graph.sparse_initializer.extend(sparse)
    domains = sorted({one.domain for one in nodes} | {function.domain for function in functions} - {""})
    opsets = [onnx.helper.make_opsetid("", 19), *(onnx.helper.make_opsetid(name, 1) for name in domains if name)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=9, functions=list(functions))


def saved(folder: Path, nodes: Sequence[Node], tensors: Sequence[Any], *rest: Any, **words: Any) -> Path:
    """The path of `model(nodes, tensors, ...)`."""
    path = folder / "model.onnx"
    path.write_bytes(model(nodes, tensors, *rest, **words).SerializeToString())
    return path


def problems(path: Path, **options: Any) -> list[tuple[str, int, str | None]]:
    """The layers that are read of a model: case id, count and name."""
    return [(case.problem.case_id, case.count, case.layer) for case in layers_of(str(path), **options).cases]


def refused(path: Path, **options: Any) -> str:
    """The sentence with which a model is refused."""
    with pytest.raises(ModelError) as caught:
        layers_of(str(path), **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)
