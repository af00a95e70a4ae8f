"""What torch lets be read and done on a CUDA device, and calls that are captured as graphs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convbench.backend import DeviceClock, DeviceMemory, Instruments

_CACHE_BYTES_WHERE_UNKNOWN = 128 << 20
_CALLS_BEFORE_CAPTURE = 3  # in which cuDNN makes its plans and asks for workspace, which a capture must not see


def watched(x: Any, layout: Any) -> Instruments:
    """Instruments for a convolution that is about to be made ready, of `x`, a tensor on the host. What it holds is
    counted from here on."""
    import torch

    before = torch.cuda.memory_allocated()
    overwritten: list[Any] = []

    def flush() -> None:
        if not overwritten:
            properties = torch.cuda.get_device_properties(torch.cuda.current_device())
            size = getattr(properties, "L2_cache_size", 0) or _CACHE_BYTES_WHERE_UNKNOWN
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
    """`compute(x)` captured as a CUDA graph: each call of what is given computes it anew, from what `x` holds by then,
    into one and the same output."""
    import torch

    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(_CALLS_BEFORE_CAPTURE):
            compute(x)
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = compute(x)

    def replay() -> Any:
        graph.replay()
        return output

    return replay


def captured_for_any(compute: Callable[[Any], Any], like: Any) -> Callable[[Any], Any]:
    """The same for inputs that come with the call, tensors of the shape and dtype of `like`: copied to where the graph
    reads, and the output out of where it writes. Captured when it is first called."""
    import torch

    made: list[tuple[Any, Callable[[], Any]]] = []

    def convolve(x: Any) -> Any:
        if not made:
            own = torch.empty_like(like)
            made.append((own, captured(compute, own)))
        own, replay = made[0]
        own.copy_(x)
        return replay().clone()

    return convolve
