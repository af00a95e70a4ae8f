"""The layers of a torch model that a plan may change: every `nn.Conv2d` that runs, with the problems it computes."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from convbench.errors import ProblemError
from convbench.plans.arrays import dtype_of, shape_of
from convbench.problem import ConvProblem

# Attributes of `nn.Conv2d` that are arguments of `ConvProblem`
_SHARED_NAMES = "in_channels out_channels kernel_size stride padding dilation groups padding_mode".split()


@dataclass
class Layer:
    """A convolution of the model by its name there, and the problems that it computed, by input shape."""

    name: str
    problems: dict[tuple[int, ...], ConvProblem] = field(default_factory=dict)
    refusal: str | None = None
    """Why it cannot be changed."""


def layers_that_run(model: Any, example: tuple[Any, ...]) -> list[Layer]:
    """Every `nn.Conv2d` of `model`, in the model's order, with the problems that it computes in `model(*example)`."""
    import torch

    convolutions = dict(named_convolutions(model))
    layers = {name: Layer(name, refusal=_not_plain(conv)) for name, conv in convolutions.items()}
    plain = {name: conv for name, conv in convolutions.items() if layers[name].refusal is None}

    def see(name: str, conv: Any, x: Any) -> None:
        try:
            layers[name].problems[shape_of(x)] = problem_of(conv, x)
        except ProblemError as error:
            layers[name].refusal = str(error)

    with watched(plain, see), torch.no_grad():
        model(*example)
    for layer in layers.values():
        if layer.refusal is None and not layer.problems:
            layer.refusal = "it does not run on the example input"
    return list(layers.values())


def named_convolutions(model: Any) -> Iterator[tuple[str, Any]]:
    """Each `nn.Conv2d` once, by the first of its names."""
    from torch.nn import Conv2d

    return ((name, module) for name, module in model.named_modules() if isinstance(module, Conv2d))


def problem_of(conv: Any, x: Any) -> ConvProblem:
    """The problem that `conv` computes for the tensor `x`. Raises `ProblemError` for any other operation."""
    shape, dtype = shape_of(x), dtype_of("its input", x)
    if len(shape) != 4:
        raise ProblemError(f"its input has shape {shape}, without a batch")
    if dtype_of("its weight", conv.weight) != dtype:
        raise ProblemError(f"its input is {dtype} and its weight {conv.weight.dtype}")
    arguments = {name: getattr(conv, name) for name in _SHARED_NAMES}
    bias = conv.bias is not None
    return ConvProblem(batch=shape[0], height=shape[2], width=shape[3], bias=bias, dtype=dtype, **arguments)


@contextmanager
def watched(
    convolutions: dict[str, Any],
    before: Callable[[str, Any, Any], None],
    after: Callable[[str], None] = lambda name: None,
) -> Iterator[None]:
    """Within the context, call `before(name, conv, x)` and `after(name)` around each computation of `convolutions`."""
    handles = []
    for name, conv in convolutions.items():
        pre_hook = functools.partial(lambda name, conv, inputs: before(name, conv, inputs[0]), name)
        handles.append(conv.register_forward_pre_hook(pre_hook))
        handles.append(conv.register_forward_hook(functools.partial(lambda name, *_: after(name), name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _not_plain(conv: Any) -> str | None:
    from torch.nn import Conv2d

    if type(conv) is not Conv2d:
        return f"its class {type(conv).__name__} computes in a way of its own"
    if conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or "forward" in vars(conv):
        return "it has hooks, which see or change what it computes"
    if conv.weight.is_inference():
        return "its weight is an inference tensor, of which it is not known when it changes"
    return None
