"""The sweep and the search of quantised problems: what is combined, and that a fault is found and told apart."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import pytest

from convbench.backend import WHOLE_OF_CONV2D, Backend, QuantizedSupport, Ready, Supports
from convbench.backend.quantized import FORMATS
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.verification.causes.grouping import causes
from convbench.verification.causes.known_entry import known_entry
from convbench.verification.causes.parameters import QuestionParameters, size
from convbench.verification.causes.shrink_passes import PASSES
from convbench.verification.known import KnownWrong
from convbench.verification.question import Failure, Question
from convbench.verification.sweep.covering import Sweep, sweep
from convbench.verification.sweep.factors import FACTORS_QUANTIZED, QUANTIZED, classes
from convbench.verification.sweep.search import search


class Whole(Backend):
    """Everything quantised, and nothing else; nothing of it is computed here."""

    name = "whole"
    thread_safe = True
    supports = replace(
        WHOLE_OF_CONV2D, dtypes=frozenset(), quantized=QuantizedSupport(set(FORMATS), weight_zero_point=True)
    )

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError


class Usual(Whole):
    supports = Supports(dtypes={"float32"}, quantized=QuantizedSupport({"u8:u8", "u8:s32"}, per_tensor=False))


@pytest.fixture(scope="module")
def swept() -> Sweep:
    return sweep(Whole(), 2, dtypes=("int8",))


def words_of(questions: Any, *factors: Any) -> set[tuple[str, ...]]:
    told = [classes(question) for question in questions]
    return {tuple(row[factor.name] for factor in factors) for row in told}


def test_every_pair_of_formats_and_of_everything_else_is_met(swept: Sweep) -> None:
    assert swept.coverage_of(swept.questions).share == 1
    assert all(question.problem.quantization is not None for question in swept.questions)
    expected = {
        (one, other)
        for one, other in itertools.product(QUANTIZED[0].words, QUANTIZED[4].words)
        if "zero point" not in other or other.startswith("no") or one.endswith(("u8", "s8"))
    }
    assert words_of(swept.questions, QUANTIZED[0], QUANTIZED[4]) == expected
    assert {question.values for question in swept.questions} == {"integers", "normal", "positive", "wide", "one-tap"}
    assert [factor.name for factor in swept.factors] == [factor.name for factor in FACTORS_QUANTIZED]


def test_a_backend_is_asked_only_what_it_names() -> None:
    for questions in (
        sweep(Usual(), 1, dtypes=("int8",)).questions,
        itertools.islice(search(Usual(), dtypes=("int8",)), 300),
    ):
        problems = [question.problem for question in questions]
        assert problems
        assert all(Usual.supports.reason_against(problem) is None for problem in problems)
        assert {str(p.quantization)[:2] for p in problems} == {"u8"}


def test_who_names_nothing_quantised_has_no_sweep_and_no_search_of_it() -> None:
    plain = type("Plain", (Whole,), {"supports": Supports()})()
    assert sweep(plain, dtypes=("int8",)).questions == ()
    assert list(search(plain, dtypes=("int8",))) == []
    assert sweep(Whole(), 1).questions == ()
    of_floats = sweep(Usual(), 1)
    assert all(question.problem.quantization is None for question in of_floats.questions)


def test_a_search_draws_every_class_of_quantised_problems() -> None:
    drawn = list(itertools.islice(search(Whole(), 5, dtypes=("int8",)), 600))
    for factor in QUANTIZED:
        assert words_of(drawn, factor) == {(word,) for word in factor.words}
    assert len(set(drawn)) == 600


def test_a_question_becomes_plainer_in_its_zero_points_and_keeps_its_formats() -> None:
    question = Question.parse("n1c2h3w3_o4k3_p1_u8zs8tzu8z")
    form = QuestionParameters.of(question)
    assert form.question == question
    plainer = {step.question for run in PASSES for step in run(form) if step.question}
    texts = {str(one.problem.quantization) for one in plainer}
    assert {"u8:s8tz:u8z", "u8z:s8t:u8z", "u8z:s8tz:u8", "u8z:s8z:u8z"} <= texts
    assert all(text.startswith("u8") and "u8" in text[3:] for text in texts)
    plain = Question.parse("n1c2h3w3_o4k3_p1_u8s8u8")
    assert size(plain) < size(question)
    assert QuestionParameters.of(plain).is_within(form)


def test_a_cause_is_told_by_what_is_quantised_and_known_by_a_condition_on_it(swept: Sweep) -> None:
    def fails(question: Question) -> bool:
        q = question.problem.quantization
        return q is not None and q.input_zero_point and any(map(any, question.problem.padding))

    failures = [Failure(q, Status.WRONG, "exact", "wrong") for q in swept.questions if fails(q)]
    [cause] = causes(failures, [q for q in swept.questions if not fails(q)], classes)
    assert "a zero point of the input" in cause.shared_by_failures[0].words
    entry = known_entry(cause, "whole")
    assert isinstance(entry, KnownWrong)
    assert "input_zero_point" in str(entry.where)
    assert all(entry.names(failure.question) for failure in failures)
