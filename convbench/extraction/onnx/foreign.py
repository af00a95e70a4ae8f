"""Operators that ONNX does not have: those of runtimes and of quantisers, by domain.

ONNX infers no shape behind them. Many keep the shape of their input, and Microsoft's FusedConv is a convolution with
what follows it: for these, a node of ONNX stands in while shapes are inferred.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_KEEP_THE_SHAPE = frozenset(
    (
        # activations and normalisations
        *("Gelu", "FastGelu", "QuickGelu", "BiasGelu", "Mish", "Swish", "SiLU", "Silu", "HardSwish", "HardSigmoid"),
        *("Relu", "Relu6", "LeakyRelu", "PRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Softplus", "Softsign"),
        *("ThresholdedRelu", "ScaledTanh", "ParametricSoftplus", "Clip", "Softmax", "LogSoftmax", "Dropout"),
        *("BatchNormalization", "InstanceNormalization", "GroupNorm", "GroupNormalization", "LayerNormalization"),
        *("Identity", "Affine", "ImageScaler", "Scale", "Abs", "Neg", "Exp", "Log", "Sqrt", "LRN"),
        # quantisers that give real numbers again: QONNX, FINN, Vitis AI, NNCF, MMDeploy
        *("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "MultiThreshold", "FixNeuron", "FakeQuantize"),
        *("FixedNeuron", "QuantizeDequantize", "FakeQuantizeLearnablePerTensor", "FixedPerTensorAffine"),
    )
)
_OF_INTEGERS = {"QLinearAdd": "Add", "QLinearMul": "Mul"}  # of com.microsoft: a, its scale, its zero point, b ...
_QUANTISERS = ("QuantizeLinear", "DequantizeLinear")  # Microsoft's are ONNX's, with more types


@dataclass(frozen=True)
class Foreign:
    """An operator that ONNX does not have; `stand_in` is the operator of ONNX in its place, if any."""

    operator: str
    domain: str
    stand_in: str | None = None

    @property
    def is_known(self) -> bool:
        """Whether the stand-in computes the same, on real numbers."""
        return self.operator in _OF_INTEGERS and self.stand_in is not None

    def __str__(self) -> str:
        return f"{self.operator} ({self.domain})" if self.domain else self.operator


def stand_in_for_foreign(graph: Any) -> dict[str, Foreign]:
    """The foreign nodes of `graph`, by their first output. Those with a stand-in are replaced by it."""
    foreign = {}
    for node in graph.node:
        if is_standard(node) or not node.output:
            continue
        stand_in = _stand_in(node)
        foreign[node.output[0]] = Foreign(node.op_type, node.domain, stand_in)
        if stand_in is None:
            continue
        node.op_type, node.domain = stand_in, ""
        if stand_in in _OF_INTEGERS.values():
            del node.attribute[:]
            node.input[:] = node.input[:4:3]
        if stand_in == "Identity":
            del node.attribute[:]
            del node.input[1:]
            del node.output[1:]
    return foreign


def is_standard(node: Any) -> bool:
    """Whether ONNX has this operator, in the domains of its own included."""
    from onnx.defs import has

    return bool(has(node.op_type, node.domain))


def _stand_in(node: Any) -> str | None:
    if node.op_type == "FusedConv" and node.domain == "com.microsoft":
        return "Conv"
    if node.op_type in _OF_INTEGERS and node.domain == "com.microsoft" and len(node.input) >= 4:
        return _OF_INTEGERS[node.op_type]
    if node.op_type in _QUANTISERS and node.domain == "com.microsoft":
        return str(node.op_type)
    keeps = node.op_type in _KEEP_THE_SHAPE and node.input and "nchwc" not in node.domain
    return "Identity" if keeps else None
