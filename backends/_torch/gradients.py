"""The gradients of a convolution by the operators that torch's autograd calls, on any device."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from convbench.problem import ConvProblem

from .tensors import padding, tensor

if TYPE_CHECKING:
    import numpy as np


def gradient(problem: ConvProblem, x: Any, w: Any, layout: Any) -> Callable[[Any], Any]:
    """A function from the gradient of the output to that of the input, the weight or the bias. `x` and `w` have the
    problem's shapes; values matter only of the one that the direction takes.

    Padding that conv2d does not do itself is done before, and undone after, by operators of its own, as in a model.
    """
    import torch

    padded, sides = padding(problem)
    no_padding = [0, 0]
    settings = [list(problem.stride), list(sides), list(problem.dilation), False, no_padding, problem.groups]
    wanted = [problem.direction == name for name in ("input_gradient", "weight_gradient", "bias_gradient")]
    backward = torch.ops.aten.convolution_backward.default
    index, bias_sizes = wanted.index(True), [problem.out_channels] if problem.bias else None
    if padded is None:
        return lambda g: backward(g, x, w, bias_sizes, *settings, wanted)[index]
    if problem.direction != "input_gradient":
        return lambda g: backward(g, padded(x), w, bias_sizes, *settings, wanted)[index]
    like, back = padded(x).contiguous(memory_format=layout), padding_back(problem, x)
    return lambda g: back(backward(g, like, w, bias_sizes, *settings, wanted)[index])


def step(convolve: Callable[[Any], Any], leaves: list[Any], g: Any) -> Callable[[Any], list[Any]]:
    """A function from the input, the first of the `leaves` (input, weight, perhaps a bias), to the output and the
    gradient of each leaf, as autograd computes them in training: it records the convolution and goes back."""
    import torch

    grad = torch.autograd.grad
    for leaf in leaves:
        leaf.requires_grad_(True)

    def compute(x: Any) -> list[Any]:
        y = convolve(x)
        return [y, *grad(y, leaves, g)]

    return compute


def step_in_one_graph(convolve: Callable[..., Any]) -> Callable[..., tuple[Any, ...]]:
    """A function from the gradient of the output and the operands of `convolve` to the output and the gradient of each
    operand, which torch.compile takes as one graph.

    That is `torch.func.vjp`, with the formulas of autograd. torch.compile refuses `torch.autograd.grad` where the
    output is returned, too ("autograd.grad consumed returned tensor's grad_fn", torch 2.13). A compiled convolution
    with autograd outside is two graphs, each with a call's overhead, between which nothing can be shared.
    """
    import torch

    vjp: Any = torch.func.vjp  # of which torch's types say that it may return three

    def compute(g: Any, *operands: Any) -> tuple[Any, ...]:
        y, back = vjp(convolve, *operands)
        return (y, *back(g))

    return compute


def operand(array: np.ndarray | None, shape: tuple[int, ...], dtype: Any) -> Any:
    """A tensor of `array`; without one, for what a direction does not read, any values: torch still reads the shape."""
    import torch

    return torch.empty(shape, dtype=dtype) if array is None else tensor(array)


def padding_back(problem: ConvProblem, x: Any) -> Callable[[Any], Any]:
    """The gradient of `x`, of which shape and dtype are used, from that of the padded `x`."""
    import torch
    from torch.nn.functional import pad

    (top, bottom), (left, right) = problem.padding
    sides = [left, right, top, bottom]
    aten = torch.ops.aten
    if problem.padding_mode == "reflect":
        return lambda padded: aten.reflection_pad2d_backward(padded, x, sides)
    if problem.padding_mode == "replicate":
        return lambda padded: aten.replication_pad2d_backward(padded, x, sides)
    if problem.padding_mode == "zeros":
        return lambda padded: pad(padded, [-side for side in sides])
    return lambda padded: _wrapped(_wrapped(padded, 2, top, bottom), 3, left, right)


def _wrapped(padded: Any, axis: int, before: int, after: int) -> Any:
    """What circular padding copied to one end is added at the other."""
    size = padded.shape[axis] - before - after
    kept = padded.narrow(axis, before, size).clone()
    if before:
        kept.narrow(axis, size - before, before).add_(padded.narrow(axis, 0, before))
    if after:
        kept.narrow(axis, 0, after).add_(padded.narrow(axis, before + size, after))
    return kept
