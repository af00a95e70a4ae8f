"""Machines that are not as they should be: each is a sentence, and the others go on."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from dataclasses import fields
from pathlib import Path

import pytest
from fleet_of_processes import fleet_of
from places import CHECKOUT, PLUGINS

from convbench.fleet.messages import FIELDS, request_as_data, request_of
from convbench.problem import ConvProblem
from convbench.runner.run import Request, requested_suites
from convbench.suite import load_suite

DONE_BEFORE = {"suites", "problems", "case_glob", "where", "dtype", "batch", "direction", "epilogue"}
OF_THE_COORDINATOR = {
    "resume",
    "results",
    "keep",
    "campaign",
    "checkout",
    "details",
    "as_json",
    "no_asv",
    "allow_dirty",
}
REFUSED = {"plugins", "pythons"}
SITECUSTOMIZE = "import time\nreal = time.time\ntime.time = lambda: real() + 3600\n"
PLUGIN = "from mistakes import Sound\nBACKENDS = (Sound('sound-conv'),)\n"


def test_every_option_of_a_run_is_sent_or_done_with_or_refused() -> None:
    assert {field.name for field in fields(Request)} == {*FIELDS, *DONE_BEFORE, *OF_THE_COORDINATOR, *REFUSED}


def test_a_request_arrives_as_it_was_sent(tmp_path: Path) -> None:
    request = Request(suites=("resnet50",), problems=("n1c2h4w4_o2k1",), threads=(1, 2), isa=("avx2",), budget=0.5)
    suites = requested_suites(request)
    sent = json.loads(json.dumps(request_as_data(request, suites)))
    arrived = request_of(sent, tmp_path, "campaign")
    assert [suite.cases for suite in arrived.suites] == [suite.cases for suite in suites]  # type: ignore[union-attr]
    assert arrived.suites[0].pass_bytes == load_suite("resnet50").pass_bytes  # type: ignore[union-attr]
    assert arrived.suites[1].cases[0].problem == ConvProblem.parse("n1c2h4w4_o2k1")  # type: ignore[union-attr]
    assert (arrived.threads, arrived.isa, arrived.budget, arrived.campaign) == ((1, 2), ("avx2",), 0.5, "campaign")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_each_odd_machine_is_a_sentence_and_the_others_go_on(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="pip install 'convbench[cluster]'")
    site, clock, older = (tmp_path / name for name in ("site", "clock", "older"))
    for folder in (site / "sound-1.0.dist-info", clock):
        folder.mkdir(parents=True)
    (site / "sound-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: sound\nVersion: 1.0\n")
    (site / "sound-1.0.dist-info" / "entry_points.txt").write_text("[convbench.backends]\nsound = sound\n")
    (site / "sound.py").write_text(PLUGIN)
    (clock / "sitecustomize.py").write_text(SITECUSTOMIZE)
    for part in ("convbench", "backends", "suites"):
        shutil.copytree(CHECKOUT / part, older / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(CHECKOUT / "pyproject.toml", older)
    installation = older / "convbench" / "installation.py"
    installation.write_text(installation.read_text().replace('VERSION = "', 'VERSION = "0.0.'))
    plugin = os.pathsep.join([str(CHECKOUT), str(site), str(PLUGINS)])
    with fleet_of(tmp_path) as fleet:
        fleet.start_worker("sound", PYTHONPATH=plugin)
        fleet.start_worker("stuck", PYTHONPATH=plugin)
        fleet.start_worker("ahead", PYTHONPATH=os.pathsep.join([str(clock), plugin]))
        fleet.start_worker("plain")
        fleet.start_worker("older", PYTHONPATH=str(older))
        fleet.wait_for_workers(5)
        (tmp_path / "c.toml").write_text(f'scheduler = "{fleet.address}"\nsilent_s = 30\n')
        problems = [word for n in range(2, 8) for word in ("--problem", f"n1c{n}h4w4_o2k1")]
        words = ["run", *problems, "--backend", "sound-conv", "--quick", "--results", "r", "--machines", "*"]
        process = fleet.begin(*words, "--cluster", "c.toml")
        kept = tmp_path / "homes" / "stuck"
        fleet.wait_until(lambda: any(path.stat().st_size for path in kept.rglob("*.jsonl")))
        os.kill(fleet.processes["stuck"].pid, signal.SIGSTOP)
        _, said = process.communicate(timeout=900)
    said = " ".join(said.split())
    assert process.returncode == 1
    assert "older is left out: it has convbench 0.0." in said and "pip install convbench==" in said
    assert re.search(r"The clock of ahead is 3,[56]\d\d s ahead", said)
    assert "plain:" in said and "sound-conv" in said
    assert "stuck: it was silent for 30 s" in said
    for machine in ("sound", "ahead"):
        [journal] = (tmp_path / "r" / machine).glob("*.jsonl")
        assert len(journal.read_text().splitlines()) == 6
