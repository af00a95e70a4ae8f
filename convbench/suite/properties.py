"""The properties of a case that a condition (`convbench.suite.filter`) may name, each with its kind."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from convbench.suite.cases import Case


class Sizes(tuple[int, ...]):
    """Sizes along several axes. A comparison with a number, or with other sizes axis by axis, has to hold for all.

    So `kernel_size == 3` is 3x3 only, and `kernel_size > 1` is not 1x7. `!=` is the opposite of `==`."""

    __slots__ = ()
    __hash__ = tuple.__hash__

    def _all(self, holds: Callable[[Any, Any], bool], other: Any) -> bool:
        others = other if isinstance(other, Sizes) else (other,) * len(self)
        return all(holds(a, b) for a, b in zip(self, others, strict=True))

    def __eq__(self, other: object) -> bool:
        return self._all(operator.eq, other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __lt__(self, other: Any) -> bool:
        return self._all(operator.lt, other)

    def __le__(self, other: Any) -> bool:
        return self._all(operator.le, other)

    def __gt__(self, other: Any) -> bool:
        return self._all(operator.gt, other)

    def __ge__(self, other: Any) -> bool:
        return self._all(operator.ge, other)


class Kind(StrEnum):
    """The kind of a part of a condition. The value is its name in messages."""

    NUMBER = "a number"
    TEXT = "a text"
    TRUTH = "a condition"
    PAIR = "a size in height and width"
    SIDES = "the four sides of a padding"


def _numbers(*names: str) -> dict[str, tuple[Kind, Callable[[Case], Any]]]:
    return {name: (Kind.NUMBER, _of_problem(name)) for name in names}


def _of_problem(name: str) -> Callable[[Case], Any]:
    get = operator.attrgetter(name)
    return lambda case: get(case.problem)


def _pair(name: str, stem: str) -> dict[str, tuple[Kind, Callable[[Case], Any]]]:
    get = operator.attrgetter(name)
    return {
        name: (Kind.PAIR, lambda case: Sizes(get(case.problem))),
        f"{stem}_height": (Kind.NUMBER, lambda case: get(case.problem)[0]),
        f"{stem}_width": (Kind.NUMBER, lambda case: get(case.problem)[1]),
    }


NAMES: Mapping[str, tuple[Kind, Callable[[Case], Any]]] = {
    **_numbers("batch", "in_channels", "height", "width", "out_channels"),
    **_pair("kernel_size", "kernel"),
    **_pair("stride", "stride"),
    **_pair("dilation", "dilation"),
    "padding": (Kind.SIDES, lambda case: Sizes(side for axis in case.problem.padding for side in axis)),
    "padding_top": (Kind.NUMBER, lambda case: case.problem.padding[0][0]),
    "padding_bottom": (Kind.NUMBER, lambda case: case.problem.padding[0][1]),
    "padding_left": (Kind.NUMBER, lambda case: case.problem.padding[1][0]),
    "padding_right": (Kind.NUMBER, lambda case: case.problem.padding[1][1]),
    **_numbers("groups"),
    "bias": (Kind.TRUTH, _of_problem("bias")),
    "padding_mode": (Kind.TEXT, _of_problem("padding_mode")),
    "dtype": (Kind.TEXT, _of_problem("dtype")),
    "direction": (Kind.TEXT, _of_problem("direction")),
    "kind": (Kind.TEXT, _of_problem("kind")),
    **_numbers("out_height", "out_width", "macs", "flops", "bytes", "arithmetic_intensity", "reduction_length"),
    "count": (Kind.NUMBER, lambda case: case.count),
    "models": (Kind.NUMBER, lambda case: case.models),
    "layer": (Kind.TEXT, lambda case: case.layer or ""),
    "name": (Kind.TEXT, lambda case: case.name),
}
"""The names that a condition may use, each with its kind and a function from a case to its value."""
