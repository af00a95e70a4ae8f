"""The oracle: the right answer for one set of operands, computed when first needed, and the judge of answers."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem, Epilogue
from convbench.problem.vocabulary import OPERANDS
from convbench.verification.bounds import (
    SMALLEST_NORMAL,
    UNDERFLOW,
    UNIT_ROUNDOFF,
    error_bound,
    parts_added,
    underflow_bound,
    warn_level,
)
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.fused.activations import bounded, is_exact, lipschitz
from convbench.verification.fused.truth import fused_error_bound, other_results, result
from convbench.verification.gradients import computed
from convbench.verification.operands import (
    Operands,
    change_of_answer,
    changed,
    integer_operands,
    normal_operands,
    one_tap_operands,
    positive_operands,
    special_operands,
    wide_operands,
)
from convbench.verification.quantized.data import quantized_operands
from convbench.verification.quantized.oracle import QuantizedOracle
from convbench.verification.question import Question, Values
from convbench.verification.step.answers import results
from convbench.verification.verdict import Verdict, judge_bound, judge_exact, judge_special, refusal, together

_DRAW = {
    "normal": normal_operands,
    "positive": positive_operands,
    "wide": wide_operands,
    "one-tap": one_tap_operands,
    "special": special_operands,
}


class Oracle:
    """Judges answers of any backend for `operands`, which are in the problem's dtype and of the kind `values`."""

    def __init__(self, problem: ConvProblem, operands: Operands, values: Values) -> None:
        self.problem = problem
        self.operands = operands
        self.values = values

    @cached_property
    def exact(self) -> NDArray[np.float64]:
        """The result, of `problem.result_shape` in float64; not finite where special values make it so."""
        if self.problem.epilogue is None:
            return self.convolved
        with np.errstate(invalid="ignore"):
            return result(self.problem.epilogue, self.convolved, self.operands.r)

    @cached_property
    def convolved(self) -> NDArray[np.float64]:
        """The result before any epilogue."""
        with np.errstate(invalid="ignore"):
            return computed(self.problem, self.operands)

    @cached_property
    def magnitudes(self) -> NDArray[np.float64]:
        """S = sum |x||w| + |b|, like `exact`, over the operands that are finite; sums of their own in gradients."""
        return computed(self.problem, self._finite.map(np.abs))

    def solve(self) -> None:
        """Compute now what `judge` will need of right answers."""
        _ = self.exact
        if self.values not in ("integers", "one-tap"):  # equal answers need no bound
            _ = self.magnitudes

    def judge(self, arithmetic: Arithmetic, output: Any, spare: float = 0.0) -> Verdict:
        """The verdict on `output` as the answer of a backend that computes by `arithmetic`; its error may be larger by
        `spare` than the bound."""
        if self.problem.epilogue is not None:
            return self._judge_fused(self.problem.epilogue, arithmetic, output, spare)
        if self.values == "integers" or (self.values == "one-tap" and _keeps_operands(self.problem, arithmetic)):
            return self._judge_exact(arithmetic, output)
        bound = self._bound(arithmetic) + spare
        if self.values == "special":
            return judge_special(self.problem, output, self.exact, bound, self._tainted(arithmetic))
        warn = warn_level(self.problem, arithmetic, self.exact, self.magnitudes)
        return judge_bound(self.problem, output, self.exact, bound, warn)

    def _judge_fused(self, epilogue: Epilogue, arithmetic: Arithmetic, output: Any, spare: float) -> Verdict:
        kept = self.values == "integers" or (self.values == "one-tap" and _keeps_operands(self.problem, arithmetic))
        exact_sums = kept and not rounds_between(arithmetic)
        bound = self._fused_bound(arithmetic, exact_sums=exact_sums) + lipschitz(epilogue) * spare
        if exact_sums and is_exact(epilogue):
            return judge_exact(self.problem, output, self.exact, bound, round_to_integer=False)
        if self.values != "special":
            return judge_bound(self.problem, output, self.exact, bound, bound)
        with np.errstate(invalid="ignore"):
            others = other_results(epilogue, arithmetic, self.convolved, self.operands.r)
        tainted = self._tainted(arithmetic)  # an activation may make any number of what is not finite
        allowed = [*others, *([] if tainted is None else [np.where(tainted, output, self.exact)])]
        return judge_special(self.problem, output, self.exact, bound, None, allowed)

    def _fused_bound(self, arithmetic: Arithmetic, *, exact_sums: bool) -> NDArray[np.float64]:
        finite, convolved = self._finite, self.convolved
        if self.values == "special" and self.problem.epilogue is not None:
            convolved = bounded(self.problem.epilogue, convolved)
        magnitudes = None if exact_sums else self.magnitudes
        return fused_error_bound(self.problem, arithmetic, convolved, magnitudes, finite.r, finite.x, finite.w)

    def leeway(self, arithmetic: Arithmetic) -> float:
        """How far two answers for these operands may differ, where they are exact: not at all."""
        return 0.0

    def judge_changed(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        """The verdict on an answer for `changed` operands: minus twice the answer for these (`change_of_answer`), or
        with an epilogue what it makes of minus twice the sums.

        Whatever is stale in such an answer shows, whichever operand it is. Doubling is exact; when the answer is halved
        here, a last subnormal bit may be lost.
        """
        if self.problem.epilogue is not None:
            return Oracle(self.problem, changed(self.problem, self.operands), self.values).judge(arithmetic, output)
        if refusal(self.problem, output):
            return self.judge(arithmetic, output)
        with np.errstate(over="ignore", invalid="ignore"):  # of a wrong answer
            halved = output * (1 / change_of_answer(self.problem)).astype(output.dtype)
        return self.judge(arithmetic, halved, spare=UNDERFLOW[self.problem.dtype])

    def _judge_exact(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        in_dtype = self.exact.astype(self.operands.dtype)
        if isinstance(output, np.ndarray) and output.dtype == in_dtype.dtype and np.array_equal(output, in_dtype):
            return Verdict("exact", True, 0.0, 0.0, elements=output.size)
        to_integer = rounds_between(arithmetic)
        return judge_exact(self.problem, output, self.exact, self._bound(arithmetic), round_to_integer=to_integer)

    def _bound(self, arithmetic: Arithmetic) -> NDArray[np.float64]:
        arrays = self._finite.named()
        multiplied = [arrays[name] for name in OPERANDS[self.problem.direction]]
        exact = np.where(np.isfinite(self.exact), self.exact, 0.0) if self.values == "special" else self.exact
        return error_bound(self.problem, arithmetic, exact, self.magnitudes, *multiplied)

    @cached_property
    def _finite(self) -> Operands:
        """The operands, with zeros for what is not finite."""
        if self.values != "special":
            return self.operands
        return self.operands.map(lambda array: np.where(np.isfinite(array), array, array.dtype.type(0)))

    def _tainted(self, arithmetic: Arithmetic) -> NDArray[np.bool_] | None:
        """The images over whose results a special value may be spread, or all of a weight's gradient; None where
        nothing does that."""
        problem = self.problem
        if problem.direction == "bias_gradient" or not may_taint(problem, arithmetic):
            return None
        if problem.direction == "weight_gradient":
            return np.ones((1, 1, 1, 1), bool)
        images = getattr(self.operands, OPERANDS[problem.direction][0])
        return np.asarray(~np.isfinite(images.astype(np.float64)).all((1, 2, 3), keepdims=True))


class TimedOracle(Oracle):
    """Judges answers for data whose products may be denormal numbers. Keeping them and flushing them to zero are both
    right; the verdict says which it was. Where they are flushed, every answer as small as that passes, so this check
    alone does not tell right from wrong there."""

    def judge(self, arithmetic: Arithmetic, output: Any, spare: float = 0.0) -> Verdict:
        named = self.operands.named()
        multiplied = [named[name] for name in OPERANDS[self.problem.direction]]
        if len(multiplied) < 2:  # a bias's gradient adds, and multiplies nothing
            return super().judge(arithmetic, output, spare)
        more = [underflow_bound(self.problem, arithmetic, *multiplied, flushed=flushed) for flushed in (False, True)]
        kept = super().judge(arithmetic, output, spare + more[0])
        has_denormals = any(map(_has_denormals, multiplied))
        if kept.passed or not has_denormals:
            return replace(kept, denormals="kept" if has_denormals and kept.passed else None)
        flushed = super().judge(arithmetic, output, spare + more[1])
        return replace(flushed, denormals="flushed") if flushed.passed else kept


class StepOracle(Oracle):
    """Judges a training step: each of its results by the oracle of its own direction, of the class `of_part`."""

    def __init__(
        self, problem: ConvProblem, operands: Operands, values: Values, of_part: type[Oracle] = Oracle
    ) -> None:
        super().__init__(problem, operands, values)
        self._parts = [of_part(part, operands.of(part), values) for part in problem.parts]

    @cached_property
    def exact(self) -> NDArray[np.float64]:
        """All results in a row."""
        return np.concatenate([part.exact.reshape(-1) for part in self._parts])

    @cached_property
    def magnitudes(self) -> NDArray[np.float64]:
        """In a row, like `exact`."""
        return np.concatenate([part.magnitudes.reshape(-1) for part in self._parts])

    def solve(self) -> None:
        for part in self._parts:
            part.solve()

    def judge(self, arithmetic: Arithmetic, output: Any, spare: float = 0.0) -> Verdict:
        if refused := refusal(self.problem, output):
            return refused
        judged = zip(self._parts, results(self.problem, output), strict=True)
        return together(self.problem, [part.judge(arithmetic, result, spare) for part, result in judged])


Judge = Oracle | QuantizedOracle
"""What judges answers: the oracle of a problem in floating point, or of a quantised one."""


def oracle_of(problem: ConvProblem, operands: Operands, values: Values, *, of_result: type[Oracle] = Oracle) -> Judge:
    """The oracle for operands that are given. Each result is judged by an oracle `of_result`."""
    if problem.quantization is not None:
        return QuantizedOracle(problem, operands, values)
    if problem.direction == "step":
        return StepOracle(problem, operands, values, of_result)
    return of_result(problem, operands, values)


def _has_denormals(array: NDArray[Any]) -> bool:
    sizes = np.abs(array.astype(np.float64))
    return bool(((sizes > 0) & (sizes < SMALLEST_NORMAL[array.dtype.name])).any())


def oracle_for(question: Question, arithmetic: Arithmetic) -> Judge:
    """The oracle for `question` and a backend of `arithmetic`; normal values where no integers are exact in that."""
    problem, seed = question.problem, question.seed
    if problem.quantization is not None:
        operands = quantized_operands(problem, question.values, seed, arithmetic.quantized)
        return QuantizedOracle(problem, operands, question.values)
    if question.values != "integers":
        return oracle_of(problem, _DRAW[question.values](problem, seed), question.values)
    magnitude = integer_magnitude(problem, arithmetic)
    if magnitude is None:
        return oracle_of(problem, normal_operands(problem, seed), "normal")
    return oracle_of(problem, integer_operands(problem, magnitude, seed), "integers")


def integer_magnitude(problem: ConvProblem, arithmetic: Arithmetic) -> int | None:
    """How large integers may be on which a backend of this arithmetic must be exact; None when no integers are."""
    magnitude = exact_magnitude(problem, arithmetic)
    if magnitude < 1 or (rounds_between(arithmetic) and problem.dtype in ("float16", "bfloat16")):
        # A result that is not an integer before it is rounded to a half format need not round to the right one.
        return None
    return magnitude


def may_taint(problem: ConvProblem, arithmetic: Arithmetic) -> bool:
    """Whether a special value may reach outputs of its image that it does not belong to."""
    return rounds_between(arithmetic) or problem.dtype in arithmetic.taints


def rounds_between(arithmetic: Arithmetic) -> bool:
    """Whether transforms stand between the operands and the sums, so that integers do not stay integers."""
    return arithmetic.algorithm in ("fft", "winograd", "auto")


def _keeps_operands(problem: ConvProblem, arithmetic: Arithmetic) -> bool:
    """Whether one product with 1 or -1 comes out as it went in."""
    declared = UNIT_ROUNDOFF[problem.dtype]
    used = (arithmetic.operand_precision(problem.dtype), arithmetic.accumulate_precision(problem.dtype))
    coarsest = max(UNIT_ROUNDOFF[precision] for precision in (*used, arithmetic.output or problem.dtype))
    return coarsest <= declared and not rounds_between(arithmetic) and parts_added(problem, arithmetic) == 1
