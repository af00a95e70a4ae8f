"""An epilogue as lines of StableHLO."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .._fusion import SUM, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from convbench.problem import Epilogue


def epilogue_lines(epilogue: Epilogue, value: str, kind: str) -> Iterator[str]:
    """From `value` and the widened residual `%rs`, tensors of type `kind`, to `%ended`."""
    parts = parts_of(epilogue)
    for number, part in enumerate(parts):
        target = "%ended" if number == len(parts) - 1 else "%begun"
        if part == SUM:
            yield f"{target} = stablehlo.add {value}, %rs : {kind}"
        else:
            yield from _activation(epilogue, value, target, kind)
        value = target


def _activation(epilogue: Epilogue, y: str, target: str, kind: str) -> Iterator[str]:
    def constant(name: str, number: float) -> str:
        return f"{name} = stablehlo.constant dense<{number:.17e}> : {kind}"

    def two(target: str, operation: str, one: str, other: str) -> str:
        return f"{target} = stablehlo.{operation} {one}, {other} : {kind}"

    def one(target: str, operation: str, operand: str) -> str:
        return f"{target} = stablehlo.{operation} {operand} : {kind}"

    def clamped(target: str, operand: str, low: float, high: float) -> list[str]:
        clamp = f"{target} = stablehlo.clamp %low, {operand}, %high : {kind}"
        return [constant("%low", low), constant("%high", high), clamp]

    activation = epilogue.activation
    if activation == "relu":
        yield from (constant("%zero", 0.0), two(target, "maximum", y, "%zero"))
    elif activation in ("relu6", "clip"):
        limits = (0.0, 6.0) if activation == "relu6" else (epilogue.low or 0.0, epilogue.high or 0.0)
        yield from clamped(target, y, *limits)
    elif activation == "leaky_relu":
        truth = f"tensor<{kind[len('tensor<') : kind.rindex('x')]}xi1>"
        yield from (constant("%zero", 0.0), constant("%slope", epilogue.slope or 0.0))
        yield two("%below", "multiply", y, "%slope")
        yield f"%above = stablehlo.compare GT, {y}, %zero : ({kind}, {kind}) -> {truth}"
        yield f"{target} = stablehlo.select %above, {y}, %below : {truth}, {kind}"
    elif activation == "hard_swish":
        yield from (constant("%three", 3.0), two("%shifted", "add", y, "%three"))
        yield from clamped("%gate", "%shifted", 0.0, 6.0)
        yield from (two("%gated", "multiply", y, "%gate"), constant("%six", 6.0))
        yield two(target, "divide", "%gated", "%six")
    elif activation == "sigmoid":
        yield one(target, "logistic", y)
    elif activation == "silu":
        yield from (one("%gate", "logistic", y), two(target, "multiply", y, "%gate"))
    else:
        yield from _gelu(y, target, kind, by_tanh=activation == "gelu_tanh")


def _gelu(y: str, target: str, kind: str, *, by_tanh: bool) -> Iterator[str]:
    """y / 2 * (1 + erf(y / sqrt 2)), or tanh(sqrt(2 / pi) * (y + 0.044715 y^3)) in its place."""
    numbers = {"%half": 0.5, "%unit": 1.0, "%root": math.sqrt(0.5), "%scale": math.sqrt(2 / math.pi), "%c": 0.044715}
    for name, number in numbers.items():
        yield f"{name} = stablehlo.constant dense<{number:.17e}> : {kind}"
    if by_tanh:
        steps = [("%square", "multiply", y, y), ("%cube", "multiply", "%square", y)]
        steps += [("%bent", "multiply", "%cube", "%c"), ("%sum", "add", y, "%bent")]
        steps += [("%inner", "multiply", "%sum", "%scale")]
    else:
        steps = [("%inner", "multiply", y, "%root")]
    for name, operation, left, right in steps:
        yield f"{name} = stablehlo.{operation} {left}, {right} : {kind}"
    yield f"%bend = {'stablehlo.tanh' if by_tanh else 'chlo.erf'} %inner : {kind}" + ("" if by_tanh else f" -> {kind}")
    yield f"%gate = stablehlo.add %bend, %unit : {kind}"
    yield f"%halved = stablehlo.multiply {y}, %half : {kind}"
    yield f"{target} = stablehlo.multiply %halved, %gate : {kind}"
