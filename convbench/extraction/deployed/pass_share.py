"""Which share of a pass through a torch model its convolutions take, with all that is joined to them.

The model runs on the CPU, and the time of each operator of ATen is taken around its call. The operators of each pass
are searched for what can be joined, as those of a traced model are. Weights are as the model makes them: their values
do not change the time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from convbench.errors import ModelError
from convbench.extraction.deployed.data_flow import DataFlow
from convbench.extraction.deployed.fusion import deployment_of
from convbench.extraction.deployed.torch_calls import TorchCalls, operation_name

_PASSES = 5
_FILES = (".onnx", ".pt2")
MOST_PARAMETERS = 1_000_000_000
"""Models with more are not made for this: 4 GB in float32."""


@dataclass(frozen=True)
class PassShare:
    """Medians over passes, each a share of the time of all operators: `convolutions` alone, and `joined`, with what is
    joined to them. A pass takes `pass_s` seconds, without the clock around each operator, by `threads` threads."""

    convolutions: float
    joined: float
    pass_s: float
    threads: int
    runtime: str = "torch"
    """Whose operators these are."""

    def __str__(self) -> str:
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return (
            f"{self.joined:.1%} of the time of the operators of {self.runtime} in a pass, the convolutions alone "
            f"{self.convolutions:.1%} (a pass takes {self.pass_s * 1e3:.3g} ms with {threads})"
        )


def share_of(source: Any, input_shape: tuple[int, ...], threads: int) -> PassShare | str:
    """The share for the model `source`, as `layers_of` takes it, on one input of this shape; or why it is not known."""
    try:
        module = _real_module(source)
    except ModelError as error:
        return str(error).rstrip(".")
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if parameters > MOST_PARAMETERS:
        return f"the model has {parameters:,} parameters"
    import torch

    parameter = next(module.parameters(), None)
    dtype = torch.float32 if parameter is None else parameter.dtype
    if parameter is not None and parameter.device.type != "cpu":
        return f"the model is on {parameter.device.type}, and this is measured on the CPU"
    try:
        return pass_share(module, (torch.rand(input_shape, dtype=dtype),), threads)
    except Exception as error:  # a model may do anything
        return f"it does not run on one input of shape {'x'.join(map(str, input_shape))} ({type(error).__name__})"


def sentence_of(share: PassShare | str) -> str:
    """What a person reads of a share, or of the reason why it is not known."""
    if isinstance(share, str):
        return f"Which share of a pass the deployed layers cover is not measured: {share}."
    return f"The deployed layers cover {share}."


def is_run(source: Any) -> bool:
    """Whether `source` is a model that `share_of` can run: a module, or the text of what makes one."""
    return not isinstance(source, str) or (":" in source and not source.lower().endswith(_FILES))


def pass_share(module: Any, arguments: tuple[Any, ...], threads: int, passes: int = _PASSES) -> PassShare:
    """The share for a module in evaluation mode, from `passes` passes after one that warms up."""
    import torch

    with _threads(threads), torch.no_grad():
        module(*arguments)
        timed = [_timed_pass(module, arguments) for _ in range(passes)]
        walls_s = [_wall_s(lambda: module(*arguments)) for _ in range(passes)]
    convolutions, joined = (median(shares) for shares in zip(*timed, strict=True))
    return PassShare(convolutions, joined, median(walls_s), threads)


def _timed_pass(module: Any, arguments: tuple[Any, ...]) -> tuple[float, float]:
    from torch.utils._python_dispatch import TorchDispatchMode

    flow = DataFlow()
    calls, walls_s, others_s = TorchCalls(flow), list[float](), [0.0]

    class Timed(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._can_decompose():
                with self:
                    return func.decompose(*args, **(kwargs or {}))
            start = time.perf_counter()
            result = func(*args, **(kwargs or {}))
            wall_s = time.perf_counter() - start
            noted = len(flow.operations)
            if _is_convolution(func, args):
                calls.convolution("", args, result)
            else:
                calls.note("", func, args, kwargs or {}, result)
            if len(flow.operations) > noted:
                walls_s.append(wall_s)
            else:
                others_s[0] += wall_s
            return result

    with Timed():  # type: ignore[no-untyped-call]
        result = module(*arguments)
    calls.leave(iter([result] if hasattr(result, "is_meta") else []))
    all_s = sum(walls_s) + others_s[0]
    alone = [s for s, operation in zip(walls_s, flow.operations, strict=True) if operation.kind == "convolution"]
    return sum(alone) / all_s, sum(walls_s[place] for place in deployment_of(flow).places) / all_s


def _is_convolution(func: Any, args: Any) -> bool:
    """Whether this is a convolution that readers list and join something to."""
    return operation_name(func) == "convolution" and args[1].dim() == 4 and not args[6] and args[0].is_floating_point()


def _real_module(source: Any) -> Any:
    """The module with memory. Raises `ModelError` where there is no module to run."""
    from convbench.extraction.model_zoo import real_timm, real_torchvision
    from convbench.extraction.torch_module import real_module

    if not isinstance(source, str):
        return source
    if not is_run(source):
        raise ModelError("files are read and not run; give the torch model that it was made of, such as model.py:Net")
    library, _, name = source.partition(":")
    made: Callable[[str], Any] | None = {"timm": real_timm, "torchvision": real_torchvision}.get(library)
    return real_module(source) if made is None else made(name)


def _wall_s(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextmanager
def _threads(number: int) -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
