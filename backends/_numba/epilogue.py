"""Stores with an epilogue: sums get their bias, residual and activation in registers, and are written once.

One small module of machine code for each epilogue; the tiles and the tasks are those of the bare convolution.
"""

# llvmlite has no types.
# mypy: ignore-errors
from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core.cgutils import for_range_slice

from convbench.problem import Epilogue

from .activations import activated
from .vectors import (
    SCALARS,
    broadcast,
    compiled,
    load_vector,
    new_function,
    number,
    pointers,
    store_vector,
    transpose,
)


class EndedCode(NamedTuple):
    """Addresses of functions whose arguments are all int64, also pointers. `residual` lies as `out` does.

    square(sums, pitch, bias, out, plane, residual): `lanes` sums by `lanes`, pixels by channels, as channels by pixels.
    row(out, source, count, bias, residual): out[j] from source[j] and bias[0]. `out` may be `source`.
    """

    square: int
    row: int
    engine: Any  # owns the code


@lru_cache(maxsize=64)
def ended_code(dtype: str, lanes: int, epilogue: Epilogue) -> EndedCode:
    """Compile the stores of `epilogue`. Its numbers are a part of the code."""
    module = ir.Module()
    vector = ir.VectorType(SCALARS[dtype], lanes)
    _square(module, vector, epilogue)
    _row(module, vector, epilogue)
    engine = compiled(module)
    return EndedCode(*(engine.get_function_address(name) for name in ("square", "row")), engine)


def _ended(b: Any, epilogue: Epilogue, y: Any, residual: Any) -> Any:
    """The epilogue of the vector `y`, with the residual at the pointer `residual`."""
    r = None if epilogue.residual is None else load_vector(b, residual, y.type)
    if epilogue.residual == "before":
        y = b.fadd(y, r)
    y = activated(b, epilogue, y)
    return b.fadd(y, r) if epilogue.residual == "after" else y


def _square(module: Any, vector: Any, epilogue: Epilogue) -> None:
    function, b = new_function(module, "square", "sums pitch bias out plane residual")
    sums, pitch, bias, out, plane, residual = function.args
    sums, bias, out, residual = pointers(b, vector.element, sums, bias, out, residual)
    added = load_vector(b, bias, vector)
    rows = [load_vector(b, b.gep(sums, [b.mul(pitch, number(i))]), vector) for i in range(vector.count)]
    for i, row in enumerate(transpose(b, [b.fadd(row, added) for row in rows])):
        place = [b.mul(plane, number(i))]
        store_vector(b, _ended(b, epilogue, row, b.gep(residual, place)), b.gep(out, place))
    b.ret_void()


def _row(module: Any, vector: Any, epilogue: Epilogue) -> None:
    """By whole vectors, and what is left by halves, quarters and so on: nothing is written twice."""
    function, b = new_function(module, "row", "out source count bias residual")
    out, source, count, bias, residual = function.args
    out, source, bias, residual = pointers(b, vector.element, out, source, bias, residual)
    added = b.load(bias)

    def end_at(at: Any, part: Any) -> None:
        y = b.fadd(load_vector(b, b.gep(source, [at]), part), broadcast(b, added, part))
        store_vector(b, _ended(b, epilogue, y, b.gep(residual, [at])), b.gep(out, [at]))

    lanes = vector.count
    whole = b.and_(count, number(-lanes))
    with for_range_slice(b, number(0), whole, number(lanes)) as (at, _):
        end_at(at, vector)
    while (lanes := lanes // 2) >= 1:
        with b.if_then(b.icmp_signed("!=", b.and_(count, number(lanes)), number(0))):
            end_at(b.and_(count, number(-2 * lanes)), ir.VectorType(vector.element, lanes))
    b.ret_void()
