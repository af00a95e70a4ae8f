"""The layers of a torch model that a plan can say something of: those of `nn.Conv2d` that run, and on what inputs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from convbench.errors import ProblemError
from convbench.plans.arrays import dtype_of, shape_of
from convbench.problem import ConvProblem


@dataclass
class Layer:
    """A convolution of the model under its name there, and the problems that it was seen to compute, by input shape."""

    name: str
    problems: dict[tuple[int, ...], ConvProblem] = field(default_factory=dict)
    why_not: str | None = None
    """Why nothing can be changed about it."""


def layers_that_run(model: Any, example: tuple[Any, ...]) -> list[Layer]:
    """Every `nn.Conv2d` of `model`, in its order, with what it computes in `model(*example)`."""
    import torch

    convolutions = dict(named_convolutions(model))
    layers = {name: Layer(name, why_not=_not_plain(conv)) for name, conv in convolutions.items()}
    plain = {name: conv for name, conv in convolutions.items() if layers[name].why_not is None}

    def see(name: str, conv: Any, x: Any) -> None:
        try:
            layers[name].problems[shape_of(x)] = problem_of(conv, x)
        except ProblemError as error:
            layers[name].why_not = str(error)

    with watched(plain, see), torch.no_grad():
        model(*example)
    for layer in layers.values():
        if layer.why_not is None and not layer.problems:
            layer.why_not = "it does not run on the example input"
    return list(layers.values())


def named_convolutions(model: Any) -> Iterator[tuple[str, Any]]:
    """Each `nn.Conv2d` once, under the first of its names."""
    from torch.nn import Conv2d

    return ((name, module) for name, module in model.named_modules() if isinstance(module, Conv2d))


def problem_of(conv: Any, x: Any) -> ConvProblem:
    """What `conv` computes for the tensor `x`. Raises `ProblemError` where that is no forward convolution in 2-D."""
    shape, dtype = shape_of(x), dtype_of("its input", x)
    if len(shape) != 4:
        raise ProblemError(f"its input has shape {shape}, without a batch")
    if dtype_of("its weight", conv.weight) != dtype:
        raise ProblemError(f"its input is {dtype} and its weight {conv.weight.dtype}")
    return ConvProblem(
        batch=shape[0],
        in_channels=conv.in_channels,
        height=shape[2],
        width=shape[3],
        out_channels=conv.out_channels,
        kernel_size=conv.kernel_size,
        stride=conv.stride,
        padding=conv.padding,
        dilation=conv.dilation,
        groups=conv.groups,
        bias=conv.bias is not None,
        padding_mode=conv.padding_mode,
        dtype=dtype,
    )


@contextmanager
def watched(convolutions: dict[str, Any], see: Any) -> Iterator[None]:
    """Meanwhile `see(name, conv, x)` is called before each of `convolutions` computes."""

    def hook(name: str) -> Any:
        return lambda conv, inputs: see(name, conv, inputs[0])

    handles = [conv.register_forward_pre_hook(hook(name)) for name, conv in convolutions.items()]
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
