"""What XLA compiles of a problem: the convolution, its gradients, a training step; and what it makes of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem

from .fused import fused
from .script import JAX_MODE

if TYPE_CHECKING:
    import numpy as np


def with_float64(function: Callable[..., Any], problem: ConvProblem) -> Callable[..., Any]:
    """`function` with float64 enabled, which JAX otherwise converts to float32. It is enabled only in these calls,
    because the process may be another program that uses `convbench.apply`."""
    if problem.dtype != "float64":
        return function
    try:
        from jax import enable_x64
    except ImportError:  # before jax 0.8
        from jax.experimental import enable_x64

    def call(*operands: Any) -> Any:
        with enable_x64(True):
            return function(*operands)

    return call


@lru_cache(maxsize=256)
def compiled(problem: ConvProblem, channels_last: bool) -> Callable[..., Any]:
    """The jitted convolution of a problem. Its first call compiles; preparing the problem again compiles nothing."""
    import jax

    return jax.jit(_convolution(problem, channels_last))


@lru_cache(maxsize=256)
def compiled_gradient(problem: ConvProblem, channels_last: bool) -> Callable[..., Any]:
    """The jitted gradient of a problem: the transpose of the convolution, as `jax.vjp` has it, for one operand.

    The convolution is linear in each operand, so it is computed for none, and the gradient is a function of what it
    takes alone: the output's gradient, and the weight or the input.
    """
    import jax
    from jax import numpy as jnp

    convolve = _convolution(problem.replace(direction="forward", bias=False, epilogue=None), channels_last)

    def zeros(shape: tuple[int, ...], order: tuple[int, ...], g: Any) -> Any:
        return jnp.zeros([shape[axis] for axis in order] if channels_last else shape, g.dtype)

    def input_gradient(g: Any, w: Any) -> Any:
        x = zeros(problem.input_shape, (0, 2, 3, 1), g)
        return jax.vjp(lambda x: convolve(x, w), x)[1](g)[0]

    def weight_gradient(g: Any, x: Any) -> Any:
        w = zeros(problem.weight_shape, (2, 3, 1, 0), g)
        return jax.vjp(lambda w: convolve(x, w), w)[1](g)[0]

    def bias_gradient(g: Any) -> Any:
        return g.sum((0, 1, 2) if channels_last else (0, 2, 3))

    gradients: dict[str, Callable[..., Any]] = {
        "input_gradient": input_gradient,
        "weight_gradient": weight_gradient,
        "bias_gradient": bias_gradient,
    }
    return jax.jit(gradients[problem.direction])


@lru_cache(maxsize=256)
def compiled_step(problem: ConvProblem, channels_last: bool) -> Callable[..., Any]:
    """The jitted training step of a problem: the output, and what `jax.vjp` gives for each operand. XLA sees them as
    one program and may share work between them."""
    import jax

    convolve = _convolution(problem.parts[0], channels_last)

    def step(x: Any, g: Any, *weights: Any) -> tuple[Any, ...]:
        y, gradients = jax.vjp(convolve, x, *weights)
        return (y, *gradients(g))

    return jax.jit(step)


def _convolution(problem: ConvProblem, channels_last: bool) -> Callable[..., Any]:
    from jax import lax
    from jax import numpy as jnp

    layout = ("NHWC", "HWIO", "NHWC") if channels_last else ("NCHW", "OIHW", "NCHW")
    padding = problem.padding
    accumulated_in = jnp.float64 if problem.dtype == "float64" else jnp.float32

    with_epilogue = None if problem.epilogue is None else fused(problem.epilogue)

    def convolve(x: Any, *operands: Any) -> Any:
        r, (w, *rest) = (operands[0], operands[1:]) if "r" in problem.operand_shapes else (None, operands)
        b, sides = rest[0] if rest else None, padding
        if problem.padding_mode != "zeros":
            space = ((0, 0), *padding, (0, 0)) if channels_last else ((0, 0), (0, 0), *padding)
            x, sides = jnp.pad(x, space, mode=JAX_MODE[problem.padding_mode]), ((0, 0), (0, 0))
        y = lax.conv_general_dilated(
            x,
            w,
            window_strides=problem.stride,
            padding=sides,
            rhs_dilation=problem.dilation,
            dimension_numbers=layout,
            feature_group_count=problem.groups,
            precision=lax.Precision.HIGHEST,
            preferred_element_type=accumulated_in,  # half formats are rounded once, after the bias
        )
        if b is not None:
            y += (b if channels_last else b[:, None, None]).astype(accumulated_in)
        if with_epilogue is not None:
            y = with_epilogue(y, None if r is None else r.astype(accumulated_in))
        return y.astype(x.dtype)

    return convolve


def from_jax(problem: ConvProblem) -> Callable[[Any], np.ndarray]:
    """From the layout of a result in NHWC and HWIO to the problem's."""
    import numpy as np

    if problem.direction in ("forward", "input_gradient"):
        return from_nhwc
    return np.asarray if problem.direction == "bias_gradient" else lambda out: np.asarray(out).transpose(3, 2, 0, 1)


@lru_cache(maxsize=256)
def hlo(problem: ConvProblem, channels_last: bool) -> Callable[..., str]:
    """A function that gives the module that XLA makes of a problem. JAX does not show the one that it runs; asked for
    it, it compiles once more, or finds it in its cache."""
    computed: Any = (compiled if problem.direction == "forward" else compiled_gradient)(problem, channels_last)
    return lambda *operands: computed.lower(*operands).compile().as_text()


def from_nhwc(output: Any) -> np.ndarray:
    import numpy as np

    return np.asarray(output).transpose(0, 3, 1, 2)
