"""Conversions between NumPy arrays and torch tensors, and padding that `conv2d` does or does not do itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .script import TORCH_MODE

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from convbench.backend import Arrays
    from convbench.problem import ConvProblem


def tensor(array: np.ndarray) -> Any:
    """A copy of `array`, which may have any strides and be read-only, in memory that torch allocates."""
    import torch

    name = array.dtype.name
    copy = torch.empty(array.shape, dtype=getattr(torch, name))
    if name == "bfloat16":  # the same 16 bits under two types in torch and NumPy
        copy.view(torch.int16).numpy()[...] = array.view("int16")
    else:
        copy.numpy()[...] = array
    return copy


def to_numpy(output: Any) -> np.ndarray:
    """The values of a tensor in NCHW, with bfloat16 from ml_dtypes."""
    import torch

    output = output.cpu().contiguous()
    if output.dtype == torch.bfloat16:
        import ml_dtypes

        return output.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return output.numpy()


def results_to_numpy(outputs: list[Any]) -> tuple[np.ndarray, ...]:
    """`to_numpy` of each tensor, of which the first may be recorded for autograd."""
    return tuple(to_numpy(output.detach()) for output in outputs)


def touch_of(*tensors: Any) -> Callable[[], None] | None:
    """`Ready.touch` for an input, and perhaps a residual, on the CPU; None on another device."""
    import torch

    from convbench.backend import touching

    if tensors[0].device.type != "cpu":
        return None
    bits = [tensor.view(torch.int16) if tensor.element_size() == 2 else tensor for tensor in tensors]
    return touching(*(part.numpy() for part in bits))  # as integers, because NumPy has no bfloat16


def on_both(on_tensor: Callable[..., Any]) -> dict[Arrays, Callable[..., Any]]:
    """`Ready.on` for tensors on the CPU and for arrays. Writeable arrays share their memory with tensors."""
    import torch

    def on_array(*arrays: np.ndarray) -> np.ndarray:
        # torch takes no negative stride, and even a contiguous array of one row may have one.
        if all(a.flags.writeable and a.dtype.name != "bfloat16" and min(a.strides) >= 0 for a in arrays):
            shared: np.ndarray = on_tensor(*map(torch.from_numpy, arrays)).numpy()
            return shared
        return to_numpy(on_tensor(*map(tensor, arrays)))

    return {"numpy": on_array, "torch": on_tensor}


def padding(problem: ConvProblem) -> tuple[Callable[[Any], Any] | None, tuple[int, int]]:
    """A function that pads the input before conv2d, or None, and the padding of conv2d itself: symmetric zeros."""
    from torch.nn.functional import pad

    (top, bottom), (left, right) = problem.padding
    if problem.padding_mode == "zeros" and top == bottom >= 0 and left == right >= 0:
        return None, (top, left)
    if (top, bottom, left, right) == (0, 0, 0, 0):
        return None, (0, 0)
    mode = TORCH_MODE[problem.padding_mode]
    return lambda x: pad(x, (left, right, top, bottom), mode), (0, 0)
