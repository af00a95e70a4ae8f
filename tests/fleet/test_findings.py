"""What machines found together: parts that cover the questions, causes by kind, and machines that are lost."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from convbench.fleet.machines.machine import Machine
from convbench.fleet.verification.findings import merged
from convbench.fleet.verification.kind_campaigns import KindCampaigns, backend_of
from convbench.fleet.verification.verify import FleetJobs
from convbench.runner.verify.campaign_plan import CampaignPlan
from convbench.runner.verify.observer import VerifyObserver
from convbench.runner.verify.request import Request
from convbench.runner.verify.rows import Row, row_of_none
from convbench.status import Status

QUESTION, SMALLER, OTHER = "n1c4h8w8_o4k3", "n1c1h3w3_o1k3", "n1c2h4w4_o2k1"
REQUEST = {"search_time": 60.0, "answered": [], "questions": [], "replay": [], "suites": [], "strength": 3}


def machine(name: str, cpu: str = "A", backends: tuple[str, ...] = ("b",)) -> Machine:
    facts = {"cpu": cpu, "num_cpu": 2, "usable_cpus": 2}
    return Machine(name=name, addresses=(), facts=facts, backends={backend: {} for backend in backends})


def row(*failures: dict[str, Any], **more: Any) -> Row:
    status = Status.WRONG if failures else Status.OK
    return row_of_none("b", status, None) | {"cases": 3, "searched": 1, "failures": list(failures)} | more


def failure(case: str, *found_by: str, check: str = "exact") -> dict[str, Any]:
    return {"case": case, "check": check, "reason": "2 of 9 differ", "found_by": list(found_by)}


# --- by kind ----------------------------------------------------------------------------------------------------------


def test_a_cause_that_shows_on_one_kind_alone_says_so() -> None:
    kinds = [("with AMX", row(failure(SMALLER, QUESTION))), ("without", row())]
    of_both = merged(kinds, {"with AMX": {QUESTION: True}, "without": {QUESTION: False, SMALLER: False}})
    assert of_both["status"] == "wrong" and of_both["cases"] == 6
    assert of_both["failures"][0]["machines"] == ["with AMX"]
    assert of_both["failures"][0]["reason"] == "2 of 9 differ (only on with AMX)"


def test_what_another_kind_was_not_asked_is_not_said_to_be_right_there() -> None:
    kinds = [("with AMX", row(failure(SMALLER, QUESTION))), ("without", row())]
    [one] = merged(kinds, {"with AMX": {QUESTION: True}, "without": {OTHER: False}})["failures"]
    assert one["reason"].endswith("(on with AMX; not asked on without)")


def test_a_cause_that_two_kinds_shrank_to_other_questions_is_one() -> None:
    kinds = [("x", row(failure(SMALLER, QUESTION))), ("y", row(failure(OTHER, QUESTION), failure("n1c9h9w9_o9k1")))]
    fails = {"x": {QUESTION: True, "n1c9h9w9_o9k1": False}, "y": {QUESTION: True, "n1c9h9w9_o9k1": True}}
    first, second = merged(kinds, fails)["failures"]
    assert first == failure(SMALLER, QUESTION), "on both, so nothing is added"
    assert second["machines"] == ["y"]


def test_the_gravest_status_counts_and_what_is_known_on_all_kinds_is_known() -> None:
    crashed = row(failure(OTHER), status="crashed", known=True, max_error_over_bound=0.5)
    of_both = merged(
        [("x", row(max_error_over_bound=0.9, complete=False)), ("y", crashed)], {"x": {}, "y": {OTHER: True}}
    )
    assert (of_both["status"], of_both["known"], of_both["complete"]) == ("crashed", True, False)
    assert of_both["max_error_over_bound"] == 0.9
    assert merged([("x", row(failure(SMALLER))), ("y", crashed)], {"x": {}, "y": {}})["known"] is False


# --- parts ------------------------------------------------------------------------------------------------------------


@given(st.integers(0, 60), st.integers(1, 9))
def test_parts_ask_every_question_once_and_search_with_seeds_of_their_own(questions: int, of: int) -> None:
    asked = list(range(questions))
    plans = [CampaignPlan(part=(number, of), seed=7) for number in range(of)]
    shares = [plan.share_of(asked) for plan in plans]  # type: ignore[arg-type]
    assert sorted(question for share in shares for question in share) == asked  # type: ignore[type-var]
    assert len({plan.search_seed for plan in plans}) == of


def test_a_backend_goes_over_the_machines_that_have_it_and_the_time_is_shared() -> None:
    few = [machine("north"), machine("south", backends=("b", "c")), machine("east", backends=("c",))]
    kind = KindCampaigns(few, {"b": REQUEST, "c": REQUEST}, Request(jobs=1), alone=True)
    shares = kind.first()
    assert {name: sorted(map(backend_of, requests)) for name, requests in shares.items()} == {
        "north": ["b"], "south": ["b", "c"], "east": ["c"]
    }  # fmt: skip
    parts = [request for requests in shares.values() for name, request in requests.items() if backend_of(name) == "b"]
    assert sorted(part["part"] for part in parts) == [[0, 2], [1, 2]]
    assert {part["search_time"] for part in parts} == {30.0}
    kind.lost.add("north")
    last = kind.rest()
    assert {name for name, requests in last.items() for backend in requests if backend == "b"} == {"south"}


def test_backends_are_dealt_out_whole_and_what_is_left_over_in_parts() -> None:
    names = ("a", "b", "c", "d", "e")
    few = [machine("north", backends=names), machine("south", backends=names)]
    kind = KindCampaigns(few, dict.fromkeys(names, REQUEST), Request(jobs=1), alone=True)
    shares = kind.first()
    whole = {name: [backend for backend in requests if backend in names] for name, requests in shares.items()}
    assert whole == {"north": ["a", "c"], "south": ["b", "d"]}
    parts = {campaign for requests in shares.values() for campaign in requests if campaign not in names}
    assert sorted(map(backend_of, parts)) == ["e", "e"]
    assert {kind.parts_of(campaign) for campaign in parts} == {2} and kind.parts_of("a") == 1


def test_a_backend_of_a_lost_machine_is_searched_on_another() -> None:
    names = ("a", "b")
    few = [machine("north", backends=names), machine("south", backends=names)]
    kind = KindCampaigns(few, dict.fromkeys(names, REQUEST), Request(jobs=1), alone=True)
    kind.first()
    kind.end("b", {"event": "report", "row": row()})
    kind.lost.add("north")
    rest = kind.rest()
    assert {name: list(requests) for name, requests in rest.items()} == {"south": ["a"]}
    assert rest["south"]["a"]["search_time"] == REQUEST["search_time"] > 0 and "part" not in rest["south"]["a"]


# --- machines that are lost -------------------------------------------------------------------------------------------


class FakeTasks:
    """Machines that answer at once, by what `say` makes of the requests that a machine gets."""

    def __init__(self, say: Any) -> None:
        self.say, self.waiting, self.started = say, [], []  # type: ignore[var-annotated]

    def start(self, kind: str, machine: Machine, request: dict[str, Any]) -> None:
        self.started.append((machine.name, request["requests"]))
        self.waiting.append((machine.name, request["requests"]))

    def messages(self) -> Iterator[tuple[str, dict[str, Any]]]:
        while self.waiting:
            name, requests = self.waiting.pop(0)
            messages, reason = self.say(name, requests)
            for message in messages:
                yield name, message
            yield name, {"type": "ended", "reason": reason, "answer": {}}

    def cancel(self) -> None:
        pass


class Listener(VerifyObserver):
    def __init__(self) -> None:
        self.said: list[str] = []

    def message(self, text: str) -> None:
        self.said.append(text)


def answered(question: str, fails: bool) -> dict[str, Any]:
    finding = {"check": "exact"} if fails else None
    return {"event": "answered", "phase": "sweep", "question": question, "finding": finding, "seconds": 1.0}


def reports(requests: dict[str, Any], of: Row, questions: dict[str, bool]) -> list[dict[str, Any]]:
    """What a sound machine says: answers to the questions, and a report of each campaign."""
    events = [(name, answered(q, fails)) for name in requests for q, fails in questions.items()]
    events += [(name, {"event": "report", "row": of}) for name in requests]
    return [{"type": "events", "events": events}]


def jobs(say: Any, *machines: list[Machine]) -> tuple[FakeTasks, Listener, list[tuple[str, dict[str, Any]]]]:
    tasks, listener = FakeTasks(say), Listener()
    of = FleetJobs(tasks, machines, {"b": REQUEST}, Request(jobs=1), listener)  # type: ignore[arg-type]
    return tasks, listener, list(of.events())


@pytest.mark.parametrize("dies_at", [1, 2])
def test_what_a_lost_machine_had_is_asked_on_another(dies_at: int) -> None:
    times = {"north": 0, "south": 0}

    def say(name: str, requests: dict[str, Any]) -> Any:
        times[name] += 1
        if name == "north" and times[name] == dies_at:
            return [], "its worker is gone"
        return reports(requests, row(), {QUESTION: False}), None

    _, listener, events = jobs(say, [machine("north"), machine("south")])
    assert events[-1][1]["row"]["status"] == "ok" and events[-1][1]["event"] == "report"
    assert "north: its worker is gone; its questions are asked on south." in listener.said


def test_an_interrupt_while_an_answer_is_written_down_ends_the_campaign_and_not_the_program() -> None:
    def say(name: str, requests: dict[str, Any]) -> Any:
        return reports(requests, row(), {QUESTION: False}), None

    of = FleetJobs(FakeTasks(say), [[machine("a")]], {"b": REQUEST}, Request(jobs=1), Listener())  # type: ignore[arg-type]
    for _ in of.events():
        signal.raise_signal(signal.SIGINT)
    assert of.interrupted


def test_where_a_whole_kind_is_lost_the_row_says_so_and_is_not_complete() -> None:
    def say(name: str, requests: dict[str, Any]) -> Any:
        return ([], "it was silent") if name == "amx" else (reports(requests, row(), {QUESTION: False}), None)

    _, listener, events = jobs(say, [machine("amx", "AMX")], [machine("plain", "P")])
    assert "amx: it was silent; no machine of its kind is left." in listener.said
    last = events[-1][1]["row"]
    assert last["complete"] is False and last["status"] == "error"


def test_a_machine_that_says_nonsense_is_lost_and_the_others_go_on() -> None:
    def say(name: str, requests: dict[str, Any]) -> Any:
        if name == "odd":
            return [{"type": "events", "events": [("b", {"event": "answered", "question": "no question"})]}], None
        return reports(requests, row(), {QUESTION: False}), None

    _, listener, events = jobs(say, [machine("odd"), machine("sound")])
    assert events[-1][1]["row"]["status"] == "ok"
    assert any(said.startswith("odd: it sent what cannot be understood") for said in listener.said)


def test_a_machine_that_never_reports_is_not_asked_for_ever() -> None:
    tasks, _, events = jobs(lambda name, requests: ([], None), [machine("a"), machine("c")])
    assert len(tasks.started) == 4 and events[-1][1]["row"]["complete"] is False


def test_what_one_kind_failed_is_asked_on_the_others() -> None:
    def say(name: str, requests: dict[str, Any]) -> Any:
        asked = [question for request in requests.values() for question in request["questions"]]
        if name == "amx":
            return reports(requests, row(failure(SMALLER, QUESTION)), {QUESTION: True, SMALLER: True}), None
        return reports(requests, row(), dict.fromkeys(asked or [OTHER], False)), None

    tasks, _, events = jobs(say, [machine("amx", "AMX")], [machine("plain", "P")])
    name, requests = tasks.started[-1]
    assert name == "plain" and [request["questions"] for request in requests.values()] == [[SMALLER, QUESTION]]
    [one] = events[-1][1]["row"]["failures"]
    assert one["machines"] == ["AMX, 2 CPUs"] and one["reason"].endswith("(only on AMX, 2 CPUs)")
    assert {event["kind"] for _, event in events if event["event"] == "answered"} == {"AMX, 2 CPUs", "P, 2 CPUs"}
