"""The parameter classes that faults depend on, by name: what `Fault.when` is written in."""

from __future__ import annotations

from collections.abc import Callable

from convbench.problem import ConvProblem

CONDITIONS: dict[str, Callable[[ConvProblem], bool]] = {
    "batch 2+": lambda p: p.batch > 1,
    "batch 3+": lambda p: p.batch > 2,
    "one image": lambda p: p.batch == 1,
    "biased": lambda p: p.bias,
    "grouped": lambda p: p.groups > 1,
    "two groups": lambda p: p.groups == 2,
    "depthwise": lambda p: 1 < p.groups == p.in_channels,
    "multiplier": lambda p: 1 < p.groups == p.in_channels < p.out_channels,
    "as many groups as images": lambda p: p.groups == p.batch,
    "several channels a group": lambda p: p.in_channels > p.groups,
    "4+ channels a group, not in fours": lambda p: p.in_channels // p.groups > 4 and p.in_channels // p.groups % 4 > 0,
    "16+ channels a group": lambda p: p.in_channels // p.groups >= 16,
    "16+ channels a group, not in 16s": lambda p: p.in_channels // p.groups > 16 and p.in_channels // p.groups % 16 > 0,
    "one channel": lambda p: p.in_channels == 1,
    "one filter": lambda p: p.out_channels == 1,
    "8+ filters, not in eights": lambda p: p.out_channels > 8 and p.out_channels % 8 > 0,
    "long sums": lambda p: p.reduction_length > 256,
    "1x1 kernel": lambda p: p.kernel_size == (1, 1),
    "3x3 kernel": lambda p: p.kernel_size == (3, 3),
    "1xN kernel": lambda p: p.kernel_size[0] == 1 < p.kernel_size[1],
    "Nx1 kernel": lambda p: p.kernel_size[1] == 1 < p.kernel_size[0],
    "even kernel": lambda p: p.kernel_size[0] % 2 == 0 or p.kernel_size[1] % 2 == 0,
    "square kernel": lambda p: p.kernel_size[0] == p.kernel_size[1] > 1,
    "kernel over image": lambda p: p.kernel_size[0] > p.height or p.kernel_size[1] > p.width,
    "strided": lambda p: max(p.stride) > 1,
    "unequal stride": lambda p: p.stride[0] != p.stride[1],
    "stride over kernel": lambda p: p.stride[0] > p.kernel_size[0] or p.stride[1] > p.kernel_size[1],
    "stride 1 down, more across": lambda p: p.stride[0] == 1 < p.stride[1],
    "stride leaves a rest": lambda p: any(_rest(p, axis) for axis in (0, 1)),
    "dilated": lambda p: max(p.dilation) > 1,
    "unequal dilation": lambda p: p.dilation[0] != p.dilation[1],
    "padded": lambda p: max(map(max, p.padding)) > 0,
    "unequal padding": lambda p: p.padding[0] != p.padding[1],
    "asymmetric padding": lambda p: any(before != after for before, after in p.padding),
    "one more after than before": lambda p: any(after - before == 1 for before, after in p.padding),
    "padded after only": lambda p: any(before == 0 < after for before, after in p.padding),
    "padding over kernel": lambda p: any(max(sides) > span for sides, span in zip(p.padding, _spans(p), strict=True)),
    "padding as wide as the image": lambda p: max(p.padding[0]) == p.height or max(p.padding[1]) == p.width,
    "nothing cropped": lambda p: min(map(min, p.padding)) >= 0,
    "negative padding": lambda p: min(map(min, p.padding)) < 0,
    "padding not of zeros": lambda p: p.padding_mode != "zeros" and any(map(any, p.padding)),
    "zeros": lambda p: p.padding_mode == "zeros",
    "reflect": lambda p: p.padding_mode == "reflect",
    "replicate": lambda p: p.padding_mode == "replicate",
    "circular": lambda p: p.padding_mode == "circular",
    "float64": lambda p: p.dtype == "float64",
    "float32": lambda p: p.dtype == "float32",
    "float16": lambda p: p.dtype == "float16",
    "bfloat16": lambda p: p.dtype == "bfloat16",
    "a half format": lambda p: p.dtype in ("float16", "bfloat16"),
    "square image": lambda p: p.height == p.width,
    "one row out": lambda p: p.out_height == 1,
    "one column out": lambda p: p.out_width == 1,
    "odd width out": lambda p: p.out_width % 2 == 1,
    "8+ columns out, not in eights": lambda p: p.out_width > 8 and p.out_width % 8 > 0,
    "outputs not in 16s": lambda p: p.out_height * p.out_width % 16 > 0,
    "channels, rows and columns alike": lambda p: p.in_channels == p.height == p.width,
    "filters, rows and columns out alike": lambda p: p.out_channels == p.out_height == p.out_width,
    "as many filters as columns out": lambda p: p.out_channels == p.out_width > 1,
    "large": lambda p: p.batch * p.out_channels * p.out_height * p.out_width > 4096,
}


def conditions_of(when: str) -> list[str]:
    """The names that are joined by " & "; ValueError where one is no name of `CONDITIONS`."""
    names = when.split(" & ") if when else []
    for name in names:
        if name not in CONDITIONS:
            raise ValueError(f"{name!r} is no condition")
    return names


def all_hold(when: str, problem: ConvProblem) -> bool:
    """Whether every condition that `when` joins by " & " holds for the problem."""
    return all(CONDITIONS[name](problem) for name in conditions_of(when))


def _spans(problem: ConvProblem) -> tuple[int, int]:
    """Pixels from the first tap to the last, of rows and of columns."""
    (kh, kw), (dh, dw) = problem.kernel_size, problem.dilation
    return dh * (kh - 1), dw * (kw - 1)


def _rest(problem: ConvProblem, axis: int) -> int:
    """Ragged or columns at the end of the padded image that the stride does not reach."""
    padded = problem.input_shape[2 + axis] + sum(problem.padding[axis])
    return (padded - _spans(problem)[axis] - 1) % problem.stride[axis]
