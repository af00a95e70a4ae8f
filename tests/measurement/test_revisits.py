"""Coming back to earlier cases: what is asked of whom, what a failure costs, and what it tells of the time between."""

from __future__ import annotations

from typing import Any

import pytest
from test_engine import Stage

from convbench.measurement.scheduling.race import Race
from convbench.measurement.scheduling.revisits import Revisit
from convbench.measurement.settings import Settings
from convbench.measurement.workers.process import WorkerError
from convbench.problem import ConvProblem
from convbench.status import Status
from convbench.suite import Case

CASES = [Case(ConvProblem.parse(f"n1c{c}h6w6_o2k3")) for c in (2, 3, 4, 5, 6, 7)]
SETTINGS = Settings(self_check=True)
PAUSE_S = 60.0
"""After each case, so that there is time to come back to earlier ones."""


def revisits(stage: Stage, cases: int = 4, **later: Any) -> list[list[Revisit]]:
    """What the engine came back to after each case. After the first one, the workers change to what is in `later`."""
    each = []
    with stage.engine as engine:
        for number, case in enumerate(CASES[:cases]):
            assert all(o.status is Status.OK for o in engine.measure("test", case, stage.entries)) or later
            for worker in (worker for workers in stage.workers.values() for worker in workers if number == 0):
                for name, value in later.items():
                    setattr(worker, name, value)
            stage.clock.now_s += PAUSE_S
            each.append(engine.revisit())
    return each


def test_after_the_first_case_an_earlier_one_is_visited_with_two_backends() -> None:
    first, *later = revisits(Stage(SETTINGS, a={}, b={}, c={}), 6)
    assert first == []
    assert any(later)
    for visit in filter(None, later):
        assert len(visit) <= 2 and len({revisit.case.name for revisit in visit}) == 1
        assert visit[0].case in CASES[:3]
        assert all(revisit.seconds == pytest.approx(revisit.before_s) for revisit in visit)


def test_a_machine_that_became_slower_shows() -> None:
    visits = revisits(Stage(SETTINGS, a={}, b={}), 4, call_s=0.0013)
    first = next(filter(None, visits))
    assert {revisit.case for revisit in first} == {CASES[0]}
    assert all(revisit.seconds == pytest.approx(1.3 * revisit.before_s) for revisit in first)


def test_every_backend_is_visited_in_the_course_of_a_run() -> None:
    visits = revisits(Stage(SETTINGS, a={}, b={}, c={}, d={}), 6)
    assert {revisit.backend for visit in visits for revisit in visit} >= {"a", "b", "c"}


def test_a_backend_alone_is_visited_beside_its_aa_process_which_is_not_counted() -> None:
    visits = revisits(Stage(SETTINGS, a={}), 5)
    assert {revisit.backend for visit in visits for revisit in visit} == {"a"}


def test_a_worker_that_fails_at_a_visit_costs_the_visit_and_no_record() -> None:
    stage = Stage(SETTINGS, a={}, b={})
    with stage.engine as engine:
        for case in CASES[:2]:
            outcomes = list(engine.measure("test", case, stage.entries))
        stage.workers["a"][-1].fails["sample"] = WorkerError(Status.CRASHED, "it died")
        stage.clock.now_s += PAUSE_S
        assert {revisit.backend for revisit in engine.revisit()} == {"b"}
        assert [outcome.status for outcome in outcomes] == [Status.OK, Status.OK]
        assert all(o.status is Status.OK for o in engine.measure("test", CASES[2], stage.entries[1:]))


def test_without_time_nothing_is_visited() -> None:
    stage = Stage(SETTINGS, a={"call_s": 0.5}, b={"call_s": 0.5})
    with stage.engine as engine:
        for case in CASES[:2]:
            list(engine.measure("test", case, stage.entries))
        assert engine.revisit() == []


def test_a_race_comes_back_to_nothing() -> None:
    assert revisits(Stage(SETTINGS, Race(), a={}, b={}), 5) == [[]] * 5
