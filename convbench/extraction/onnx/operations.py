"""The nodes of an ONNX graph, as operations of a `DataFlow`: batch norms, activations, sums, and FusedConv's parts."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from convbench.errors import ModelError, ProblemError
from convbench.extraction.deployed.data_flow import Kind, Operation
from convbench.extraction.deployed.torch_operators import WITHOUT_STATISTICS, clip_of, sum_obstacle
from convbench.extraction.onnx.attributes import Attributes, layer_of
from convbench.extraction.onnx.foreign import Foreign
from convbench.extraction.onnx.shapes import Shapes
from convbench.problem.epilogue import Epilogue

Activation = tuple[Epilogue | None, str]
"""An epilogue, or else the name of the activation."""

_PLAIN: dict[str, Epilogue] = {
    **dict.fromkeys(("Relu",), Epilogue(activation="relu")),
    **dict.fromkeys(("Relu6",), Epilogue(activation="relu6")),
    **dict.fromkeys(("SiLU", "Silu"), Epilogue(activation="silu")),
    **dict.fromkeys(("Sigmoid",), Epilogue(activation="sigmoid")),
    **dict.fromkeys(("HardSwish",), Epilogue(activation="hard_swish")),
}
_OTHERS = frozenset("Tanh Mish Elu Selu Celu Softplus Softsign PRelu ThresholdedRelu QuickGelu FastGelu".split())


class Operations:
    """Reads the operations of the nodes of one graph. `foreign` are the nodes that ONNX does not have."""

    def __init__(self, path: Path, shapes: Shapes, foreign: Mapping[str, Foreign]) -> None:
        self._path, self._shapes, self._foreign = path, shapes, foreign

    def of_convolution(self, node: Any) -> Iterator[Operation]:
        """A convolution that is listed. FusedConv is one with a sum and an activation behind it."""
        parts: list[tuple[Kind, tuple[str, ...], Any]] = [("convolution", tuple(filter(None, node.input[:3])), ())]
        if node.output[0] in self._foreign:
            parts += [("sum", (added,), ()) for added in node.input[3:4] if added]
            parts += [("activation", (), activation) for activation in _fused_activation(node)]
        chain: tuple[Hashable, ...] = ()
        for place, (kind, operands, activation) in enumerate(parts, 1):
            result = node.output[0] if place == len(parts) else (node.output[0], place)
            yield Operation(kind, (*chain, *operands), result, layer_of(node), *activation)
            chain = (result,)

    def of(self, node: Any, names: Sequence[str]) -> Iterator[Operation]:
        """Any other node, which reads the tensors of these `names`."""
        foreign = self._foreign.get(node.output[0]) if node.output else None
        operator = node.op_type if foreign is None else foreign.operator
        layer, operands = layer_of(node), tuple(filter(None, names))
        results = [name for name in node.output if name]
        if not results or not operands:
            yield Operation("other", operands, results[0] if results else (layer, "nothing"), layer)
            return
        result = results[0]
        if operator == "BatchNormalization":
            obstacle = self._batch_norm_obstacle(node, foreign)
            yield Operation("batch norm", operands[:1], result, layer, obstacle=obstacle)
        elif operator in ("Add", "Sum", "Mul") and foreign is None and len(operands) == 2 and self._has_image(operands):
            kind: Kind = "product" if operator == "Mul" else "sum"
            yield Operation(kind, operands, result, layer, obstacle=self._sum_obstacle(operands))
        elif (activation := self._activation(node, operator, foreign)) and self._has_image(operands[:1]):
            yield Operation("activation", operands, result, layer, *activation)
        else:
            yield Operation("other", operands, result, layer)

    def _batch_norm_obstacle(self, node: Any, foreign: Foreign | None) -> str | None:
        if foreign is not None or len(node.input) != 5:
            return f"the operator {foreign or node.op_type} is not ONNX's"
        training = any(a.name == "training_mode" and a.i for a in node.attribute)
        if training or len([name for name in node.output if name]) > 1:
            return WITHOUT_STATISTICS
        constant = all(self._shapes.is_constant(name) for name in node.input[1:])
        return None if constant else "its statistics are no constants of the file"

    def _has_image(self, names: Sequence[str]) -> bool:
        return any(len(self._shapes.known(name) or ()) == 4 for name in names)

    def _sum_obstacle(self, names: Sequence[str]) -> str | None:
        return sum_obstacle({(self._shapes.known(name), self._shapes.element_type(name)) for name in names})

    def _activation(self, node: Any, operator: str, foreign: Foreign | None) -> Activation | None:
        if operator in _PLAIN:
            return _PLAIN[operator], ""
        if operator in _OTHERS:
            return None, operator
        if foreign is not None:  # a stand-in, without the attributes that it had
            return (Epilogue(activation="gelu"), "") if operator == "Gelu" else None
        try:
            return self._with_attributes(node, operator, Attributes(self._path, node))
        except (ModelError, ProblemError):
            return None, f"{operator} with attributes that are not understood"

    def _with_attributes(self, node: Any, operator: str, attributes: Attributes) -> Activation | None:
        if operator == "LeakyRelu":
            return Epilogue(activation="leaky_relu", slope=_decimal(attributes.number("alpha", 0.01))), ""
        if operator == "Gelu":
            tanh = attributes.word("approximate", "none", ("none", "tanh")) == "tanh"
            return Epilogue(activation="gelu_tanh" if tanh else "gelu"), ""
        if operator == "Swish":
            alpha = attributes.number("alpha", 1.0)
            return (Epilogue(activation="silu"), "") if alpha == 1 else (None, f"Swish with alpha {alpha:g}")
        if operator == "HardSigmoid":
            return _hard_sigmoid(attributes.number("alpha", 0.2), attributes.number("beta", 0.5))
        if operator == "Clip":
            return clip_of(self._limit(node, attributes, "min", 1), self._limit(node, attributes, "max", 2))
        return None

    def _limit(self, node: Any, attributes: Attributes, name: str, place: int) -> Any:
        """A limit of Clip: a number, None without one, and a text where it is known at run time only."""
        if name in attributes:
            number = attributes.number(name, 0.0)
            return None if abs(number) > 3e38 else _decimal(number)  # the largest float is no limit
        operand = "".join(node.input[place : place + 1])
        if not operand:
            return None
        constant = self._shapes.constant(operand)
        return _decimal(float(constant[0])) if constant is not None and len(constant) == 1 else "at run time"


def _fused_activation(node: Any) -> Iterator[Activation]:
    """The activation that FusedConv has in its attributes (onnxruntime's `contrib_defs`), if it has one."""
    attributes = {attribute.name: attribute for attribute in node.attribute}
    if "activation" not in attributes:
        return
    name = bytes(attributes["activation"].s).decode(errors="replace")
    parameters = [_decimal(number) for number in getattr(attributes.get("activation_params"), "floats", ())]
    unknown: Activation = (None, f"{name[:40]!r} of FusedConv")
    try:
        if name in ("Relu", "Sigmoid", "HardSwish"):
            yield _PLAIN[name], ""
        elif name == "LeakyRelu" and len(parameters) == 1:
            yield Epilogue(activation="leaky_relu", slope=parameters[0]), ""
        elif name in ("Clip", "HardSigmoid") and len(parameters) == 2:
            yield (clip_of if name == "Clip" else _hard_sigmoid)(*parameters)
        else:
            yield unknown
    except ProblemError:
        yield unknown


def _hard_sigmoid(alpha: float, beta: float) -> Activation:
    is_hard_swish = math.isclose(alpha, 1 / 6, rel_tol=1e-6) and beta == 0.5
    return None, "hard sigmoid" if is_hard_swish else f"hard sigmoid with alpha {alpha:g} and beta {beta:g}"


def _decimal(number: float) -> float:
    """The shortest decimal number that is this float32: 0.1 in a file is 0.10000000149."""
    import numpy as np

    with np.errstate(over="ignore"):
        narrow = np.float32(number)
    return float(str(narrow)) if float(narrow) == number else number
