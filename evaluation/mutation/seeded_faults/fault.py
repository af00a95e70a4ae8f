"""What a seeded fault is: a deviation from the correct convolution, where it acts, and a question that shows it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from convbench.backend import WHOLE_OF_CONV2D, Arithmetic, Backend, Ready
from convbench.problem import ConvProblem
from seeded_faults.conditions import all_hold, conditions_of
from seeded_faults.convolution import SOUND, Array, Steps, convolve

if TYPE_CHECKING:
    from convbench.verification.question import Layout, Values

Family = Literal[
    "geometry", "boundary", "channels", "precision", "values", "state", "memory", "layout", "form", "breakdown"
]
Seen = Literal["answer", "repeated", "anew", "kept", "heap", "operands", "sequence", "threads", "breakdown"]


@dataclass
class Call:
    """One call of a prepared convolution: the `number`-th, from 1. `kept` lives as long as the backend does."""

    problem: ConvProblem
    x: Array
    w: Array
    b: Array | None
    steps: Steps
    number: int
    kept: dict[Any, Any]

    def compute(self, **operands: Any) -> Array:
        """The answer, to other operands where some are given."""
        given = {"x": self.x, "w": self.w, "b": self.b} | operands
        return convolve(self.problem, given["x"], given["w"], given["b"], self.steps)


@dataclass(frozen=True)
class Fault:
    """A fault that acts on problems for which every one of `when`, a list of `CONDITIONS`, holds.

    `example` is the id of a case that shows it (two, joined by "then", for `seen` "sequence"), put with `values` and
    `layout`. `seen` says by what: the plain "answer"; an answer "repeated" up to 25 times; one prepared "anew" on
    other operands; an answer "kept" while another is computed; garbage on a dirty "heap"; "operands" written; an
    answer after another problem, in "sequence"; two "threads" at once; or a "breakdown" instead of an answer.
    """

    name: str
    family: Family
    wrong: str
    example: str
    when: str = ""
    seen: Seen = "answer"
    values: Values = "integers"
    layout: Layout = "contiguous"
    steps: Steps = SOUND
    around: Callable[[Call], Any] = Call.compute

    def __post_init__(self) -> None:
        conditions_of(self.when)

    @property
    def conditions(self) -> list[str]:
        return conditions_of(self.when)

    def acts_on(self, problem: ConvProblem) -> bool:
        return all_hold(self.when, problem)


@dataclass(eq=False)
class Seeded(Backend):
    """The correct convolution with one fault, declared as what it would be without it."""

    fault: Fault
    kept: dict[Any, Any] = field(default_factory=dict)
    requires = ("numpy",)
    supports = WHOLE_OF_CONV2D
    arithmetic = Arithmetic("gemm")
    thread_safe = True

    def __post_init__(self) -> None:
        self.name = f"fault-{self.fault.name}"
        self.summary = self.fault.wrong

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        numbers = itertools.count(1)
        acts = self.fault.acts_on(problem)
        steps = self.fault.steps if acts else SOUND

        def run() -> Any:
            call = Call(problem, x, w, b, steps, next(numbers), self.kept)
            return self.fault.around(call) if acts else call.compute()

        return Ready(run)
