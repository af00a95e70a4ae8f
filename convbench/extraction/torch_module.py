"""`module:callable`: a torch module, or a function or class that makes one, in a Python module of the user."""

from __future__ import annotations

import importlib
import os
import re
import sys
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from typing import Any

from convbench.errors import ModelError, did_you_mean
from convbench.extraction.call_log import Reading
from convbench.extraction.torchvision_operators import declared_operators

PATTERN = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def read_module(source: Any, batch: int | None, input_shape: tuple[int, ...] | None) -> Reading:
    """The convolutions of a torch module: `source` itself, or what a text such as `mine.models:Net` names or makes.

    The input has `input_shape`, or the shape in the module's `pretrained_cfg` or of its `example_input_array`. This
    runs the user's code. Raises `ModelError`.
    """
    require_torch()
    import torch

    from convbench.extraction.tracing import traced

    # Standard output is for the answer, not for what the user's code prints.
    with redirect_stdout(sys.stderr), warnings.catch_warnings(action="ignore"):
        declared_operators()
        name, target = (source, _imported(source)) if isinstance(source, str) else (type(source).__name__, source)
        # Reading puts every part in evaluation mode; a module of the caller's gets its modes back.
        modes = [(part, part.training) for part in target.modules()] if isinstance(target, torch.nn.Module) else []
        try:
            module = made(name, target)
            shape = with_batch(input_shape or _own_shape(name, module), batch)
            dtype = next((parameter.dtype for parameter in module.parameters() if parameter.is_floating_point()), None)
            return traced(module, (meta_tensor(shape, dtype),))
        finally:
            for part, training in modes:
                part.training = training


def require_torch() -> None:
    """Raise `ModelError`, with what to type, if torch is missing."""
    try:
        importlib.import_module("torch")
    except ImportError:
        raise ModelError("torch is not installed; type: pip install 'convbench[torch]'") from None


def meta_tensor(shape: tuple[int, ...], dtype: Any = None) -> Any:
    """A tensor with a shape and without memory, by default in float32."""
    import torch

    return torch.empty(shape, device="meta", dtype=dtype)


def with_batch(shape: tuple[int, ...], batch: int | None) -> tuple[int, ...]:
    """`shape` with `batch`, or with its own."""
    return shape if batch is None else (batch, *shape[1:])


def made(source: str, target: Any) -> Any:
    """The module that `target` is, or returns when called, in evaluation mode and if possible on the meta device."""
    import torch

    if not isinstance(target, torch.nn.Module):
        if not callable(target):
            raise ModelError(
                f"{source} is of type {type(target).__name__}; it should be a torch.nn.Module, or a class or function "
                "that makes one when it is called without arguments."
            )
        target = _called(source, target)
    if not isinstance(target, torch.nn.Module):
        raise ModelError(f"{source} made an object of type {type(target).__name__}; it should make a torch.nn.Module.")
    return target.eval()


def _called(source: str, maker: Callable[[], Any]) -> Any:
    """What `maker` makes on the meta device, or with real weights if it reads their values."""
    import torch

    with suppress(Exception), torch.device("meta"):
        return maker()
    try:
        return maker()
    except (Exception, SystemExit) as error:
        raise ModelError(f"{source} cannot be called: {_summary(error)}") from error


def _imported(source: str) -> Any:
    name, _, path = source.partition(":")
    folder = os.getcwd()  # noqa: PTH109
    sys.path.insert(0, folder)  # as `python -m` does; the path of the `convbench` command starts with another folder
    try:
        target: Any = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and error.name and f"{name}.".startswith(f"{error.name}."):
            raise ModelError(
                f"{source}: there is no module {error.name!r} here or among the installed packages; "
                "a model of one's own is given as module:callable, from the folder that module.py is in."
            ) from None
        raise ModelError(f"{source}: {name} cannot be imported: {_summary(error)}") from error
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
    for word in path.split("."):
        if not hasattr(target, word):
            raise ModelError(f"{source}: there is no {word!r} in {name}.{did_you_mean(word, dir(target))}")
        target = getattr(target, word)
    return target


def _summary(error: BaseException) -> str:
    """The kind of an error and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['without a message'])[0]}"


def _own_shape(source: str, module: Any) -> tuple[int, ...]:
    config = getattr(module, "pretrained_cfg", None)
    if isinstance(config, dict) and "input_size" in config:
        return (1, *config["input_size"])
    example = getattr(module, "example_input_array", None)
    if hasattr(example, "shape"):
        return tuple(example.shape)  # type: ignore[union-attr]
    raise ModelError(f"{source} does not say what shape its input has; give it, such as --input 1,3,224,224.")
