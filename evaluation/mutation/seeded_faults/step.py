"""A correct training step, by the correct convolution and the correct gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from convbench.problem import ConvProblem, Direction
from seeded_faults.convolution import Array, convolve
from seeded_faults.gradient import GradientCall

Results = list[Array]


@dataclass
class StepCall:
    """One call of a prepared step. `kept` lives as long as the backend does."""

    problem: ConvProblem
    x: Array
    w: Array
    b: Array | None
    g: Array
    kept: dict[Any, Any]

    def result(self, direction: Direction, **changes: Any) -> Array:
        """The output or one gradient; from other operands, or with what `GradientCall.compute` takes."""
        part = self.problem.replace(direction=direction)
        operands = {name: changes.pop(name, getattr(self, name)) for name in ("x", "w", "b", "g")}
        if direction == "forward":
            return convolve(part, operands["x"], operands["w"], operands["b"])
        taken = {name: operands[name] if name in part.operand_shapes else None for name in ("g", "x", "w")}
        return GradientCall(part, **taken, number=1, kept={}).compute(**changes)

    def results(self, **replaced: Array) -> Results:
        """The output and each gradient, those that are not `replaced` computed correctly."""
        return [replaced[each] if each in replaced else self.result(each) for each in self.problem.computed]
