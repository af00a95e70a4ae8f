"""`convbench cluster`: who is there, by a real scheduler and real workers with TLS."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet_of_processes import FleetOfProcesses, fleet_of

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetOfProcesses]:
    folder = tmp_path_factory.mktemp("fleet")
    with fleet_of(folder, "north", "south") as running:
        running.wait_for_workers(2)
        (folder / "three.toml").write_text(
            f'scheduler = "{running.address}"\nprice_per_hour = {{ "nor*" = 0.25 }}\ncurrency = "USD"\n'
        )
        yield running


def test_each_machine_is_described_with_its_price(fleet: FleetOfProcesses) -> None:
    done = fleet.convbench("cluster", "three.toml", "--json")
    assert done.returncode == 0, done.stderr
    rows = {row["name"]: row for row in map(json.loads, done.stdout.splitlines())}
    assert set(rows) == {"north", "south"}
    assert rows["north"]["kind"] == rows["south"]["kind"]
    assert "numpy-gemm" in rows["north"]["backends"]
    assert [rows[name]["price_per_hour"] for name in ("north", "south")] == [0.25, None]
    assert rows["south"]["currency"] == "USD"
    assert rows["north"]["facts"]["machine"] == "north"
    assert abs(rows["north"]["clock_ahead_s"]) < 60  # one clock


def test_a_connection_that_is_not_encrypted_is_refused_unless_it_stays_here(fleet: FleetOfProcesses) -> None:
    done = fleet.convbench("cluster", "tcp://192.0.2.1:8786")
    assert done.returncode == 2
    assert "is not encrypted" in done.stderr and "--insecure" in done.stderr and "tls://192.0.2.1:8786" in done.stderr
    here = fleet.convbench("cluster", fleet.address.replace("tls", "tcp"), "--wait", "5")  # which the scheduler refuses
    assert here.returncode == 2
    assert "no scheduler at tcp://127.0.0.1" in here.stderr


def test_a_worker_that_hangs_is_a_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    with fleet_of(tmp_path, "quick", "stuck") as fleet:
        fleet.wait_for_workers(2)
        os.kill(fleet.processes["stuck"].pid, signal.SIGSTOP)
        done = fleet.convbench("cluster", fleet.address, "--json", "--wait", "20")
        assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["quick"]
        assert "is left out: no answer within 20 s" in done.stderr


def test_a_worker_without_convbench_is_told_from_one_that_hangs_and_lives_on(tmp_path: Path) -> None:
    with fleet_of(tmp_path, "north") as fleet:
        fleet.start_plain_worker("plain", "--resources", "convbench=1")
        fleet.wait_for_workers(2)
        done = fleet.convbench("cluster", fleet.address, "--json", "--wait", "300")
        said = " ".join(done.stderr.split())
        assert [json.loads(line)["name"] for line in done.stdout.splitlines()] == ["north"], said
        assert "is left out: it has no convbench that knows of clusters (No module named 'convbench')" in said
        assert "pip install 'convbench[cluster]==" in said and "--ship" in said and "no answer" not in said
        assert fleet.processes["plain"].poll() is None


def test_a_scheduler_without_convbench_is_named(tmp_path: Path) -> None:
    with fleet_of(tmp_path) as fleet:
        fleet.kill("scheduler")
        fleet.start_scheduler(**fleet.without_convbench())
        fleet.start_worker("north")
        fleet.wait_for_workers(1)
        done = fleet.convbench("cluster", fleet.address, "--wait", "300")
        assert done.returncode == 2
        said = " ".join(done.stderr.split())
        assert "the scheduler cannot read what is sent to its workers" in said and "pip install 'convbench[cl" in said
