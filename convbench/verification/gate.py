"""The gate before a backend is timed on a problem: real data, which is what is timed, and two harder questions.

Where other data are timed than normal values (`timed_data`), normal values are a question besides.

The reference answers are computed once per problem, however many backends are asked.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convbench.backend import Arithmetic
from convbench.backend.quantized import QuantizedArithmetic
from convbench.errors import SuiteError
from convbench.problem import ConvProblem
from convbench.suite import Case
from convbench.verification.operands import Operands, integer_operands, normal_operands, one_tap_operands, rounded
from convbench.verification.oracle import (
    Judge,
    TimedOracle,
    integer_magnitude,
    oracle_for,
    oracle_of,
    rounds_between,
)
from convbench.verification.quantized.data import typical_operands
from convbench.verification.question import Question, Values
from convbench.verification.timed_data import TimedData

_NAMES = {"input": "x", "weight": "w", "bias": "b"}


class Gate:
    """The questions about one problem. `real` is the data that is timed, too; a case may bring its own, and what is
    `timed` may be other data."""

    def __init__(
        self, problem: ConvProblem, seed: int = 0, real: Operands | None = None, timed: Operands | None = None
    ) -> None:
        self.problem = problem
        self.seed = seed
        draw = normal_operands if problem.quantization is None else typical_operands
        self.verified = oracle_of(problem, real or draw(problem, seed), "normal")
        self.real = self.verified if timed is None else oracle_of(problem, timed, "normal", of_result=TimedOracle)
        self._one_tap: Judge | None = None
        self._integers: dict[int, Judge] = {}
        self._quantized: dict[QuantizedArithmetic, list[Judge]] = {}

    def further(self, arithmetic: Arithmetic) -> list[Judge]:
        """What a backend of this arithmetic is asked besides `real`, before its time counts.

        Integers on which it must be exact, where there are such. Where it may choose its algorithm, and so needs a
        generous bound, filters of one tap as well: operands that it rounds in secret show there. A quantised problem is
        asked on the whole range of its integers, and on their ends.
        """
        if self.problem.quantization is not None:
            return self._further_quantized(arithmetic)
        keys: list[Judge] = [] if self.real is self.verified else [self.verified]
        if (magnitude := integer_magnitude(self.problem, arithmetic)) is not None:
            if magnitude not in self._integers:
                operands = integer_operands(self.problem, magnitude, self.seed)
                self._integers[magnitude] = oracle_of(self.problem, operands, "integers")
            keys.append(self._integers[magnitude])
        if rounds_between(arithmetic):
            if self._one_tap is None:
                self._one_tap = oracle_of(self.problem, one_tap_operands(self.problem, self.seed), "one-tap")
            keys.append(self._one_tap)
        return keys

    def _further_quantized(self, arithmetic: Arithmetic) -> list[Judge]:
        how = arithmetic.quantized
        if how not in self._quantized:
            kinds: tuple[Values, ...] = ("integers", "positive")
            questions = (Question(problem=self.problem, values=values, seed=self.seed) for values in kinds)
            self._quantized[how] = [oracle_for(question, arithmetic) for question in questions]
        return self._quantized[how]


def gate_of(case: Case, seed: int, data: TimedData | None = None) -> Gate:
    """The gate for a case: on its own data where it brings some, completed by random data; timed on `data`, if given.

    Raises `SuiteError` when the answer that the case expects is not the reference's.
    """
    timed = None if data is None else data.operands(case.problem, seed)
    if case.data is None:
        return Gate(case.problem, seed, timed=timed)
    own = case.data.load(case.problem)
    drawn = normal_operands(case.problem, seed)
    arrays = drawn.named() | {_NAMES[word]: array for word, array in own.items() if word in _NAMES}
    gate = Gate(case.problem, seed, rounded(case.problem, **{name: arrays[name] for name in drawn.named()}), timed)
    if "expected" in own:
        _check_expected(case, own["expected"], gate.verified.exact)
    return gate


def _check_expected(case: Case, expected: NDArray[np.float64], exact: NDArray[np.float64]) -> None:
    off = np.abs(expected - exact) > 1e-6 * (1 + np.abs(exact))  # written by hand: a few decimals
    if off.any():
        element = tuple(int(i) for i in np.argwhere(off)[0])
        raise SuiteError(
            f"case {case.name}: the expected output has {expected[element]:.9g} at {list(element)}, "
            f"and the reference computes {exact[element]:.9g} from its input and weight."
        )
