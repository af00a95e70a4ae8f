"""Which cores workers run on, and that they do."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import PLUGINS

from convbench.errors import ConvbenchError
from convbench.measurement.machine.affinity import (
    can_pin,
    children_on,
    choose_cores,
    cores_here,
    kept_off,
    move_here,
    parse_pin,
    starting_cores,
)
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.suite import Case

FAKES = PLUGINS / "fakes.py"
CASE = Case(ConvProblem(in_channels=2, height=5, width=5, out_channels=2, kernel_size=3))
linux = pytest.mark.skipif(not can_pin(), reason="this system lets no process choose its CPUs")
several = pytest.mark.skipif(not can_pin() or len(os.sched_getaffinity(0)) < 2, reason="needs two CPUs")


@pytest.mark.parametrize(
    ("text", "spelled"), [("auto", "auto"), (" None ", "none"), ("3,2,3", "2,3"), ("1-3,8", "1,2,3,8"), ("0", "0")]
)
def test_what_pin_takes_has_one_spelling(text: str, spelled: str) -> None:
    assert parse_pin(text) == spelled == parse_pin(spelled)


@pytest.mark.parametrize("text", ["", "x", "1,", "2-", "-1", "3-1", "1.5", "0-99999", "²"])
def test_what_names_no_cpus_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_pin(text)


def test_cpu_0_and_second_threads_of_a_core_are_left_alone_where_there_are_others() -> None:
    pairs = [frozenset((cpu, cpu + 4)) for cpu in range(4)]
    assert choose_cores("auto", 1, range(8), pairs) == (1,)
    assert choose_cores("auto", 2, range(8), pairs) == (1, 2)
    assert choose_cores("auto", 4, range(8), pairs) == (0, 1, 2, 3)
    assert choose_cores("auto", 5, range(8), pairs) == ()
    assert choose_cores("auto", 1, [0]) == (0,)


def test_what_another_run_has_taken_and_what_is_busy_is_left_alone() -> None:
    pairs = [frozenset((cpu, cpu + 4)) for cpu in range(4)]
    assert choose_cores("auto", 1, range(8), pairs, taken=[1]) == (2,)
    assert choose_cores("auto", 1, range(8), pairs, taken=[5]) == (2,)  # the other thread of core 1
    assert choose_cores("auto", 1, range(8), pairs, taken=[1], busy=[2]) == (3,)
    assert choose_cores("auto", 1, range(4), taken=[1, 2, 3], busy=[0]) == (0,)


def test_given_cpus_are_taken_as_they_are_and_none_is_none() -> None:
    assert choose_cores("0,3", 1, range(4)) == (0, 3)
    assert choose_cores("none", 1, range(4)) == ()


@given(st.sets(st.integers(0, 63), min_size=1), st.integers(1, 8), st.sets(st.integers(0, 63)))
def test_chosen_cores_are_usable_distinct_and_as_many_as_threads_or_none(
    usable: set[int], threads: int, taken: set[int]
) -> None:
    found = choose_cores("auto", threads, usable, taken=taken)
    assert set(found) <= usable
    assert len(set(found)) == len(found) == (threads if len(usable) >= threads else 0)


@linux
def test_cpus_that_are_not_ours_are_refused_with_those_that_are() -> None:
    with pytest.raises(ConvbenchError, match=r"CPU 4095, .* it may use \d"):
        cores_here("4095", 1)


@several
def test_workers_run_on_the_cores_that_the_record_names_every_thread_of_them() -> None:
    cpu = max(os.sched_getaffinity(0))
    (entry,) = discover([FAKES]).select(["right"])
    before = os.sched_getaffinity(0)
    with Engine(Settings.quick(pin=str(cpu), processes=2)) as engine:
        (outcome,) = engine.measure("test", CASE, [entry])
        workers = [engine._pool._workers[name]._process.pid for name in ("right", "right#2")]  # type: ignore[attr-defined]
        threads = [int(path.name) for pid in workers for path in Path(f"/proc/{pid}/task").iterdir()]
        assert len(threads) > 2
        assert {frozenset(os.sched_getaffinity(thread)) for thread in threads} == {frozenset({cpu})}
    assert outcome.cores == (cpu,)
    assert os.sched_getaffinity(0) == before


@several
def test_the_run_keeps_off_the_cores_meanwhile_with_all_of_its_threads() -> None:
    everywhere = os.sched_getaffinity(0)
    cpu = max(everywhere)
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait)
    thread.start()
    try:
        with kept_off((cpu,)):
            assert os.sched_getaffinity(0) == everywhere - {cpu} == os.sched_getaffinity(thread.native_id or 0)
        with kept_off(tuple(everywhere)):  # nowhere else to go
            assert os.sched_getaffinity(0) == everywhere
        assert os.sched_getaffinity(0) == everywhere == os.sched_getaffinity(thread.native_id or 0)
    finally:
        stop.set()
        thread.join()


@several
def test_a_child_starts_on_the_cores_that_it_is_given_and_moves_with_all_its_threads() -> None:
    first, last = min(os.sched_getaffinity(0)), max(os.sched_getaffinity(0))
    program = (
        "import os, sys, threading, time; from convbench.measurement.machine.affinity import move_here;"
        "t = threading.Thread(target=time.sleep, args=(1,)); t.start(); before = os.sched_getaffinity(0);"
        f"now = move_here(({last},)); print(*before, *now, *os.sched_getaffinity(t.native_id), flush=True); os._exit(0)"
    )
    with children_on((first,)):
        child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    said, _ = child.communicate(timeout=30)
    assert [int(word) for word in said.split()] == [first, last, last]
    assert len(os.sched_getaffinity(0)) >= 2


@several
def test_workers_start_on_as_many_cpus_as_they_will_have_and_not_all_on_the_same() -> None:
    one = {starting_cores((0,), number) for number in range(8)}
    assert len(one) == len(os.sched_getaffinity(0)) and all(len(cores) == 1 for cores in one)
    assert starting_cores((), 3) == ()
    assert move_here(()) == ()
