"""`convbench verify --cluster`: like machines share the questions, and find the same causes as one."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from fleet_of_processes import fleet_of
from places import PLUGINS

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")

WORDS = ["verify", "--backend", "wrong-*", "--strength", "2", "--search-time", "0", "--json"]
PLUGIN = """
from mistakes import NoDilation

BACKENDS = (NoDilation("wrong-dilation"),)
"""


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_two_machines_find_the_causes_that_one_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    installed = site / "wrongs-1.0.dist-info"
    installed.mkdir(parents=True)
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: wrongs\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[convbench.backends]\nwrongs = wrongs\n")
    (site / "wrongs.py").write_text(PLUGIN)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), str(PLUGINS)]))
    with fleet_of(tmp_path, "north", "south") as fleet:
        fleet.wait_for_workers(2)
        spread = fleet.convbench(*WORDS, "--cluster", fleet.address, "--results", "spread")
        alone = fleet.convbench(*WORDS, "--results", "alone")
    assert (spread.returncode, alone.returncode) == (1, 1), spread.stderr
    [heading] = [line for line in spread.stderr.splitlines() if ", seed 0" in line]
    assert heading.startswith("Verifying on north (") and " south (" in heading
    rows = [{row["backend"]: row for row in map(json.loads, done.stdout.splitlines())} for done in (spread, alone)]
    assert set(rows[0]) == set(rows[1]) == {"wrong-dilation"}
    for name in rows[0]:
        of_both = [each[name] for each in rows]
        assert len({row["cases"] for row in of_both}) == 1
        assert len({row["coverage"] for row in of_both}) == 1
        causes = [sorted((f["case"], f["check"]) for f in row["failures"]) for row in of_both]
        assert causes[0] == causes[1] != []
