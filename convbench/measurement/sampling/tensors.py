"""torch tensors as NumPy arrays and back, sharing memory where that is possible."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def as_numpy(array: Any) -> NDArray[Any]:
    """The numbers as a NumPy array, with bfloat16 from ml_dtypes. It shares the memory when that is possible."""
    if isinstance(array, np.ndarray):
        return array
    import torch

    plain = array.detach().cpu()
    if plain.dtype == torch.bfloat16:
        import ml_dtypes

        return np.asarray(plain.contiguous().view(torch.int16).numpy().view(ml_dtypes.bfloat16))
    return np.asarray(plain.numpy())


def as_tensor(array: NDArray[Any]) -> Any:
    """A torch tensor that shares the memory of a writeable array."""
    import torch

    if array.dtype.name == "bfloat16":
        return torch.from_numpy(np.ascontiguousarray(array).view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(array)
