"""Hazards: each is seen where it is, in fake /proc and /sys trees and in samples, and none where there is none."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from convbench.measurement.hazards.catalogue import Hazard, Kind, in_order
from convbench.measurement.hazards.of_machine import hazards_of_machine, hazards_of_timers
from convbench.measurement.hazards.of_samples import hazards_of_samples
from convbench.measurement.machine.cgroup import CpuShare, cpu_share
from convbench.measurement.machine.clocks import Timer, timer, timers
from convbench.measurement.machine.gpu import SLOWED_BY
from convbench.measurement.machine.state import (
    Counters,
    MachineActivity,
    MachineState,
    counters,
    machine_activity,
    machine_state,
    other_runs,
)
from convbench.reporting.hazards import hazard_line, hazard_paragraphs, hazard_report

CPU = "sys/devices/system/cpu"
HUGE = "sys/kernel/mm/transparent_hugepage/enabled"
STAT = "cpu  {busy} 0 0 1000 0 0 0 {steal} 0 0\ncpu0 1 0 0 1 0 0 0 0 0 0\ncpu1 1 0 0 1 0 0 0 0 0 0\nintr 5 0 0\n"
QUIET: dict[str, str] = {
    "proc/self/cgroup": "0::/\n",
    "proc/stat": STAT.format(busy=100, steal=0),
    "proc/vmstat": "nr_free_pages 7\npswpin 40\npswpout 2\n",
    "proc/cpuinfo": "processor : 0\nflags\t\t: fpu sse avx2\n",
    "sys/fs/cgroup/cpu.max": "max 100000\n",
    "sys/fs/cgroup/cpu.stat": "usage_usec 5\nnr_periods 0\nnr_throttled 3\nthrottled_usec 7\n",
    f"{CPU}/cpu0/topology/thread_siblings_list": "0\n",
    f"{CPU}/cpu1/topology/thread_siblings_list": "1\n",
    f"{CPU}/cpu0/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu1/cpufreq/scaling_governor": "performance\n",
    f"{CPU}/cpu0/cpufreq/scaling_cur_freq": "2600000\n",
    f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "5\n",
    f"{CPU}/cpu0/thermal_throttle/package_throttle_count": "2\n",
    f"{CPU}/cpufreq/boost": "0\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/mouse/type": "Battery\n",
    "sys/class/power_supply/mouse/scope": "Device\n",
    "sys/class/power_supply/mouse/status": "Discharging\n",
    HUGE: "always [madvise] never\n",
}


def tree(root: Path, files: Mapping[str, str | bytes | None]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def kinds(hazards: list[Hazard]) -> list[Kind]:
    return [hazard.kind for hazard in hazards]


def only(hazards: list[Hazard]) -> Hazard:
    (hazard,) = hazards
    return hazard


# --- of how the machine is set ----------------------------------------------------------------------------------------

CPUFREQ = f"{CPU}/cpu1/cpufreq"
SET: dict[str, tuple[dict[str, str | None], int, Kind, str]] = {
    "governor": ({f"{CPUFREQ}/scaling_governor": "schedutil"}, 1, Kind.GOVERNOR, "the governor schedutil changes"),
    "boost": ({f"{CPU}/cpufreq/boost": "1"}, 1, Kind.BOOST, "echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost"),
    "turbo": (
        {f"{CPU}/intel_pstate/no_turbo": "0", f"{CPU}/cpufreq/boost": None},
        1,
        Kind.BOOST,
        "echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo",
    ),
    "quota": ({"sys/fs/cgroup/cpu.max": "150000 100000"}, 2, Kind.QUOTA, "may use 1.5 CPUs, but 2 threads"),
    "less than a CPU": ({"sys/fs/cgroup/cpu.max": "5000 10000"}, 1, Kind.QUOTA, "--threads 1"),
    "cpuset": ({}, 3, Kind.CPUSET, "--threads 2"),
    "siblings": (
        {f"{CPU}/cpu{n}/topology/thread_siblings_list": "0-1" for n in (0, 1)},
        2,
        Kind.SIBLINGS,
        "requested (2) than there are cores (1)",
    ),
    "battery": (
        {"sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/status": "Discharging"},
        1,
        Kind.BATTERY,
        "Plug it in",
    ),
    "huge pages": ({HUGE: "always madvise [never]"}, 1, Kind.HUGE_PAGES, "echo madvise"),
}


def test_a_quiet_machine_has_no_hazard(tmp_path: Path) -> None:
    root = tree(tmp_path, QUIET)
    state = machine_state(root, (0, 1))
    assert state == MachineState(
        usable_cpus=2,
        cores=2,
        governors=("performance",),
        frequencies_mhz=(2600.0,),
        boost=False,
        boost_off="echo 0 | sudo tee /sys/devices/system/cpu/cpufreq/boost",
        huge_pages="madvise",
    )
    before, after = counters(root), counters(root)
    assert hazards_of_machine(state, machine_activity(before, after), threads=2) == []


@pytest.mark.parametrize(("files", "threads", "kind", "says"), SET.values(), ids=SET)
def test_what_is_set_wrong_is_seen(files: dict[str, str], threads: int, kind: Kind, says: str, tmp_path: Path) -> None:
    root = tree(tree(tmp_path, QUIET), files)
    hazard = only(hazards_of_machine(machine_state(root, (0, 1)), threads=threads))
    assert hazard.kind is kind
    assert says in f"{hazard.sentence} {hazard.remedy}"


def test_siblings_matter_only_to_more_threads_than_cores(tmp_path: Path) -> None:
    root = tree(tree(tmp_path, QUIET), SET["siblings"][0])
    assert hazards_of_machine(machine_state(root, (0, 1)), threads=1) == []


@pytest.mark.parametrize("governor", ["performance", "userspace"])
def test_a_held_frequency_is_no_hazard(governor: str, tmp_path: Path) -> None:
    root = tree(tree(tmp_path, QUIET), {f"{CPU}/cpu{n}/cpufreq/scaling_governor": governor for n in (0, 1)})
    assert hazards_of_machine(machine_state(root, (0, 1))) == []


def test_a_governor_that_has_one_frequency_to_choose_from_is_no_hazard(tmp_path: Path) -> None:
    files = {
        f"{CPU}/cpu{n}/cpufreq/{end}": "2000000" for n in (0, 1) for end in ("scaling_min_freq", "scaling_max_freq")
    }
    root = tree(tree(tmp_path, QUIET), files | {f"{CPUFREQ}/scaling_governor": "ondemand"})
    assert hazards_of_machine(machine_state(root, (0, 1))) == []


def test_a_full_or_charging_battery_is_no_hazard(tmp_path: Path) -> None:
    for status in ("Full", "Charging", "Not charging"):
        battery = {"sys/class/power_supply/BAT0/type": "Battery", "sys/class/power_supply/BAT0/status": status}
        state = machine_state(tree(tree(tmp_path, QUIET), battery), (0, 1))
        assert state.on_battery is False
        assert hazards_of_machine(state) == []


def test_a_system_that_tells_nothing_has_nothing_said_of_it(tmp_path: Path) -> None:
    state = machine_state(tmp_path, (0, 1))
    assert state == MachineState(usable_cpus=2)
    before = counters(tmp_path)
    assert replace(before, at_s=0.0, own_s=0.0) == Counters(at_s=0.0, own_s=0.0)
    assert hazards_of_machine(state, machine_activity(before, counters(tmp_path)), threads=2) == []


@given(
    st.dictionaries(
        st.sampled_from(sorted(QUIET)),
        st.one_of(
            st.binary(max_size=60),
            st.text("0123456789-, \nmax.:/abc", max_size=60).map(str.encode),
            st.just(b"9" * 400 + b" 1"),
            st.just(b"cpu 1 2 3"),
        ),
    )
)
def test_garbage_is_silence(tmp_path_factory: pytest.TempPathFactory, garbage: dict[str, bytes]) -> None:
    root = tree(tree(tmp_path_factory.mktemp("root"), QUIET), garbage)
    before, state = counters(root), machine_state(root, (0, 1))
    after = replace(counters(root), at_s=before.at_s + 1)
    for hazard in hazards_of_machine(state, machine_activity(before, after), threads=2):
        assert hazard.sentence and hazard.remedy


# --- containers -------------------------------------------------------------------------------------------------------

V1 = {"proc/self/cgroup": "3:cpuset:/\n2:cpu,cpuacct:/a/b\n1:name=systemd:/\n"}
SHARES: dict[str, tuple[dict[str, str], CpuShare]] = {
    "v2": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "250000 100000"}, CpuShare(2.5)),
    "v2, no limit": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, CpuShare()),
    "v2, of a group above": (
        {
            "proc/self/cgroup": "0::/a/b",
            "sys/fs/cgroup/a/b/cpu.max": "300000 100000",
            "sys/fs/cgroup/a/cpu.max": "100000 100000",
            "sys/fs/cgroup/a/cpu.stat": "nr_throttled 4\nthrottled_usec 2500000",
            "sys/fs/cgroup/a/b/cpu.stat": "nr_throttled 1\nthrottled_usec 500000",
        },
        CpuShare(1.0, 5, 3.0),
    ),
    "v2, the host's path, in a container": (
        {"proc/self/cgroup": "0::/system.slice/docker-1.scope", "sys/fs/cgroup/cpu.max": "50000 100000"},
        CpuShare(0.5),
    ),
    "v2, outside of the namespace": (
        {"proc/self/cgroup": "0::/../..", "sys/fs/cgroup/cpu.max": "50000 100000", "sys/cpu.max": "1 100000"},
        CpuShare(0.5),
    ),
    "v2 beside v1": (
        {"proc/self/cgroup": "0::/x", "sys/fs/cgroup/unified/x/cpu.max": "200000 100000"},
        CpuShare(2.0),
    ),
    "v1": (
        V1
        | {
            "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "150000",
            "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000",
            "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.stat": "nr_periods 9\nnr_throttled 2\nthrottled_time 4000000000",
        },
        CpuShare(1.5, 2, 4.0),
    ),
    "v1, no limit": (
        V1 | {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"},
        CpuShare(),
    ),
    "a period of zero": ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "100 0"}, CpuShare()),
    "no cgroups": ({}, CpuShare()),
    "not a line of cgroup's": ({"proc/self/cgroup": "garbage\n::\n:::\n0:/\n"}, CpuShare()),
}


@pytest.mark.parametrize(("files", "share"), SHARES.values(), ids=SHARES)
def test_what_a_container_may_use(files: dict[str, str], share: CpuShare, tmp_path: Path) -> None:
    assert cpu_share(tree(tmp_path, files)) == share


# --- of what happened -------------------------------------------------------------------------------------------------

HAPPENED: dict[str, tuple[dict[str, str], Kind, str]] = {
    "busy": ({"proc/stat": STAT.format(busy=500, steal=0)}, Kind.BUSY, "keeps 0.8 of 2 CPUs busy"),
    "steal": ({"proc/stat": STAT.format(busy=100, steal=5)}, Kind.STEAL, "100.0 % of the CPU time"),
    "heat": ({f"{CPU}/cpu0/thermal_throttle/core_throttle_count": "8"}, Kind.HEAT, "slowed down 3 times"),
    "quota": (
        {"sys/fs/cgroup/cpu.stat": "nr_throttled 13\nthrottled_usec 1500007\n"},
        Kind.QUOTA_STOPS,
        "used up its CPU quota 10 times and was stopped for 1.5 s",
    ),
    "swap": ({"proc/vmstat": "pswpin 140\npswpout 2"}, Kind.SWAP, "100 pages"),
}


@pytest.mark.parametrize(("files", "kind", "says"), HAPPENED.values(), ids=HAPPENED)
def test_what_happened_is_seen(files: dict[str, str], kind: Kind, says: str, tmp_path: Path) -> None:
    root = tree(tmp_path, QUIET)
    before = replace(counters(root), at_s=0.0, own_s=0.0)
    after = replace(counters(tree(root, files)), at_s=5.0, own_s=0.0)
    hazard = only(hazards_of_machine(machine_state(root, (0, 1)), machine_activity(before, after)))
    assert hazard.kind is kind
    assert says in hazard.sentence


def test_the_work_of_a_run_itself_is_not_that_of_others() -> None:
    before = Counters(at_s=10.0, own_s=1.0, cpus=2, busy_s=100.0)
    after = Counters(at_s=20.0, own_s=10.5, cpus=2, busy_s=110.5)
    assert machine_activity(before, after).others_cpus == pytest.approx(0.1)
    assert machine_activity(before, replace(after, own_s=30.0)).others_cpus == 0


def test_a_counter_that_was_set_anew_says_nothing() -> None:
    before = Counters(at_s=0, own_s=0, cpus=2, busy_s=50.0, steal_s=9.0, heat_stops=4, quota_stops=7, swapped_pages=3)
    after = Counters(at_s=1, own_s=0, cpus=2, busy_s=1.0, steal_s=2.0, heat_stops=1, quota_stops=0, swapped_pages=0)
    assert machine_activity(before, after) == MachineActivity(seconds=1, cpus=2)


def test_a_busy_process_is_seen_on_this_machine() -> None:
    before = counters()
    if before.busy_s is None:
        pytest.skip("this system does not tell how busy it is")
    spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        time.sleep(1.0)
        seen = machine_activity(before, counters())
    finally:
        spinning.kill()
        spinning.wait()
    assert seen.others_cpus is not None and seen.cpus is not None
    assert 0.05 < seen.others_cpus <= seen.cpus * 1.1
    assert machine_state().usable_cpus >= 1


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_run_elsewhere_is_seen_and_ones_own_workers_are_not() -> None:
    worker = f"{sys.executable} -m convbench.measurement.workers.worker"
    starting = f"import subprocess; subprocess.run({worker.split()})"
    elsewhere = subprocess.Popen([sys.executable, "-c", starting], stdin=subprocess.PIPE)
    own = subprocess.Popen(worker.split(), stdin=subprocess.PIPE)
    try:
        end = time.monotonic() + 20
        while elsewhere.pid not in (seen := other_runs()) and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        for process in (own, elsewhere):
            process.communicate()
    assert elsewhere.pid in seen
    assert os.getpid() not in seen
    hazard = only(hazards_of_machine(MachineState(usable_cpus=1), other_runs=[elsewhere.pid]))
    assert hazard.kind is Kind.OVERLAP
    assert str(elsewhere.pid) in hazard.sentence


@pytest.mark.skipif(os.name != "posix", reason="needs a shell")
def test_a_worker_whose_run_has_ended_is_named_itself_and_not_the_process_that_got_it() -> None:
    worker = f"{sys.executable} -m convbench.measurement.workers.worker"
    shell = subprocess.Popen(
        ["sh", "-c", f"{worker} <&0 & echo $!; wait"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert shell.stdin is not None and shell.stdout is not None
    try:
        left_behind = int(shell.stdout.readline())
        end = time.monotonic() + 60
        while left_behind not in (seen := other_runs()) and time.monotonic() < end:
            time.sleep(0.05)
    finally:
        shell.communicate()
    assert left_behind in seen and shell.pid not in seen and 1 not in seen


# --- of the clocks ----------------------------------------------------------------------------------------------------


def test_the_step_and_the_cost_of_a_clock_are_found() -> None:
    now_s = 0.0

    def clock() -> float:
        nonlocal now_s
        now_s += 1e-6
        return now_s

    assert timer("made", lambda: clock() // 1e-3 * 1e-3, clock).step_s == pytest.approx(1e-3)
    found = timer("made", clock, clock)
    assert found.step_s == pytest.approx(1e-6)
    assert found.cost_s == pytest.approx(1e-6, rel=0.01)


def test_a_clock_that_stands_still_has_no_step_and_is_a_hazard() -> None:
    still = timer("still", lambda: 0.0)
    assert still.step_s is None
    assert kinds(hazards_of_timers([still], 0.005)) == [Kind.CLOCK]


def test_a_coarse_clock_is_a_hazard_to_samples_that_are_short_for_it() -> None:
    coarse = Timer("process_time", 1e-7, 0.015625)
    hazard = only(hazards_of_timers([Timer("perf_counter", 1e-7, 1e-7), coarse], 0.005))
    assert hazard.sentence.startswith("process_time moves in steps of 15625 µs, 312.5 % of a sample of 5 ms")
    assert hazards_of_timers([coarse], 60.0) == []
    assert all(t.cost_s > 0 for t in timers())


# --- of samples -------------------------------------------------------------------------------------------------------


def samples(**changes: Any) -> dict[str, list[Any]]:
    steady: dict[str, list[Any]] = {
        "round": list(range(10)),
        "load": [1.0] * 10,
        "calls": [5] * 10,
        "wall_s": [0.00100, 0.00101, 0.00099, 0.00100, 0.00102] * 2,
        "cpu_s": [0.00100, 0.00100, 0.00099, 0.00100, 0.00101] * 2,
        "system_s": [0.0] * 10,
        "minor_faults": [0] * 10,
    }
    return steady | changes


IN_SAMPLES: dict[str, tuple[dict[str, list[Any]], dict[str, Any], Kind, str]] = {
    "short": ({"calls": [1] * 10, "wall_s": [5e-4] * 10, "cpu_s": [5e-4] * 10}, {}, Kind.SHORT_SAMPLES, "last 0.5 ms"),
    "spread": (
        {"wall_s": [0.0010, 0.0012] * 5, "cpu_s": [0.0010, 0.0012] * 5},
        {},
        Kind.SPREAD,
        "spreads over 18 % of the median",
    ),
    "stalls": (
        {"wall_s": [0.001] + [0.002] * 9, "cpu_s": [0.001] + [0.002] * 9},
        {},
        Kind.STALLS,
        "2.0 times the fastest",
    ),
    "faults": (
        {"minor_faults": [500] * 10, "system_s": [2e-4] * 10},
        {"allocator": "system"},
        Kind.PAGE_FAULTS,
        "100 page faults a call, and 20 % of the CPU time",
    ),
    "own faults": (
        {"minor_faults": [500] * 10, "system_s": [2e-4] * 10},
        {},
        Kind.OWN_PAGE_FAULTS,
        "maps memory itself",
    ),
    "more threads": ({"cpu_s": [0.0019] * 10}, {}, Kind.MORE_THREADS, "kept 1.9 CPUs busy, but 1 were requested"),
    "fewer threads": ({}, {"threads": 2}, Kind.FEWER_THREADS, "kept only 1.0 CPUs busy of the 2 requested"),
    "waiting": ({"cpu_s": [0.0006] * 10}, {}, Kind.WAITING, "ran for only 60 % of the time"),
    "stood still": (
        {"wall_s": [0.001] * 9 + [0.5], "cpu_s": [0.001] * 10},
        {},
        Kind.STOOD_STILL,
        "in 1 of 10 samples the process stood still, for up to 2.5 s",
    ),
    "GPU slowed": (
        {"sm_mhz": [1980] * 10, "slowed": [0] * 5 + [0x4 | 0x20] * 5},
        {"device": "cuda"},
        Kind.GPU_SLOWED,
        f"held back in 50 % of the samples, by {SLOWED_BY[0x4]} and {SLOWED_BY[0x20]}",
    ),
    "GPU clock": ({"sm_mhz": [1410] + [1980] * 9}, {"device": "cuda"}, Kind.GPU_CLOCK, "between 1410 and 1980 MHz"),
    "launching": (
        {"wall_s": [1.05e-3] * 10, "launch_s": [1e-3] * 10},
        {"device": "cuda"},
        Kind.LAUNCH_BOUND,
        "takes 1000 µs to launch, 95 % of its time",
    ),
}


def test_steady_samples_are_not_suspicious() -> None:
    assert hazards_of_samples(samples()) == []


@pytest.mark.parametrize(("changes", "asked", "kind", "says"), IN_SAMPLES.values(), ids=IN_SAMPLES)
def test_suspicious_samples_are_seen(changes: dict[str, list[Any]], asked: Any, kind: Kind, says: str) -> None:
    hazard = only(hazards_of_samples(samples(**changes), **asked))
    assert hazard.kind is kind
    assert says in hazard.sentence


def test_what_is_no_hazard_in_samples() -> None:
    assert hazards_of_samples(samples(load=[99.0] * 10)) == []  # it counts the run itself, too
    assert hazards_of_samples(samples(cpu_s=[0.0001] * 10), device="cuda") == []
    gpu = {"sm_mhz": [1975] + [1980] * 9, "slowed": [0] * 10, "launch_s": [1e-5] * 10}
    assert hazards_of_samples(samples(**gpu), device="cuda") == []
    assert (
        hazards_of_samples(samples(calls=[1] * 10, launch_s=[1e-3] * 10), device="cuda") == []
    )  # of one call: unknown
    assert hazards_of_samples(samples(minor_faults=[500] * 10)) == []  # many, but they cost nothing
    assert hazards_of_samples(samples(minor_faults=[5] * 10, system_s=[5e-4] * 10)) == []
    assert hazards_of_samples({}) == []


@given(st.permutations(range(10)), st.sampled_from(sorted(IN_SAMPLES)))
def test_the_order_of_samples_does_not_matter(order: list[int], name: str) -> None:
    changes, asked, kind, _ = IN_SAMPLES[name]
    given_samples = samples(**changes)
    shuffled = {column: [values[i] for i in order] for column, values in given_samples.items()}
    assert kinds(hazards_of_samples(shuffled, **asked)) == [kind]


COLUMNS = ("calls", "wall_s", "cpu_s", "system_s", "minor_faults", "load")
_ANY = st.one_of(
    st.none(), st.booleans(), st.floats(), st.integers(), st.text(max_size=3), st.lists(st.none(), max_size=1)
)
_COLUMN = st.one_of(_ANY, st.lists(st.one_of(_ANY, st.floats(0, 10)), max_size=6), st.lists(st.floats(0), max_size=6))


@given(
    st.dictionaries(st.sampled_from([*COLUMNS, "launch_s", "sm_mhz", "slowed"]), _COLUMN),
    st.integers(1, 64),
)
def test_samples_of_any_kind_are_judged_without_harm(columns: dict[str, Any], threads: int) -> None:
    for hazard in hazards_of_samples(columns, threads):
        assert hazard.sentence and hazard.remedy


# --- the enumeration --------------------------------------------------------------------------------------------------


def seen_in_these_tests() -> list[Hazard]:
    found = [
        hazard
        for changes, asked, _, _ in IN_SAMPLES.values()
        for hazard in hazards_of_samples(samples(**changes), **asked)
    ]
    state = MachineState(
        usable_cpus=4,
        cores=2,
        governors=("powersave",),
        boost=True,
        boost_off="echo",
        quota_cpus=1.5,
        on_battery=True,
        huge_pages="never",
    )
    happened = MachineActivity(
        seconds=1,
        cpus=4,
        others_cpus=2,
        steal_share=0.1,
        heat_stops=1,
        quota_stops=1,
        quota_stopped_s=1,
        swapped_pages=1,
    )
    found += hazards_of_machine(state, happened, 3, [7])
    found += hazards_of_machine(MachineState(usable_cpus=2), None, 3)
    found += hazards_of_timers([Timer("perf_counter", 1e-6, 1e-3)], 0.005)
    found += [Hazard(Kind.LOAD, {"load": 3.2, "threads": 1})]  # in records of earlier versions
    found += [Hazard(Kind.NEIGHBOUR, {"workers": "tls://10.0.0.7:40331"})]
    found += [Hazard(Kind.PROCESS_LUCK, {"luck": 0.012}), Hazard(Kind.PROCESS_GROUPS, {"apart": 0.31})]
    where = {"backend": "torch", "level": "L3"}
    found += [
        Hazard(Kind.PROCESSES_DIFFER, where | {"variation": 0.2}),
        Hazard(Kind.SLOW_SWITCH, where | {"after": "for 60 ms (15 calls)", "settle_ms": 60.0}),
        Hazard(Kind.NOISY_LEVEL, where | {"noise": 0.1, "quiet": 0.01, "quiet_level": "L1"}),
        Hazard(Kind.APPROXIMATE_PASS),
        Hazard(Kind.SLOW_CACHE, {"level": "L3", "inner": "L2", "gbytes": 18.0, "memory_gbytes": 15.0}),
    ]
    found.append(Hazard(Kind.CLOCK_DOUBT, {"waited_s": 1.3, "accounted_s": 0.2}))
    return [*found, Hazard(Kind.DRIFT, {"drift": 0.04, "precision": 0.01}), Hazard(Kind.SETTLING, {"visit_ms": 128.0})]


def test_every_kind_is_told_and_has_a_remedy() -> None:
    by_kind = {hazard.kind: hazard for hazard in seen_in_these_tests()}
    assert set(by_kind) == set(Kind)
    for hazard in by_kind.values():
        assert re.match(r"[a-z0-9]", hazard.sentence), hazard
        assert not hazard.sentence.endswith(".")
        assert hazard.remedy[0].isupper() and hazard.remedy.endswith("."), hazard
        assert "{" not in hazard.sentence + hazard.remedy


def test_hazards_are_in_order_of_weight_and_one_of_a_kind() -> None:
    seen = seen_in_these_tests()
    ordered = in_order(reversed(seen))
    assert kinds(ordered) == list(Kind)
    assert in_order(ordered) == ordered


def test_a_hazard_comes_back_from_a_record_as_it_was() -> None:
    for hazard in seen_in_these_tests():
        assert Hazard.from_dict(hazard.as_dict()) == hazard


@given(
    st.one_of(_ANY, st.dictionaries(st.sampled_from(["hazard", "load", "threads"]), _ANY | st.sampled_from(list(Kind))))
)
def test_what_is_no_hazard_in_a_record_is_none(given_one: Any) -> None:
    found = Hazard.from_dict(given_one)
    assert found is None or found.sentence


def shown(renderable: Any, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(renderable)
    return console.export_text()


def test_a_run_shows_each_kind_once_with_where_it_was_seen() -> None:
    waiting = Hazard(Kind.WAITING, {"ran": 0.6}).as_dict()
    records = [{"backend": "[bold]a[/]\x1b[31m", "case": f"case-{n}", "hazards": [waiting]} for n in range(3)]
    records += [
        {"backend": "b", "case": "case-0", "hazards": [{"hazard": "of tomorrow"}, 3]},
        {"backend": "c", "case": "d"},
    ]
    report = hazard_report(records, [Hazard(Kind.BATTERY)])
    text = shown(report)
    assert text.count("End other work") == 1
    assert "[bold]a[/]\\x1b[31m on case-0 and 2 more: it ran for only 60 % of the time" in text
    assert text.index("battery") < text.index("ran for only")
    assert hazard_report(records[3:]) is None
    (line,) = shown(hazard_line(records, [Hazard(Kind.BATTERY)]), 200).splitlines()
    assert line.startswith("To know: the machine runs on battery")
    assert line.endswith("(what to do, and 1 more: --details).")
    assert shown(hazard_line([], [Hazard(Kind.BATTERY)]), 200).strip().endswith("(what to do: --details).")
    assert "To know: [bold]a[/]\\x1b[31m on case-0 and 2 more" in shown(hazard_line(records), 200)
    assert hazard_line(records[3:]) is None


def test_a_narrow_terminal_wraps_and_cuts_nothing() -> None:
    hazards = in_order(seen_in_these_tests())
    text = shown(hazard_paragraphs(hazards)[0], 50)
    assert max(map(len, text.splitlines())) <= 50
    assert " ".join(text.split()) == hazards[0].sentence
