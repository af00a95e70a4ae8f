"""A quantised convolution of JAX: int8 by int8 to int32, then the scale, all in one compiled function.

XLA convolves operands of one type only, so uint8 becomes int8 (`_int8_correction`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem, Scales

from .._int8_correction import correction, multiplier, shifted_zero

if TYPE_CHECKING:
    import numpy as np

_MODE = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}


def operands(
    problem: ConvProblem, x: np.ndarray, w: np.ndarray, b: np.ndarray | None, scales: Scales, *, channels_last: bool
) -> list[np.ndarray]:
    """What the compiled function takes: the input, and weight, correction, multiplier and zero points."""
    import numpy as np

    of_channels = [correction(problem, w, b, scales), multiplier(problem, scales)]
    if channels_last:
        x, w = x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0)
    else:
        of_channels = [array[:, None, None] for array in of_channels]
    arrays = (x, w, shifted_zero(problem, scales), *of_channels, np.int32(scales.y_zero))
    return [np.array(array, order="C") for array in arrays]


@lru_cache(maxsize=256)
def compiled(problem: ConvProblem, channels_last: bool) -> Callable[..., Any]:
    """The jitted function of a problem. Its first call compiles; preparing the problem again compiles nothing."""
    import jax
    from jax import lax
    from jax import numpy as jnp

    assert problem.quantization is not None
    result = problem.quantization.result
    layout = ("NHWC", "HWIO", "NHWC") if channels_last else ("NCHW", "OIHW", "NCHW")
    space = ((0, 0), *problem.padding, (0, 0)) if channels_last else ((0, 0), (0, 0), *problem.padding)
    low, high = {"u8": (0, 255), "s8": (-128, 127)}.get(result, (0, 0))

    def convolve(x: Any, w: Any, zero: Any, correction: Any, multiplier: Any, y_zero: Any) -> Any:
        if x.dtype == jnp.uint8:
            x = lax.bitcast_convert_type(x ^ jnp.uint8(128), jnp.int8)  # 128 less
        if problem.padding_mode == "zeros":
            x = lax.pad(x, zero, [(before, after, 0) for before, after in space])
        else:
            x = jnp.pad(x, space, mode=_MODE[problem.padding_mode])
        sums = lax.conv_general_dilated(
            x,
            w,
            window_strides=problem.stride,
            padding="VALID",
            rhs_dilation=problem.dilation,
            dimension_numbers=layout,
            feature_group_count=problem.groups,
            preferred_element_type=jnp.int32,
        )
        sums += correction
        if result == "s32":
            return sums
        real = sums.astype(jnp.float32) * multiplier
        if result == "f32":
            return real
        # Clamped before it is an integer, because a conversion of what int32 cannot hold is not defined.
        rounded = jnp.clip(jnp.round(real), low - y_zero, high - y_zero)
        return (rounded.astype(jnp.int32) + y_zero).astype(jnp.uint8 if result == "u8" else jnp.int8)

    return jax.jit(convolve)
