"""The examination of backends on one problem: two sets of operands to ask with, and the judge of the answers.

The reference answers are computed once per problem, however many backends are asked.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem
from convbench.verification.bounds import error_bound, warn_level
from convbench.verification.operands import Operands, exact_magnitude, integer_operands, normal_operands
from convbench.verification.reference import convolve
from convbench.verification.verdict import Verdict, judge_bound, judge_exact


@dataclass(frozen=True)
class Answer:
    """What the reference says: y and S = sum |x||w| + |b|, both (N, O, out_h, out_w) in float64."""

    exact: NDArray[np.float64]
    magnitudes: NDArray[np.float64]


def answer(problem: ConvProblem, operands: Operands) -> Answer:
    """The reference's answer for `operands`, which are taken as rounded to the problem's dtype already."""
    magnitudes = (None if part is None else np.abs(part) for part in (operands.x, operands.w, operands.b))
    return Answer(convolve(problem, operands.x, operands.w, operands.b), convolve(problem, *magnitudes))  # type: ignore[arg-type]


class Examination:
    """The questions about one problem. `real` is the data that is timed, too; a case may bring its own."""

    def __init__(self, problem: ConvProblem, seed: int = 0, real: Operands | None = None) -> None:
        self.problem = problem
        self.seed = seed
        self.real = real or normal_operands(problem, seed)
        self._integers: dict[int, tuple[Operands, Answer]] = {}

    @cached_property
    def real_answer(self) -> Answer:
        return answer(self.problem, self.real)

    def integers(self, arithmetic: Arithmetic) -> Operands | None:
        """Operands on which a backend of this arithmetic must be exact; None when there are none such."""
        magnitude = exact_magnitude(self.problem, arithmetic)
        if magnitude < 1 or (self._rounds_between(arithmetic) and self.problem.dtype in ("float16", "bfloat16")):
            # A result that is not an integer before it is rounded to a half format need not round to the right one.
            return None
        return self._asked(magnitude)[0]

    def judge_real(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        """The verdict on an answer for `real`, against the error bound."""
        right = self.real_answer
        bound = error_bound(self.problem, arithmetic, right.exact, right.magnitudes, self.real.x, self.real.w)
        warn = warn_level(self.problem, arithmetic, right.exact, right.magnitudes)
        return judge_bound(self.problem, output, right.exact, bound, warn)

    def judge_integers(self, arithmetic: Arithmetic, output: Any) -> Verdict:
        """The verdict on an answer for `integers(arithmetic)`: nothing may differ."""
        operands, right = self._asked(exact_magnitude(self.problem, arithmetic))
        bound = error_bound(self.problem, arithmetic, right.exact, right.magnitudes, operands.x, operands.w)
        return judge_exact(self.problem, output, right.exact, bound, round_to_integer=self._rounds_between(arithmetic))

    def _asked(self, magnitude: int) -> tuple[Operands, Answer]:
        if magnitude not in self._integers:
            operands = integer_operands(self.problem, magnitude, self.seed)
            self._integers[magnitude] = (operands, answer(self.problem, operands))
        return self._integers[magnitude]

    @staticmethod
    def _rounds_between(arithmetic: Arithmetic) -> bool:
        return arithmetic.algorithm in ("fft", "winograd", "auto")
