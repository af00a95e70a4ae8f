"""Which kernel a call of torch uses: oneDNN's log, ATen's operators, or the kernels on a CUDA device."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from ._onednn_log import kernels_in, printed_by

# The operators of ATen that compute, where oneDNN does not.
_OPERATORS = {
    "aten::_slow_conv2d_forward": "slow_conv2d",
    "aten::slow_conv_dilated2d": "slow_conv_dilated2d",
    "aten::_conv_depthwise2d": "conv_depthwise2d",
    "aten::_nnpack_spatial_convolution": "nnpack",
    "aten::mps_convolution": "mps_convolution",
    "aten::_mps_convolution": "mps_convolution",
}
_KERNEL = re.compile(r"(?:void )?((?:[A-Za-z_]\w*::)*[A-Za-z_]\w*)(?:$|[<(])")
_LONGEST = 76


def explained(run: Callable[[], Any], device: str) -> Callable[[], str | None]:
    """`Ready.explain` for a `run` of torch on `device`."""
    if device == "cuda":
        return lambda: _cuda_kernel(run)
    return lambda: _from_log(run) or operators_in(_operators(run))


def _from_log(run: Callable[[], Any]) -> str | None:
    import torch

    mkldnn = torch.backends.mkldnn
    if not mkldnn.is_available() or not hasattr(mkldnn, "verbose"):
        return None

    def logged() -> None:
        with mkldnn.verbose(mkldnn.VERBOSE_ON):
            run()

    return kernels_in(printed_by(logged))


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
