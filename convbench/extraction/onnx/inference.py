"""The shapes that can be inferred in an ONNX graph without running it.

Exporters write sizes, paddings and conditions as chains of nodes that ONNX's shape inference does not follow. The
operators named here are computed by ONNX's own reference implementation in NumPy, and only on few numbers.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from convbench.extraction.onnx.branches import take_known_branches
from convbench.extraction.onnx.foreign import Foreign, stand_in_for_foreign
from convbench.extraction.onnx.model_file import first_line
from convbench.extraction.onnx.shapes import MOST_NUMBERS, Shapes

_OPERATORS = {
    *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Min", "Max", "Clip", "Relu", "Floor", "Ceil", "Round", "Cast"),
    *("Equal", "Less", "Greater", "Not", "And", "Or", "Where", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"),
    *("Concat", "ConstantOfShape", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
    *("LessOrEqual", "GreaterOrEqual", "Xor", "Size"),
}
_ROUNDS = 20


def inferred(path: Path, model: Any) -> tuple[Any, dict[str, Foreign], str | None]:
    """The graph of `model` with the shapes that are known, with the branches that are known to be taken, and with
    stand-ins for foreign operators, which are given by their outputs; and why ONNX infers no shapes, if it does not."""
    from onnx.shape_inference import infer_shapes

    foreign: dict[str, Foreign] = {}
    for _ in range(_ROUNDS):
        foreign |= stand_in_for_foreign(model.graph)
        _make_dense(model.graph)
        try:
            model = infer_shapes(model, data_prop=True)
        except Exception as error:  # its own, and what an extension module raises for a file that is wrong
            return model.graph, foreign, first_line(error)
        is_folded = _fold_constants(model.graph)
        if not take_known_branches(model.graph, Shapes(path, model.graph).array) and not is_folded:
            break
    return model.graph, foreign, None


def _make_dense(graph: Any) -> None:
    """Put a dense initializer without data in the place of each sparse one, which ONNX's inference does not look at."""
    for sparse in graph.sparse_initializer:
        graph.initializer.add(name=sparse.values.name, data_type=sparse.values.data_type, dims=sparse.dims)
    del graph.sparse_initializer[:]


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

    if node.domain or len(node.output) != 1 or not any(node.input):
        return None
    if node.op_type in ("Shape", "Size"):
        shape = shapes.known(node.input[0])
        if shape is None or min(shape, default=1) < 1 or node.attribute:
            return None
        return np.array(shape, np.int64) if node.op_type == "Shape" else np.prod(shape, dtype=np.int64).reshape(())
    if node.op_type not in _OPERATORS:
        return None
    inputs = {name: known[name] if name in known else shapes.array(name) for name in node.input if name}
    if any(array is None for array in inputs.values()):
        return None
    if node.op_type == "ConstantOfShape" and np.prod(next(iter(inputs.values())), dtype=np.float64) > MOST_NUMBERS:
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
    return array if array.size <= MOST_NUMBERS and array.dtype.kind in "iufb" else None
