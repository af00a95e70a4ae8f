"""A batch norm folded into the convolution before it, and whether the tensors that this read have changed.

    norm(conv(x)) = (conv(x) + b - mean) / sqrt(var + eps) * gamma + beta

is a convolution with the weight w * s and the bias (b - mean) * s + beta, where s = gamma / sqrt(var + eps).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.measurement.sampling.tensors import as_numpy

Array = NDArray[Any]


@dataclass(frozen=True)
class Norm:
    """A batch norm of a torch model: the names of its tensors there, None for one that it does not have."""

    mean: str
    variance: str
    weight: str | None
    bias: str | None
    epsilon: float

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.mean, self.variance, self.weight, self.bias)))


def folded(w: Any, b: Any, norm: Norm | None, tensor: Callable[[str], Any]) -> tuple[Array, Array | None]:
    """Weight and bias of a convolution with `norm` folded into them, read-only and in the dtype of `w`. They are
    computed in float64 and rounded once. `tensor` gives the tensors of a model by name."""
    if norm is None:
        return _locked(as_numpy(w)), None if b is None else _locked(as_numpy(b))
    of_norm = {name: np.asarray(as_numpy(tensor(name)), np.float64) for name in norm.names}
    mean, variance = of_norm[norm.mean], of_norm[norm.variance]
    scale = 1 / np.sqrt(variance + norm.epsilon)
    scale = scale * of_norm[norm.weight] if norm.weight else scale
    shift = of_norm[norm.bias] if norm.bias else 0.0
    wide_w = np.asarray(as_numpy(w), np.float64) * scale[:, None, None, None]
    wide_b = ((0.0 if b is None else np.asarray(as_numpy(b), np.float64)) - mean) * scale + shift
    dtype = as_numpy(w).dtype
    return _locked(wide_w.astype(dtype)), _locked(wide_b.astype(dtype))


class Watch:
    """Whether tensors of a model were written to, replaced or moved since it was made."""

    def __init__(self, model: Any, names: tuple[str, ...]) -> None:
        # By their places in the modules: a parameter may be replaced by another one.
        self._places = [_owner_of(model, name) for name in names]
        self._state = self._now()

    def changed(self) -> bool:
        return self._now() != self._state

    def _now(self) -> list[Any]:
        tensors = [owner.get(name) for owner, name in self._places]
        return [None if tensor is None else (tensor._version, tensor.data_ptr()) for tensor in tensors]


def tensor_of(model: Any, name: str) -> Any:
    """The parameter or buffer of that name."""
    owner, own_name = _owner_of(model, name)
    return owner[own_name]


def _owner_of(model: Any, name: str) -> tuple[dict[str, Any], str]:
    path, _, own_name = name.rpartition(".")
    module = model.get_submodule(path)
    return (module._parameters if own_name in module._parameters else module._buffers), own_name


def _locked(array: Array) -> Array:
    copy = np.array(array, order="C")
    copy.flags.writeable = False
    return copy
