"""Grouping: simulated bugs, one or two at a time, and whether each becomes one cause under its true name."""

from __future__ import annotations

import random

import pytest
from naming import ClassBug, class_bug, trial
from simulated_bugs import Atom, Bug, varied_questions

from convbench.status import Status
from convbench.verification.causes.grouping import causes
from convbench.verification.causes.parameters import size
from convbench.verification.causes.shrinking import is_alike
from convbench.verification.causes.trait_counts import Combination, Occurrences, TraitCounts, Traits
from convbench.verification.question import Failure, Question
from convbench.verification.sweep.factors import classes

pytestmark = pytest.mark.slow

SWEPT = varied_questions(random.Random(0), 400)
TRIALS = 16


def wrong(text: str, status: Status = Status.WRONG, check: str = "exact") -> Failure:
    return Failure(Question.parse(text), status, check, "simulated")


# --- simulated bugs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("bugs", "shrinking", "least"), [(1, True, 0.85), (2, True, 0.85), (2, False, 0.75)])
def test_bugs_get_a_cause_each_under_their_true_name(bugs: int, shrinking: bool, least: float) -> None:
    named = told_apart = one_each = 0
    for seed in range(TRIALS):
        rng = random.Random(seed)
        seeded = [class_bug(rng, SWEPT) for _ in range(bugs)]
        done = trial(seeded, SWEPT, shrinking)
        named += sum(map(done.is_named, seeded))
        told_apart += sum(map(done.is_told_apart, seeded))
        one_each += len(done.causes) == bugs
        assert sorted(str(f.question) for c in done.causes for f in c.members) == sorted(
            str(f.question) for f in done.failures
        ), "every failure belongs to one cause, and nothing else does"
    assert told_apart >= least * bugs * TRIALS
    assert named >= (least - 0.15) * bugs * TRIALS
    assert one_each >= least * TRIALS


@pytest.mark.parametrize(
    "atoms",
    [
        [Atom("channels", ">=", 9)],
        [Atom("groups", ">=", 2), Atom("stride_height", ">=", 2)],
        [Atom("height", ">=", 7), Atom("layout", "==", "odd-strides")],
        [Atom("padding_bottom", ">=", 1), Atom("stride_width", ">=", 2)],
    ],
    ids=lambda atoms: " and ".join(map(str, atoms)),
)
def test_a_bug_that_no_classes_say_is_one_cause_all_the_same(atoms: list[Atom]) -> None:
    done = trial([Bug(atoms)], SWEPT)
    [cause] = done.causes
    assert len(cause.members) == len(done.failures) > 5
    assert cause.shared_by_failures


def test_the_representative_is_the_smallest_and_the_counts_are_those_of_the_questions() -> None:
    bug = ClassBug(frozenset({("stride", "stride larger than the kernel"), ("groups", "several groups")}))
    done = trial([bug], SWEPT)
    [cause] = done.causes
    assert str(cause.representative.question) == "n1c4h1w1_o2k1_s2_g2"
    assert all(size(cause.representative.question) <= size(finding.question) for finding in cause.members)
    [shared] = cause.shared_by_failures
    assert frozenset(shared.classes) == bug.traits
    assert (shared.failures, shared.of_failures) == (len(done.failures),) * 2
    assert (shared.passes, shared.of_passes) == (0, len(done.passed))


def test_few_failures_are_shrunk_however_many_there_are() -> None:
    shrunk = []

    def shrink_one(finding: Failure, _: object) -> Failure:
        shrunk.append(finding)
        return finding

    failures = [Failure(question, Status.WRONG, "exact", "") for question in SWEPT[:200]]
    found = causes(failures, SWEPT[200:], classes, shrink_one, most_shrunk=5)
    assert len(shrunk) <= 5
    assert sum(len(cause.members) for cause in found) == 200
    assert [cause.looked_into for cause in found].count(False) <= 1


def test_statuses_and_kinds_of_check_are_never_mixed() -> None:
    text = "n1c4h9w9_o4k3"
    findings = [
        wrong(f"{text}_p{n}", status, check)
        for n, (status, check) in enumerate(
            [
                (Status.WRONG, "exact"), (Status.WRONG, "bound"), (Status.WRONG, "repeated call"),
                (Status.CRASHED, "call"), (Status.TIMEOUT, "call"), (Status.WRONG, "special"),
            ],
            start=1,
        )
    ]  # fmt: skip
    passed = [Question.parse(text), Question.parse("n1c4h9w9_o4k3_d2")]
    found = causes(findings, passed, classes)
    assert sum(len(cause.members) for cause in found) == len(findings)
    assert all(is_alike(cause.members[0], member) for cause in found for member in cause.members)
    together = causes(findings, [], classes)  # nothing passed, so nothing but these keeps them apart
    assert sorted(len(cause.members) for cause in together) == [1, 1, 1, 3]


def test_when_everything_fails_nothing_is_said_to_tell() -> None:
    [cause] = causes([wrong("n1c4h9w9_o4k3"), wrong("n1c4h9w9_o4k3_d2")], [], classes)
    assert cause.shared_by_failures == ()
    assert len(cause.members) == 2


def test_no_failures_have_no_causes() -> None:
    assert causes([], SWEPT, classes) == []


def test_what_shrinks_to_the_same_question_is_one_cause() -> None:
    findings = [wrong("n1c4h9w9_o4k3_bias"), wrong("n3c1h1w9_o1k1_d2_f16 sliced")]

    def shrink_one(_: Failure, __: object) -> Failure:
        return wrong("n1c1h1w1_o1k1 many")

    [cause] = causes(findings, [Question.parse("n1c2h9w9_o2k3")], classes, shrink_one)
    assert len(cause.members) == 2
    assert str(cause.representative.question) == "n1c1h1w1_o1k1 many"


# --- evidence ---------------------------------------------------------------------------------------------------------

A, B, C = ("a", "1"), ("b", "1"), ("c", "1")


def evidence_of(failures: list[Traits], passes: list[Traits]) -> TraitCounts:
    return TraitCounts(Occurrences(failures), Occurrences(passes))


def test_the_combination_that_tells_most_is_best_and_counts_are_right() -> None:
    failures = [frozenset({A, B, C}), frozenset({A, B})] * 5
    passes = [frozenset({A}), frozenset({B, C}), frozenset({A, C}), frozenset({("d", "1")})] * 5
    counts = evidence_of(failures, passes)
    assert counts.best({A, B, C}) == [frozenset({A, B})]
    assert counts.count(frozenset({A})) == Combination((A,), 10, 10, 10, 20)
    assert str(counts.count(frozenset({A, B}))) == "1 and 1: in 10 of 10 failures and none of 20 passes"


def test_what_tells_equally_much_is_all_given() -> None:
    counts = evidence_of([frozenset({A, B})] * 8, [frozenset({C})] * 8)
    assert set(counts.best({A, B})) == {frozenset({A}), frozenset({B})}


def test_a_class_more_must_tell_more() -> None:
    failures = [frozenset({A, B, C})] * 6
    passes = [frozenset({B}), frozenset({C})] * 20
    assert evidence_of(failures, passes).best({A, B, C}) == [frozenset({A})]


def test_what_mostly_passes_is_said_only_where_there_is_nothing_better() -> None:
    """Two causes share A, which tells many failures from many passes; A with B is one of them."""
    failures = [frozenset({A, B})] * 30 + [frozenset({A, C})] * 60
    passes = [frozenset({A})] * 400 + [frozenset({B}), frozenset({C})] * 2000
    assert evidence_of(failures, passes).best({A, B}) == [frozenset({A, B})]
    assert evidence_of(failures, passes).best({A}) == [frozenset({A})]


def test_what_tells_passes_tells_nothing() -> None:
    counts = evidence_of([frozenset({B})] * 4, [frozenset({A})] * 400)
    assert counts.best({A}) == []


def test_an_imperfect_combination_is_said_to_be_one() -> None:
    found = Combination((("stride", "stride 2"), ("dtype", "float16"), ("bias", "a bias")), 40, 41, 1200, 3480)
    assert str(found) == "stride 2, float16 and a bias: in 40 of 41 failures and 1,200 of 3,480 passes"
