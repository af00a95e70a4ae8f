"""Every cheat of docs/cheats.md, as real backends in real workers, and which check catches it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import CHECKOUT, PLUGINS

from convbench.measurement.scheduling.candidates import Candidate
from convbench.measurement.scheduling.case_run import CaseRun
from convbench.measurement.scheduling.clock_check import is_suspect, is_telling, is_wrong, sample_pairs
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.scheduling.qualification import qualify
from convbench.measurement.settings import Settings
from convbench.measurement.workers.pool import WorkerPool
from convbench.measurement.workers.process import Wait
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.runner.verify.examiner import Examiner
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.question import Question

PROBLEM = ConvProblem(in_channels=2, height=6, width=5, out_channels=3, kernel_size=3)
WORK_S = 0.001

ERROR, WRONG, OK = Status.ERROR, Status.WRONG, Status.OK
CAUGHT = {
    "honest": (OK, ""),
    "replaces-time": (OK, ""),
    "replaces-clock-of-sampling": (ERROR, "its clock is wrong: it says that"),
    "replaces-visit": (ERROR, "TamperError: the backend, or a library that it imports, replaced"),
    "replaces-code": (ERROR, "TamperError: "),
    "replaces-method": (ERROR, "replaced convbench.measurement.sampling.sample.Sample.between"),
    "replaces-handler": (ERROR, "its clock is wrong: it says that"),
    "makes-fewer-calls": (ERROR, "a sample of 1 calls, where "),
    "slow-clock": (ERROR, "its clock is wrong: it says that"),
    "fast-clock": (ERROR, "it says that"),
    "clock-stands-still": (ERROR, "its clock stands still"),
    "clock-runs-backwards": (ERROR, "its clock stands still or runs backwards"),
    "clock-is-nan": (ERROR, "NaN is no finite number"),
    "forges-a-reply": (ERROR, "a 'WarmedUp' and no 'Prepared'"),
    "precomputes": (WRONG, "after the timed calls"),
    "lazy": (ERROR, "SyncError: to_numpy waited"),
    "lazy-once": (WRONG, "after the timed calls"),
    "late": (ERROR, "SyncError: to_numpy waited"),
    "in-another-process": (OK, ""),
    "right-for-integers": (WRONG, "bound check"),
    "rounds-to-bfloat16": (WRONG, "bound check"),
    "rounds-to-bfloat16-by-any-algorithm": (WRONG, " check: "),
    "right-at-first": (WRONG, "after the timed calls"),
    "right-once": (WRONG, ""),
    "overwrites-its-input": (WRONG, "it changed its input"),
    "not-a-number": (WRONG, "got nan"),
    "answers-with-its-own-array": (WRONG, "bound check"),
    "smaller-output": (WRONG, "the output has shape (1, 3, 1, 3)"),
    "copies-the-reference": (OK, ""),
}
HONEST_TIMES = ("honest", "replaces-time", "in-another-process", "copies-the-reference")
NOT_CAUGHT = ("clock-a-little-slow", "less-when-sampled", "memoises-by-address", "precomputes-and-copies")
CAUGHT_BY_VERIFY = {
    "memoises-by-address": "changed operands",
    "precomputes": "repeated call",
    "lazy-once": "repeated call",
    "right-once": "repeated call",
    "right-for-integers": "bound",
}


def cheats(*names: str) -> list[Entry]:
    return discover([PLUGINS / "cheats.py"]).select(names)


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")
def test_each_cheat_is_caught_in_a_run_or_known_not_to_be() -> None:
    with Engine(Settings.quick(time_limit_s=120)) as engine:
        measured = list(engine.measure("cheats", Case(PROBLEM), cheats(*CAUGHT, *NOT_CAUGHT)))
    outcomes = {outcome.backend: outcome for outcome in measured}
    found = {name: (outcomes[name].status, outcomes[name].reason or "") for name in CAUGHT}
    assert {
        name: (s, r) for name, (s, r) in found.items() if s is not CAUGHT[name][0] or CAUGHT[name][1] not in r
    } == {}
    for name in HONEST_TIMES:
        estimate = outcomes[name].estimate
        assert estimate is not None and estimate.median >= WORK_S, name
    for name in NOT_CAUGHT:  # once one is, the page should say so
        assert outcomes[name].status is OK and outcomes[name].estimate is not None, (name, outcomes[name].reason)


@pytest.mark.parametrize(("name", "check"), CAUGHT_BY_VERIFY.items())
def test_a_cheat_that_concerns_answers_is_caught_by_verify(name: str, check: str) -> None:
    values = "normal" if check == "bound" else "integers"
    with Examiner(cheats(name)[0], limit_s=120) as examiner:
        failure = examiner(Question(problem=PROBLEM, values=values))
    assert failure is not None and (failure.status, failure.check) == (WRONG, check)


def test_the_page_lists_every_cheat() -> None:
    rows = (CHECKOUT / "docs" / "cheats.md").read_text(encoding="utf-8").split("\n| `")[1:]
    listed = {row.split("`")[0]: row for row in rows}
    assert list(listed) == [entry.name for entry in cheats("*") if entry.origin.target.endswith("cheats.py")]
    assert {name for name, row in listed.items() if "not caught in a run" in row} == set(NOT_CAUGHT)


SECONDS = st.floats(0, 10)


@given(st.lists(SECONDS, min_size=1, max_size=9), SECONDS)
def test_a_worker_is_no_suspect_if_one_sample_is_accounted_for(accounted: list[float], wait_s: float) -> None:
    waits = [Wait(a + wait_s, a) for a in accounted]
    assert not is_suspect([*waits, Wait(accounted[0], accounted[0])])


@given(call_s=st.floats(1e-7, 1), calls=st.integers(8, 10**6), wait_s=SECONDS, throttled=st.floats(1, 100))
def test_a_wait_that_has_nothing_to_do_with_the_calls_is_no_lie(
    call_s: float, calls: int, wait_s: float, throttled: float
) -> None:
    shorter, longer = (Wait(n * call_s * throttled + wait_s, n * call_s * throttled) for n in (calls // 8, calls))
    assert not is_wrong([shorter], [longer])


@given(call_s=st.floats(1e-6, 1), times=st.floats(2.2, 1000), wait_s=st.floats(0, 0.001))
def test_a_clock_that_is_too_slow_for_each_call_is_a_lie(call_s: float, times: float, wait_s: float) -> None:
    calls = 8 * max(1, round(0.1 / call_s))
    shorter, longer = (Wait(n * call_s + wait_s, n * call_s / times) for n in (calls // 8, calls))
    assert is_suspect([longer]) and is_wrong([shorter], [longer])


@given(waits=st.lists(st.tuples(SECONDS, SECONDS), min_size=5, max_size=5), call_s=st.floats(1e-5, 1e-3))
def test_two_waits_of_five_that_are_long_by_chance_are_no_lie(waits: list[tuple[float, float]], call_s: float) -> None:
    shorter, longer = ([Wait(n * call_s + 0.01, n * call_s) for _ in waits] for n in (100, 800))
    for number, (before_s, after_s) in enumerate(waits[:2]):
        shorter[number] = Wait(100 * call_s + before_s, 100 * call_s)
        longer[number] = Wait(800 * call_s + after_s, 800 * call_s)
    assert not is_wrong(shorter, longer)


QUEUED = st.lists(SECONDS, min_size=5, max_size=5)


@given(before=QUEUED, after=QUEUED, inside=st.floats(0, 10), call_s=st.floats(1e-5, 1e-3))
def test_whatever_waits_for_a_cpu_the_kernel_counts_outside_of_the_calls_an_honest_worker_is_not_accused(
    before: list[float], after: list[float], inside: float, call_s: float
) -> None:
    def waits(calls: int, queued: list[float]) -> list[Wait]:
        accounted_s = calls * (call_s + inside)  # of a wait among the calls its clock shows as much as the run's
        return [Wait(accounted_s + queued_s + 0.01, accounted_s, queued_s) for queued_s in queued]

    assert not is_wrong(waits(100, before), waits(800, after))


@given(queued=QUEUED, inside_s=st.floats(0, 0.1), times=st.floats(2.2, 1000))
def test_waits_for_a_cpu_do_not_hide_a_slow_clock(queued: list[float], inside_s: float, times: float) -> None:
    def waits(calls: int) -> list[Wait]:
        true_s = calls * (0.001 + inside_s)
        return [Wait(true_s + queued_s, true_s / times, queued_s) for queued_s in queued]

    assert is_wrong(waits(100), waits(800))


@pytest.mark.parametrize(("queued_s", "load", "telling"), [(0.1, 20, True), (None, 20, False), (None, 2, True)])
def test_where_no_kernel_counts_waits_a_machine_with_too_few_cpus_accuses_nobody(
    queued_s: float | None, load: float, telling: bool
) -> None:
    assert is_telling([Wait(1, 0.1, 0.0), Wait(1, 0.1, queued_s)], load, cpus=2) is telling


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux counts waits for a CPU, and pins processes")
def test_on_a_crowded_cpu_the_honest_are_not_accused_and_a_slow_clock_is() -> None:
    cpu = min(os.sched_getaffinity(0))
    settings = replace(Settings.quick(time_limit_s=300), pin=str(cpu))
    pool = WorkerPool(settings, cores=(cpu,))
    run, entries = CaseRun("cheats", Case(PROBLEM), settings, pool), [*cheats("honest", "slow-clock", "numpy-gemm")]
    try:
        assert pool.start(entries) == {}
        with run.shared:
            candidates = [qualify(run, entry, lambda *_: None) for entry in entries]
            with crowded(cpu):
                found = {}
                for candidate in candidates:
                    assert isinstance(candidate, Candidate)
                    _, shorts, longs = sample_pairs(run, candidate.workers[0])
                    assert all(wait.queued_s is not None for wait in longs)
                    found[candidate.entry.name] = is_wrong(shorts, longs)
    finally:
        pool.shutdown()
    assert found == {"honest": False, "slow-clock": True, "numpy-gemm": False}


@contextmanager
def crowded(cpu: int) -> Iterator[None]:
    """This process and six that never wait share one CPU."""
    usable = os.sched_getaffinity(0)
    endless = f"import os; os.sched_setaffinity(0, [{cpu}])\nwhile os.getppid() == {os.getpid()}: pass"
    others = [subprocess.Popen([sys.executable, "-c", endless]) for _ in range(6)]
    os.sched_setaffinity(0, [cpu])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)
        for other in others:
            other.kill()
            other.wait()
