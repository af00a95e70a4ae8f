"""`[ssh]` in a cluster file: Dask's SSHCluster through a real SSH server on loopback, with TLS."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
import sshd_on_this_machine as sshd_here
from fleet_of_processes import FleetOfProcesses
from places import CHECKOUT

pytest.importorskip("asyncssh", reason="pip install asyncssh")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


def test_a_machine_that_is_reached_over_ssh_measures(tmp_path: Path) -> None:
    if missing := sshd_here.missing_programs():
        pytest.skip(f"{', '.join(missing)} not installed: {sshd_here.TO_TYPE}")
    variables = {"PYTHONPATH": os.pathsep.join([str(CHECKOUT), os.environ.get("PYTHONPATH", "")])}
    variables |= {"XDG_DATA_HOME": str(tmp_path / "home"), "CONVBENCH_MACHINE": "over-ssh"}
    fleet = FleetOfProcesses(tmp_path)
    with sshd_here.sshd(tmp_path, variables) as connect:
        table = ", ".join(f"{name} = {json.dumps(value)}" for name, value in connect.items())
        lines = ["wait_s = 300", "[ssh]", 'hosts = ["127.0.0.1"]', 'scheduler = "127.0.0.1"']
        lines += [f'python = "{sys.executable}"', f"connect = {{ {table} }}"]
        (tmp_path / "ssh.toml").write_text("\n".join(lines))
        words = ["--problem", "n1c2h4w4_o2k1", "--backend", "numpy*", "--quick", "--results", "r"]
        done = fleet.convbench("run", *words, "--cluster", "ssh.toml")
        assert done.returncode == 0, done.stderr
        [journal] = (tmp_path / "r" / "over-ssh").glob("*.jsonl")
        records = [json.loads(line) for line in journal.read_text().splitlines()]
        assert {record["backend"]: record["status"] for record in records} == {"numpy-gemm": "ok", "numpy-loop": "ok"}
