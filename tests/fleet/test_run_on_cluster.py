"""`convbench run --cluster`: real schedulers, workers and kills; every record arrives once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from fleet_of_processes import FleetOfProcesses, fleet_of

from convbench.fleet.campaign import gathered

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PROBLEMS = ("n1c2h4w4_o2k1", "n1c2h5w5_o2k3", "n1c3h6w6_o2k3", "n1c4h4w4_o4k1")
WORDS = ["--backend", "numpy*", "--quick", "--results", "results"]
RUN = ["run", *(word for problem in PROBLEMS for word in ("--problem", problem)), *WORDS]

LONG = [*RUN, "--precision", "0.1%", "--budget", "1.5", "--no-self-check"]  # so long that a kill comes in the middle


def records(folder: Path, machine: str = "*") -> list[dict]:  # type: ignore[type-arg]
    lines = [line for path in sorted(folder.glob(f"results/{machine}/*.jsonl")) for line in path.open()]
    return [json.loads(line) for line in lines]


def pairs(of: list[dict]) -> Counter[tuple[str, str, str]]:  # type: ignore[type-arg]
    return Counter((record["machine"]["machine"], record["case"], record["backend"]) for record in of)


def kept(fleet: FleetOfProcesses, machine: str) -> list[dict]:  # type: ignore[type-arg]
    """What the machine has in its own journals."""
    files = (fleet.folder / "homes" / machine).glob("convbench/fleet/*/*/*.jsonl")
    return [json.loads(line) for path in files for line in path.read_text().splitlines() if line.endswith("}")]


def measuring(fleet: FleetOfProcesses) -> list[psutil.Process]:
    """The processes of convbench that a task has started in this fleet."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if any("convbench.fleet.run_job" in word for word in words):
            try:
                home = process.environ().get("XDG_DATA_HOME", "")
            except psutil.Error:
                continue
            if home.startswith(str(fleet.folder)):
                found.append(process)
    return found


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfProcesses]:
    with fleet_of(tmp_path, "north", "south") as running:
        running.wait_for_workers(2)
        yield running


def test_all_machines_measure_all_and_no_two_timings_overlap(tmp_path: Path) -> None:
    """Four Dask workers on one machine, two of them under one name."""
    with fleet_of(tmp_path, "north", "south", "east") as fleet:
        fleet.start_worker("east", "east-2")
        fleet.wait_for_workers(4)
        done = fleet.convbench(*RUN, "--cluster", fleet.address, "--machines", "*")
        assert done.returncode == 0, done.stderr
        made = records(tmp_path)
        wanted = {(m, p, b) for m in ("north", "south", "east") for p in PROBLEMS for b in ("numpy-gemm", "numpy-loop")}
        assert pairs(made) == Counter(wanted)
        assert all("numpy-gemm" in done.stdout and name in done.stdout for name in ("north", "south", "east"))
        spans: dict[tuple[str, str], list[str]] = {}
        for record in made:
            spans.setdefault((record["session"], record["case"]), []).extend([record["began"], record["ended"]])
        ordered = sorted((min(times), max(times)) for times in spans.values())
        assert len(ordered) == 12
        assert all(first[1] <= second[0] for first, second in pairwise(ordered))
        fleet.wait_until(lambda: not measuring(fleet))


def test_like_machines_share_the_cases_with_anchors(fleet: FleetOfProcesses) -> None:
    more = ("n1c4h6w6_o4k1", "n1c4h7w7_o4k1")
    words = [word for problem in more for word in ("--problem", problem)]
    done = fleet.convbench(*RUN, *words, "--cluster", fleet.address, "--shard", "--json")
    assert done.returncode == 0, done.stderr
    cases = {m: {record["case"] for record in records(fleet.folder, m)} for m in ("north", "south")}
    assert cases["north"] | cases["south"] == {*PROBLEMS, *more}
    assert len(cases["north"] & cases["south"]) == 3
    of_both = {(record["case"], record["backend"]) for record in records(fleet.folder)}
    assert of_both == {(case, backend) for case in (*PROBLEMS, *more) for backend in ("numpy-gemm", "numpy-loop")}
    assert len(done.stdout.splitlines()) == len(records(fleet.folder))
    [of_north], [of_south] = (gathered(fleet.folder / "results")[name].values() for name in ("north", "south"))
    assert [len(of_north), len(of_south)] == [1, 1]


def test_a_worker_that_is_killed_costs_its_machine_and_a_new_one_fetches_what_it_kept(fleet: FleetOfProcesses) -> None:
    words = [*LONG, "--cluster", fleet.address, "--machines", "north,south"]
    process = fleet.begin(*words)
    fleet.wait_until(lambda: len(kept(fleet, "south")) >= 2 or len(kept(fleet, "north")) >= 2)
    fleet.kill("south")
    _, said = process.communicate(timeout=900)
    assert process.returncode == 1
    assert "south: its worker is gone" in said and "--resume" in said
    assert len(pairs(records(fleet.folder, "north"))) == 8
    assert not [p for p in measuring(fleet) if p.environ()["XDG_DATA_HOME"].endswith("south")]
    fleet.start_worker("south")
    fleet.wait_for_workers(3)
    done = fleet.convbench(*words, "--resume")
    assert done.returncode == 0, done.stderr
    assert set(pairs(records(fleet.folder)).values()) == {1} and len(pairs(records(fleet.folder))) == 16


def test_what_machines_kept_when_the_coordinator_was_killed_is_fetched(fleet: FleetOfProcesses) -> None:
    words = [*LONG, "--cluster", fleet.address]
    process = fleet.begin(*words)
    fleet.wait_until(lambda: len([*kept(fleet, "north"), *kept(fleet, "south")]) >= 2)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    fleet.wait_until(lambda: not measuring(fleet))  # no orphan
    before = [*kept(fleet, "north"), *kept(fleet, "south")]
    done = fleet.convbench(*words, "--resume")
    assert done.returncode == 0, done.stderr
    after = records(fleet.folder)
    assert set(pairs(after).values()) == {1} and len(after) == 8
    assert all(record in after for record in before)


def test_a_scheduler_that_is_killed_ends_the_run_with_a_sentence(fleet: FleetOfProcesses) -> None:
    process = fleet.begin(*LONG, "--cluster", fleet.address)
    fleet.wait_until(lambda: len([*kept(fleet, "north"), *kept(fleet, "south")]) >= 2)
    fleet.kill("scheduler")
    _, said = process.communicate(timeout=900)
    assert process.returncode == 1, said
    assert "the scheduler is gone" in said and "--resume" in said
    fleet.wait_until(lambda: not measuring(fleet))
    assert max(pairs(records(fleet.folder)).values(), default=1) == 1
    assert gathered(fleet.folder / "results") == {}


def test_ctrl_c_ends_cleanly_everywhere(fleet: FleetOfProcesses) -> None:
    process = fleet.begin(*LONG, "--cluster", fleet.address)
    fleet.wait_until(lambda: len([*kept(fleet, "north"), *kept(fleet, "south")]) >= 2)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 130
    assert "Traceback" not in said and "--resume" in said
    fleet.wait_until(lambda: not measuring(fleet))


def test_what_cannot_be_sent_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("BACKENDS = ()\n")
    fleet = FleetOfProcesses(tmp_path)
    done = fleet.convbench(*RUN, "--cluster", "tls://127.0.0.1:1", "--plugin", "one.py")
    assert done.returncode == 2 and "--plugin" in done.stderr
    done = fleet.convbench("run", "--suite", "tutorial", *WORDS, "--cluster", "tls://127.0.0.1:1")
    assert done.returncode == 2 and "brings data of its own" in done.stderr
