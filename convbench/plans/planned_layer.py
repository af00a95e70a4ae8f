"""An `nn.Conv2d` whose output a backend computes, for inputs of the planned shapes.

It stays the same object, with the same parameters under the same names. For another shape, while gradients are
recorded, or after its weights have changed or moved, it computes as `nn.Conv2d` does. So do copies of it.
"""

from __future__ import annotations

import copyreg
import functools
from collections.abc import Mapping
from typing import Any

from convbench.plans.prepared_call import Call

_OWN = ("_planned", "_planned_dtype", "_planned_weights")


def follow_plan(conv: Any, calls: Mapping[tuple[int, ...], Call]) -> None:
    """Have `conv`, an `nn.Conv2d`, compute inputs of these shapes by these calls. Without calls, restore it."""
    from torch.nn import Conv2d

    conv.__class__ = _planned_conv2d() if calls else Conv2d
    for name in _OWN:
        conv.__dict__.pop(name, None)
    if calls:
        conv._planned, conv._planned_dtype = dict(calls), conv.weight.dtype
        conv._planned_weights = _state_of_weights(conv)


def _state_of_weights(conv: Any) -> tuple[int, ...]:
    """A value that changes when a weight is written to, replaced or moved."""
    weight, bias = conv.weight, conv.bias
    of_weight = (weight._version, weight.data_ptr())
    return of_weight if bias is None else (*of_weight, bias._version, bias.data_ptr())


@functools.cache
def _planned_conv2d() -> Any:
    from torch import is_grad_enabled
    from torch.nn import Conv2d

    class PlannedConv2d(Conv2d):
        """An `nn.Conv2d` as the module describes it."""

        _planned: dict[tuple[int, ...], Call]
        _planned_dtype: Any
        _planned_weights: tuple[int, ...]

        def forward(self, x: Any) -> Any:
            call = self._planned.get(x.shape)
            if (
                call is None
                or is_grad_enabled()
                or x.dtype is not self._planned_dtype
                or _state_of_weights(self) != self._planned_weights
            ):
                return super().forward(x)
            return call(x)

        def __reduce_ex__(self, protocol: Any) -> Any:
            state = {name: value for name, value in self.__dict__.items() if name not in _OWN}
            # As copyreg reconstructs an object of any class. Loading it needs no convbench.
            return copyreg._reconstructor, (Conv2d, object, None), state  # type: ignore[attr-defined]

    return PlannedConv2d
