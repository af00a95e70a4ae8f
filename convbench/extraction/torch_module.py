"""A torch module, or a function or class of the user that makes one: made on the meta device, and called once."""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import replace
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.call_log import Reading
from convbench.extraction.inputs import InputRequest, Inputs
from convbench.extraction.python_source import imported, summary_of
from convbench.extraction.torchvision_operators import declared_operators
from convbench.installation import pip_line

_QUANTISED = ("torch.ao.nn.quantized", "torch.ao.nn.intrinsic.quantized", "torch.ao.nn.sparse.quantized")
_OBSERVING = ("torch.ao.quantization", "torch.ao.nn.qat", "torch.ao.nn.intrinsic.qat")


def read_module(source: Any, inputs: Inputs) -> Reading:
    """The convolutions of a torch module: `source` itself, or what a text such as `mine.models:Net` names or makes.

    Its arguments are `inputs`, or the shape in the module's `pretrained_cfg` or of its `example_input_array`. This runs
    the user's code. Raises `ModelError`.
    """
    require_torch()
    from convbench.extraction.tracing import traced

    # Standard output is for the answer, not for what the user's code prints.
    with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        declared_operators()
        name, target = (source, imported(source)) if isinstance(source, str) else (type(source).__name__, source)
        with _modes_kept(target):
            module = made(name, target)
            _check_real(name, module)
            return traced(module, *_arguments(name, module, inputs))


def real_module(source: str) -> Any:
    """The module that a text such as `mine.models:Net` names or makes, in evaluation mode, with its own weights and
    memory. Raises `ModelError`."""
    require_torch()
    with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        declared_operators()
        target = imported(source)
        with _modes_kept(target):
            module = made(source, target, on_meta=False)
            return copy.deepcopy(module) if module is target else module  # a copy stays in evaluation mode


def require_torch() -> None:
    """Raise `ModelError`, with what to type, if torch is missing."""
    try:
        importlib.import_module("torch")
    except ImportError:
        raise ModelError(f"torch is not installed; type: {pip_line('convbench[torch]')}") from None


def meta_tensor(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A tensor with a shape and without memory, by default in float32."""
    import torch

    return torch.empty(shape, device="meta", dtype=dtype)


def with_batch(shape: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
    """`shape` with `batch`, or with its own."""
    return shape if batch is None else (batch, *shape[1:])


def made(source: str, target: Any, *, on_meta: bool = True) -> Any:
    """The module that `target` is, or returns when called, in evaluation mode and if possible on the meta device."""
    import torch

    if not isinstance(target, torch.nn.Module):
        if not callable(target):
            raise ModelError(
                f"{source} is of type {type(target).__name__}; it should be a torch.nn.Module, or a class or function "
                "that makes one when it is called without arguments."
            )
        target = _called(source, target, on_meta=on_meta)
    if not isinstance(target, torch.nn.Module):
        raise ModelError(f"{source} made an object of type {type(target).__name__}; it should make a torch.nn.Module.")
    return target.eval()


@contextmanager
def _modes_kept(target: Any) -> Iterator[None]:
    """Reading puts every part in evaluation mode; a module of the caller's gets its modes back."""
    import torch

    modes = [(part, part.training) for part in target.modules()] if isinstance(target, torch.nn.Module) else []
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _called(source: str, maker: Callable[[], Any], *, on_meta: bool) -> Any:
    """What `maker` makes on the meta device, or with real weights if it reads their values."""
    import torch

    with suppress(Exception), torch.device("meta"):
        if on_meta:
            return maker()
    try:
        return maker()
    except (Exception, SystemExit) as error:
        raise ModelError(f"{source} cannot be called: {summary_of(error)}") from error


def _check_real(source: str, module: Any) -> None:
    """Raise `ModelError` for a quantised model, whose convolutions are of integers and read the values of tensors, and
    for one that torch.jit compiled."""
    import torch

    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        raise ModelError(
            f"{source} is compiled by torch.jit; give the module as it was before, or export it with torch.export or "
            "to ONNX, and give that file."
        )
    parts = [(name, type(part)) for name, part in module.named_modules()]
    for modules, state in ((_QUANTISED, "quantised"), (_OBSERVING, "prepared for quantisation")):
        suspects = [(name, kind.__name__) for name, kind in parts if kind.__module__.startswith(modules)]
        convolutions = [(name, kind) for name, kind in suspects if "Conv" in kind] or (
            suspects if modules is _OBSERVING else []
        )
        if convolutions:
            name, kind = convolutions[0]
            count = f"{len(convolutions)} of its parts are, first" if len(convolutions) > 1 else "one of its parts is:"
            raise ModelError(
                f"{source} is {state} ({count} {name}, a {kind}), and convolutions of integers are not measured; give "
                "the model as it was before, in real numbers."
            )


# --- what it is called with -------------------------------------------------------------------------------------------


def _arguments(source: str, module: Any, inputs: Inputs) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of `module.forward`, in order and by name: meta tensors and plain values."""
    if not inputs.requested:
        inputs = replace(inputs, requested=tuple(_own_inputs(source, module)))
    names, required = _parameters(module)
    if names is None:  # it passes on whatever it is given
        requested = {one.name: one for one in inputs.requested if one.name is not None}
        first = [one for one in inputs.requested if one.name is None]
    else:
        matched = inputs.by_name(names, names[0] if names else "", source)
        first, requested = [], {name: matched[name] for name in names if name in matched}
    if missing := [name for name in required if name not in requested]:
        raise ModelError(
            f"{source}: its forward takes {', '.join(required)}, and {' and '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} not given; give the shapes, such as --input "
            f"{missing[0]}=1,3,224,224."
        )
    batches = [one.shape[0] for one in (*first, *requested.values()) if one.shape]
    dtype = next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), None)

    def argument(one: InputRequest) -> Any:
        import torch

        if one.value is not None:
            return one.value
        follows = one.shape[0] == batches[0]
        shape = with_batch(one.shape, inputs.batch if follows else None)
        return meta_tensor(shape, getattr(torch, one.dtype) if one.dtype else dtype)

    words = {str(name): argument(one) for name, one in requested.items()}
    leading = []
    for name in names or ():  # as far as they are given without a gap, in order: forward may take them in order only
        if name not in words:
            break
        leading.append(words.pop(name))
    return (*map(argument, first), *leading), words


def _parameters(module: Any) -> tuple[list[str] | None, list[str]]:
    """The names of what `forward` takes, None where it takes anything, and of what it needs."""
    try:
        parameters = list(inspect.signature(module.forward).parameters.values())
    except (TypeError, ValueError):
        return None, []
    if any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
        return None, []
    names = [p.name for p in parameters]
    return names, [p.name for p in parameters if p.default is p.empty]


def _own_inputs(source: str, module: Any) -> Iterator[InputRequest]:
    """What the module says of its inputs itself, as the models of timm and of Lightning do."""
    config = getattr(module, "pretrained_cfg", None)
    example = getattr(module, "example_input_array", None)
    if isinstance(config, dict) and "input_size" in config:
        yield InputRequest((1, *config["input_size"]))
    elif hasattr(example, "shape"):
        yield _like(example)
    elif isinstance(example, (tuple, list)) and all(hasattr(one, "shape") for one in example):
        yield from map(_like, example)
    elif isinstance(example, dict) and all(hasattr(one, "shape") for one in example.values()):
        yield from (replace(_like(one), name=str(name)) for name, one in example.items())
    elif _parameters(module)[1] or _parameters(module)[0] is None:
        names = _parameters(module)[1]
        text = "--input 1,3,224,224" if len(names) < 2 else " ".join(f"--input {name}=1,3,224,224" for name in names)
        raise ModelError(f"{source} does not say what shape its input has; give it, such as {text}.")


def _like(example: Any) -> InputRequest:
    dtype = str(example.dtype).removeprefix("torch.")
    return InputRequest(tuple(example.shape), dtype=None if dtype == "float32" else dtype)
