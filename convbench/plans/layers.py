"""The layers of a torch model that a plan may change: every `nn.Conv2d` that runs, with the problems it computes.

A layer that follows a plan stays the same object, with the same parameters under the same names; a backend computes its
output for inputs of the planned shapes. For another shape, while gradients are recorded, or after its weights have
changed or moved, it computes as `nn.Conv2d` does. So do copies of it.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from convbench.errors import ProblemError
from convbench.plans.arrays import dtype_of, shape_of
from convbench.plans.prepared_call import Call
from convbench.problem import ConvProblem

_OWN = ("_planned", "_planned_dtype", "_planned_weights")
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
    import torch

    if torch.is_autocast_enabled(x.device.type):
        raise ProblemError("it runs under torch.autocast, in another dtype than that of its input")
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
        handles.append(conv.register_forward_pre_hook(functools.partial(_before, before, name), with_kwargs=True))
        handles.append(conv.register_forward_hook(functools.partial(lambda name, *_: after(name), name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(before: Callable[[str, Any, Any], None], name: str, conv: Any, inputs: Any, words: Any) -> None:
    before(name, conv, inputs[0] if inputs else words["input"])


def _not_plain(conv: Any) -> str | None:
    from torch.nn import Conv2d

    if type(conv) is not Conv2d:
        return f"its class {type(conv).__name__} computes in a way of its own"
    if conv._forward_hooks or conv._forward_pre_hooks or conv._backward_hooks or "forward" in vars(conv):
        return "it has hooks, which see or change what it computes"
    if any(parameter.is_inference() for parameter in conv.parameters(recurse=False)):
        return "its weight or bias is an inference tensor, of which it is not known when it changes"
    return None


def follow_plan(conv: Any, calls: Mapping[tuple[int, ...], Call]) -> None:
    """Have `conv`, an `nn.Conv2d`, compute inputs of these shapes by these calls. Without calls, restore it."""
    from torch.nn import Conv2d

    conv.__class__ = _planned_conv2d() if calls else Conv2d
    for name in _OWN:
        conv.__dict__.pop(name, None)
    if calls:
        conv._planned, conv._planned_dtype = dict(calls), conv.weight.dtype
        conv._planned_weights = _state_of_weights(conv)


def _state_of_weights(conv: Any) -> tuple[int, ...]:
    """A value that changes when a weight is written to, replaced or moved."""
    weight, bias = conv.weight, conv.bias
    of_weight = (weight._version, weight.data_ptr())
    return of_weight if bias is None else (*of_weight, bias._version, bias.data_ptr())


@functools.cache
def _planned_conv2d() -> Any:
    from torch import is_autocast_enabled, is_grad_enabled
    from torch.nn import Conv2d

    class PlannedConv2d(Conv2d):
        """An `nn.Conv2d` that follows a plan."""

        _planned: dict[tuple[int, ...], Call]
        _planned_dtype: Any
        _planned_weights: tuple[int, ...]

        def forward(self, input: Any) -> Any:  # noqa: A002, torch's name, by which it may be given
            call = self._planned.get(input.shape)
            if (
                call is None
                or is_grad_enabled()
                or is_autocast_enabled(input.device.type)
                or input.dtype is not self._planned_dtype
                or _state_of_weights(self) != self._planned_weights
            ):
                return super().forward(input)
            return call(input)

        def __reduce_ex__(self, protocol: Any) -> Any:
            state = {name: value for name, value in self.__dict__.items() if name not in _OWN}
            # As copyreg reconstructs an object of any class. Loading it needs no convbench.
            return copyreg._reconstructor, (Conv2d, object, None), state  # type: ignore[attr-defined]

    return PlannedConv2d
