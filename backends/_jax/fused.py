"""Epilogues in JAX: functions of `jax.nn`, in one compiled function with the convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convbench.problem import Activation, Epilogue

from .._fusion import in_order


def fused(epilogue: Epilogue) -> Callable[[Any, Any], Any]:
    """A traceable function from the convolution and the residual, or None, to the result."""
    from jax import nn
    from jax import numpy as jnp

    functions: dict[Activation | None, Callable[[Any], Any]] = {
        None: lambda y: y,
        "relu": nn.relu,
        "relu6": nn.relu6,
        "leaky_relu": lambda y: nn.leaky_relu(y, epilogue.slope or 0.0),
        "clip": lambda y: jnp.clip(y, epilogue.low, epilogue.high),
        "hard_swish": nn.hard_swish,
        "silu": nn.silu,
        "sigmoid": nn.sigmoid,
        "gelu": lambda y: nn.gelu(y, approximate=False),
        "gelu_tanh": lambda y: nn.gelu(y, approximate=True),
    }
    return in_order(epilogue, functions[epilogue.activation])


def epilogue_code(epilogue: Epilogue, y: str) -> str:
    """`fused` of the expression `y` and the residual `r`, as code with `nn` for jax.nn."""
    add = " + r" if epilogue.residual == "before" else ""
    functions: dict[Activation | None, str] = {
        None: "({y})",
        "relu": "nn.relu({y})",
        "relu6": "nn.relu6({y})",
        "leaky_relu": f"nn.leaky_relu({{y}}, {epilogue.slope})",
        "clip": f"jnp.clip({{y}}, {epilogue.low}, {epilogue.high})",
        "hard_swish": "nn.hard_swish({y})",
        "silu": "nn.silu({y})",
        "sigmoid": "nn.sigmoid({y})",
        "gelu": "nn.gelu({y}, approximate=False)",
        "gelu_tanh": "nn.gelu({y}, approximate=True)",
    }
    return functions[epilogue.activation].format(y=f"{y}{add}") + (" + r" if epilogue.residual == "after" else "")
