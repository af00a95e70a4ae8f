"""`convbench verify --cluster` where a worker is killed, and where it is interrupted: nothing stays behind."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from fleet_of_processes import FleetOfProcesses, fleet_of
from places import PLUGINS

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PLUGIN = 'from mistakes import NoDilation\n\nBACKENDS = (NoDilation("wrong-dilation"),)\n'
WORDS = ["verify", "--backend", "wrong-*", "--strength", "2", "--json"]


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetOfProcesses]:
    installed = tmp_path / "site" / "wrongs-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: wrongs\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[convbench.backends]\nwrongs = wrongs\n")
    (tmp_path / "site" / "wrongs.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path / "site"), str(PLUGINS)]))
    with fleet_of(tmp_path, "north", "south") as running:
        running.wait_for_workers(2)
        yield running


def at_work(fleet: FleetOfProcesses, machine: str = "") -> list[psutil.Process]:
    """The processes of verifications that tasks have started on the machines, or on one."""
    at_work = []
    for process in psutil.process_iter(["cmdline"]):
        if any("convbench.fleet.verification.job" in word for word in process.info["cmdline"] or []):
            try:
                home = process.environ().get("XDG_DATA_HOME", "")
            except psutil.Error:
                continue
            if home.startswith(str(fleet.folder / "homes" / machine)):
                at_work.append(process)
    return at_work


def has_failed(fleet: FleetOfProcesses) -> bool:
    """Whether the coordinator's log has a wrong answer."""
    return any('"finding": {' in path.read_text() for path in fleet.folder.glob("results/*/*.verification"))


def test_a_killed_worker_costs_no_cause(fleet: FleetOfProcesses) -> None:
    words = [*WORDS, "--search-time", "0", "--results", "results", "--cluster", fleet.address]
    process = fleet.begin(*words)
    fleet.wait_until(lambda: has_failed(fleet))
    fleet.kill("south")
    out, said = process.communicate(timeout=900)
    assert process.returncode == 1, said
    [row] = map(json.loads, out.splitlines())
    assert row["status"] == "wrong" and row["complete"] and row["failures"]
    assert row["coverage"] == 1.0, "what the killed one did not ask was asked"
    fleet.wait_until(lambda: not at_work(fleet, "south"))


def test_ctrl_c_ends_everywhere_and_keeps_what_was_answered(fleet: FleetOfProcesses) -> None:
    words = [*WORDS, "--results", "results", "--cluster", fleet.address]
    process = fleet.begin(*words, "--search-time", "3000")  # so long that the interrupt comes in the middle
    fleet.wait_until(lambda: has_failed(fleet))
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=900)
    assert process.returncode == 130, said
    assert "Traceback" not in said and "--resume" in said
    fleet.wait_until(lambda: not at_work(fleet))
    [log] = fleet.folder.glob("results/*/*.verification")
    assert '"event": "answered"' in log.read_text()
