"""An epilogue in a TFLite model: the fused activation of a convolution or a sum, and nodes for all else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._fusion import SUM, parts_of

if TYPE_CHECKING:
    import numpy as np

    from convbench.problem import ConvProblem, Epilogue

    from .model import TfliteModel

_RELU, _RELU_N1_TO_1, _RELU6 = 1, 2, 3  # in the enumeration ActivationFunctionType


def fused_activation(epilogue: Epilogue) -> int:
    """TFLite's number of the activation that a node may compute besides; 0 where it has none."""
    if epilogue.activation == "clip":
        return _RELU_N1_TO_1 if (epilogue.low, epilogue.high) == (-1, 1) else 0
    return {"relu": _RELU, "relu6": _RELU6}.get(epilogue.activation or "", 0)


def fused_field(problem: ConvProblem) -> dict[str, int]:
    """The field of the convolution's options for its activation; none without one that comes first."""
    epilogue = problem.epilogue
    if epilogue is None or epilogue.residual == "before" or not fused_activation(epilogue):
        return {}
    return {"fusedActivationFunction": fused_activation(epilogue)}


def fused_in_convolution(problem: ConvProblem) -> tuple[str, ...]:
    """The parts of the epilogue that the model's convolution has."""
    epilogue = problem.epilogue
    return (epilogue.activation,) if fused_field(problem) and epilogue and epilogue.activation else ()


def add_epilogue(model: TfliteModel, epilogue: Epilogue, shape: tuple[int, ...], dtype: np.dtype) -> None:
    """Add the nodes of the epilogue after the convolution, whose output has `shape` in NHWC. The residual is the second
    input of the model."""
    residual = [model.add_input(shape)] if epilogue.residual else []
    activation_is_fused = bool(fused_activation(epilogue))
    for part in parts_of(epilogue):
        if part == SUM:
            fused = fused_activation(epilogue) if epilogue.residual == "before" else 0
            model.add("ADD", shape, [], "AddOptions", residual, fusedActivationFunction=fused)
        elif not activation_is_fused:
            _add_activation(model, epilogue, shape, dtype)


def _add_activation(model: TfliteModel, epilogue: Epilogue, shape: tuple[int, ...], dtype: np.dtype) -> None:
    import numpy as np

    plain: dict[str, tuple[str, str, dict[str, Any]]] = {
        "leaky_relu": ("LEAKY_RELU", "LeakyReluOptions", {"alpha": epilogue.slope}),
        "hard_swish": ("HARD_SWISH", "HardSwishOptions", {}),
        "sigmoid": ("LOGISTIC", "NONE", {}),
        "gelu": ("GELU", "GeluOptions", {"approximate": False}),
        "gelu_tanh": ("GELU", "GeluOptions", {"approximate": True}),
    }
    if epilogue.activation == "clip":
        for kind, limit in (("MAXIMUM", epilogue.low), ("MINIMUM", epilogue.high)):
            model.add(kind, shape, [np.array([limit], dtype)], "MaximumMinimumOptions")
    elif epilogue.activation == "silu":
        y = model.last
        model.add("LOGISTIC", shape, [], "NONE")
        model.add("MUL", shape, [], "MulOptions", [y])
    else:
        kind, options, fields = plain[epilogue.activation or ""]
        model.add(kind, shape, [], options, **fields)
