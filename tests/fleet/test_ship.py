"""`--ship`: this checkout on machines that have another convbench or none, and nothing of it afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import psutil
import pytest
from fleet_of_processes import FleetOfProcesses, fleet_of
from places import CHECKOUT

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytest.importorskip("pip", reason="python -m ensurepip")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
RUN = ["run", "--problem", "n1c2h4w4_o2k1", "--backend", "numpy*", "--quick", "--results", "r", "--machines", "*"]


WITHOUT_CONVBENCH = """
import sys

class Without:
    def find_spec(self, name, path=None, target=None):
        if name == "convbench":
            raise ModuleNotFoundError("No module named 'convbench'")

if "convbench-shipped-" not in sys.prefix:
    sys.meta_path.insert(0, Without())
"""


def older_checkout(folder: Path) -> Path:
    for part in ("convbench", "backends", "suites"):
        shutil.copytree(CHECKOUT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", folder)
    module = folder / "convbench" / "installation.py"
    module.write_text(module.read_text().replace('VERSION = "', 'VERSION = "0.0.'))
    return folder


def shipped_folders(temporary: Path) -> list[Path]:
    return sorted(temporary.glob("convbench-shipped-*"))


def of_shipped(folder: Path) -> list[psutil.Process]:
    """The processes that run from an environment in this folder."""
    return [
        process
        for process in psutil.process_iter(["cmdline"])
        if any(word.startswith(str(folder)) and "shipped" in word for word in process.info["cmdline"] or [])
    ]


def start_plain_worker(fleet: FleetOfProcesses, machine: str, **variables: str) -> None:
    """A worker of Dask alone, on a machine without convbench."""
    home = str(fleet.folder / "homes" / machine)
    words = ["--nthreads", "1", "--no-nanny", "--no-dashboard", "--resources", "convbench=1", "--name", machine]
    fleet._start(
        machine,
        ["-m", "distributed.cli.dask_worker", fleet.address, *words],
        {"CONVBENCH_MACHINE": machine, "XDG_DATA_HOME": home, **variables},
    )


def test_a_checkout_is_shipped_for_a_command_and_leaves_nothing(tmp_path: Path) -> None:
    older, temporary = older_checkout(tmp_path / "older"), tmp_path / "temporary"
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "sitecustomize.py").write_text(WITHOUT_CONVBENCH)
    temporary.mkdir()
    variables = {**NO_INDEX, "TMPDIR": str(temporary)}
    with fleet_of(tmp_path) as fleet:
        fleet.start_worker("older", PYTHONPATH=str(older), **variables)
        fleet.wait_for_workers(1)
        (tmp_path / "c.toml").write_text(f'scheduler = "{fleet.address}"\nwait_s = 300\n')
        without = fleet.convbench("cluster", "c.toml", "--json")
        assert "older is left out: it has convbench 0.0." in without.stderr and "--ship" in without.stderr
        start_plain_worker(fleet, "plain", PYTHONPATH=str(tmp_path / "nothing"), **variables)
        fleet.wait_for_workers(2)
        done = fleet.convbench(*RUN, "--cluster", "c.toml", "--ship")
        assert done.returncode == 0, done.stderr
        for machine in ("older", "plain"):
            [journal] = (tmp_path / "r" / machine).glob("*.jsonl")
            records = [json.loads(line) for line in journal.read_text().splitlines()]
            assert [record["status"] for record in records] == ["ok", "ok"]
        fleet.wait_until(lambda: not shipped_folders(temporary) and not of_shipped(temporary))
        fleet.kill("plain")
        process = fleet.begin(*RUN, "--precision", "0.1%", "--cluster", "c.toml", "--ship")
        fleet.wait_until(lambda: of_shipped(temporary))
        process.kill()
        process.wait()
        fleet.wait_until(lambda: not shipped_folders(temporary) and not of_shipped(temporary))
