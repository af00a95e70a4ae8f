"""What a seeded fault of a gradient or of a training step is, and a backend that has one."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import DIRECTIONS, DTYPES, PADDING_MODES, ConvProblem, Direction
from seeded_faults.conditions import all_hold, conditions_of
from seeded_faults.convolution import Array
from seeded_faults.gradient import GradientCall
from seeded_faults.step import StepCall

if TYPE_CHECKING:
    from convbench.verification.question import Calls, Layout, Values


@dataclass(frozen=True)
class TrainingFault:
    """A fault of one direction, that acts on problems for which every one of `when`, names of `CONDITIONS`, holds.

    `change` takes a `StepCall` where the direction is "step", and returns its results; a `GradientCall` elsewhere, and
    returns the gradient. `example` is the id of a case that shows it, put with `values`, `layout` and `calls`.
    """

    name: str
    direction: Direction
    wrong: str
    example: str
    change: Callable[[Any], Any]
    when: str = ""
    values: Values = "integers"
    layout: Layout = "contiguous"
    calls: Calls = "few"

    def __post_init__(self) -> None:
        conditions_of(self.when)

    def acts_on(self, problem: ConvProblem) -> bool:
        return problem.direction == self.direction and all_hold(self.when, problem)


@dataclass(eq=False)
class SeededTraining(Backend):
    """The correct gradients and training steps, with one fault or with none."""

    fault: TrainingFault | None = None
    kept: dict[Any, Any] = field(default_factory=dict)
    requires = ("numpy",)
    supports = Supports(
        dtypes=set(DTYPES),
        padding_modes=set(PADDING_MODES),
        negative_padding=True,
        directions=set(DIRECTIONS) - {"forward"},
    )
    arithmetic = Arithmetic("gemm")
    thread_safe = True

    def __post_init__(self) -> None:
        self.name = f"fault-{self.fault.name}" if self.fault else "sound-training"
        self.summary = self.fault.wrong if self.fault else "correct"

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        raise NotImplementedError("only gradients and training steps are computed here")

    def prepare_gradient(self, problem: ConvProblem, g: Array, x: Array | None, w: Array | None) -> Ready:
        answer, numbers = self._answer(problem, GradientCall.compute), itertools.count(1)
        return Ready(lambda: answer(GradientCall(problem, g, x, w, next(numbers), self.kept)))

    def prepare_step(self, problem: ConvProblem, x: Array, w: Array, b: Array | None, g: Array) -> Ready:
        answer, call = self._answer(problem, StepCall.results), StepCall(problem, x, w, b, g, self.kept)
        return Ready(lambda: answer(call), to_numpy=tuple)

    def _answer(self, problem: ConvProblem, right: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return self.fault.change if self.fault is not None and self.fault.acts_on(problem) else right
