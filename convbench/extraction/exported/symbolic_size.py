"""Symbolic sizes, as torch.export writes them, computed from the sizes of the program's input.

A size is a number, or a term over symbols such as `FloorDiv(Symbol('s53', positive=True, integer=True), Integer(2))`.
This module computes terms by its own few rules, and never evaluates them as Python.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from convbench.errors import ConvbenchError, ModelError
from convbench.extraction.inputs import Inputs


class UnknownSizeError(ConvbenchError):
    """A size that cannot be computed from the known symbols."""


@dataclass(frozen=True)
class Sizes:
    """The values of symbols, and the shape of the input that gives them."""

    symbols: Mapping[str, int]
    input_shape: tuple[int, ...]

    @classmethod
    def of_inputs(cls, sizes: Mapping[str, Sequence[Any]], image: str, inputs: Inputs, where: str) -> Sizes:
        """The symbols' values for these `inputs`; the program has an input for each of `sizes`.

        An open batch of the image is 1. Raises `ModelError` when the program is for other shapes, or two inputs give
        one symbol different values, and `UnknownSizeError` when a size of the image is open.
        """
        requested = {name: one.shape for name, one in inputs.by_name(list(sizes), image, where).items()}
        symbols: dict[str, int] = {}
        shape: tuple[int, ...] | None = ()
        for name in (*(name for name in requested if name != image), image):
            shape = requested.get(name)
            if shape is None:
                shape = tuple(symbols.get(_name(size) or "", size.get("as_int", 0)) for size in sizes[name])
                shape = (shape[0] or 1, *shape[1:]) if shape else shape
            if name == image and inputs.batch is not None and shape:
                shape = (inputs.batch, *shape[1:])
            _add_symbols(symbols, name, sizes[name], shape, where)
        return cls(symbols, shape or ())

    def value(self, size: Any) -> int:
        """The number that a size is. Raises `UnknownSizeError`."""
        return int(size["as_int"]) if "as_int" in size else self._computed(_term(size))

    def _computed(self, term: ast.expr) -> int:
        match term:
            case ast.Constant(value=int(number)) if not isinstance(number, bool):
                return number
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return -self._computed(operand)
            case ast.Call(func=ast.Name(id="Symbol")):
                name = _symbol(term)
                if name is None or name not in self.symbols:
                    raise UnknownSizeError(f"{name} is no size of its input")
                return self.symbols[name]
            case ast.Call(func=ast.Name(id=function), args=arguments) if function in _FUNCTIONS:
                try:
                    return _FUNCTIONS[function](*map(self._computed, arguments))
                except ZeroDivisionError:
                    raise UnknownSizeError("a size is divided by zero") from None
        raise UnknownSizeError(f"a size is {ast.unparse(term)}, which cannot be computed here")


def _name(size: Any) -> str | None:
    """The symbol that a size is; None for any other size."""
    return None if "as_int" in size else _symbol(_term(size))


def _add_symbols(symbols: dict[str, int], name: str, sizes: Sequence[Any], shape: tuple[int, ...], where: str) -> None:
    """Add the symbols' values that follow from an input of that name and shape, which has these `sizes`."""
    if len(shape) != len(sizes):
        text = ",".join(map(str, shape))
        raise ModelError(f"{where}: its input {name} has {len(sizes)} dimensions, and {text} has {len(shape)}.")
    for axis, (size, value) in enumerate(zip(sizes, shape, strict=True)):
        if "as_int" in size:
            if size["as_int"] != value:
                raise ModelError(
                    f"{where}: it was exported with {size['as_int']} for dimension {axis} of its input {name}, not "
                    f"{value}; export it for the shape that is wanted, or with a dynamic one."
                )
            continue
        symbol = _symbol(_term(size))
        if symbol is None or not value:
            raise UnknownSizeError(f"dimension {axis} of its input {name} is open")
        if symbols.setdefault(symbol, value) != value:
            raise ModelError(
                f"{where}: dimension {axis} of its input {name} is {value}, and it should be {symbols[symbol]}, as an "
                "equal size of another input is."
            )


def _power(base: int, exponent: int) -> int:
    if not 0 <= exponent <= 8 or abs(base) > 2**20:
        raise UnknownSizeError(f"a size is {base} to the power of {exponent}")
    return int(base**exponent)


_FUNCTIONS: Mapping[str, Callable[..., int]] = {
    "Integer": int,
    "Add": lambda *terms: sum(terms),
    "Mul": lambda *factors: math.prod(factors),
    "Max": lambda *values: max(values),
    "Min": lambda *values: min(values),
    "Pow": _power,
    "FloorDiv": operator.floordiv,
    "CleanDiv": operator.floordiv,
    "CeilDiv": lambda dividend, divisor: -(-dividend // divisor),
    "Mod": operator.mod,
    "PythonMod": operator.mod,
}


def _term(size: Any) -> ast.expr:
    text = str(size["as_expr"]["expr_str"])
    try:
        return ast.parse(text[:10_000], mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise UnknownSizeError(f"a size is {text[:100]!r}, which is no term") from None


def _symbol(term: ast.expr) -> str | None:
    match term:
        case ast.Call(func=ast.Name(id="Symbol"), args=[ast.Constant(value=str(name))]):
            return name
    return None
