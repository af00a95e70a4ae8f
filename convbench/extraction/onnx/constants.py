"""Constant folding for sizes and paddings that an ONNX graph computes from constants and shapes.

Exporters write these as chains of nodes that ONNX's shape inference does not follow. Only the operators named here are
computed, by ONNX's own reference implementation in NumPy, and only on few numbers.
"""

from __future__ import annotations

from typing import Any

from convbench.extraction.onnx.shapes import MOST_NUMBERS, Shapes

_OPERATORS = {
    *("Add", "Sub", "Mul", "Div", "Mod", "Neg", "Abs", "Min", "Max", "Clip", "Relu", "Floor", "Ceil", "Round", "Cast"),
    *("Equal", "Less", "Greater", "Not", "And", "Or", "Where", "ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin"),
    *("Concat", "ConstantOfShape", "Gather", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
}
_ROUNDS = 20


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
