"""The forms that `ConvProblem` takes its arguments in, each brought into the one form that it keeps.

Every function raises `ProblemError` with the argument's name, its value and what it should be.
"""

from __future__ import annotations

from operator import index
from typing import Any, TypeVar

from convbench.errors import ProblemError, did_you_mean
from convbench.problem.vocabulary import Pair, Sides

_Word = TypeVar("_Word", bound=str)
_LARGEST = 2**63 - 1  # the largest size that libraries count in, and that fits into a case id


def positive(name: str, value: Any) -> int:
    """An integer of at least 1."""
    integer = _integer(name, value)
    if integer < 1:
        raise ProblemError(f"{name} is {integer}; it should be at least 1.")
    return integer


def pair(name: str, value: Any) -> Pair:
    """(height, width), from one positive integer for both or a pair of them."""
    height, width = _both(name, value, "an integer or a pair (height, width)")
    return (positive(name, height), positive(name, width))


def boolean(name: str, value: Any) -> bool:
    """A truth value of Python or NumPy."""
    if type(value).__name__ not in ("bool", "bool_"):  # NumPy's is known by name, so that it is not imported
        raise ProblemError(f"{name} is {value!r}; it should be true or false.")
    return bool(value)


def word(name: str, value: Any, known: tuple[_Word, ...]) -> _Word:
    """The one of `known` that `value` equals."""
    for candidate in known:
        if value == candidate:
            return candidate
    raise ProblemError(f"{name} is {value!r}; it should be one of {', '.join(known)}.{did_you_mean(str(value), known)}")


def sides(padding: Any, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    """((top, bottom), (left, right)), from an integer, a pair (height, width), nested pairs, "same" or "valid"."""
    if isinstance(padding, str):
        return _sides_of_word(padding, kernel, stride, dilation)
    expected = "an integer, a pair (height, width), nested pairs ((top, bottom), (left, right)), 'same' or 'valid'"
    height, width = _both("padding", padding, expected)
    return (_side(height), _side(width))


def _sides_of_word(padding: str, kernel: Pair, stride: Pair, dilation: Pair) -> Sides:
    if padding == "valid":
        return ((0, 0), (0, 0))
    if padding != "same":
        raise ProblemError(f"padding is {padding!r}; as a word it should be 'same' or 'valid'.")
    if stride != (1, 1):
        raise ProblemError(
            f"padding 'same' with stride {stride}: 'same' is torch's, for stride 1 only. "
            "Give the sides as ((top, bottom), (left, right)) if ONNX's or TensorFlow's SAME is meant."
        )
    height, width = (d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    return ((height // 2, height - height // 2), (width // 2, width - width // 2))


def _side(value: Any) -> Pair:
    before, after = _both("padding of one axis", value, "an integer or a pair (before, after)")
    return (_integer("padding", before), _integer("padding", after))


def _both(name: str, value: Any, expected: str) -> tuple[Any, Any]:
    """The two elements of a pair, or a single value twice."""
    if not isinstance(value, (tuple, list)):
        return (value, value)
    if len(value) != 2:
        raise ProblemError(f"{name} is {value!r}; it should be {expected}.")
    return (value[0], value[1])


def _integer(name: str, value: Any) -> int:
    try:
        integer = index(value)
    except TypeError:
        integer = None
    if integer is None or isinstance(value, bool):
        raise ProblemError(f"{name} is {value!r}; it should be an integer.")
    if abs(integer) > _LARGEST:
        raise ProblemError(f"{name} has {integer.bit_length()} bits; it should be at most {_LARGEST}.")
    return integer
