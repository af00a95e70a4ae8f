"""What a relation is."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import ConvProblem, Direction
from convbench.verification.fused.activations import is_exact
from convbench.verification.operands import Operands

Part = tuple[ConvProblem, Operands]
Array = NDArray[Any]
Restate = Callable[[ConvProblem, Operands], list[Part]]
Combine = Callable[[ConvProblem, Sequence[Array]], Array]
Concerns = Callable[[ConvProblem], bool]
Compare = Callable[[ConvProblem, Operands, Array, list[Part], list[Array]], tuple[Array, Array]]


@dataclass(frozen=True)
class Relation:
    """One way to put a convolution differently.

    Where `applies(problem)`, the output for `operands` must equal `combine(problem, outputs)`, where `outputs` are
    those of the convolutions in `restated(problem, operands, output)`, in that order. Operands and outputs are in the
    problem's dtypes. `adds_parts` is true where outputs of parts are added: a format that rounds each of them cannot
    have it. Else `combine` only puts elements of the outputs in place.

    A relation of bare convolutions holds for those with an epilogue, too, if it only puts elements in place: each part
    has the epilogue then, and of the residual what belongs to its elements.
    """

    name: str
    summary: str
    restate: Restate
    combine: Combine
    concerns: Concerns
    adds_parts: bool
    directions: tuple[Direction, ...] = ("forward",)
    compare: Compare | None = None
    """What is compared instead of the two outputs: figures of the problem, its operands, the output, the parts and
    their outputs."""
    of_epilogues: bool = False
    """Whether it says something of the epilogue, and applies to problems with one only."""
    follow: Callable[[ConvProblem, Array], list[Part]] | None = None
    """What is asked of the output, instead of what `restate` asks of the operands."""

    def applies(self, problem: ConvProblem) -> bool:
        """Whether `problem` has what the relation is about, and the restatement is exact."""
        exact = not self.adds_parts or _holds_sums(problem)
        if problem.epilogue is None:
            exact = exact and not self.of_epilogues
        else:
            exact = exact and is_exact(problem.epilogue) and (self.of_epilogues or not self.adds_parts)
        return exact and problem.direction in self.directions and self.concerns(problem)

    def restated(self, problem: ConvProblem, operands: Operands, output: Array) -> list[Part]:
        """The parts. `output` is the answer for `operands`."""
        if self.follow is not None:
            return self.follow(problem, output)
        if problem.epilogue is None or self.of_epilogues:
            return self.restate(problem, operands)
        parts = self.restate(problem.replace(epilogue=None), replace(operands, r=None))
        residuals = self._residuals(problem, [part for part, _ in parts], operands.r)
        return [
            (part.replace(epilogue=problem.epilogue), replace(own, r=r))
            for (part, own), r in zip(parts, residuals, strict=True)
        ]

    def _residuals(self, problem: ConvProblem, parts: list[ConvProblem], r: Array | None) -> Sequence[Array | None]:
        """Of each part: `r` where `combine` puts the part's elements, and zeros for those that it leaves out."""
        if r is None:
            return [None] * len(parts)
        ends = np.cumsum([math.prod(part.output_shape) for part in parts])
        numbers = np.split(np.arange(ends[-1]), ends[:-1])
        shaped = [each.reshape(part.output_shape) for each, part in zip(numbers, parts, strict=True)]
        residuals = np.zeros(ends[-1], r.dtype)
        residuals[self.combine(problem, shaped)] = r
        split = np.split(residuals, ends[:-1])
        return [each.reshape(part.output_shape) for each, part in zip(split, parts, strict=True)]

    def compared(
        self, problem: ConvProblem, operands: Operands, output: Array, parts: list[Part], outputs: list[Array]
    ) -> tuple[Array, Array]:
        """What has to be equal: something of the output, and something of the outputs of the parts."""
        if self.compare is not None:
            return self.compare(problem, operands, output, parts, outputs)
        return output, self.combine(problem, outputs)


def relation(
    name: str,
    summary: str,
    concerns: Concerns = lambda _: True,
    combine: Combine = lambda _, outputs: outputs[0],
    adds_parts: bool = False,
) -> Callable[[Restate], Relation]:
    """Make the decorated function the `restate` of a relation."""
    return lambda restate: Relation(name, summary, restate, combine, concerns, adds_parts)


def _holds_sums(problem: ConvProblem) -> bool:
    """Whether every sum is a result as it is. Half formats and 8 bits round, and scales may."""
    if problem.quantization is not None:
        return problem.quantization.result == "s32"
    return problem.dtype not in ("float16", "bfloat16")


def summands(name: str, summary: str, concerns: Concerns = lambda _: True) -> Callable[[Restate], Relation]:
    """Make the decorated function the `restate` of a relation whose parts are added."""
    return relation(name, summary, concerns, lambda _, outputs: np.asarray(sum(outputs[1:], outputs[0])), True)


def input_zero(operands: Operands) -> int:
    """What stands for 0 in the input: its zero point, which is 0 in floating point."""
    return 0 if operands.s is None else operands.scales.x_zero


def weight_zeros(operands: Operands) -> Array:
    """What stands for 0 in each filter, (O or 1, 1, 1, 1), in the weight's dtype."""
    if operands.s is None:
        return np.zeros((1, 1, 1, 1), operands.w.dtype)
    return operands.scales.w_zero.reshape(-1, 1, 1, 1)


def cut(size: int) -> int:
    """Where to part `size` of 2 or more: near the middle, and at no multiple of a tile, whose end would hide there."""
    return size // 2 | 1
