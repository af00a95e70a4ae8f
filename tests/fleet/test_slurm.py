"""`[slurm]` in a cluster file: a real Slurm with one node, its jobs by dask-jobqueue, records that come back."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest
import slurm_on_this_machine as slurm_here
from fleet_of_processes import FleetOfProcesses

MISSING = importlib.util.find_spec("dask_jobqueue") is None  # to import it would replace pytest's handler of Ctrl-C
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(MISSING, reason="pip install 'convbench[cluster]'"),
]

FILE = """
price_per_hour = 0.5
[slurm]
partition = "{partition}"
nodes = 1
memory = "1GB"
interface = "lo"
python = "{python}"
"""


def test_a_job_of_slurm_measures_and_is_gone_afterwards(tmp_path: Path) -> None:
    if missing := slurm_here.missing_programs():
        pytest.skip(f"{', '.join(missing)} not installed: {slurm_here.TO_TYPE}")
    (tmp_path / "slurm.toml").write_text(FILE.format(partition=slurm_here.PARTITION, python=sys.executable))
    (tmp_path / "other.toml").write_text(FILE.format(partition="nowhere", python=sys.executable))
    fleet = FleetOfProcesses(tmp_path)
    with slurm_here.slurm() as variables:
        words = ["run", "--problem", "n1c2h4w4_o2k1", "--backend", "numpy*", "--quick", "--results", "r", "--cluster"]
        done = fleet.convbench(*words, "slurm.toml", **variables)
        assert done.returncode == 0, done.stderr
        assert slurm_here.jobs(variables) == []
        [journal] = (tmp_path / "r").glob("*/*.jsonl")
        records = [json.loads(line) for line in journal.read_text().splitlines()]
        assert {record["backend"]: record["status"] for record in records} == {"numpy-gemm": "ok", "numpy-loop": "ok"}
        refused = fleet.convbench(*words, "other.toml", **variables)
        assert refused.returncode == 2
        assert "the [slurm] cluster did not start" in refused.stderr and "nowhere" in refused.stderr
