"""A quantised problem as plain JAX code, for bug reports."""

from __future__ import annotations

from convbench.problem import ConvProblem
from convbench.problem.quantization import LIMITS

from .script import JAX_MODE

_SCRIPT = """\
import os
os.environ["NPROC"] = "1"  # threads, of which JAX takes this many from the start
import jax
from jax import lax, numpy as jnp
shift = {shift}  # from uint8 to int8
zero = np.int8(x_zero - shift)
correction = -np.int64(zero) * w.reshape(len(w), -1).astype(np.int64).sum(1) + (0 if b is None else b)
multiplier = np.broadcast_to(x_scale * w_scale.astype(np.float64) / y_scale, (len(w),)).astype(np.float32)
correction = correction.astype(np.int32){channels}
multiplier = multiplier{channels}
x, w = (x ^ np.array(shift, x.dtype)).view(np.int8){to_layout_x}, w{to_layout_w}
arrays = [jax.device_put(np.array(a, order="C"), jax.devices("{device}")[0])
          for a in (x, w, zero, correction, multiplier, np.int32(y_zero))]
def convolve(x, w, zero, correction, multiplier, y_zero):
    x = {padded}
    sums = lax.conv_general_dilated(
        x, w, {stride}, "VALID", rhs_dilation={dilation}, dimension_numbers={layout},
        feature_group_count={groups}, preferred_element_type=jnp.int32,
    )
    sums += correction
{result}
convolve = jax.jit(convolve)
out = np.asarray(convolve(*arrays)){back}"""


def quantized_script(problem: ConvProblem, device: str, *, channels_last: bool) -> str:
    """Code from NumPy's `x`, `w`, `b` and the scales to `out`."""
    assert problem.quantization is not None
    none, mode, result = (0, 0), problem.padding_mode, problem.quantization.result
    space = (none, *problem.padding, none) if channels_last else (none, none, *problem.padding)
    inside = [(before, after, 0) for before, after in space]
    return _SCRIPT.format(
        device=device,
        shift=128 if problem.quantization.input == "u8" else 0,
        channels="" if channels_last else "[:, None, None]",
        to_layout_x=".transpose(0, 2, 3, 1)" if channels_last else "",
        to_layout_w=".transpose(2, 3, 1, 0)" if channels_last else "",
        padded=f"lax.pad(x, zero, {inside})" if mode == "zeros" else f'jnp.pad(x, {space}, mode="{JAX_MODE[mode]}")',
        stride=problem.stride,
        dilation=problem.dilation,
        groups=problem.groups,
        layout=("NHWC", "HWIO", "NHWC") if channels_last else ("NCHW", "OIHW", "NCHW"),
        result="\n".join(_RESULTS.get(result) or _requantized(result)),
        back=".transpose(0, 3, 1, 2)" if channels_last else "",
    )


_RESULTS = {
    "s32": ["    return sums"],
    "f32": ["    return sums.astype(jnp.float32) * multiplier"],
}


def _requantized(result: str) -> list[str]:
    low, high = LIMITS[result]
    return [
        "    real = sums.astype(jnp.float32) * multiplier",
        f"    rounded = jnp.clip(jnp.round(real), {low} - y_zero, {high} - y_zero)",
        f"    return (rounded.astype(jnp.int32) + y_zero).astype(jnp.{'uint8' if result == 'u8' else 'int8'})",
    ]
