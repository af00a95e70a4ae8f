"""How long an examiner waits: less for a backend that answers quickly, and the whole limit before it is a timeout."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process_pool import InProcessPool, in_process_examiner
from places import PLUGINS
from strategies import problems

from convbench.measurement.workers.messages import Check
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.runner.verify.campaign import MOST_HANGS, Campaign
from convbench.runner.verify.campaign_plan import CampaignPlan
from convbench.runner.verify.examiner import Examiner
from convbench.runner.verify.patience import Patience
from convbench.status import Status
from convbench.verification.question import Question

LIMIT_S = 1e6
"""So long that no pause of a busy machine can come near, even thirty times; nothing here takes time."""
SLOW_S, NEVER_S = 1e5, 1e9
SMALL = ConvProblem.parse("n1c3h9w9_o4k3")


@given(st.lists(st.tuples(problems(), st.floats(1e-4, 30)), max_size=12), problems())
def test_it_waits_five_seconds_at_least_and_the_limit_at_most(
    answers: list[tuple[ConvProblem, float]], problem: ConvProblem
) -> None:
    patience = Patience(40)
    for answered, seconds in answers:
        patience.learn(answered, seconds)
    waits = patience.for_(problem)
    assert 5 <= waits <= 40
    if len(answers) < 5:
        assert waits == 40, "the first answers may compile or load something"
    if any(seconds >= 40 / 30 for _, seconds in answers):
        assert waits == 40, "thirty times the slowest answer is no hang yet"


def test_more_work_gets_more_time() -> None:
    patience = Patience(1000.0)
    for _ in range(9):
        patience.learn(SMALL, 0.1)
    large = SMALL.replace(height=512, width=512, kernel_size=51)
    waits = [patience.for_(problem) for problem in (SMALL, SMALL.replace(batch=100), large)]
    assert waits[0] == 5 < 100 < waits[1] < waits[2] == 1000
    patience.learn(large, 0.5)
    assert patience.for_(large) == 15, "what was seen of much work counts"


def examiner(needs_s: Any, **more: Any) -> tuple[Examiner, InProcessPool]:
    (entry,) = discover([PLUGINS / "doubtful.py"]).select(["right"])
    assert isinstance(entry, Entry)
    return in_process_examiner(entry.backend, needs_s, LIMIT_S, **more)


def quick_questions(count: int) -> list[Question]:
    return [Question(problem=SMALL.replace(batch=number + 1)) for number in range(count)]


def test_a_right_answer_that_takes_long_is_right() -> None:
    """A large case after small ones, which took less than the limit and far more than all others."""
    waits: list[tuple[str, float]] = []
    asks, pool = examiner(
        lambda request: SLOW_S if request.problem.bias else 0.0, on_wait=lambda q, s: waits.append((str(q), s))
    )
    assert [asks(question) for question in quick_questions(6)] == [None] * 6
    slow = Question(problem=SMALL.replace(bias=True))
    assert asks(slow) is None
    assert [text for text, _ in waits] == [str(slow)] and 5 <= waits[0][1] < LIMIT_S
    assert pool.waited_s[-1] == LIMIT_S
    assert asks.lost_workers == 0


def test_a_relation_s_part_that_takes_long_is_right_too() -> None:
    asks, pool = examiner(lambda request: SLOW_S if isinstance(request, Check) else 0.0)
    assert [asks(question) for question in quick_questions(12)] == [None] * 12
    assert sum(5 <= waited < SLOW_S for waited in pool.waited_s) >= 2


def test_no_answer_within_the_whole_limit_is_a_timeout_after_the_whole_limit() -> None:
    asks, pool = examiner(lambda request: NEVER_S if request.problem.bias else 0.0)
    assert [asks(question) for question in quick_questions(6)] == [None] * 6
    failure = asks(Question(problem=SMALL.replace(bias=True)))
    assert failure is not None and failure.status is Status.TIMEOUT
    assert pool.waited_s[-1] == LIMIT_S and f"{LIMIT_S:g} s" in failure.reason
    assert asks.lost_workers == 1


def test_a_backend_that_hangs_on_everything_is_given_up_soon() -> None:
    asks, pool = examiner(lambda request: NEVER_S)
    campaign = Campaign(asks)
    answers = list(campaign.follow(CampaignPlan(strength=2, search_s=0)))
    assert len(answers) == MOST_HANGS < 5
    assert "--time-limit" in (campaign.gave_up or "") and f"{LIMIT_S:g} s" in (campaign.gave_up or "")
    assert sum(pool.waited_s) <= MOST_HANGS * LIMIT_S
    causes = campaign.causes()
    assert len(causes) == 1 and causes[0].representative.status is Status.TIMEOUT


@pytest.mark.parametrize(("needs_s", "hangs"), [(SLOW_S, False), (NEVER_S, True)])
def test_what_shrinking_does_not_wait_for_is_no_hang_until_it_was_waited_for(needs_s: float, hangs: bool) -> None:
    """With a bias it hangs where there are two channels, and is slow with one: shrinking must not end there."""

    def needs(request: Any) -> float:
        if not request.problem.bias:
            return 0.0
        return NEVER_S if request.problem.in_channels > 1 else needs_s

    asks, _ = examiner(needs)
    campaign = Campaign(asks)
    plan = CampaignPlan(
        questions=(*quick_questions(6), Question(problem=SMALL.replace(bias=True))), strength=0, search_s=0
    )
    assert [answered.failure is not None for answered in campaign.follow(plan)] == [False] * 6 + [True]
    (cause,) = campaign.causes()
    assert (cause.representative.question.problem.in_channels == 1) == hangs
    assert all(failure.question.problem.in_channels > 1 for failure in campaign.failures.values())


def test_shrinking_that_runs_out_of_time_names_no_case_that_was_not_waited_for() -> None:
    """On a busy machine every question takes longer than shrinking waits, and its time ends before it can confirm."""

    clock_s = 0.0

    def needs(request: Any) -> float:
        nonlocal clock_s
        if not request.problem.bias or request.problem.height < 4:
            return 0.0
        clock_s += 10  # so long shrinking waits
        return NEVER_S if request.problem.in_channels > 1 else SLOW_S

    asks, _ = examiner(needs)
    campaign = Campaign(asks, clock=lambda: clock_s)
    hangs = Question(problem=SMALL.replace(bias=True))
    list(campaign.follow(CampaignPlan(questions=(hangs,), strength=0, search_s=0)))
    (cause,) = campaign.causes()
    assert cause.representative.question == hangs
    assert f"{LIMIT_S:g} s" in cause.representative.reason
