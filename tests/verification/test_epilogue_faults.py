"""The seeded faults of epilogues: each is shown wrong by its example, and the control is right."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from places import EVALUATION
from seeded_faults_judged import complaints
from strategies import fused_problems

from convbench.problem import ConvProblem
from convbench.problem.epilogue import EPILOGUES
from convbench.registry import Origin, load
from convbench.verification.layouts import lay_out
from convbench.verification.oracle import oracle_for
from convbench.verification.question import LAYOUTS, VALUES, Question

BACKENDS: list[Any] = list(load(Origin("file", str(EVALUATION / "mutation" / "epilogue_faults.py"))))
CONTROL, *FAULTS = BACKENDS


def fresh(backend: Any) -> Any:
    return type(backend)(backend.fault)


def test_there_are_enough_and_each_has_a_name() -> None:
    assert len(FAULTS) >= 15 and len({backend.name for backend in FAULTS}) == len(FAULTS)


@pytest.mark.parametrize("backend", FAULTS, ids=lambda backend: backend.name)
def test_a_fault_is_shown_by_its_example_which_the_control_passes(backend: Any) -> None:
    fault = backend.fault
    question = Question(
        problem=ConvProblem.parse(fault.example), values=fault.values, layout=fault.layout, calls=fault.calls
    )
    assert fault.acts(question.problem)
    assert complaints(fresh(backend), question)
    assert complaints(fresh(CONTROL), question) == []


@settings(max_examples=80, derandomize=True, database=None, deadline=None)
@given(fused_problems(), st.sampled_from(EPILOGUES), st.sampled_from(VALUES), st.sampled_from(LAYOUTS))
def test_the_control_is_right(problem: ConvProblem, epilogue: Any, values: Any, layout: Any) -> None:
    question = Question(problem=problem.replace(epilogue=epilogue), values=values, layout=layout)
    key = oracle_for(question, CONTROL.arithmetic)
    ready = key.operands.map(lambda array: lay_out(array, layout)).prepared_by(CONTROL, question.problem)
    verdict = key.judge(CONTROL.arithmetic, ready.run())
    assert verdict.passed, verdict.reason
