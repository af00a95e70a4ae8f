"""Other work of the same cluster on a machine: it is not timed beside it, and said when it comes meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet_of_processes import CERTIFICATES, LONG_S, FleetOfProcesses, fleet_of

from convbench.fleet.machines.machine import Machine
from convbench.fleet.machines.one_host import unseen_on_the_same_host

distributed = pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PODS = [("inside", "1"), ("elsewhere", "2")]
RUN = ["run", "--problem", "n1c2h4w4_o2k1", "--backend", "numpy*", "--quick", "--results", "r", "--cluster", "c.toml"]


@pytest.fixture
def fleet(tmp_path: Path) -> Iterator[FleetOfProcesses]:
    """A machine of convbench, and on the same host a worker that is not convbench's."""
    with fleet_of(tmp_path, "north") as running:
        running.start_plain_worker("neighbour")
        running.wait_for_workers(2)
        (tmp_path / "c.toml").write_text(f'scheduler = "{running.address}"\nwait_s = 300\n')
        yield running


@pytest.fixture
def others(fleet: FleetOfProcesses) -> Iterator[Any]:
    """The client of somebody else."""
    named = {name.rpartition("TLS__")[2].replace("__", "_").lower(): path for name, path in CERTIFICATES.items()}
    certificates = {f"tls_{name}": path for name, path in named.items()}
    security = distributed.Security(require_encryption=True, **certificates)
    with distributed.Client(fleet.address, security=security, timeout=120, set_as_default=False) as client:
        yield client


def test_a_machine_with_a_neighbour_is_not_timed(fleet: FleetOfProcesses, others: Any) -> None:
    neighbour = others.submit(time.sleep, 1000, workers=["neighbour"])
    fleet.wait_until(lambda: any(others.processing().values()))
    refused = fleet.convbench(*RUN)
    assert refused.returncode == 2
    said = " ".join(refused.stderr.split())
    assert "there is no machine to measure on. north is left out: other tasks of the cluster run beside it" in said
    assert not list((fleet.folder / "r").glob("*/*.jsonl"))
    del neighbour


def test_a_neighbour_that_comes_meanwhile_is_said_and_a_hazard_of_what_it_disturbed(
    fleet: FleetOfProcesses, others: Any
) -> None:
    words = ["--problem", "n1c2h5w5_o2k3", "--precision", "0.1%", "--budget", "4", "--processes", "1"]
    process = fleet.begin(*RUN, *words, "--no-self-check")
    kept = fleet.folder / "homes" / "north"
    fleet.wait_until(lambda: any(kept.rglob("*.jsonl")))  # the first case is over
    neighbour = others.submit(time.sleep, 1000, workers=["neighbour"])
    _, said = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, said
    assert "north: another task of the cluster runs beside it" in " ".join(said.split())
    [journal] = (fleet.folder / "r" / "north").glob("*.jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    hazards = [{hazard["hazard"] for hazard in record["hazards"]} for record in records]
    assert len(records) == 4 and "neighbour" not in hazards[0] and "neighbour" in hazards[-1]
    del neighbour


def test_machines_on_one_host_that_do_not_wait_for_each_other_are_a_hazard(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    with fleet_of(tmp_path, "north") as fleet:
        fleet.start_worker("south", TMPDIR=str(tmp_path / "own"))  # as a container has its own
        fleet.wait_for_workers(2)
        (tmp_path / "c.toml").write_text(f'scheduler = "{fleet.address}"\nwait_s = 300\n')
        done = fleet.convbench(*RUN, "--machines", "north,south")
    assert done.returncode == 0, done.stderr
    assert "north shares its host with south, and does not wait for it" in " ".join(done.stderr.split())
    records = [json.loads(line) for file in tmp_path.glob("r/*/*.jsonl") for line in file.read_text().splitlines()]
    assert len(records) == 4
    assert all("neighbour" in {hazard["hazard"] for hazard in record["hazards"]} for record in records)


def test_a_host_is_known_by_its_kernel_and_a_lock_by_its_place() -> None:
    alike = {"addresses": (), "boot": "1", "lock_place": "5:2"}
    north, same = Machine(name="north", **alike), Machine(name="same", **alike)
    inside, elsewhere = (Machine(name=name, **alike | {"lock_place": "6:2", "boot": boot}) for name, boot in PODS)
    beside = unseen_on_the_same_host([north, same, inside, elsewhere])
    names = {name: [other.name for other in others] for name, others in beside.items()}
    assert names == {"north": ["inside"], "same": ["inside"], "inside": ["north", "same"]}
