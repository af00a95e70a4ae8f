"""A problem as plain JAX code, for bug reports."""

from __future__ import annotations

from convbench.problem import ConvProblem
from convbench.problem.vocabulary import OPERANDS

from .fused import epilogue_code

JAX_MODE = {"reflect": "reflect", "replicate": "edge", "circular": "wrap"}
_TO_CHANNELS_LAST = {"g": (0, 2, 3, 1), "x": (0, 2, 3, 1), "r": (0, 2, 3, 1), "w": (2, 3, 1, 0)}
_BACK = {"g": (0, 3, 1, 2), "x": (0, 3, 1, 2), "w": (3, 2, 0, 1)}


def jax_script(problem: ConvProblem, device: str, *, channels_last: bool) -> str:
    """Code from NumPy's `x`, `w` and `b`, and perhaps a residual `r`, to `out`."""
    bias, wide = "b" if channels_last else "b[:, None, None]", f".astype(jnp.{_sums(problem)})"
    names = ("x", "w", "b", *(["r"] if "r" in problem.operand_shapes else []))
    biased = f"(y if b is None else y + {bias}{wide})"
    return _SCRIPT.format(
        start=_start(problem, device, names, channels_last),
        names=", ".join(names),
        convolution=_convolution(problem, channels_last),
        residual=f"    r = r{wide}\n" if "r" in names else "",
        result=biased if problem.epilogue is None else f"({epilogue_code(problem.epilogue, biased)})",
        back=f".transpose{_BACK['x']}" if channels_last else "",
    )


def jax_gradient_script(problem: ConvProblem, device: str, *, channels_last: bool) -> str:
    """Code from NumPy's `g`, and `x` or `w`, to the gradient `out`, by `jax.vjp`."""
    arrays = OPERANDS[problem.direction]
    start = _start(problem, device, arrays, channels_last)
    if problem.direction == "bias_gradient":
        axes = (0, 1, 2) if channels_last else (0, 2, 3)
        return f"{start}\nout = np.asarray(jax.jit(lambda g: g.sum({axes}))(g))"
    leaf, shape = ("x", problem.input_shape) if problem.direction == "input_gradient" else ("w", problem.weight_shape)
    made = tuple(shape[axis] for axis in _TO_CHANNELS_LAST[leaf]) if channels_last else shape
    return _GRADIENT_SCRIPT.format(
        start=start,
        convolution=_convolution(problem, channels_last),
        names=", ".join(arrays),
        leaf=leaf,
        shape=made,
        back=f".transpose{_BACK[leaf]}" if channels_last else "",
    )


def _sums(problem: ConvProblem) -> str:
    return "float64" if problem.dtype == "float64" else "float32"


def _start(problem: ConvProblem, device: str, arrays: tuple[str, ...], channels_last: bool) -> str:
    """The imports, and the arrays on the device."""
    names = ", ".join(arrays) if len(arrays) > 1 else f"{arrays[0]},"
    moved = [f"{name} = {name}.transpose{_TO_CHANNELS_LAST[name]}" for name in arrays if name != "b"]
    wide = ['jax.config.update("jax_enable_x64", True)'] if problem.dtype == "float64" else []
    return "\n".join(
        [
            "import os",
            'os.environ["NPROC"] = "1"  # threads, of which JAX takes this many from the start',
            "import jax",
            "from jax import lax, nn, numpy as jnp",
            *wide,
            *(moved if channels_last else []),
            f'device = jax.devices("{device}")[0]',
            f"{names} = (a if a is None else jax.device_put(a.copy(), device) for a in ({names}))",
        ]
    )


def _convolution(problem: ConvProblem, channels_last: bool) -> str:
    """The body of a function of `x` and `w`, with sums `y` that are wider than the operands."""
    mode, none = problem.padding_mode, (0, 0)
    space = (none, *problem.padding, none) if channels_last else (none, none, *problem.padding)
    return _CONVOLUTION.format(
        padded="" if mode == "zeros" else f'    x = jnp.pad(x, {space}, mode="{JAX_MODE[mode]}")\n',
        padding=problem.padding if mode == "zeros" else (none, none),
        stride=problem.stride,
        dilation=problem.dilation,
        layout=("NHWC", "HWIO", "NHWC") if channels_last else ("NCHW", "OIHW", "NCHW"),
        groups=problem.groups,
        sums=_sums(problem),
    )


_CONVOLUTION = """\
{padded}    y = lax.conv_general_dilated(
        x, w, {stride}, {padding}, rhs_dilation={dilation}, dimension_numbers={layout},
        feature_group_count={groups}, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.{sums},
    )"""
_SCRIPT = """\
{start}
def convolve({names}):
{convolution}
{residual}    return {result}.astype(x.dtype)
convolve = jax.jit(convolve)
out = np.asarray(convolve({names})){back}"""
_GRADIENT_SCRIPT = """\
{start}
def convolve(x, w):
{convolution}
    return y.astype(x.dtype)
gradient = jax.jit(lambda {names}: jax.vjp(lambda {leaf}: convolve(x, w), jnp.zeros({shape}, g.dtype))[1](g)[0])
out = np.asarray(gradient({names})){back}"""
