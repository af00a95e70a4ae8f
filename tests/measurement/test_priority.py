"""Timed calls that run before the other programs of a machine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from places import PLUGINS

from convbench.errors import ConvbenchError
from convbench.measurement.machine.priority import before_others, refuse_impossible
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.status import Status
from convbench.suite import Case

CASE = Case(ConvProblem(in_channels=2, height=5, width=5, out_channels=2, kernel_size=3))
REFUSED = """
import os, resource
resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
if os.getuid() == 0:
    os.setuid(65534)
from convbench.measurement.machine.priority import refuse_impossible
from convbench.errors import ConvbenchError
try:
    refuse_impossible("realtime")
except ConvbenchError as error:
    print(error)
print(os.sched_getscheduler(0) == os.SCHED_OTHER)
"""


def is_refused() -> bool:
    try:
        refuse_impossible("realtime")
    except ConvbenchError:
        return True
    return False


allowed = pytest.mark.skipif(is_refused(), reason="needs root, or `ulimit -r 1` in the shell, on Linux")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only on Linux")


@linux
def test_where_the_system_refuses_a_sentence_says_what_to_do() -> None:
    source = str(Path(sys.modules["convbench"].__file__ or "").parents[1])
    command = [
        sys.executable,
        "-c",
        f"import sys; sys.path.insert(0, {source!r}); import convbench.measurement.machine",
    ]
    # Imported before the rights are gone: another user need not be able to read the environment.
    command[-1] += ".priority\n" + REFUSED
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "--priority is realtime" in answer and "ulimit -r 1" in answer and "SYS_NICE" in answer
    assert answer.endswith("True\n")


@allowed
def test_all_threads_have_it_meanwhile_and_none_afterwards() -> None:
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(2)]
    threads[0].start()

    def policies() -> set[int]:
        return {os.sched_getscheduler(thread.native_id or 0) for thread in threads if thread.native_id}

    try:
        with before_others("realtime"):
            threads[1].start()
            meanwhile = policies() | {os.sched_getscheduler(0)}
        assert meanwhile == {os.SCHED_RR}
        assert policies() | {os.sched_getscheduler(0)} == {os.SCHED_OTHER}
        with before_others("normal"):
            assert policies() | {os.sched_getscheduler(0)} == {os.SCHED_OTHER}
    finally:
        stop.set()


@allowed
@pytest.mark.parametrize("priority", ["normal", "realtime"])
def test_the_timed_calls_of_a_worker_have_it_and_its_first_call_has_not(
    priority: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = tmp_path / "noted"
    monkeypatch.setenv("NOTED", str(noted))
    (entry,) = discover([PLUGINS / "scheduled.py"]).select(["noting"])
    settings = Settings.quick(priority=priority, time_limit_s=300.0)
    with Engine(settings) as engine:
        (outcome,) = engine.measure("priority", CASE, [entry])
    assert outcome.status is Status.OK, outcome.reason
    calls = noted.read_text(encoding="utf-8").split("\n")
    timed = sum(sample.sample.calls for sample in outcome.samples)
    assert calls[0] == str(int(os.SCHED_OTHER))
    expected = os.SCHED_RR if priority == "realtime" else os.SCHED_OTHER
    assert calls.count(str(int(expected))) >= timed > 0
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
