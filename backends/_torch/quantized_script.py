"""A quantised problem as plain PyTorch code, for bug reports."""

from __future__ import annotations

from convbench.problem import ConvProblem

from .script import TORCH_MODE

_BIAS = (
    "bias = None if b is None else torch.from_numpy((b * (x_scale * w_scale.astype(np.float64))).astype(np.float32))"
)
_PER_CHANNEL = (
    "scale, zero = torch.from_numpy(w_scale.astype(np.float64)), torch.from_numpy(w_zero.astype(np.int64))",
    "weight = torch._make_per_channel_quantized_tensor(w, scale, zero, 0)",
)
_PER_TENSOR = ("weight = torch._make_per_tensor_quantized_tensor(w, float(w_scale[0]), int(w_zero[0]))",)


def eager_script(problem: ConvProblem, engine: str, *, channels_last: bool) -> str:
    """Code from NumPy's `x`, `w`, `b` and the scales to `out`, by `torch.ops.quantized.conv2d`."""
    assert problem.quantization is not None
    padded, arguments = _padded(problem, "None"), _arguments(problem)
    lines = [
        *_start(channels_last),
        "import warnings",
        'warnings.simplefilter("ignore")  # of the deprecation of quantised tensors',
        f'torch.backends.quantized.engine = "{engine}"',
        *(_PER_CHANNEL if problem.quantization.per_channel else _PER_TENSOR),
        _BIAS,
        f"packed = torch.ops.quantized.conv2d_prepack(weight, bias, {arguments})",
        "x = torch._make_per_tensor_quantized_tensor(x, x_scale, x_zero)",
        f"out = torch.ops.quantized.conv2d.new({padded}, packed, y_scale, y_zero).int_repr().contiguous().numpy()",
    ]
    return "\n".join(lines)


def exported_script(problem: ConvProblem) -> str:
    """The same by `torch.ops.onednn.qconv2d_pointwise`, to which inductor lowers a model that PT2E quantised."""
    assert problem.quantization is not None
    padded, arguments = _padded(problem, "x_zero"), _arguments(problem)
    result = problem.quantization.dtypes["y"]
    lines = [
        *_start(channels_last=True),
        "scale, zero = torch.from_numpy(w_scale.copy()), torch.from_numpy(w_zero.astype(np.int64))",
        _BIAS,
        f"x = {padded}",
        "ops = torch.ops.onednn",
        f"packed = ops.qconv_prepack(w, scale, x_scale, x_zero, {arguments}, list(x.shape))",
        f'end = (y_scale, y_zero, torch.{result}, "none", [], "")',
        "convolve = ops.qconv2d_pointwise.default",
        f"out = convolve(x, x_scale, x_zero, packed, scale, zero, bias, {arguments}, *end).contiguous().numpy()",
    ]
    return "\n".join(lines)


def _start(channels_last: bool) -> list[str]:
    laid_out = ".to(memory_format=torch.channels_last)" if channels_last else ""
    return [
        "import torch",
        "from torch.nn.functional import pad",
        "torch.set_num_threads(1)",
        f"x, w = torch.from_numpy(x.copy()){laid_out}, torch.from_numpy(w.copy())",
    ]


def _padded(problem: ConvProblem, zero: str) -> str:
    """The input, padded with `zero` where the operator does not pad."""
    if _operator_pads(problem):
        return "x"
    (top, bottom), (left, right) = problem.padding
    value = zero if problem.padding_mode == "zeros" else "None"
    return f'pad(x, {(left, right, top, bottom)}, "{TORCH_MODE[problem.padding_mode]}", {value})'


def _arguments(problem: ConvProblem) -> str:
    (top, _), (left, _) = problem.padding
    sides = [top, left] if _operator_pads(problem) else [0, 0]
    return f"{list(problem.stride)}, {sides}, {list(problem.dilation)}, {problem.groups}"


def _operator_pads(problem: ConvProblem) -> bool:
    (top, bottom), (left, right) = problem.padding
    return problem.padding_mode == "zeros" and top == bottom >= 0 and left == right >= 0
