"""Relations of the gradients: each is the adjoint of the convolution, or of another gradient.

    <conv(x, w), g> = <x, input_gradient(g, w)> = <w, weight_gradient(x, g)>

whatever x, w and g are. Of a gradient's question one of the three is free: it is drawn here, of ones and minus ones, so
that the other answer is exact, too. Both sides are single numbers, summed in int64, which wraps around alike on both.
"""

from __future__ import annotations

import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem, Direction
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.bounds import LARGEST_EXACT_INTEGER
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import Array, Part, Relation, relation

_RESULTS: dict[Direction, str] = {"forward": "g", "input_gradient": "x", "weight_gradient": "w"}
"""The array that a direction's result is multiplied with."""


def _adjoint(name: str, summary: str, direction: Direction, other: Direction) -> Relation:
    """Of `direction`, held to the backend's own answer in the `other` direction."""
    free, needed = _RESULTS[direction], _RESULTS[other]

    def restate(problem: ConvProblem, operands: Operands) -> list[Part]:
        part = problem.replace(direction=other, bias=False)
        arrays = operands.named() | {free: _signs(problem, part.operand_shapes[free], operands.dtype)}
        largest = int(max(np.abs(array).max() for array in operands.named().values()))
        if part.reduction_length * largest > LARGEST_EXACT_INTEGER[problem.dtype]:
            return []
        return [(part, Operands(**{name: arrays[name] for name in OPERANDS[other]}))]

    def compare(
        _: ConvProblem, operands: Operands, output: Array, parts: list[Part], outputs: list[Array]
    ) -> tuple[Array, Array]:
        [(_, own)], [result] = parts, outputs
        drawn, fixed = own.named()[free], operands.named()[needed]
        return _product(drawn, output), _product(fixed, result)

    made = relation(name, summary)(restate)
    return Relation(name, summary, restate, made.combine, made.concerns, True, (direction,), compare)


def _signs(problem: ConvProblem, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    rng = np.random.default_rng(zlib.crc32(problem.case_id.encode()))
    return rng.choice(np.array((-1, 1), dtype), shape)


def _product(one: Array, other: Array) -> NDArray[np.int64]:
    """The inner product, (1,)."""
    with np.errstate(invalid="ignore"):  # of what is not finite, the exact check has said more
        integers = [np.asarray(np.nan_to_num(array.astype(np.float64)), np.int64) for array in (one, other)]
    return np.array([np.sum(integers[0] * integers[1])])


OF_ADJOINTS = (
    _adjoint(
        "adjoint of the input",
        "the gradient of the input is the adjoint of the convolution",
        "input_gradient",
        "forward",
    ),
    _adjoint(
        "adjoint of the weight",
        "the gradient of the weight is the adjoint of the convolution",
        "weight_gradient",
        "forward",
    ),
    _adjoint(
        "both gradients",
        "the gradients of input and weight are of one convolution",
        "input_gradient",
        "weight_gradient",
    ),
)
