"""A problem as plain PyTorch code, for bug reports."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.problem import ConvProblem
from convbench.problem.vocabulary import OPERANDS

TORCH_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}
_LEAF = {"input_gradient": "x", "weight_gradient": "w", "bias_gradient": "b"}
"""By direction, the operand of which the gradient is asked for."""


CALL = "conv2d({x}, w, b, {stride}, {padding}, {dilation}, {groups})"
"""The convolution alone."""


def torch_script(
    problem: ConvProblem,
    *,
    device: str = "cpu",
    channels_last: bool = False,
    settings: Sequence[str] = (),
    preparation: Sequence[str] = (),
    call: str = CALL,
) -> str:
    """Code from NumPy's `x`, `w` and `b`, and perhaps a residual `r`, to `out`. `settings` come first, and
    `preparation` comes before `call`.

    In these, `{x}` is the input, padded if conv2d cannot do that itself, and `{padding}` is the padding of conv2d.
    """
    words, residual = _words(problem), ", r" * ("r" in problem.operand_shapes)
    names = f"x, w, b{residual}"
    lines = [
        *_start(settings),
        f"{names} = (a if a is None else {_tensor(problem)}{_moved(device)} for a in ({names}))",
    ]
    if channels_last:
        names = f"x, w{residual}"
        lines.append(f"{names} = (a.to(memory_format=torch.channels_last) for a in ({names}))")
    lines += [line.format(**words) for line in preparation]
    return "\n".join([*lines, *_out(problem, call.format(**words), device)])


def torch_gradient_script(
    problem: ConvProblem,
    *,
    device: str = "cpu",
    channels_last: bool = False,
    compiled: bool = False,
    settings: Sequence[str] = (),
) -> str:
    """Code from NumPy's `g`, and `x` or `w`, to the gradient `out`, by autograd; of a convolution that is `compiled`,
    which has to go forward before each way back, because its buffers are used up then."""
    words, given, leaf = _words(problem), OPERANDS[problem.direction], _LEAF[problem.direction]
    shapes = {"x": problem.input_shape, "w": problem.weight_shape, "b": (problem.out_channels,)}
    names = ", ".join(given) if len(given) > 1 else f"{given[0]},"
    made = [name for name in ("x", "w", "b") if name not in given and name in ("x", "w", leaf)]
    of_planes = [name for name in (*given, *made) if name != "b"]
    laid_out = f"{', '.join(of_planes)} = (a.to(memory_format=torch.channels_last) for a in ({', '.join(of_planes)}))"
    again = ".contiguous(memory_format=torch.channels_last)" if channels_last and words["x"] != "x" else ""
    bias = "b" if leaf == "b" else "None"
    sizes = f"{words['stride']}, {words['padding']}, {words['dilation']}, {words['groups']}"
    if compiled:
        convolution = f"lambda x, w, b: conv2d({words['x']}, w, b, {sizes})"
        forward = f"conv = torch.compile({convolution}, fullgraph=True, dynamic=False)"
        call = f"torch.autograd.grad(conv(x, w, {bias}), {leaf}, g)[0]"
    else:
        forward = f"y = conv2d({words['x']}{again}, w, {bias}, {sizes})"
        call = f"torch.autograd.grad(y, {leaf}, g, retain_graph=True)[0]"
    lines = [
        *_start(settings),
        f"{names} = ({_tensor(problem)}{_moved(device)} for a in ({names}))",
        *(f"{name} = torch.zeros({shapes[name]}, dtype=g.dtype, device=g.device)" for name in made),
        *([laid_out] if channels_last else []),
        f"{leaf}.requires_grad_()",
        forward,
    ]
    return "\n".join([*lines, *_out(problem, call, device)])


def _words(problem: ConvProblem) -> dict[str, object]:
    (top, bottom), (left, right) = problem.padding
    conv2d_pads = problem.padding_mode == "zeros" and top == bottom >= 0 and left == right >= 0
    padded = "x"
    if not conv2d_pads and any((top, bottom, left, right)):
        padded = f'pad(x, {(left, right, top, bottom)}, "{TORCH_MODE[problem.padding_mode]}")'
    return {
        "x": padded,
        "stride": problem.stride,
        "padding": (top, left) if conv2d_pads else (0, 0),
        "dilation": problem.dilation,
        "groups": problem.groups,
    }


def _start(settings: Sequence[str]) -> list[str]:
    return ["import torch", "from torch.nn.functional import conv2d, pad", "torch.set_num_threads(1)", *settings]


def _tensor(problem: ConvProblem) -> str:
    if problem.dtype == "bfloat16":  # the same 16 bits under two types in torch and NumPy
        return "torch.from_numpy(a.copy().view(np.int16)).view(torch.bfloat16)"
    return "torch.from_numpy(a.copy())"


def _moved(device: str) -> str:
    return "" if device == "cpu" else f'.to("{device}")'


def _out(problem: ConvProblem, call: str, device: str) -> list[str]:
    """The last lines: `call` as an array of NumPy."""
    out = f"{call}{'' if device == 'cpu' else '.cpu()'}.contiguous()"
    if problem.dtype != "bfloat16":
        return [f"out = {out}.numpy()"]
    return [
        "array = lambda y: y.view(torch.int16).numpy().view(ml_dtypes.bfloat16)",
        f"out = array({out})",
    ]
