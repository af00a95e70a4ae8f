"""How workers start: on all CPUs, each as soon as there is a place, and none any more after an interrupt."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from test_engine import Declared

from convbench.measurement.settings import Settings
from convbench.measurement.workers import pool as pool
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.measurement.workers.protocol import Message
from convbench.registry import Entry, Origin
from convbench.status import Status

PATIENCE_S = 20.0


class Starting:
    """A worker whose start ends when it is told to, at once unless it waits for somebody."""

    def __init__(self, waits_for: threading.Event | None = None, fails: bool = False) -> None:
        self.waits_for, self.fails = waits_for, fails
        self.killed = threading.Event()
        self.alive = True

    def tell(self, command: str, arrays: Any = None, **fields: Any) -> None:
        assert command == "start"

    def answer(self, command: str, time_limit_s: float) -> Message:
        if self.waits_for is not None and not self.waits_for.wait(PATIENCE_S):
            raise AssertionError("nobody came")
        if self.fails:
            raise WorkerError(Status.CRASHED, "by intention")
        return Message({"import_s": 0.1, "versions": {}})

    def kill(self) -> None:
        self.alive = False
        self.killed.set()


def entries(names: str) -> list[Entry]:
    return [Entry(name, Origin("module", "test"), Declared(name)) for name in names.split()]


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "usable_cpus", lambda: 2)


def test_whoever_is_next_starts_as_soon_as_a_place_is_free() -> None:
    last_began, places = threading.Event(), list[int]()

    def start(entry: Entry, settings: Settings, place: int) -> Starting:
        places.append(place)
        if entry.name == "last":
            last_began.set()
        begun[entry.name] = Starting(last_began if entry.name == "slow" else None)
        return begun[entry.name]

    begun: dict[str, Starting] = {}
    told: list[tuple[int, int]] = []
    workers = WorkerPool(Settings(), start)
    failed = workers.start(entries("slow a b last"), lambda *how_many: told.append(how_many))
    assert failed == {} and all(workers.runs(entry) for entry in entries("slow a b last"))
    assert told == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(places) == {0, 1} and places.count(places[0]) == 1  # all the others in the place beside the slow one
    workers.shutdown()
    assert all(worker.killed.is_set() for worker in begun.values())


def test_those_that_do_not_start_are_told_in_the_order_of_the_entries() -> None:
    last_failed = threading.Event()

    class TellsWhenKilled(Starting):
        def kill(self) -> None:
            super().kill()
            last_failed.set()

    def start(entry: Entry, settings: Settings, place: int) -> Starting:
        return Starting(last_failed, fails=True) if entry.name == "first" else TellsWhenKilled(fails=True)

    workers = WorkerPool(Settings(), start)
    failed = workers.start(entries("first last"))
    assert list(failed) == ["first", "last"] and {e.reason for e in failed.values()} == {"by intention"}
    assert not any(workers.runs(entry) for entry in entries("first last"))


def test_an_interrupt_ends_those_that_began_and_starts_nobody_else() -> None:
    begun: list[Starting] = []

    class Killable(Starting):
        def answer(self, command: str, time_limit_s: float) -> Message:
            assert self.killed.wait(PATIENCE_S)
            raise WorkerError(Status.CRASHED, "killed")

    def start(entry: Entry, settings: Settings, place: int) -> Starting:
        begun.append(Starting() if entry.name == "quick" else Killable())
        return begun[-1]

    def interrupt(done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WorkerPool(Settings(), start).start(entries("quick a b c d e"), interrupt)
    assert all(worker.killed.is_set() for worker in begun) and len(begun) <= 3
