"""Backends on a device of their own: timed by its clock, with cold caches, memory, transfers, clocks and energy read.

The device is a thread with a queue (plugins/devices.py), and the GPU's driver and management library are ones made of a
few lines of C, which the real bindings load. What runs on a real GPU is in test_cuda.py.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import PLUGINS, SUPPORT

from convbench.backend import DeviceClock, Instruments, Ready
from convbench.measurement.machine.gpu import SLOWED_BY, joules_per_call
from convbench.measurement.outcome import Outcome
from convbench.measurement.sampling.device import DeviceClockError, refuse_wrong_clock, take_device_sample
from convbench.measurement.sampling.sample import Reading, Sample, SamplingPlan
from convbench.measurement.scheduling.engine import Engine
from convbench.measurement.settings import Settings
from convbench.problem import ConvProblem
from convbench.registry import discover
from convbench.status import Status
from convbench.store.locations import CheckoutState
from convbench.store.records import record_of
from convbench.suite import Case

PLUGIN = PLUGINS / "devices.py"
CASE = Case(ConvProblem(in_channels=2, height=6, width=5, out_channels=3, kernel_size=3))
WARM_S, COLD_S, LAUNCH_S, SEND_S = 0.001, 0.003, 0.002, 0.003  # as in the plugin


def measured(*names: str, **changes: Any) -> dict[str, Outcome]:
    settings = Settings.quick(time_limit_s=20.0, sample_s=0.02, **changes)
    with Engine(settings) as engine:
        return {o.backend: o for o in engine.measure("devices", CASE, discover([PLUGIN]).select(names))}


def walls(outcome: Outcome) -> list[float]:
    return [taken.sample.wall_s for taken in outcome.samples]


# --- whole pairs, in worker processes ---------------------------------------------------------------------------------


def test_work_is_timed_by_the_devices_clock_and_what_is_read_beside_it_is_recorded() -> None:
    outcome = measured("by-its-clock")["by-its-clock"]
    assert outcome.status is Status.OK, outcome.reason
    record = record_of(outcome, "r", "s", CheckoutState())
    assert record["timer"] == "device"
    assert min(walls(outcome)) >= WARM_S
    assert all(taken.sample.launch_s is not None for taken in outcome.samples)
    assert min(record["samples"]["launch_s"]) < min(walls(outcome))
    assert (record["device_held_bytes"], record["device_peak_bytes"]) == (1000, 3000)
    assert record["send_s"] >= SEND_S and record["fetch_s"] >= 0
    assert record["energy_j"] is None and record["gpu"] is None


def test_without_a_clock_of_its_own_batches_are_timed_by_the_host() -> None:
    outcome = measured("by-the-host")["by-the-host"]
    assert outcome.status is Status.OK, outcome.reason
    record = record_of(outcome, "r", "s", CheckoutState())
    assert record["timer"] == "host" and "launch_s" not in record["samples"]
    assert min(walls(outcome)) >= WARM_S


@pytest.mark.parametrize("name", ["by-its-clock", "by-the-host"])
def test_with_cold_caches_the_device_overwrites_its_own_before_each_call(name: str) -> None:
    outcome = measured(name, cache="cold")[name]
    assert outcome.status is Status.OK, outcome.reason
    assert min(walls(outcome)) >= COLD_S
    calls = {taken.sample.calls for taken in outcome.samples}
    assert calls == {1} if name == "by-the-host" else min(calls) > 1


def test_what_cannot_be_made_cold_is_not_timed_as_if_it_were() -> None:
    outcomes = measured("bare", "by-its-clock", cache="cold")
    assert outcomes["bare"].status is Status.UNSUPPORTED
    assert "caches cannot be made cold" in str(outcomes["bare"].reason)
    assert outcomes["by-its-clock"].status is Status.OK
    bare = measured("bare")["bare"]
    assert bare.status is Status.OK and bare.on_device is not None
    assert bare.on_device.send_s is None and bare.on_device.held_bytes is None


def test_a_clock_whose_marks_are_in_another_queue_is_found_out() -> None:
    outcomes = measured("clock-elsewhere", "by-its-clock")
    wrong = outcomes["clock-elsewhere"]
    assert wrong.status is Status.ERROR and not wrong.samples
    assert "its marks are not in the queue that run works in" in str(wrong.reason)
    assert outcomes["by-its-clock"].status is Status.OK


@pytest.mark.parametrize("name", ["does-not-wait", "lazy"])
def test_work_that_is_left_to_later_is_not_timed_at_nothing(name: str) -> None:
    honest = ("by-its-clock", "by-the-host", "slow-to-fetch")
    outcomes = measured(name, *honest)
    assert outcomes[name].status is Status.ERROR and not outcomes[name].samples
    assert "sync should wait until the work is done" in str(outcomes[name].reason)
    assert {outcomes[other].status for other in honest} == {Status.OK}


def test_where_launching_takes_as_long_as_the_work_it_is_said_that_it_is_measured() -> None:
    outcomes = measured("slow-to-launch", "by-its-clock")
    hazards = {}
    for name, outcome in outcomes.items():
        found = record_of(outcome, "r", "s", CheckoutState())["hazards"]
        hazards[name] = [hazard["hazard"] for hazard in found]
    assert "launch bound" in hazards["slow-to-launch"]
    assert "launch bound" not in hazards["by-its-clock"]
    assert median(walls(outcomes["slow-to-launch"])) >= 0.5 * LAUNCH_S


# --- one sample -------------------------------------------------------------------------------------------------------


class Simulated:
    """A device and a host whose clocks go by what is done: nothing is waited for."""

    def __init__(self, launch_s: float, work_s: float, cold_s: float = 0.0) -> None:
        self.host_s = self.device_s = 0.0
        self.launch_s, self.work_s, self.cold_s = launch_s, work_s, cold_s
        self.runs = self.flushes = 0
        self.cold = False

    def run(self) -> int:
        self.host_s += self.launch_s
        self.device_s = max(self.device_s, self.host_s) + self.work_s + (self.cold_s if self.cold else 0.0)
        self.cold = False
        self.runs += 1
        return self.runs

    def flush(self) -> None:
        self.device_s = max(self.device_s, self.host_s) + 10 * (self.work_s + self.launch_s)
        self.cold = True
        self.flushes += 1

    def sync(self) -> None:
        self.host_s = max(self.host_s, self.device_s)

    def mark(self) -> float:
        return max(self.device_s, self.host_s)

    def ready(self, marks: Callable[[], float] | None = None) -> Ready:
        clock = DeviceClock(marks or self.mark, lambda mark, later: later - mark)
        return Ready(self.run, self.sync, instruments=Instruments(clock, self.flush))

    def clock(self, ends: bool = False) -> Reading:
        return Reading(self.host_s, self.host_s)


seconds = st.floats(1e-6, 1e-2)


@given(launch_s=seconds, work_s=seconds, calls=st.integers(1, 50), discarded=st.integers(0, 10))
def test_a_sample_is_the_work_or_the_launching_whichever_takes_longer(
    launch_s: float, work_s: float, calls: int, discarded: int
) -> None:
    device = Simulated(launch_s, work_s)
    sample, last = take_device_sample(device.ready(), SamplingPlan(calls, min(discarded, calls)), device.clock)
    least, most = max(work_s, (calls - 1) / calls * launch_s), max(work_s, launch_s) + launch_s / calls
    assert least * (1 - 1e-9) <= sample.wall_s <= (most + work_s / calls) * (1 + 1e-9)
    assert sample.launch_s == pytest.approx(launch_s)
    assert last == device.runs == calls + min(discarded, calls)


@given(launch_s=seconds, work_s=seconds, cold_s=seconds, calls=st.integers(1, 20))
def test_cold_calls_are_timed_one_by_one_each_behind_a_flush(
    launch_s: float, work_s: float, cold_s: float, calls: int
) -> None:
    device = Simulated(launch_s, work_s, cold_s)
    sample, _ = take_device_sample(device.ready(), SamplingPlan(calls, 0, flush_bytes=1), device.clock)
    assert sample.wall_s == pytest.approx(work_s + cold_s)
    assert device.flushes == device.runs == sample.calls == calls
    assert sample.launch_s is None


@given(launch_s=seconds, work_s=seconds, calls=st.integers(1, 50), discarded=st.integers(0, 10))
def test_an_honest_clock_is_believed_and_marks_that_do_not_wait_for_the_work_are_not(
    launch_s: float, work_s: float, calls: int, discarded: int
) -> None:
    def samples(device: Simulated, marks: Callable[[], float]) -> list[Sample]:
        plan = SamplingPlan(calls, min(discarded, calls))
        return [take_device_sample(device.ready(marks), plan, device.clock)[0] for _ in range(5)]

    device = Simulated(launch_s, work_s)
    refuse_wrong_clock(samples(device, device.mark))
    elsewhere = Simulated(launch_s, work_s)
    found = samples(elsewhere, lambda: elsewhere.host_s)  # as the host comes by, whatever the device is at
    if calls > 3 and work_s > 3 * launch_s:
        with pytest.raises(DeviceClockError, match="not in the queue"):
            refuse_wrong_clock(found)


def test_a_host_that_was_held_up_now_and_then_is_no_fault_of_the_clock() -> None:
    usual, held_up = (Sample(10, 1e-3, 1e-3, 0.0, 0, host_s=host_s) for host_s in (1.1e-3, 9e-3))
    refuse_wrong_clock([usual, held_up, usual, usual, held_up])
    refuse_wrong_clock([])
    refuse_wrong_clock([Sample(10, 1e-3, 1e-3, 0.0, 0)])  # by the host's own clock


# --- energy -----------------------------------------------------------------------------------------------------------


@given(
    call_s=st.floats(1e-5, 0.05),
    watts=st.floats(20, 700),
    step_s=st.floats(0.02, 0.1),
    already_s=st.floats(0, 0.1),
)
def test_energy_is_counted_from_one_step_of_the_counter_to_another(
    call_s: float, watts: float, step_s: float, already_s: float
) -> None:
    now_s = already_s

    def run() -> None:
        nonlocal now_s
        now_s += call_s

    def energy_j() -> float:
        return round(now_s // step_s) * step_s * watts

    found = joules_per_call(run, lambda: None, energy_j, 1.0, lambda: now_s)
    assert found == pytest.approx(watts * call_s, rel=0.25)


@pytest.mark.parametrize("told", [[None], [5.0, None], [5.0, 6.0, None]])
def test_a_counter_that_cannot_be_read_gives_no_energy(told: list[float | None]) -> None:
    answers = iter(told)
    ticks = count()
    assert joules_per_call(lambda: None, lambda: None, lambda: next(answers), 1e9, lambda: float(next(ticks))) is None


def test_a_counter_that_stands_still_ends_after_twice_the_time() -> None:
    now_s = 0.0

    def run() -> None:
        nonlocal now_s
        now_s += 0.01

    assert joules_per_call(run, lambda: None, lambda: 7.0, 1.0, lambda: now_s) is None
    assert now_s < 3.0


# --- the driver and the management library ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def with_gpu(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which there is a GPU, as far as its driver and management library go."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("needs a C compiler (cc) and Linux, for a driver that is made for the test")
    folder = tmp_path_factory.mktemp("nvidia")
    for library in ("libcuda.so.1", "libnvidia-ml.so.1"):
        words = [compiler, "-shared", "-fPIC", "-w", "-o", folder / library, SUPPORT / "fake_nvidia.c"]
        subprocess.run(words, check=True)
    return os.environ | {"LD_LIBRARY_PATH": str(folder)}


def told(code: str, environment: dict[str, str]) -> Any:
    run = subprocess.run(
        [sys.executable, "-c", f"import json\nfrom convbench.measurement.machine.gpu import first_gpu\n{code}"],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(run.stdout)


def test_a_worker_of_a_fleet_announces_a_unit_for_each_gpu(with_gpu: dict[str, str]) -> None:
    code = "from convbench.fleet.cluster.worker import announced\nprint(json.dumps(announced()))"
    few = told(code, with_gpu | {"FAKE_NVIDIA_COUNT": "4", "CONVBENCH_MACHINE": "box"})
    assert few == {"convbench": 1, "convbench:box": 1, "convbench-gpu": 4}
    none = told(code, with_gpu | {"FAKE_NVIDIA_REFUSES": "cuInit", "CONVBENCH_MACHINE": "box"})
    assert none == {"convbench": 1, "convbench:box": 1}


FACTS = "gpu = first_gpu()\nprint(json.dumps(gpu and [gpu.facts(), list(gpu.state().values())]))"


def test_the_gpu_that_cuda_uses_tells_its_facts_and_its_clock(with_gpu: dict[str, str]) -> None:
    facts, state = told(FACTS, with_gpu | {"FAKE_NVIDIA_SLOWED": "0x27"})
    assert facts == {
        "name": "NVIDIA Fake 100", "driver": "999.10", "memory_bytes": 16 << 30, "most_sm_mhz": 1980,
        "power_limit_w": 350.5,
    }  # fmt: skip
    assert state == [1410, 0x24]  # idle, and a clock that was set, hold nothing back


def test_what_a_gpu_does_not_tell_is_none_and_without_one_there_is_silence(with_gpu: dict[str, str]) -> None:
    refuses = "nvmlDeviceGetClockInfo nvmlDeviceGetTotalEnergyConsumption"
    assert told(FACTS, with_gpu | {"FAKE_NVIDIA_REFUSES": refuses})[1] == [None, 0]
    assert told("print(json.dumps(first_gpu().energy_j()))", with_gpu | {"FAKE_NVIDIA_REFUSES": refuses}) is None
    assert told(FACTS, with_gpu | {"FAKE_NVIDIA_REFUSES": "nvmlInit"}) is None
    assert told(FACTS, with_gpu | {"FAKE_NVIDIA_REFUSES": "cuInit"}) is None


def test_a_run_records_the_gpu_its_clock_in_each_sample_and_its_energy(
    with_gpu: dict[str, str], tmp_path: Path
) -> None:
    words = [
        "run",
        "--suite",
        "smoke",
        "--case",
        "*",
        "--plugin",
        PLUGIN,
        "--backend",
        "by-its-clock",
        "--budget",
        "0.1",
    ]
    words += ["--no-self-check", "--no-asv", "--json", "--details", "--results", tmp_path]  # all that is to be known
    run = subprocess.run(
        [sys.executable, "-m", "convbench", *map(str, words)],
        env=with_gpu | {"FAKE_NVIDIA_SLOWED": "0x4"}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    records = [r for line in run.stdout.splitlines() if (r := json.loads(line))["status"] == "ok"]
    assert records
    for record in records:
        assert record["gpu"]["name"] == "NVIDIA Fake 100"
        assert set(record["samples"]["sm_mhz"]) == {1410} and set(record["samples"]["slowed"]) == {4}
        assert 0.8 * 100 * WARM_S <= record["energy_j"] < 10  # 100 W; a busy machine makes calls longer, never shorter
        assert "gpu slowed" in [hazard["hazard"] for hazard in record["hazards"]]
    assert SLOWED_BY[0x4] in run.stderr and "NVIDIA Fake 100" in run.stderr
