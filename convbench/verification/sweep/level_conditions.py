"""Levels of factors as text in the language of `--where`: their own conditions, on names instead of numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convbench.problem import DIRECTIONS, DTYPES, PADDING_MODES
from convbench.verification.sweep.factor import otherwise
from convbench.verification.sweep.factors import DETAILS, FACTORS
from convbench.verification.sweep.parameters import Axis, Parameters

_FACTORS = {factor.name: factor for factor in (*FACTORS, *DETAILS)}
OF_A_QUESTION = ("layout", "values", "calls")
"""The factors that are not about the problem, on which alone a condition can be put."""


def level_condition(factor: str, level: str) -> str:
    """When a problem has this level: that the level's condition holds, and none of those before it."""
    conditions = list(_FACTORS[factor].levels.items())
    place = [word for word, _ in conditions].index(level)
    before = [_not(str(holds(_PARAMETERS))) for _, holds in conditions[:place]]
    if conditions[place][1] is otherwise:
        return " and ".join(before)
    own = str(conditions[place][1](_PARAMETERS))
    name, _, _ = own.partition(" == ")
    if name.isidentifier():  # a parameter never has two values at once
        before = [part for part in before if not part.startswith(f"{name} != ")]
    return " and ".join([*before, own])


def _not(condition: str) -> str:
    name, _, value = condition.partition(" == ")
    return f"{name} != {value}" if name.isidentifier() else f"not {condition}"


class _Term:
    """A number or a condition as text, which Python's operators put together."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __rmul__(self, number: int) -> _Term:
        return _Term(f"({number} * {self})")

    def __abs__(self) -> _Magnitude:
        return _Magnitude(self.text)


def _operator(form: str) -> Any:
    return lambda term, other: _Term(form.format(term, other))


_SIGNS = {"add": "+", "sub": "-", "mul": "*", "floordiv": "//", "mod": "%", "and": "and", "or": "or"}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
for _name, _sign in _SIGNS.items():
    setattr(_Term, f"__{_name}__", _operator(f"({{}} {_sign} {{}})"))
for _name, _sign in _COMPARISONS.items():
    setattr(_Term, f"__{_name}__", _operator(f"{{}} {_sign} {{}}"))


class _Magnitude(_Term):
    def __le__(self, most: int) -> _Term:
        return _Term(f"-{most} <= {self} <= {most}")


class _Word(_Term):
    """A parameter that is a word, which `Parameters` holds as its index."""

    def __init__(self, name: str, words: Sequence[Any]) -> None:
        super().__init__(name)
        self.words = words

    def __eq__(self, index: Any) -> Any:
        return _Term(f"{self} == {self.words[index]!r}")

    def __ge__(self, index: int) -> _Term:
        return _Term(f"{self} in {tuple(self.words[index:])}")

    __hash__ = None  # type: ignore[assignment]


class _NamedAxis(Axis):
    @property
    def out(self) -> Any:
        return _Term(f"out_{self.size}")


def _axis(size: str, before: str, after: str) -> Axis:
    names = {name: f"{name}_{size}" for name in ("kernel", "stride", "dilation")}
    names |= {"before": f"padding_{before}", "after": f"padding_{after}", "size": size}
    return _NamedAxis(**{name: _Term(text) for name, text in names.items()})


_PARAMETERS = Parameters(
    down=_axis("height", "top", "bottom"),
    across=_axis("width", "left", "right"),
    padding_mode=_Word("padding_mode", PADDING_MODES),
    batch=_Term("batch"),
    channels_in=_Term("in_channels"),
    channels_out=_Term("out_channels"),
    groups=_Term("groups"),
    bias=_Word("bias", (False, True)),
    dtype=_Word("dtype", DTYPES),
    direction=_Word("direction", DIRECTIONS),
)
