"""How workers start: on all CPUs, each as soon as there is a slot, and none after an interrupt."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from test_engine import Declared

from convbench.measurement.settings import Settings
from convbench.measurement.workers import pool as pool
from convbench.measurement.workers.messages import Start, Started
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import WorkerError
from convbench.registry import Entry, Origin
from convbench.status import Status

PATIENCE_S = 20.0


class Starting:
    """A worker whose start ends when the test says so, at once unless it waits for an event."""

    def __init__(self, waits_for: threading.Event | None = None, fails: bool = False) -> None:
        self.waits_for, self.fails = waits_for, fails
        self.killed = threading.Event()
        self.alive = True

    def send(self, request: Any) -> None:
        assert isinstance(request, Start)

    def receive(self, request: Any, time_limit_s: float) -> Any:
        if self.waits_for is not None and not self.waits_for.wait(PATIENCE_S):
            raise AssertionError("nobody came")
        if self.fails:
            raise WorkerError(Status.CRASHED, "by intention")
        return Started(import_s=0.1, versions={})

    def kill(self) -> None:
        self.alive = False
        self.killed.set()


def entries(names: str) -> list[Entry]:
    return [Entry(name, Origin("module", "test"), Declared(name)) for name in names.split()]


@pytest.fixture(autouse=True)
def two_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "usable_cpus", lambda: 2)


def test_the_next_worker_starts_as_soon_as_a_slot_is_free() -> None:
    last_began, slots = threading.Event(), dict[str, int]()

    def start(entry: Entry, settings: Settings, slot: int) -> Starting:
        slots[entry.name] = slot
        if entry.name == "last":
            last_began.set()
        begun[entry.name] = Starting(last_began if entry.name == "slow" else None)
        return begun[entry.name]

    begun: dict[str, Starting] = {}
    progress: list[tuple[int, int]] = []
    workers = WorkerPool(Settings(), start)
    failed = workers.start(entries("slow a b last"), lambda *how_many: progress.append(how_many))
    assert failed == {} and all(workers.runs(entry) for entry in entries("slow a b last"))
    assert progress == [(0, 4), (1, 4), (2, 4), (3, 4), (4, 4)]
    beside = {slot for name, slot in slots.items() if name != "slow"}
    assert beside | {slots["slow"]} == {0, 1} and len(beside) == 1
    workers.shutdown()
    assert all(worker.killed.is_set() for worker in begun.values())


def test_failed_starts_are_reported_in_the_order_of_the_entries() -> None:
    last_failed = threading.Event()

    class TellsWhenKilled(Starting):
        def kill(self) -> None:
            super().kill()
            last_failed.set()

    def start(entry: Entry, settings: Settings, slot: int) -> Starting:
        return Starting(last_failed, fails=True) if entry.name == "first" else TellsWhenKilled(fails=True)

    workers = WorkerPool(Settings(), start)
    failed = workers.start(entries("first last"))
    assert list(failed) == ["first", "last"] and {e.reason for e in failed.values()} == {"by intention"}
    assert not any(workers.runs(entry) for entry in entries("first last"))


def test_an_interrupt_ends_those_that_began_and_starts_nobody_else() -> None:
    begun: list[Starting] = []

    class Killable(Starting):
        def receive(self, request: Any, time_limit_s: float) -> Any:
            assert self.killed.wait(PATIENCE_S)
            raise WorkerError(Status.CRASHED, "killed")

    def start(entry: Entry, settings: Settings, slot: int) -> Starting:
        begun.append(Starting() if entry.name == "quick" else Killable())
        return begun[-1]

    def interrupt(done: int, of: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        WorkerPool(Settings(), start).start(entries("quick a b c d e"), interrupt)
    assert all(worker.killed.is_set() for worker in begun) and len(begun) <= 3
