"""Real worker processes, running backends that are wrong, slow, crash, hang, exit, print and write their input."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from places import PLUGINS

from convbench.measurement.outcome import Outcome
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.measurement.workers.messages import Prepare, Start
from convbench.measurement.workers.process import WorkerError, WorkerProcess
from convbench.measurement.workers.process_environment import worker_environment
from convbench.problem import ConvProblem
from convbench.registry import Entry, Origin, discover
from convbench.status import Status
from convbench.suite import Case

FAKES = PLUGINS / "fakes.py"
PROBLEM = ConvProblem(in_channels=2, height=6, width=5, out_channels=3, kernel_size=3, padding=1, bias=True)
QUICK = Settings.quick(time_limit_s=20.0)


def check_activity(activity: str, done: float) -> None:
    assert 0 <= done <= 1


def fakes(*names: str) -> list[Entry]:
    return discover([FAKES]).select(names)


def measure(
    *names: str, problem: ConvProblem = PROBLEM, settings: Settings = QUICK, cases: int = 1
) -> list[dict[str, Outcome]]:
    """The outcomes of each of `cases` cases in one run, by backend."""
    found = []
    with Engine(settings, check_activity) as engine:
        for number in range(cases):
            case = Case(problem, name=f"case-{number}")
            found.append({o.backend: o for o in engine.measure("fakes", case, fakes(*names))})
    return found


def test_a_right_backend_is_verified_on_real_and_integer_data_and_again_after_timing() -> None:
    (outcomes,) = measure("right")
    outcome = outcomes["right"]
    assert outcome.status is Status.OK
    assert [v.check for v in outcome.verdicts] == ["bound", "exact", "bound"]
    assert all(v.passed for v in outcome.verdicts)
    assert len(outcome.samples) >= QUICK.fewest_slow_samples
    assert all(s.sample.wall_s > 0 and s.sample.cpu_s >= 0 for s in outcome.samples)
    assert outcome.prepare_s is not None and outcome.first_call_s is not None


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("wrong", r"elements wrong; at \[0, 2, 5, 4\] got .* expected .* times the error bound"),
        ("not-a-number", "elements wrong"),
        ("wrong-shape", r"the output has shape \(1, 3, 6, 0\), expected \(1, 3, 6, 5\)"),
        ("wrong-dtype", "the output has dtype float64, expected float32"),
        ("not-an-array", "to_numpy gave "),
        ("writes-input", "changed its input"),
        ("wrong-later", "after the timed calls: .*elements wrong"),
    ],
)
def test_a_wrong_answer_is_reported_and_not_timed(name: str, told: str) -> None:
    (outcomes,) = measure(name, "right")
    wrong = outcomes[name]
    assert wrong.status is Status.WRONG
    assert wrong.reason is not None
    assert re.search(told, wrong.reason), wrong.reason
    assert wrong.samples == () and wrong.estimate is None
    assert wrong.first_call_s is None
    assert outcomes["right"].status is Status.OK


def test_a_wrong_answer_is_timed_only_on_request_and_stays_wrong() -> None:
    (outcomes,) = measure("wrong", settings=Settings.quick(time_wrong=True))
    assert outcomes["wrong"].status is Status.WRONG
    assert outcomes["wrong"].estimate is not None


@pytest.mark.parametrize(
    ("name", "status", "told"),
    [
        ("segfault", Status.CRASHED, "killed by SIGSEGV during 'run'"),
        ("segfault-later", Status.CRASHED, "killed by SIGSEGV during"),
        ("exit", Status.CRASHED, "exited with code 3"),
        ("sys-exit", Status.CRASHED, "called sys.exit(4)"),
        ("raises", Status.ERROR, "RuntimeError: [bold]markup[/bold] and more than one line"),
        ("asks-for-too-much", Status.OUT_OF_MEMORY, "MemoryError"),
        ("unavailable", Status.UNAVAILABLE, "a_module_that_does_not_exist not installed: pip install"),
        ("broken-import", Status.UNAVAILABLE, "ModuleNotFoundError"),
        ("narrow", Status.OK, ""),
    ],
)
def test_a_failure_becomes_a_status_and_the_run_goes_on(name: str, status: Status, told: str) -> None:
    outcomes, again = measure(name, "right", cases=2)
    assert outcomes[name].status is status
    assert told in (outcomes[name].reason or "")
    # The other backend is not disturbed, and the failing one gets a fresh worker for the next case.
    assert outcomes["right"].status is Status.OK
    assert again["right"].status is Status.OK
    assert again[name].status is status


@pytest.mark.parametrize("name", ["hang", "hangs-in-prepare"])
def test_a_hang_ends_at_the_time_limit(name: str) -> None:
    (outcomes,) = measure(name, "right", settings=Settings.quick(time_limit_s=3.0))
    assert outcomes[name].status is Status.TIMEOUT
    assert "time limit of 3 s (--time-limit)" in (outcomes[name].reason or "")
    assert outcomes["right"].status is Status.OK


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("allocator", ["steady", "system"])
def test_memory_is_told_before_at_most_and_after_the_last_call(allocator: Any) -> None:
    settings, mebibyte = Settings.quick(allocator=allocator), 2**20
    first, second = (found["keeps-memory"] for found in measure("keeps-memory", settings=settings, cases=2))
    assert first.status is Status.OK
    assert first.before_bytes is not None and first.peak_bytes is not None and first.steady_bytes is not None
    assert first.peak_bytes - first.before_bytes >= (40 + 40) * mebibyte
    for outcome in (first, second):  # that the allocator kept the first case's memory is no matter
        assert outcome.steady_bytes is not None and outcome.before_bytes is not None and outcome.peak_bytes is not None
        # Pages of files, such as a library's, may be dropped at any time: a little less than the 48 is seen then.
        assert 40 * mebibyte <= outcome.steady_bytes - outcome.before_bytes < (48 + 30) * mebibyte
        assert outcome.peak_bytes >= outcome.steady_bytes


def test_what_a_backend_prints_does_not_reach_the_run() -> None:
    (outcomes,) = measure("prints")
    assert outcomes["prints"].status is Status.OK


def test_what_a_crashing_backend_said_last_is_kept() -> None:
    (outcomes,) = measure("segfault")
    assert "Segmentation fault" in (outcomes["segfault"].stderr_tail or "")


def test_an_unsupported_problem_needs_no_worker() -> None:
    (outcomes,) = measure("narrow", problem=PROBLEM.replace(padding_mode="reflect"))
    assert outcomes["narrow"].status is Status.UNSUPPORTED
    assert outcomes["narrow"].reason == "does not pad with reflect, only zeros"


@pytest.mark.parametrize("dtype", ["float64", "float16", "bfloat16"])
def test_every_dtype_goes_to_the_worker_and_back(dtype: str) -> None:
    (outcomes,) = measure("right", problem=PROBLEM.replace(dtype=dtype))
    assert outcomes["right"].status is Status.OK


def test_two_backends_are_sampled_in_the_same_rounds() -> None:
    settings = replace(QUICK, budget_s=60.0)  # so that the number of rounds ends it, however busy the machine is
    (outcomes,) = measure("right", "right-twin", settings=settings)
    rounds = [[s.round for s in outcomes[name].samples] for name in ("right", "right-twin")]
    assert rounds[0] == rounds[1] == list(range(len(rounds[0])))


def start(worker: WorkerProcess, backend: str) -> None:
    request = Start(backend=backend, origin=Origin("file", str(FAKES)), threads=1)
    worker.send(request)
    worker.receive(request, 30)


def _worker_pids(parent: int) -> Sequence[int]:
    return [child.pid for child in psutil.Process(parent).children(recursive=True)]


def test_no_worker_outlives_the_engine() -> None:
    with Engine(QUICK, check_activity) as engine:
        list(engine.measure("fakes", Case(PROBLEM), fakes("right", "right-twin")))
        pids = _worker_pids(os.getpid())
        assert len(pids) >= 2
    assert not [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"]


def test_a_worker_in_a_hanging_call_ends_when_its_run_is_killed() -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "sys.path[:0] = sys.argv[2:]\n"
        "from test_workers import *\n"
        "worker = WorkerProcess(fakes('hang')[0], 1, 'steady')\n"
        "print(worker._process.pid, flush=True)\n"
        "start(worker, 'hang')\n"
        "import numpy as np\n"
        "x, w, b = (np.ones(s, np.float32) for s in (PROBLEM.input_shape, PROBLEM.weight_shape, (3,)))\n"
        "worker.send(Prepare(problem=PROBLEM, operands={'x': x, 'w': w, 'b': b}))\n"
        "print('asked', flush=True)\n"
        "import time; time.sleep(60)\n"
    )
    words = [sys.executable, "-c", code, str(FAKES), str(FAKES.parents[1]), str(Path(__file__).parent)]
    run = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert run.stdout is not None
    worker = int(run.stdout.readline())
    assert run.stdout.readline().strip() == "asked"
    time.sleep(0.5)
    run.send_signal(signal.SIGKILL)
    run.wait()
    deadline = time.monotonic() + 10
    while psutil.pid_exists(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not psutil.pid_exists(worker)


def test_a_worker_killed_from_outside_is_out_of_memory_as_far_as_one_can_tell() -> None:
    (entry,) = fakes("hang")
    worker = WorkerProcess(entry, 1, "steady")
    start(worker, "hang")
    psutil.Process(worker._process.pid).kill()
    with pytest.raises(WorkerError) as caught:
        worker.receive(Prepare(problem=PROBLEM, operands={}), 30)
    assert caught.value.status is Status.OUT_OF_MEMORY
    assert "SIGKILL" in caught.value.reason
    assert not worker.alive


def test_thread_limits_are_in_the_environment_before_anything_is_imported() -> None:
    environment = worker_environment(3, "steady", {"OMP_NUM_THREADS": "64", "PATH": "/bin"})
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "NPROC"):
        assert environment[name] == "3"
    assert environment["PATH"] == "/bin"
    assert "OMP_WAIT_POLICY" not in environment


def test_the_system_allocator_is_left_as_it_is() -> None:
    assert "GLIBC_TUNABLES" not in worker_environment(1, "system", {})
    assert worker_environment(1, "system", {"GLIBC_TUNABLES": "x"})["GLIBC_TUNABLES"] == "x"
