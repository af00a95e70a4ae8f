"""What the options of a run mean on a cluster: they are carried out on the machines, or refused in a sentence."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fleet_of_processes import FleetOfProcesses, fleet_of

pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NOWHERE = ["--cluster", "tls://127.0.0.1:1"]  # what is refused is refused before anything is reached
PROBLEMS = ["--problem", "n1c2h4w4_o2k1", "--problem", "n1c3h5w5_o2k3"]
SENT = ["--isa", "native", "--priority", "normal", "--dtype", "float64", "--direction", "input_gradient"]
SENT += ["--where", "kernel_height == 3", "--data", "zeros"]


def test_settings_that_are_sent_are_those_of_the_records(tmp_path: Path) -> None:
    with fleet_of(tmp_path, "north") as fleet:
        fleet.wait_for_workers(1)
        (tmp_path / "c.toml").write_text(f'scheduler = "{fleet.address}"\nwait_s = 300\n')
        words = ["run", *PROBLEMS, *SENT, "--backend", "numpy-gemm", "--quick", "--results", "r"]
        done = fleet.convbench(*words, "--cluster", "c.toml")
        assert done.returncode == 0, done.stderr
        [journal] = (tmp_path / "r" / "north").glob("*.jsonl")
        [record] = [json.loads(line) for line in journal.read_text().splitlines()]
    assert record["case"] == "n1c3h5w5_o2k3_f64_dgrad"
    settings = record["settings"]
    assert (settings.get("isa"), settings["priority"], settings["data"]) == (None, "normal", "zeros")


def test_what_only_this_machine_has_is_refused(tmp_path: Path) -> None:
    fleet = FleetOfProcesses(tmp_path)
    (tmp_path / "one.py").write_text("BACKENDS = ()\n")
    (tmp_path / "known.toml").write_text("")
    run = ["run", "--problem", "n1c2h4w4_o2k1", *NOWHERE]
    verify = ["verify", "--backend", "numpy*", *NOWHERE]
    for words, option in (
        ([*run, "--plugin", "one.py"], "--plugin"),
        ([*run, "--python", "3.12"], "--python"),
        ([*verify, "--plugin", "one.py"], "--plugin"),
        ([*verify, "--known", "known.toml"], "--known"),
        ([*verify, "--isa", "avx2"], "--isa"),
    ):
        refused = fleet.convbench(*words)
        assert refused.returncode == 2, words
        assert option in refused.stderr and "machine" in refused.stderr, refused.stderr
