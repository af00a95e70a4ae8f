"""An answer is judged once, and any other bit of it makes it another answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.backend import Arithmetic
from convbench.measurement.scheduling.verdicts import Verdicts
from convbench.problem import ConvProblem
from convbench.verification.operands import normal_operands
from convbench.verification.oracle import Oracle
from convbench.verification.verdict import Verdict

PROBLEM = ConvProblem(in_channels=2, height=5, width=5, out_channels=2, kernel_size=3)
DIRECT = Arithmetic("direct")


class Counted(Oracle):
    """An oracle that knows how often it was asked."""

    asked = 0

    def judge(self, arithmetic: Arithmetic, output: Any, spare: float = 0.0) -> Verdict:
        self.asked += 1
        return super().judge(arithmetic, output, spare)


@pytest.fixture
def question() -> Counted:
    return Counted(PROBLEM, normal_operands(PROBLEM, 0), "normal")


def right(question: Counted) -> np.ndarray[Any, np.dtype[np.float32]]:
    return question.exact.astype(np.float32)


def test_the_same_bits_are_judged_once(question: Counted) -> None:
    verdicts, answer = Verdicts(question), right(question)
    first = verdicts.judge(DIRECT, answer)
    strided = np.repeat(answer, 2, axis=3)[..., ::2]
    assert first.passed and first == verdicts.judge(DIRECT, answer.copy()) == verdicts.judge(DIRECT, strided)
    assert question.asked == 1


@pytest.mark.parametrize("change", ["one bit", "dtype", "shape", "arithmetic", "no array"])
def test_anything_else_is_judged_in_full(question: Counted, change: str) -> None:
    verdicts, answer, arithmetic = Verdicts(question), right(question), DIRECT
    verdicts.judge(arithmetic, answer)
    other: Any = answer.copy()
    if change == "one bit":
        other.view(np.uint32)[0, 0, 0, 0] ^= 1
    elif change == "dtype":
        other = other.view(np.int32)
    elif change == "shape":
        other = other.reshape(-1)
    elif change == "arithmetic":
        arithmetic = Arithmetic("gemm")
    else:
        other = "a list"
    expected = Oracle(PROBLEM, question.operands, "normal").judge(arithmetic, other)
    assert verdicts.judge(arithmetic, other) == expected
    assert question.asked == 2


@given(st.lists(st.tuples(st.integers(0, 17), st.sampled_from([0.0, 1e-7, 1.0, float("nan")])), max_size=6))
def test_every_verdict_is_what_the_question_says(changes: list[tuple[int, float]]) -> None:
    question = Counted(PROBLEM, normal_operands(PROBLEM, 0), "normal")
    verdicts = Verdicts(question)
    for element, added in changes:
        answer = right(question)
        answer.reshape(-1)[element] += added
        said, expected = verdicts.judge(DIRECT, answer), question.judge(DIRECT, answer)
        assert repr(said) == repr(expected)  # a figure in it may be NaN, which equals nothing
