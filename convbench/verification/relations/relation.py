"""What a relation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem
from convbench.verification.operands import Operands

Part = tuple[ConvProblem, Operands]
Array = NDArray[Any]


@dataclass(frozen=True)
class Relation:
    """One way to put a convolution differently.

    Where `applies(problem)`, the output for `operands` must equal `combine(problem, outputs)`, `outputs` being those of
    the convolutions in `restate(problem, operands)`, in that order. Operands and outputs are in the problem's dtype.
    `exact_in_halves` is false where parts are added: a half format would round each of them.
    """

    name: str
    summary: str
    restate: Callable[[ConvProblem, Operands], list[Part]]
    combine: Callable[[ConvProblem, Sequence[Array]], Array]
    concerns: Callable[[ConvProblem], bool]
    exact_in_halves: bool = True

    def applies(self, problem: ConvProblem) -> bool:
        """Whether `problem` has what the relation is about, and can be put so exactly."""
        exact = self.exact_in_halves or problem.dtype not in ("float16", "bfloat16")
        return exact and problem.direction == "forward" and self.concerns(problem)

    def answer(
        self, problem: ConvProblem, operands: Operands, compute: Callable[[ConvProblem, Operands], Array]
    ) -> Array:
        """The answer to `problem` by way of this relation, where `compute` answers one convolution."""
        return self.combine(problem, [compute(part, own) for part, own in self.restate(problem, operands)])


def as_it_is(_: ConvProblem, outputs: Sequence[Array]) -> Array:
    """`combine` where the one output is the answer."""
    return outputs[0]


def added(_: ConvProblem, outputs: Sequence[Array]) -> Array:
    """`combine` where the outputs are summands."""
    return np.asarray(sum(outputs[1:], outputs[0]))


def cut(size: int) -> int:
    """Where to part `size` of 2 or more: near the middle, and at no multiple of a tile, whose end would hide there."""
    return size // 2 | 1
