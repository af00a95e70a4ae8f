"""Which kernel a call of torch uses: oneDNN's log, ATen's operators, or the kernels on a CUDA device."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from .._fusion import implementation_with
from .._onednn.log import fused_in, kernels_in, printed_by

if TYPE_CHECKING:
    from convbench.problem import ConvProblem

# The operators of ATen that compute, where oneDNN does not.
_OPERATORS = {
    "aten::_slow_conv2d_forward": "slow_conv2d",
    "aten::_slow_conv2d_backward": "slow_conv2d_backward",
    "aten::slow_conv_dilated2d": "slow_conv_dilated2d",
    "aten::_conv_depthwise2d": "conv_depthwise2d",
    "aten::_nnpack_spatial_convolution": "nnpack",
    "aten::mps_convolution": "mps_convolution",
    "aten::_mps_convolution": "mps_convolution",
}
_KERNEL = re.compile(r"(?:void )?((?:[A-Za-z_]\w*::)*[A-Za-z_]\w*)(?:$|[<(])")
_LONGEST = 76


def explained(run: Callable[[], Any], device: str, problem: ConvProblem | None = None) -> Callable[[], str | None]:
    """`Ready.explain` for a `run` of torch on `device`. Of a `problem` with an epilogue it says whether oneDNN computes
    that, too."""
    if device == "cuda":
        return lambda: _cuda_kernel(run)

    def explain() -> str | None:
        log = _log(run)
        kernel = kernels_in(log) or operators_in(_operators(run))
        return kernel if problem is None else implementation_with(kernel, problem, fused_in(log))

    return explain


def _log(run: Callable[[], Any]) -> str:
    """What oneDNN logs of a call; empty where it does not."""
    import torch

    mkldnn = torch.backends.mkldnn
    if not mkldnn.is_available() or not hasattr(mkldnn, "verbose"):
        return ""

    def logged() -> None:
        with mkldnn.verbose(mkldnn.VERBOSE_ON):
            run()

    return printed_by(logged)


def _operators(run: Callable[[], Any]) -> list[str]:
    import torch

    with torch.autograd.profiler.profile(use_kineto=False) as profile:
        run()
    return [event.name for event in profile.function_events or ()]


def operators_in(names: Iterable[str]) -> str | None:
    """The known operator that computes, of all that were called; None where that is not one."""
    known = {_OPERATORS[name] for name in names if name in _OPERATORS}
    return known.pop() if len(known) == 1 else None


def _cuda_kernel(run: Callable[[], Any]) -> str | None:
    import torch
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        run()
        torch.cuda.synchronize()
    events = [event for event in profiled.events() or () if event.device_type.name == "CUDA"]
    longest = max(events, key=lambda event: event.time_range.elapsed_us(), default=None)
    return None if longest is None else kernel_name(longest.name)


def kernel_name(signature: str) -> str | None:
    """The name of a CUDA kernel without its template's and its call's arguments; None for what is no kernel, such as
    "Memcpy HtoD (Pinned -> Device)"."""
    match = _KERNEL.match(signature)
    return match[1][-_LONGEST:].lstrip(":") if match else None
