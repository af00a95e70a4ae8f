"""Epilogues in TensorFlow: functions of `tf.nn`, which a graph's optimiser may join to the convolution."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convbench.problem import Activation, Epilogue

from .._fusion import in_order, lines_in_order


def ended(epilogue: Epilogue) -> Callable[[Any, Any], Any]:
    """A function from the convolution and the residual, or None, to the result."""
    import tensorflow as tf

    def hard_swish(y: Any) -> Any:
        return y * tf.nn.relu6(y + tf.cast(3.0, y.dtype)) / tf.cast(6.0, y.dtype)

    def clip(y: Any) -> Any:
        # tf.cast would make the limits float32 numbers first.
        return tf.clip_by_value(y, tf.constant(epilogue.low, y.dtype), tf.constant(epilogue.high, y.dtype))

    functions: dict[Activation | None, Callable[[Any], Any]] = {
        None: lambda y: y,
        "relu": tf.nn.relu,
        "relu6": tf.nn.relu6,
        "leaky_relu": lambda y: tf.nn.leaky_relu(y, epilogue.slope or 0.0),
        "clip": clip,
        "hard_swish": hard_swish,
        "silu": lambda y: y * tf.sigmoid(y),
        "sigmoid": tf.sigmoid,
        "gelu": lambda y: tf.nn.gelu(y, approximate=False),
        "gelu_tanh": lambda y: tf.nn.gelu(y, approximate=True),
    }
    return in_order(epilogue, functions[epilogue.activation])


def epilogue_lines(epilogue: Epilogue) -> list[str]:
    """`ended` as code, from `y` and `r` to `y`."""
    codes: dict[Activation | None, str] = {
        "relu": "tf.nn.relu(y)",
        "relu6": "tf.nn.relu6(y)",
        "leaky_relu": f"tf.nn.leaky_relu(y, {epilogue.slope})",
        "clip": f"tf.clip_by_value(y, tf.constant({epilogue.low}, y.dtype), tf.constant({epilogue.high}, y.dtype))",
        "hard_swish": "y * tf.nn.relu6(y + tf.cast(3.0, y.dtype)) / tf.cast(6.0, y.dtype)",
        "silu": "y * tf.sigmoid(y)",
        "sigmoid": "tf.sigmoid(y)",
        "gelu": "tf.nn.gelu(y, approximate=False)",
        "gelu_tanh": "tf.nn.gelu(y, approximate=True)",
    }
    return lines_in_order(epilogue, codes.get(epilogue.activation, "y"))
