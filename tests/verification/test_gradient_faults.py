"""The seeded faults of the gradients: each is shown wrong by its example, and the control is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import EVALUATION
from seeded_faults_judged import complaints
from strategies import gradient_problems

from convbench.problem import GRADIENTS, ConvProblem
from convbench.registry import Origin, load
from convbench.verification.layouts import lay_out
from convbench.verification.operands import normal_operands
from convbench.verification.oracle import oracle_for
from convbench.verification.question import LAYOUTS, VALUES, Question

BACKENDS: list[Any] = list(load(Origin("file", str(EVALUATION / "mutation" / "gradient_faults.py"))))
CONTROL, *FAULTS = BACKENDS


def fresh(backend: Any) -> Any:
    return type(backend)(backend.fault)


@pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.name)
def test_a_fault_is_shown_by_its_example_which_the_control_passes(backend: Any) -> None:
    fault = backend.fault
    question = Question(
        problem=ConvProblem.parse(fault.example), values=fault.values, layout=fault.layout, calls=fault.calls
    )
    assert fault.acts_on(question.problem)
    assert complaints(fresh(backend), question)
    assert complaints(fresh(CONTROL), question) == []


@settings(max_examples=60, derandomize=True, database=None, deadline=None)
@given(gradient_problems(), st.sampled_from(VALUES), st.sampled_from(LAYOUTS))
def test_the_control_is_right(problem: ConvProblem, values: Any, layout: Any) -> None:
    question = Question(problem=problem, values=values, layout=layout)
    key = oracle_for(question, CONTROL.arithmetic)
    ready = key.operands.map(lambda array: lay_out(array, layout)).prepared_by(CONTROL, problem)
    verdict = key.judge(CONTROL.arithmetic, ready.run())
    assert verdict.passed, verdict.reason


@pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.name)
@settings(max_examples=5, derandomize=True, database=None, deadline=None)
@given(problem=gradient_problems())
def test_where_a_fault_does_not_act_the_answer_is_right(backend: Any, problem: ConvProblem) -> None:
    if not backend.fault.acts_on(problem):
        operands = normal_operands(problem, 0)
        answers = [operands.prepared_by(each, problem).run() for each in (fresh(backend), CONTROL)]
        assert np.array_equal(*answers)


def test_there_are_many_in_each_direction() -> None:
    counts = {direction: sum(b.fault.direction == direction for b in FAULTS) for direction in GRADIENTS}
    assert sum(counts.values()) >= 25 and min(counts.values()) >= 4
    assert len({backend.name for backend in BACKENDS}) == len(BACKENDS)
