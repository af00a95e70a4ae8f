"""Shrinking: bugs of known shape, and whether the smallest question that shows them is found."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_bugs import Atom, Bug, random_bug, random_question, smallest_by_search
from strategies import forward_problems

from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.verification.causes.parameters import QuestionParameters, size
from convbench.verification.causes.shrink_passes import PASSES
from convbench.verification.causes.shrinking import is_alike, kind, shrink
from convbench.verification.question import CALLS, LAYOUTS, VALUES, Failure, Question

BUGS = [(seed, 1 + seed % 3) for seed in range(120)]
DEAR = (Status.CRASHED, Status.TIMEOUT)


def anything(_: ConvProblem) -> bool:
    return True


def failed(bug: Callable[[Question], Failure | None], question: Question) -> Failure:
    finding = bug(question)
    assert finding is not None
    return finding


def bug_and_finding(seed: int, atoms: int, status: Status = Status.WRONG) -> tuple[Bug, Failure]:
    rng = random.Random(seed)
    question = random_question(rng)
    bug = random_bug(rng, question, atoms)
    bug.status = status
    finding = failed(bug, question)
    bug.asked.clear()
    return bug, finding


# --- forms ------------------------------------------------------------------------------------------------------------

questions = st.builds(
    Question,
    problem=forward_problems(),
    values=st.sampled_from(VALUES),
    layout=st.sampled_from(LAYOUTS),
    calls=st.sampled_from(CALLS),
    seed=st.integers(0, 9),
)


def smaller(question: Question) -> Iterator[Question]:
    """Every question that is one step down from `question`."""
    form = QuestionParameters.of(question)
    for candidate in (candidate for step in PASSES for candidate in step(form)):
        if candidate.question is not None and size(candidate.question) < size(question):
            yield candidate.question


@given(questions)
def test_a_form_is_its_question(question: Question) -> None:
    assert QuestionParameters.of(question).question == question


@given(questions)
@settings(max_examples=50)
def test_every_step_down_is_possible_and_smaller(question: Question) -> None:
    here = size(question)
    below = list(smaller(question))
    assert all(size(other) < here for other in below)
    plainest = ConvProblem.parse("n1c1h1w1_o1k1").replace(dtype=question.problem.dtype)
    assert below or here == size(Question(problem=plainest))


@given(questions)
def test_the_least_image_is_possible_and_the_least(question: Question) -> None:
    form = QuestionParameters.of(question)
    least = form.replace(height=form.least_height(), width=form.least_width())
    assert least.question is not None
    assert least.height <= form.height and least.width <= form.width
    assert least.replace(height=least.height - 1).question is None
    assert least.replace(width=least.width - 1).question is None


@given(questions, questions)
def test_within_is_a_partial_order(one: Question, other: Question) -> None:
    small, large = QuestionParameters.of(one), QuestionParameters.of(other)
    assert small.is_within(small)
    if small.is_within(large) and large.is_within(small):
        assert replace(small, seed=0) == replace(large, seed=0)


# --- the descent ------------------------------------------------------------------------------------------------------


def test_the_smallest_failure_is_reached_in_nearly_every_case() -> None:
    missed = []
    for seed, atoms in BUGS:
        bug, finding = bug_and_finding(seed, atoms)
        found = shrink(finding, bug, anything)
        best = smallest_by_search(bug, finding.question.problem.dtype)
        assert size(found.question) >= best, "the search that the test compares with is too narrow"
        if size(found.question) > best:
            missed.append((seed, [str(atom) for atom in bug.atoms], str(found.question)))
    assert len(missed) <= len(BUGS) * 0.02, missed


@pytest.mark.parametrize(("seed", "atoms"), BUGS[::6])
def test_what_is_found_fails_and_nothing_one_step_down_does(seed: int, atoms: int) -> None:
    bug, finding = bug_and_finding(seed, atoms)
    found = shrink(finding, bug, anything)
    assert bug(found.question) == found
    assert size(found.question) <= size(finding.question)
    assert not [str(question) for question in smaller(found.question) if bug(question)]


@pytest.mark.parametrize(("seed", "atoms"), BUGS[::6])
def test_every_question_is_smaller_than_the_last_that_failed_and_none_is_put_twice(seed: int, atoms: int) -> None:
    bug, finding = bug_and_finding(seed, atoms)
    last = [size(finding.question)]

    def ask(question: Question) -> Failure | None:
        assert size(question) < last[0]
        found = bug(question)
        if found:
            last[0] = size(question)
        return found

    shrink(finding, ask, anything)
    assert len(set(bug.asked)) == len(bug.asked)


def test_the_same_failure_shrinks_to_the_same_question_by_the_same_way() -> None:
    for seed, atoms in BUGS[:10]:
        ways = []
        for _ in range(2):
            bug, finding = bug_and_finding(seed, atoms)
            shrink(finding, bug, anything)
            ways.append(bug.asked)
        assert ways[0] == ways[1]


@pytest.mark.parametrize(
    ("question", "atoms", "smallest"),
    [
        (
            "n3c24h17w19_o12k3_s2x3_p1_g4_bias_f16 wide sliced many seed=7",
            [Atom("stride_height", "==", 2), Atom("groups", ">=", 2), Atom("width", ">=", 5)],
            "n1c2h1w5_o2k1_s2x1_g2_f16",
        ),
        ("n1c64h56w56_o64k3_p1", [Atom("kernel_height", ">=", 2), Atom("kernel_width", ">=", 2)], "n1c1h2w2_o1k2"),
        (
            "n2c48h9w9_o7k5_p2",
            [Atom("channels", "divisible by", 16), Atom("kernel_width", "==", 5)],
            "n1c16h1w5_o1k1x5",
        ),
        ("n1c3h9w9_o3k3_p2_reflect", [Atom("padding_mode", "==", "reflect"), Atom("padding_top", ">=", 2)],
         "n1c1h3w1_o1k1_p2x0_reflect"),
        ("n1c3h9w9_o3k3_pt1b2l3r0", [Atom("padding_bottom", ">=", 1)], "n1c1h1w1_o1k1_p1x0"),
        ("n1c3h9w9_o3k3_pt-1b2l3r-2", [Atom("padding_right", "<", 0)], "n1c1h1w3_o1k1_p0x-1"),
        ("n1c3h9w9_o3k3 reversed", [Atom("layout", "!=", "contiguous")], "n1c1h1w1_o1k1 channels-last"),
        ("n1c3h9w9_o3k3_bf16 special threads", [], "n1c1h1w1_o1k1_bf16"),
    ],
)  # fmt: skip
def test_known_bugs_shrink_to_known_questions(question: str, atoms: list[Atom], smallest: str) -> None:
    bug = Bug(atoms)
    assert str(shrink(failed(bug, Question.parse(question)), bug, anything).question) == smallest


def test_both_axes_shrink_together_where_they_must() -> None:
    def square_only(question: Question) -> Failure | None:
        problem = question.problem
        wrong = problem.height == problem.width and problem.kernel_size[0] == problem.kernel_size[1] >= 3
        return Failure(question, Status.WRONG, "exact", "simulated") if wrong else None

    start = failed(square_only, Question.parse("n1c8h30w30_o8k7_s2_p3"))
    assert str(shrink(start, square_only, anything).question) == "n1c1h3w3_o1k3"


def test_an_image_grows_where_that_does_away_with_padding() -> None:
    bug = Bug([Atom("kernel_height", ">=", 5)])
    start = failed(bug, Question.parse("n1c2h1w1_o2k5_p2"))
    assert str(shrink(start, bug, anything).question) == "n1c1h5w1_o1k5x1"


# --- what it may not do -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "atoms"), BUGS[:12])
def test_what_is_not_supported_or_not_allowed_is_never_asked(seed: int, atoms: int) -> None:
    bug, finding = bug_and_finding(seed, atoms)
    problem = finding.question.problem

    def supported(other: ConvProblem) -> bool:
        return other.padding[0][0] == other.padding[0][1] and other.dtype == problem.dtype

    def allowed(question: Question) -> bool:
        return question.calls == finding.question.calls

    found = shrink(finding, bug, supported, allowed=allowed)
    assert all(supported(question.problem) and allowed(question) for question in bug.asked)
    if found is not finding:
        assert supported(found.question.problem) and allowed(found.question)


def test_no_more_questions_than_agreed_are_asked_and_more_do_no_harm() -> None:
    sizes = []
    for most in (0, 1, 7, 15, 1000):
        bug, finding = bug_and_finding(5, 2)
        found = shrink(finding, bug, anything, most_questions=most)
        assert len(bug.asked) <= most
        assert bug(found.question)
        sizes.append(size(found.question))
    assert sizes[0] == size(finding.question)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[2] < sizes[0]


@pytest.mark.parametrize("status", DEAR)
def test_failures_that_cost_a_worker_are_few(status: Status) -> None:
    for seed, atoms in BUGS[:40]:
        bug, finding = bug_and_finding(seed, atoms, status)
        found = shrink(finding, bug, anything, most_restarts=6)
        failures = sum(all(atom.holds(QuestionParameters.of(question)) for atom in bug.atoms) for question in bug.asked)
        assert failures <= 6
        assert found.status is status


def test_crashes_shrink_fully_within_the_default_number_of_restarts() -> None:
    for seed, atoms in BUGS[:40]:
        bug, finding = bug_and_finding(seed, atoms, Status.CRASHED)
        crashed = size(shrink(finding, bug, anything).question)
        wrong, finding = bug_and_finding(seed, atoms)
        assert crashed == size(shrink(finding, wrong, anything).question)


def test_it_stops_when_told_to() -> None:
    bug, finding = bug_and_finding(5, 2)
    found = shrink(finding, bug, anything, until=lambda: len(bug.asked) >= 4)
    assert len(bug.asked) == 4
    assert bug(found.question)


def test_another_kind_of_failure_does_not_count() -> None:
    """A question that is smaller but crashes, say, where the one to shrink is wrong."""

    def two_bugs(question: Question) -> Failure | None:
        if question.problem.stride[0] == 1:
            return Failure(question, Status.CRASHED, "call", "died")
        return Failure(question, Status.WRONG, "bound", "simulated")

    start = Failure(Question.parse("n1c8h9w9_o8k3_s2"), Status.WRONG, "exact", "simulated")
    found = shrink(start, two_bugs, anything, most_restarts=100)
    assert (found.status, str(found.question)) == (Status.WRONG, "n1c1h1w1_o1k1_s2x1")


def test_kinds() -> None:
    question = Question.parse("n1c1h1w1_o1k1")
    numbers = [Failure(question, Status.WRONG, check, "") for check in ("exact", "bound", "special")]
    others = [
        Failure(question, Status.WRONG, "repeated call", ""),
        Failure(question, Status.WRONG, "relation transposed", ""),
        Failure(question, Status.CRASHED, "call", ""),
        Failure(question, Status.TIMEOUT, "call", ""),
        Failure(question, Status.ERROR, "call", ""),
    ]
    assert {kind(finding) for finding in numbers} == {"numbers"}
    assert all(is_alike(numbers[0], other) for other in numbers)
    assert not any(is_alike(numbers[0], other) for other in others)
    assert not any(is_alike(one, other) for one in others for other in others if one is not other)
