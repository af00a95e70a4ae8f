"""The plan of a verification, how far it has come, and the words for it; without time passing."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from convbench.reporting.verification.progress import LiveProgress, PlainProgress, about
from convbench.runner.verify.workload import SWEPT, Advance, Workload

TWO = Workload(("one", "two"), at_once=1, questions=100, search_s=60.0)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def answered(number: int, phase: str = "sweep", searched_s: float = 0.0) -> dict[str, Any]:
    event = {"event": "answered", "phase": phase, "question": f"q{number}", "finding": None}
    return event | {"seconds": 0.5 * number + searched_s, "searched_s": searched_s}


REPORT: dict[str, Any] = {
    "event": "report",
    "row": {"status": "ok", "reason": None, "cases": 100, "searched": 9, "seconds": 110.0, "failures": []},
}


def test_the_plan_counts_the_search_of_every_backend_and_cores_side_by_side() -> None:
    assert TWO.about_s >= 120
    side_by_side = Workload(TWO.backends, 2, TWO.questions, TWO.search_s)
    assert 60 <= side_by_side.about_s <= TWO.about_s / 2 + 1
    assert Workload((), 1, 0, 0.0).about_s == 0
    assert SWEPT[2] < SWEPT[3] < SWEPT[4]


def test_what_remains_follows_the_speed_that_was_seen_and_comes_to_nothing() -> None:
    clock = Clock()
    advance = Advance(TWO, clock)
    lefts, shares = [advance.left_s], [advance.share]
    for number in range(100):
        clock.now_s += 0.5
        advance.note("one", answered(number))
        lefts.append(advance.left_s)
        shares.append(advance.share)
    assert advance.left_s == pytest.approx(60 + 4 + 100 * 0.5 + 60, rel=0.05), "half a second each, the other's, too"
    for second in range(60):
        clock.now_s += 1
        advance.note("one", answered(99, "search", second + 1.0))
    assert advance.share_of("one") == pytest.approx(1)
    assert advance.share_of("two") == 0
    advance.note("one", REPORT)
    assert advance.left_s == pytest.approx(4 + 50 + 60, rel=0.05)
    assert shares[1] > 0 and advance.share > max(shares[1:3])
    advance.note("two", {"event": "died", "reason": "ended"})
    assert (advance.left_s, advance.share) == (0, 1)


def test_a_backend_s_own_number_of_questions_replaces_the_guess() -> None:
    advance = Advance(Workload(("one",), 1, SWEPT[3], 60.0))
    advance.note("one", {"event": "planned", "questions": 10, "search_s": 0.0})
    assert advance.left_s < 10


@pytest.mark.parametrize("live", [False, True])
def test_a_person_reads_the_plan_first_then_who_keeps_waiting_and_what_is_left(live: bool) -> None:
    output = io.StringIO()
    console = Console(file=output, width=132, force_terminal=live)
    progress: PlainProgress = LiveProgress(console) if live else PlainProgress(console)
    progress.begin(Workload(("one", "two", "three"), 2, 580, 60.0))
    progress.event("one", {"event": "planned", "questions": 400, "search_s": 60.0})
    progress.event("one", answered(1))
    progress.event("one", {"event": "waiting", "question": "n1c1h1w1_o1k1", "waited_s": 5.0, "limit_s": 40.0})
    progress.event("one", {"event": "shrinking"})
    progress.event("one", REPORT)
    progress.end()
    text = output.getvalue()
    first = next(line for line in text.splitlines() if "backends" in line)
    assert "3 backends, 2 at a time: about 580 questions, then 60 s of random search each; about 2 min in all." in first
    assert "one has not answered n1c1h1w1_o1k1 for 5 s" in text and "40 s (--time-limit)" in text
    assert "[1/3] one: ok, 109 questions in 110 s; about" in text and " left" in text
    assert not live or "0 of 3 backends" in text


def test_times_in_words() -> None:
    assert [about(s) for s in (0.0, 12.4, 89, 91, 3600)] == [
        "about 1 s",
        "about 12 s",
        "about 89 s",
        "about 2 min",
        "about 60 min",
    ]
