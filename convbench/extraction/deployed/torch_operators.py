"""The operators of torch that may be joined to a convolution, by the names that they have in ATen."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.errors import ProblemError
from convbench.extraction.deployed.data_flow import Operation
from convbench.problem.epilogue import Epilogue

_PLAIN = {
    "relu": Epilogue(activation="relu"),
    "relu6": Epilogue(activation="relu6"),
    "silu": Epilogue(activation="silu"),
    "sigmoid": Epilogue(activation="sigmoid"),
    "hardswish": Epilogue(activation="hard_swish"),
}
_OTHERS = {
    "hardsigmoid": "hard sigmoid",
    **{name: name for name in ("tanh", "mish", "elu", "selu", "celu", "softplus", "softsign", "hardshrink", "rrelu")},
    "prelu": "a learnt slope (PReLU)",
    "_prelu_kernel": "a learnt slope (PReLU)",
    "log_sigmoid": "log sigmoid",
}
_LIMITS = {
    "hardtanh": ("min_val", "max_val", -1.0, 1.0),
    "clamp": ("min", "max", None, None),
    "clip": ("min", "max", None, None),
    "clamp_min": ("min", "max", None, None),
}
_BATCH_NORMS = ("batch_norm", "_native_batch_norm_legit_no_training", "_native_batch_norm_legit", "native_batch_norm")
_SUMS, _PRODUCTS = ("add",), ("mul",)
WITHOUT_STATISTICS = "it normalises by the batch itself, as in training"


@dataclass(frozen=True)
class TensorKind:
    """What two tensors have in common that can be added without broadcasting: anything that stands for their shape,
    the number of their axes and their dtype; and whether they are of real numbers."""

    shape: Hashable
    axes: int
    dtype: Hashable
    is_real: bool


def operation_of(
    name: str,
    arguments: Mapping[str, Any],
    tensors: Sequence[TensorKind],
    operands: tuple[Hashable, ...],
    result: Hashable,
    layer: str,
) -> Operation:
    """The operation that the operator `name` of ATen, without its overload, is on these tensors and other arguments."""
    base = name if name in _BATCH_NORMS else name.removesuffix("_")
    has_image = any(tensor.is_real and tensor.axes == 4 for tensor in tensors)
    if base in _BATCH_NORMS:
        obstacle = _batch_norm_obstacle(base, arguments)
        return Operation("batch norm", operands[:1], result, layer, obstacle=obstacle)
    if has_image and (activation := activation_of(base, arguments)) is not None:
        return Operation("activation", operands, result, layer, *activation)
    if has_image and base in (*_SUMS, *_PRODUCTS) and len(operands) == 2:
        obstacle = sum_obstacle(set(tensors), arguments.get("alpha", 1))
        return Operation("sum" if base in _SUMS else "product", operands, result, layer, obstacle=obstacle)
    return Operation("other", operands, result, layer)


def activation_of(name: str, arguments: Mapping[str, Any]) -> tuple[Epilogue | None, str] | None:
    """The activation that the operator `name`, such as `relu_`, computes: an epilogue, or else its name.

    None if the operator is no activation. `arguments` are by the names in ATen's schema.
    """
    name = name.removesuffix("_")
    if name in _PLAIN:
        return _PLAIN[name], ""
    if name == "leaky_relu":
        return _epilogue("leaky_relu", slope=arguments.get("negative_slope", 0.01))
    if name == "gelu":
        tanh = arguments.get("approximate", "none") == "tanh"
        return Epilogue(activation="gelu_tanh" if tanh else "gelu"), ""
    if name in _LIMITS:
        low_name, high_name, low, high = _LIMITS[name]
        return clip_of(arguments.get(low_name, low), arguments.get(high_name, high))
    return (None, _OTHERS[name]) if name in _OTHERS else None


def clip_of(low: Any, high: Any) -> tuple[Epilogue | None, str]:
    """max(low, min(y, high)), where None and infinities are no limits, as an epilogue, or else its name."""
    low, high = _limit(low, -math.inf), _limit(high, math.inf)
    if (low, high) == (0, math.inf):
        return Epilogue(activation="relu"), ""
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None, "a clip without two known limits"
    return _epilogue("clip", low=low, high=high)


def _batch_norm_obstacle(name: str, arguments: Mapping[str, Any]) -> str | None:
    trains = name != "_native_batch_norm_legit_no_training" and arguments.get("training", False)
    known = all(arguments.get(word) is not None for word in ("running_mean", "running_var"))
    return None if known and not trains else WITHOUT_STATISTICS


def sum_obstacle(kinds: set[Any], alpha: Any = 1) -> str | None:
    """Why a sum of two tensors of these kinds, the second `alpha` times, is no residual sum."""
    if len(kinds) > 1:
        return "its operands differ in shape or dtype"
    return None if alpha == 1 else f"it adds {alpha} times an operand"


def _epilogue(activation: Any, *, slope: Any = None, low: Any = None, high: Any = None) -> tuple[Epilogue | None, str]:
    try:
        return Epilogue(activation=activation, slope=slope, low=low, high=high), ""
    except ProblemError:
        return None, f"{activation.replace('_', ' ')} of {slope if low is None else f'{low} and {high}'}"


def _limit(value: Any, missing: float) -> float | None:
    """None where it is known at run time only."""
    if value is None:
        return missing
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
