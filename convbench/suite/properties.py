"""The properties of a case that a condition (`convbench.suite.filter`) may name, each with its kind."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partialmethod
from typing import Any

from convbench.problem.epilogue import NO_EPILOGUE
from convbench.problem.quantization import properties_of
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

    __lt__ = partialmethod(_all, operator.lt)
    __le__ = partialmethod(_all, operator.le)
    __gt__ = partialmethod(_all, operator.gt)
    __ge__ = partialmethod(_all, operator.ge)


Properties = Mapping[str, tuple["Kind", Callable[[Case], Any]]]


class Kind(StrEnum):
    """The kind of a part of a condition. The value is its name in messages."""

    NUMBER = "a number"
    TEXT = "a text"
    TRUTH = "a condition"
    PAIR = "a size in height and width"
    SIDES = "the four sides of a padding"


def _of_problem(kind: Kind, *names: str) -> Properties:
    return {name: (kind, operator.attrgetter(f"problem.{name}")) for name in names}


def _of_quantization(kind: Kind, *names: str) -> Properties:
    """Of a problem in floating point: an empty text, or false."""

    def of(name: str) -> Callable[[Case], Any]:
        return lambda case: properties_of(case.problem.quantization)[name]

    return {name: (kind, of(name)) for name in names}


def _pair(name: str, stem: str) -> Properties:
    get = operator.attrgetter(name)
    return {
        name: (Kind.PAIR, lambda case: Sizes(get(case.problem))),
        f"{stem}_height": (Kind.NUMBER, lambda case: get(case.problem)[0]),
        f"{stem}_width": (Kind.NUMBER, lambda case: get(case.problem)[1]),
    }


NAMES: Properties = {
    **_of_problem(Kind.NUMBER, "batch", "in_channels", "height", "width", "out_channels"),
    **_pair("kernel_size", "kernel"),
    **_pair("stride", "stride"),
    **_pair("dilation", "dilation"),
    "padding": (Kind.SIDES, lambda case: Sizes(side for axis in case.problem.padding for side in axis)),
    "padding_top": (Kind.NUMBER, lambda case: case.problem.padding[0][0]),
    "padding_bottom": (Kind.NUMBER, lambda case: case.problem.padding[0][1]),
    "padding_left": (Kind.NUMBER, lambda case: case.problem.padding[1][0]),
    "padding_right": (Kind.NUMBER, lambda case: case.problem.padding[1][1]),
    **_of_problem(Kind.NUMBER, "groups"),
    **_of_problem(Kind.TRUTH, "bias"),
    **_of_problem(Kind.TEXT, "padding_mode", "dtype", "direction", "kind"),
    "epilogue": (Kind.TEXT, lambda case: str(case.problem.epilogue or NO_EPILOGUE)),
    "activation": (Kind.TEXT, lambda case: (case.problem.epilogue and case.problem.epilogue.activation) or NO_EPILOGUE),
    "residual": (Kind.TEXT, lambda case: (case.problem.epilogue and case.problem.epilogue.residual) or NO_EPILOGUE),
    "quantization": (Kind.TEXT, lambda case: str(case.problem.quantization or "")),
    **_of_quantization(Kind.TEXT, "input_format", "result_format"),
    **_of_quantization(Kind.TRUTH, "input_zero_point", "per_channel", "weight_zero_point", "result_zero_point"),
    **_of_problem(Kind.NUMBER, "out_height", "out_width", "macs", "flops", "bytes"),
    **_of_problem(Kind.NUMBER, "arithmetic_intensity", "reduction_length"),
    "count": (Kind.NUMBER, lambda case: case.count),
    "models": (Kind.NUMBER, lambda case: case.models),
    "layer": (Kind.TEXT, lambda case: case.layer or ""),
    "name": (Kind.TEXT, lambda case: case.name),
}
"""The names that a condition may use, each with its kind and a function from a case to its value."""
