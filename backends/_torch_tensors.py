"""Between NumPy arrays and torch tensors, and what of a padding is left to `conv2d` itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np

    from convbench.backend import Arrays
    from convbench.problem import ConvProblem

_TORCH_MODE = {"zeros": "constant", "reflect": "reflect", "replicate": "replicate", "circular": "circular"}


def tensor(array: np.ndarray) -> Any:
    """A tensor with a copy of `array`, of any strides and read-only or not, in memory that torch allocated."""
    import torch

    copy = torch.empty(array.shape, dtype=getattr(torch, array.dtype.name))
    if array.dtype.name == "bfloat16":  # which torch and NumPy know under two types that are the same 16 bits
        copy.view(torch.int16).numpy()[...] = array.view("int16")
    else:
        copy.numpy()[...] = array
    return copy


def to_numpy(output: Any) -> np.ndarray:
    """The tensor's values in NCHW; bfloat16 as ml_dtypes has it."""
    import torch

    output = output.cpu().contiguous()
    if output.dtype == torch.bfloat16:
        import ml_dtypes

        return output.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return output.numpy()


def on_both(on_tensor: Callable[[Any], Any]) -> dict[Arrays, Callable[[Any], Any]]:
    """`Ready.on` for tensors on the CPU and for arrays, whose memory is shared with tensors where it may be written."""
    import torch

    def on_array(x: np.ndarray) -> np.ndarray:
        # Contiguous arrays of one row may have a negative stride all the same, of which torch takes none.
        if x.flags.writeable and x.dtype.name != "bfloat16" and min(x.strides) >= 0:
            shared: np.ndarray = on_tensor(torch.from_numpy(x)).numpy()
            return shared
        return to_numpy(on_tensor(tensor(x)))

    return {"numpy": on_array, "torch": on_tensor}


def padding(problem: ConvProblem) -> tuple[Callable[[Any], Any] | None, tuple[int, int]]:
    """What pads the input before the call, if anything, and what conv2d pads itself: zeros, both sides alike."""
    from torch.nn.functional import pad

    (top, bottom), (left, right) = problem.padding
    if problem.padding_mode == "zeros" and top == bottom >= 0 and left == right >= 0:
        return None, (top, left)
    if (top, bottom, left, right) == (0, 0, 0, 0):
        return None, (0, 0)
    mode = _TORCH_MODE[problem.padding_mode]
    return lambda x: pad(x, (left, right, top, bottom), mode), (0, 0)
