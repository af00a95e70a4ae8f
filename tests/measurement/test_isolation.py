"""Backends that fork, leave processes behind, write to the run's pipes or never return: the run goes on, in time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from places import PLUGINS

from convbench.measurement.machine.sysfs import ROOT, environments
from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.scheduling.race import Race
from convbench.measurement.settings import Settings
from convbench.measurement.workers import temporary_folders
from convbench.measurement.workers.messages import Prepare
from convbench.measurement.workers.process import WorkerError, WorkerProcess
from convbench.problem import ConvProblem
from convbench.registry import Entry, discover
from convbench.runner.verify.examiner import Examiner
from convbench.status import Status
from convbench.suite import Case
from convbench.verification.question import Question

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")

PROBLEM = ConvProblem(in_channels=2, height=6, width=5, out_channels=3, kernel_size=3)
LIMIT_S, PATIENCE_S = 3.0, 120.0  # where it has to end, and where it must not

ENDS = {
    "forks-and-both-go-on": (Status.OK, ""),
    "forks-natively-and-both-go-on": (Status.OK, ""),
    "leaves-to-its-child": (Status.CRASHED, "exited with code 0 during 'run'"),
    "leaves-to-its-native-child": (Status.CRASHED, "exited with code 0 during 'run'"),
    "exits-and-its-child-stays": (Status.CRASHED, "exited with code 0 during 'run'"),
    "leaves-one-in-another-session": (Status.OK, ""),
    "leaves-a-program": (Status.OK, ""),
    "writes-to-all-pipes": (Status.ERROR, "which no message begins with"),
    "closes-all-pipes": (Status.CRASHED, "exited with code "),
}
NEVER_ENDS = {
    "never-returns": (Status.TIMEOUT, f"no answer to 'run' within the time limit of {LIMIT_S:g} s (--time-limit)"),
    "never-prepares": (Status.TIMEOUT, "no answer to 'prepare' within"),
    "never-converts": (Status.TIMEOUT, "no answer to 'to_numpy' within"),
}


def backends(*names: str) -> list[Entry]:
    return discover([PLUGINS / "processes.py"]).select(names)


def in_folder(folder: Path) -> list[int]:
    """The processes whose temporary folder is `folder`, or in it."""
    found = []
    for pid, environment in environments(ROOT):
        if any(v.startswith(os.fsencode(f"TMPDIR={folder}")) for v in environment.split(b"\0")):
            found.append(pid)
    return found


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of this process, in which nothing and nobody may be left."""
    monkeypatch.setattr(temporary_folders, "_own", {})
    monkeypatch.setattr(temporary_folders.tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    (own,) = temporary_folders._own.values()
    assert [path.name for path in own.iterdir()] == ["lock"]
    assert in_folder(own) == []


def measured(names: Iterable[str], time_limit_s: float, race: Race | None) -> dict[str, Outcome]:
    with Engine(Settings.quick(time_limit_s=time_limit_s), race=race) as engine:
        return {o.backend: o for o in engine.measure("isolation", Case(PROBLEM), backends(*names))}


@pytest.mark.parametrize("race", [None, Race()], ids=["run", "choose"])
def test_a_run_goes_on_whatever_processes_a_backend_leaves(race: Race | None, folder: Path) -> None:
    outcomes = measured(["right", *ENDS], PATIENCE_S, race) | measured(NEVER_ENDS, LIMIT_S, race)
    assert outcomes["right"].status is Status.OK
    expected = ENDS | NEVER_ENDS
    ends = {name: (outcomes[name].status, outcomes[name].reason or "") for name in expected}
    assert {name: end[0] for name, end in ends.items()} == {name: end[0] for name, end in expected.items()}
    assert {name: reason for name, (_, reason) in ends.items() if expected[name][1] not in reason} == {}


VERIFIED = ["leaves-to-its-native-child", "exits-and-its-child-stays", "leaves-one-in-another-session"]


@pytest.mark.parametrize("name", [*VERIFIED, "writes-to-all-pipes", "never-returns"])
def test_a_verification_goes_on_whatever_processes_a_backend_leaves(name: str, folder: Path) -> None:
    (entry,) = backends(name)
    with Examiner(entry, limit_s=LIMIT_S if name in NEVER_ENDS else PATIENCE_S) as examiner:
        failure = examiner(Question(problem=PROBLEM))
        status, reason = (ENDS | NEVER_ENDS)[name]
        assert (Status.OK if failure is None else failure.status) is status
        assert failure is None or reason.partition(" within ")[0] in failure.reason


def test_a_request_that_the_worker_does_not_read_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = backends("right")
    popen = subprocess.Popen
    words = [sys.executable, "-c", "import time; time.sleep(600)"]
    monkeypatch.setattr(subprocess, "Popen", lambda _, **rest: popen(words, **rest))
    worker = WorkerProcess(entry, 1, "steady")
    request = Prepare(problem=PROBLEM, operands={"x": np.zeros(2**22, np.float32)})
    worker.send(request)
    with pytest.raises(WorkerError, match="no answer to 'prepare'") as caught:
        worker.receive(request, 1.0)
    assert caught.value.status is Status.TIMEOUT and not worker.alive


def test_a_worker_that_sends_byte_by_byte_ends_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    (entry,) = backends("right")
    popen = subprocess.Popen
    code = "import os, time\nfor byte in b'\\xc0nv\\x02' + bytes(10**6): os.write(1, bytes([byte])); time.sleep(0.1)"
    monkeypatch.setattr(subprocess, "Popen", lambda _, **rest: popen([sys.executable, "-c", code], **rest))
    worker = WorkerProcess(entry, 1, "steady")
    request = Prepare(problem=PROBLEM, operands={})
    worker.send(request)
    with pytest.raises(WorkerError, match="no answer to 'prepare'"):
        worker.receive(request, 1.0)
    assert not worker.alive


RUN = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[1:]
from test_isolation import *
if __name__ == "__main__":
    with Engine(Settings.quick(time_limit_s=600)) as engine:
        list(engine.measure("isolation", Case(PROBLEM), backends("leaves-one-in-another-session", "never-returns")))
"""


def test_what_a_killed_run_leaves_is_ended_by_the_kernel_or_by_the_next_run(tmp_path: Path) -> None:
    words = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(PLUGINS.parent)]
    run = subprocess.Popen(words, env=os.environ | {"TMPDIR": str(tmp_path)})
    try:
        _until(lambda: len(list(tmp_path.glob(f"{temporary_folders.PREFIX}*/*"))) >= 3)  # the lock and two workers
        (folder,) = tmp_path.glob(f"{temporary_folders.PREFIX}*")
        _until(lambda: _sessions(in_folder(folder)) >= 3)  # the two workers' and one that a backend opened
        temporary_folders.collect_abandoned(tmp_path)
        assert folder.exists() and len(in_folder(folder)) >= 3  # it is in use
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    _until(lambda: _sessions(in_folder(folder)) <= 1)  # of the workers, one of which never looks at its input
    assert folder.exists()
    temporary_folders.collect_abandoned(tmp_path)
    assert in_folder(folder) == [] and list(tmp_path.iterdir()) == []


def _sessions(pids: list[int]) -> int:
    sessions = set()
    for pid in pids:
        try:
            sessions.add(os.getsid(pid))
        except ProcessLookupError:
            continue
    return len(sessions)


def _until(is_so: Any) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)
