"""A problem as plain PyTorch code, for bug reports."""

from __future__ import annotations

from collections.abc import Sequence

from convbench.problem import ConvProblem

TORCH_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def torch_script(
    problem: ConvProblem,
    *,
    device: str = "cpu",
    channels_last: bool = False,
    settings: Sequence[str] = (),
    preparation: Sequence[str] = (),
    call: str = "conv2d({x}, w, b, {stride}, {padding}, {dilation}, {groups})",
) -> str:
    """Code from NumPy's `x`, `w` and `b` to `out`. `settings` come first, and `preparation` comes before `call`.

    In these, `{x}` is the input, padded if conv2d cannot do that itself, and `{padding}` is the padding of conv2d.
    """
    (top, bottom), (left, right) = problem.padding
    conv2d_pads = problem.padding_mode == "zeros" and top == bottom >= 0 and left == right >= 0
    padded = "x"
    if not conv2d_pads and any((top, bottom, left, right)):
        padded = f'pad(x, {(left, right, top, bottom)}, "{TORCH_MODE[problem.padding_mode]}")'
    words = {
        "x": padded,
        "stride": problem.stride,
        "padding": (top, left) if conv2d_pads else (0, 0),
        "dilation": problem.dilation,
        "groups": problem.groups,
    }
    half = problem.dtype == "bfloat16"  # the same 16 bits under two types in torch and NumPy
    tensor = "torch.from_numpy(a.copy().view(np.int16)).view(torch.bfloat16)" if half else "torch.from_numpy(a.copy())"
    moved = "" if device == "cpu" else f'.to("{device}")'
    lines = [
        "import torch",
        "from torch.nn.functional import conv2d, pad",
        "torch.set_num_threads(1)",
        *settings,
        f"x, w, b = (a if a is None else {tensor}{moved} for a in (x, w, b))",
    ]
    if channels_last:
        lines.append("x, w = (a.to(memory_format=torch.channels_last) for a in (x, w))")
    lines += [line.format(**words) for line in preparation]
    out = f"{call.format(**words)}{'.cpu()' if moved else ''}.contiguous()"
    if half:
        lines.append("array = lambda y: y.view(torch.int16).numpy().view(ml_dtypes.bfloat16)")
    return "\n".join([*lines, f"out = array({out})" if half else f"out = {out}.numpy()"])
