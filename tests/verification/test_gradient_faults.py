"""Seeded faults of gradients and training steps: each is shown wrong by its example, and the control is right."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import EVALUATION
from seeded_faults_judged import complaints
from strategies import problems

from convbench.problem import GRADIENTS, ConvProblem
from convbench.registry import Origin, load
from convbench.verification.layouts import lay_out
from convbench.verification.operands import normal_operands
from convbench.verification.oracle import oracle_for
from convbench.verification.question import LAYOUTS, VALUES, Question
from convbench.verification.step.answers import in_a_row

BACKENDS: list[Any] = list(load(Origin("file", str(EVALUATION / "mutation" / "gradient_faults.py"))))
(CONTROL,) = (backend for backend in BACKENDS if backend.fault is None)
FAULTS = [backend for backend in BACKENDS if backend.fault is not None]
DIRECTIONS = (*GRADIENTS, "step")

each_fault = pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.name)


def fresh(backend: Any) -> Any:
    return type(backend)(backend.fault)


def answer(backend: Any, operands: Any, problem: ConvProblem) -> Any:
    ready = operands.prepared_by(backend, problem)
    return in_a_row(ready.to_numpy(ready.run()))


@each_fault
def test_a_fault_is_shown_by_its_example_which_the_control_passes(backend: Any) -> None:
    fault = backend.fault
    question = Question(
        problem=ConvProblem.parse(fault.example), values=fault.values, layout=fault.layout, calls=fault.calls
    )
    assert question.problem.direction == fault.direction and fault.acts_on(question.problem)
    assert complaints(fresh(backend), question)
    assert complaints(fresh(CONTROL), question) == []


@settings(max_examples=120, derandomize=True, database=None, deadline=None)
@given(st.data(), st.sampled_from(VALUES), st.sampled_from(LAYOUTS))
def test_the_control_is_right(data: st.DataObject, values: Any, layout: Any) -> None:
    problem = data.draw(problems(sorted(CONTROL.supports.directions)))
    key = oracle_for(Question(problem=problem, values=values, layout=layout), CONTROL.arithmetic)
    got = answer(CONTROL, key.operands.map(lambda array: lay_out(array, layout)), problem)
    verdict = key.judge(CONTROL.arithmetic, got)
    assert verdict.passed, verdict.reason


@each_fault
@settings(max_examples=5, derandomize=True, database=None, deadline=None)
@given(data=st.data())
def test_where_a_fault_does_not_act_the_answer_is_right(backend: Any, data: st.DataObject) -> None:
    problem = data.draw(problems(sorted(backend.supports.directions)))
    if not backend.fault.acts_on(problem):
        operands = normal_operands(problem, 0)
        answers = [answer(each, operands, problem) for each in (fresh(backend), fresh(CONTROL))]
        assert np.array_equal(*answers)


@pytest.mark.parametrize("result", ["forward", *GRADIENTS])
def test_some_fault_of_a_step_is_in_this_result_alone(result: str) -> None:
    spoilt = set()
    for backend in FAULTS:
        if backend.fault.direction == "step":
            problem = ConvProblem.parse("n2c4h5w5_o4k3_g2_bias_step")
            operands = normal_operands(problem, 0)
            ready = [operands.prepared_by(each, problem) for each in (fresh(backend), fresh(CONTROL))]
            got, right = (each.to_numpy(each.run()) for each in ready)
            wrong = [n for n, *pair in zip(problem.computed, got, right, strict=False) if not np.array_equal(*pair)]
            spoilt |= {wrong[0]} if len(wrong) == 1 else set()
    assert result in spoilt


def test_there_are_many_in_each_direction() -> None:
    counts = {direction: sum(b.fault.direction == direction for b in FAULTS) for direction in DIRECTIONS}
    assert sum(counts[direction] for direction in GRADIENTS) >= 25 and min(counts.values()) >= 4
    assert counts["step"] >= 25
    assert len({backend.name for backend in BACKENDS}) == len(BACKENDS)
