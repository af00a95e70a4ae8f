"""Instruments of torch on a CUDA device, and calls captured as CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convbench.backend import DeviceClock, DeviceMemory, Instruments

_CACHE_BYTES_IF_UNKNOWN = 128 << 20
_CALLS_BEFORE_CAPTURE = 3  # cuDNN makes its plans and allocates workspace in them, which must not be captured


def instruments(x: Any, layout: Any) -> Instruments:
    """Instruments for a convolution of `x`, a tensor on the host. Call this before preparing it, because its memory is
    counted from here on."""
    import torch

    before = torch.cuda.memory_allocated()
    overwritten: list[Any] = []

    def flush() -> None:
        if not overwritten:
            properties = torch.cuda.get_device_properties(torch.cuda.current_device())
            size = getattr(properties, "L2_cache_size", 0) or _CACHE_BYTES_IF_UNKNOWN
            overwritten.append(torch.empty(2 * size, dtype=torch.uint8, device="cuda"))
        overwritten[0].zero_()

    def memory(run: Callable[[], Any]) -> DeviceMemory:
        torch.cuda.reset_peak_memory_stats()
        run()
        torch.cuda.synchronize()
        return DeviceMemory(torch.cuda.memory_allocated() - before, torch.cuda.max_memory_allocated() - before)

    return Instruments(
        clock=DeviceClock(_mark, lambda mark, later: mark.elapsed_time(later) / 1e3),
        flush=flush,
        send=lambda: x.to("cuda", memory_format=layout),
        memory=memory,
    )


def _mark() -> Any:
    import torch

    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def captured(compute: Callable[[Any], Any], x: Any) -> Callable[[], Any]:
    """`compute(x)` captured as a CUDA graph. Each call of the result computes it again, from the current values of `x`,
    into the same output."""
    import torch

    side_stream = torch.cuda.Stream()
    side_stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side_stream):
        for _ in range(_CALLS_BEFORE_CAPTURE):
            compute(x)
    torch.cuda.current_stream().wait_stream(side_stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = compute(x)

    def replay() -> Any:
        graph.replay()
        return output

    return replay


def captured_for_any(compute: Callable[[Any], Any], like: Any) -> Callable[[Any], Any]:
    """A captured `compute` for tensors of the shape and dtype of `like`. It copies the input to where the graph reads,
    and the output from where the graph writes. The first call captures."""
    import torch

    cache: list[tuple[Any, Callable[[], Any]]] = []

    def convolve(x: Any) -> Any:
        if not cache:
            own = torch.empty_like(like)
            cache.append((own, captured(compute, own)))
        own, replay = cache[0]
        own.copy_(x)
        return replay().clone()

    return convolve
