"""From a backend's failures to its causes: the mistakes that authors make, asked in this process."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from in_process_pool import in_process_examiner
from places import PLUGINS

from convbench.backend import Backend
from convbench.registry import discover
from convbench.runner.verify.campaign import Campaign
from convbench.runner.verify.campaign_plan import CampaignPlan
from convbench.runner.verify.rows import row_of
from convbench.status import Status
from convbench.verification.causes.grouping import Cause
from convbench.verification.causes.report import report
from convbench.verification.known import KnownWrong
from convbench.verification.question import Failure, Question
from convbench.verification.sweep.covering import sweep

PLUGIN = PLUGINS / "mistakes.py"


@cache
def backends() -> dict[str, Backend]:
    return {entry.name: entry.backend for entry in discover([PLUGIN]).defined_by([PLUGIN])}


@cache
def swept(name: str) -> tuple[Campaign, list[Cause]]:
    """A campaign of the sweep of pairs, and what it found."""
    return asked(name, *sweep(backends()[name], strength=2).questions)


def asked(name: str, *questions: Question) -> tuple[Campaign, list[Cause]]:
    examiner, _ = in_process_examiner(backends()[name])
    clock = iter(range(10**9))  # a shrinking step is a second, so a busy machine takes none away
    campaign = Campaign(examiner, clock=lambda: next(clock) / 1000)
    list(campaign.follow(CampaignPlan(questions=questions, strength=0, search_s=0)))
    return campaign, campaign.causes()


def smallest(causes: list[Cause]) -> list[str]:
    return [str(cause.representative.question) for cause in causes]


@pytest.mark.parametrize(
    "name",
    [
        "one-stride",
        "no-dilation",
        "first-bias-only",
        "last-row-missing",
        "reflects-the-edge",
        "shares-its-output",
        "keeps-its-weights",
        "drops-nan",
    ],
)
def test_one_mistake_is_one_cause(name: str) -> None:
    campaign, causes = swept(name)
    assert len(campaign.failures) > 5
    assert len(causes) == 1, [(cause.representative, cause.shared_by_failures) for cause in causes]


def test_nothing_that_was_folded_is_lost() -> None:
    campaign, (cause,) = swept("last-row-missing")
    assert cause.also
    reached = {member.question for member in cause.members}
    assert all(failure.question not in reached or failure.question in campaign.failures for failure in cause.also)
    row = row_of(campaign, [cause], [], 0.0, complete=True)
    assert row["failures"][0]["also"] == [str(failure.question) for failure in cause.also]
    assert str(cause.also[0].question) in row["failures"][0]["report"]


# --- what is known ----------------------------------------------------------------------------------------------------


def test_a_relation_s_failure_is_known_by_the_question_that_it_restated_unless_that_one_passed() -> None:
    asked_first, larger = Question.parse("n1c2h4w4_o2k3_p1"), Question.parse("n1c2h6w6_o2k3")
    failure = Failure(asked_first, Status.WRONG, "relation padded image", "got 1, expected 2")
    examiner, _ = in_process_examiner(backends()["one-stride"])
    words: dict[str, Any] = {"seen": "wrong", "backends": ("one-stride",), "cases": (str(larger),)}
    entry = KnownWrong(**words)

    def campaign(*known: KnownWrong, check: str = failure.check) -> Campaign:
        made = Campaign(examiner, known)
        made.failures[asked_first] = replace(failure, check=check)
        return made

    known = campaign(entry)
    assert known.known_as(failure) is entry
    assert [(found, cause.members) for found, cause in known.known_causes()] == [(entry, (failure,))]
    other = KnownWrong(**words | {"cases": ("n1c2h9w9_o2k3",)})
    assert campaign(other).known_as(failure) is None
    assert campaign(KnownWrong(**words, status=(Status.TIMEOUT,))).known_as(failure) is None
    assert campaign(entry, check="exact").known_causes() == [], "only a relation restates"
    known.passed[larger] = None
    assert known.known_as(failure) is None and known.known_causes() == []


# --- exceptions -------------------------------------------------------------------------------------------------------


def test_exceptions_are_told_apart_by_the_author_s_lines_and_not_by_what_questions_share() -> None:
    _, causes = swept("raises-twice")
    assert {cause.representative.status for cause in causes} == {Status.ERROR}
    lines = PLUGIN.read_text().splitlines()
    expected = {
        f"mistakes.py, line {number}, in {function}"
        for number, line in enumerate(lines, 1)
        for text, function in (("x has strides", "conv"), ("raise NotImplementedError", "_refuse"))
        if text in line
    }
    assert {cause.representative.where for cause in causes} == expected and len(causes) == 2


def test_a_report_has_the_author_s_frames_and_none_of_convbench() -> None:
    _, causes = swept("raises-twice")
    (refused,) = [cause for cause in causes if "dilation" in cause.representative.reason]
    text = report(refused, backends()["raises-twice"], {})
    assert f'File "{PLUGIN}"' in text and "_refuse(problem)" in text and "NotImplementedError: dilation" in text
    assert "adversarial_calls" not in text and "worker.py" not in text


def test_an_author_s_call_into_convbench_is_the_author_s() -> None:
    """The frame to look at is the last one of the author's, however deep the exception was raised."""
    campaign, causes = swept("pads-by-the-first-side")
    errors = [cause for cause in causes if cause.representative.status is Status.ERROR]
    assert all("mistakes.py" in (cause.representative.where or "") for cause in errors)
    assert len({cause.representative.where for cause in errors}) == len(errors), "a line is told once"
    assert len(causes) < len(campaign.failures) / 5


# --- shrinking stays with its cause -----------------------------------------------------------------------------------


def test_shrinking_does_not_leave_the_dtype_for_another_bug() -> None:
    first = Question.parse("n2c3h64w3_o16k3_s1x3_bf16")
    _, causes = asked("wrong-in-two-dtypes", first)
    assert smallest(causes) == ["n1c3h1w1_o1k1_s1x3_bf16"]
    _, causes = asked("wrong-in-two-dtypes", first, Question.parse("n2c3h64w3_o16k3_s1x3"))
    assert sorted(smallest(causes)) == ["n1c1h9w3_o1k1x3", "n1c3h1w1_o1k1_s1x3_bf16"], "neither swallows the other"


def test_shrinking_does_not_leave_the_kernel_and_tells_what_it_met_on_the_way() -> None:
    campaign, causes = asked("wrong-in-two-kernels", Question.parse("n2c16h9w9_o4k3_s2"))
    found = {cause.representative.kernel: str(cause.representative.question) for cause in causes}
    assert found["many"] == "n1c8h1w1_o1k1_s2x1"
    assert found["few"] == "n1c1h1w1_o1k1_s2x1", "a second finding"
    assert len(causes) == 2
    rows = row_of(campaign, causes, [], 0.0, complete=True)["failures"]
    assert {row["kernel"] for row in rows} == {"many", "few"} and "| kernel | many |" in "".join(
        r["report"] for r in rows
    )


def test_shrinking_does_not_leave_the_check_for_another_bug() -> None:
    _, causes = asked("drops-nan-and-strides", Question.parse("n2c3h9w9_o4k3_s3 special"))
    by_check = {cause.representative.check: str(cause.representative.question) for cause in causes}
    assert by_check["special"].endswith("special"), "NaN stays in a question about NaN"
    assert by_check.get("exact") in (None, "n1c1h1w1_o1k1_s1x3", "n1c1h1w1_o1k1_s3x1")


def test_a_large_question_is_made_small_before_anything_else_is_tried() -> None:
    """Each question of the size of the first would take seconds."""
    examiner, pool = in_process_examiner(backends()["drops-nan"])
    asked_macs: list[int] = []
    request = pool.request

    def noting(entry: Any, message: Any, *more: Any) -> Any:
        asked_macs.append(message.problem.macs)
        return request(entry, message, *more)

    pool.request = noting  # type: ignore[method-assign]
    campaign = Campaign(examiner)
    first = Question.parse("n1c2h40w40_o4k21 special")
    list(campaign.follow(CampaignPlan(questions=(first,), strength=0, search_s=0)))
    (cause,) = campaign.causes()
    assert str(cause.representative.question) == "n1c1h1w1_o1k1 special"
    large = [macs for macs in asked_macs if macs > first.problem.macs / 10]
    assert len(large) <= 3, asked_macs
