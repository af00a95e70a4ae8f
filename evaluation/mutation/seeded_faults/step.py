"""A correct training step, by the correct convolution and the correct gradients, and a backend with one fault in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from convbench.backend import Arithmetic, Backend, Ready, Supports
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem, Direction
from seeded_faults.conditions import CONDITIONS
from seeded_faults.convolution import Array, convolve
from seeded_faults.gradient import GradientCall

if TYPE_CHECKING:
    from convbench.verification.question import Calls, Layout, Values

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


@dataclass(frozen=True)
class StepFault:
    """A fault of a training step, that acts on problems for which every one of `when`, names of `CONDITIONS`, holds.

    `example` is the id of a case that shows it, put with `values`, `layout` and `calls`.
    """

    name: str
    wrong: str
    example: str
    change: Callable[[StepCall], Results]
    when: str = ""
    values: Values = "integers"
    layout: Layout = "contiguous"
    calls: Calls = "few"
    direction: Direction = "step"

    def acts_on(self, problem: ConvProblem) -> bool:
        conditions = self.when.split(" & ") if self.when else []
        return all(CONDITIONS[each](problem) for each in conditions)


@dataclass(eq=False)
class SeededStep(Backend):
    """The correct training step with one fault, or with none."""

    fault: StepFault | None = None
    kept: dict[Any, Any] = field(default_factory=dict)
    requires = ("numpy",)
    supports = Supports(
        dtypes=set(DTYPES), padding_modes=set(PADDING_MODES), negative_padding=True, directions={"step"}
    )
    arithmetic = Arithmetic("gemm")
    thread_safe = True

    def __post_init__(self) -> None:
        self.name = f"fault-{self.fault.name}" if self.fault else "sound-step"
        self.summary = self.fault.wrong if self.fault else "correct"

    def prepare(self, problem: ConvProblem, x: Array, w: Array, b: Array | None) -> Ready:
        raise NotImplementedError("only steps are computed here")

    def prepare_step(self, problem: ConvProblem, x: Array, w: Array, b: Array | None, g: Array) -> Ready:
        fault = self.fault if self.fault is not None and self.fault.acts_on(problem) else None
        call = StepCall(problem, x, w, b, g, self.kept)
        return Ready(lambda: call.results() if fault is None else fault.change(call), to_numpy=tuple)
