"""oneDNN's element-wise functions for activations, in its words: those of an epilogue's post-op."""

from __future__ import annotations

from convbench.problem import Activation, Epilogue

Function = tuple[str, float, float]
"""The algorithm's word behind `eltwise_`, alpha and beta."""

CODES = {
    "relu": 0x20, "clip": 0x2E, "hardswish": 0x34, "swish": 0x2C, "logistic": 0x29, "gelu_erf": 0x31, "gelu_tanh": 0x2B,
}  # fmt: skip
"""Constants of oneapi/dnnl/dnnl_types.h."""
_FUNCTIONS: dict[Activation, Function] = {
    "relu": ("relu", 0.0, 0.0),
    "relu6": ("clip", 0.0, 6.0),
    "hard_swish": ("hardswish", 1 / 6, 1 / 2),
    "silu": ("swish", 1.0, 0.0),
    "sigmoid": ("logistic", 0.0, 0.0),
    "gelu": ("gelu_erf", 0.0, 0.0),
    "gelu_tanh": ("gelu_tanh", 0.0, 0.0),
}


def function_of(epilogue: Epilogue) -> Function:
    """The function of an epilogue that has an activation."""
    assert epilogue.activation is not None
    if epilogue.activation == "leaky_relu":
        return ("relu", epilogue.slope or 0.0, 0.0)
    if epilogue.activation == "clip":
        return ("clip", epilogue.low or 0.0, epilogue.high or 0.0)
    return _FUNCTIONS[epilogue.activation]
