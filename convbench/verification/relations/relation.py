"""What a relation is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem, Direction
from convbench.verification.operands import Operands

Part = tuple[ConvProblem, Operands]
Array = NDArray[Any]
Restate = Callable[[ConvProblem, Operands], list[Part]]
Combine = Callable[[ConvProblem, Sequence[Array]], Array]
Concerns = Callable[[ConvProblem], bool]
Compare = Callable[[Operands, Array, list[Part], list[Array]], tuple[Array, Array]]


@dataclass(frozen=True)
class Relation:
    """One way to put a convolution differently.

    Where `applies(problem)`, the output for `operands` must equal `combine(problem, outputs)`, where `outputs` are
    those of the convolutions in `restate(problem, operands)`, in that order. Operands and outputs are in the problem's
    dtype. `exact_in_halves` is false where parts are added, because a half format would round each of them.
    """

    name: str
    summary: str
    restate: Restate
    combine: Combine
    concerns: Concerns
    exact_in_halves: bool
    directions: tuple[Direction, ...] = ("forward",)
    compare: Compare | None = None
    """What is compared instead of the two outputs: figures of the operands, the output, the parts and their outputs."""

    def applies(self, problem: ConvProblem) -> bool:
        """Whether `problem` has what the relation is about, and the restatement is exact."""
        exact = self.exact_in_halves or problem.dtype not in ("float16", "bfloat16")
        return exact and problem.epilogue is None and problem.direction in self.directions and self.concerns(problem)

    def compared(
        self, problem: ConvProblem, operands: Operands, output: Array, parts: list[Part], outputs: list[Array]
    ) -> tuple[Array, Array]:
        """What has to be equal: something of the output, and something of the outputs of the parts."""
        if self.compare is not None:
            return self.compare(operands, output, parts, outputs)
        return output, self.combine(problem, outputs)


def relation(
    name: str,
    summary: str,
    concerns: Concerns = lambda _: True,
    combine: Combine = lambda _, outputs: outputs[0],
    exact_in_halves: bool = True,
) -> Callable[[Restate], Relation]:
    """Make the decorated function the `restate` of a relation."""
    return lambda restate: Relation(name, summary, restate, combine, concerns, exact_in_halves)


def summands(name: str, summary: str, concerns: Concerns = lambda _: True) -> Callable[[Restate], Relation]:
    """Make the decorated function the `restate` of a relation whose parts are added."""
    return relation(name, summary, concerns, lambda _, outputs: np.asarray(sum(outputs[1:], outputs[0])), False)


def cut(size: int) -> int:
    """Where to part `size` of 2 or more: near the middle, and at no multiple of a tile, whose end would hide there."""
    return size // 2 | 1
