"""`--ship`: this checkout on machines that have another convbench or none, and nothing of it afterwards."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import psutil
import pytest
from fleet_of_processes import fleet_of
from places import CHECKOUT

from convbench.measurement.environments.releases import has_pip

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not has_pip(), reason="pip is not installed: python -m ensurepip"),
]

NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull}
RUN = ["run", "--problem", "n1c2h4w4_o2k1", "--backend", "numpy*", "--quick", "--results", "r", "--machines", "*"]


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


def test_a_checkout_is_shipped_for_a_command_and_leaves_nothing(tmp_path: Path) -> None:
    older, temporary = older_checkout(tmp_path / "older"), tmp_path / "temporary"
    temporary.mkdir()
    variables = {**NO_INDEX, "TMPDIR": str(temporary)}
    with fleet_of(tmp_path) as fleet:
        fleet.start_worker("older", PYTHONPATH=str(older), **variables)
        fleet.wait_for_workers(1)
        (tmp_path / "c.toml").write_text(f'scheduler = "{fleet.address}"\nwait_s = 300\n')
        without = fleet.convbench("cluster", "c.toml", "--json")
        assert "older is left out: it has convbench 0.0." in without.stderr and "--ship" in without.stderr
        fleet.start_plain_worker("plain", "--resources", "convbench=1", **variables)
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
