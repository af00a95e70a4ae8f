"""What machines measured is in asv's files of the checkout that the command is typed in, by machine."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from fleet_of_processes import fleet_of
from test_asv import IS_CLONE, asv, call, cloned

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not IS_CLONE, reason="needs git history to clone; an unpacked archive has none"),
]

RUN = ["run", "--suite", "smoke", "--backend", "numpy-gemm", "--quick", "--machines", "*"]


def test_each_machine_has_a_series_and_a_page(tmp_path: Path) -> None:
    clone = cloned(tmp_path / "clone")
    head = call(clone, "git", "rev-parse", "HEAD").stdout.strip()
    with fleet_of(tmp_path, "north", "south") as fleet:  # whose folder is no checkout
        fleet.wait_for_workers(2)
        done = replace(fleet, folder=clone).convbench(*RUN, "--cluster", fleet.address)
    assert done.returncode == 0, done.stderr
    assert f"48 values stored in asv's files under commit {head[:8]}" in " ".join(done.stderr.split())
    for machine in ("north", "south"):
        [journal] = (clone / "results" / machine).glob("*.jsonl")
        records = [json.loads(line) for line in journal.read_text().splitlines()]
        assert {record["commit"] for record in records} == {head}
        known = json.loads((clone / "results" / machine / "machine.json").read_text())
        facts = records[0]["machine"]
        assert (known["machine"], known["cpu"], known["ram"]) == (machine, facts["cpu"], facts["ram"])
        shown = asv(clone, "show", "HEAD", "--machine", machine, "-b", "Smoke.track_time")
        assert "numpy-gemm" in shown
    published = call(clone, sys.executable, "-m", "convbench", "publish", "--machines")
    assert published.returncode == 0, published.stderr
    pages = clone / ".asv" / "html"
    assert all((pages / f"convbench-{machine}.html").is_file() for machine in ("north", "south"))
    with_graphs = {part for path in pages.rglob("track.Smoke.track_time.json") for part in path.parts}
    assert {"machine-north", "machine-south"} <= with_graphs
