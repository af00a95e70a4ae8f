"""The seeded faults of quantised convolutions: each is shown wrong by its example, and the controls are right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import EVALUATION
from seeded_faults_judged import overwritten_and_wrong

from convbench.backend import Backend
from convbench.problem import ConvProblem
from convbench.problem.quantization import every_quantization
from convbench.registry import Origin, load
from convbench.verification.oracle import oracle_for
from convbench.verification.quantized.data import QUANTIZED_VALUES
from convbench.verification.question import Question

BACKENDS: list[Any] = list(load(Origin("file", str(EVALUATION / "mutation" / "quantized_faults.py"))))
CONTROLS = [backend for backend in BACKENDS if backend.fault is None]
FAULTS = [backend for backend in BACKENDS if backend.fault is not None]
SEEDS = range(3)


def fresh(backend: Any) -> Any:
    return type(backend)(backend.fault, backend.halves)


def complaints(backend: Backend, question: Question) -> list[str]:
    """The phases whose answers are wrong; no fault of this family writes to an operand."""
    overwritten, wrong = overwritten_and_wrong(backend, question)
    assert overwritten is None
    return wrong


@pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.name)
def test_a_fault_is_shown_by_its_example_which_the_control_passes(backend: Any) -> None:
    question = Question.parse(backend.fault.example)
    assert backend.fault.acts_on(question.problem)
    faulty = fresh(backend)
    assert any(complaints(faulty, question.replace(seed=question.seed + seed)) for seed in SEEDS)
    assert complaints(fresh(CONTROLS[0]), question) == []


@pytest.mark.parametrize("backend", CONTROLS, ids=lambda backend: backend.name)
@settings(max_examples=40, derandomize=True, database=None, deadline=None)
@given(data=st.data())
def test_a_control_is_right_by_its_own_rounding(backend: Any, data: st.DataObject) -> None:
    problem = ConvProblem(
        batch=data.draw(st.integers(1, 2)),
        in_channels=4,
        height=data.draw(st.integers(4, 7)),
        width=6,
        out_channels=data.draw(st.sampled_from((2, 4, 8))),
        kernel_size=data.draw(st.sampled_from(((1, 1), (3, 2), (2, 3)))),
        stride=data.draw(st.sampled_from((1, (1, 2)))),
        padding=data.draw(st.sampled_from((0, 1, ((1, 0), (2, 1)), ((-1, 0), (0, 2))))),
        groups=data.draw(st.sampled_from((1, 2))),
        bias=data.draw(st.booleans()),
        quantization=data.draw(st.sampled_from(every_quantization())),
    )
    values = data.draw(st.sampled_from(QUANTIZED_VALUES))
    assert (
        complaints(fresh(backend), Question(problem=problem, values=values, seed=data.draw(st.integers(0, 99)))) == []
    )


def test_a_rounding_that_is_not_the_declared_one_is_wrong() -> None:
    question = Question.parse("n1c4h5w5_o6k3_p1_bias_s8s8s8z one-tap seed=1")
    for one in CONTROLS:
        for other in CONTROLS:
            key = oracle_for(question, one.arithmetic)
            answer = key.operands.prepared_by(other, question.problem).run()
            assert key.judge(one.arithmetic, answer).passed == (one is other)


def test_there_are_many() -> None:
    assert len({backend.name for backend in FAULTS}) == len(FAULTS) >= 30


NAMED = {
    "padding-of-zeros": "as if padding held 0",
    "x-zero-ignored": "as if the input's zero point were 0",
    "w-zero-ignored": "as if the weights' zero points were 0",
    "y-zero-ignored": "as if the result's zero point were 0",
    "scale-of-first-channel": "as if the first channel's scale held for all",
    "pairs-saturate": "as if sums of two products, in pairs along rows of the kernel, were clamped to 16 bits",
    "truncated": "as if numbers were cut off towards 0",
    "floored": "as if numbers were cut off downwards",
    "halves-up": "as if halves went up",
    "halves-away": "as if halves went away from 0",
    "halves-even-with-zero-point": "as if halves went to what is even behind the zero point",
    "not-clamped": "as if it wrapped around",
}


@pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.name)
def test_a_mistake_that_is_known_is_named_and_no_other_is(backend: Any) -> None:
    question = Question.parse(backend.fault.example)
    for seed in SEEDS:
        key = oracle_for(question.replace(seed=question.seed + seed), backend.arithmetic)
        verdict = key.judge(backend.arithmetic, key.operands.prepared_by(fresh(backend), question.problem).run())
        words = NAMED.get(backend.fault.name, "")
        assert verdict.passed or words in str(verdict.reason)
        assert words or "as if" not in str(verdict.reason)
