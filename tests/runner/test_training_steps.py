"""The training step in `run`, `verify`, `choose` and the report: real processes and real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import PLUGINS

import convbench
from convbench.errors import PlanError
from convbench.suite import load_suite

PLUGIN = PLUGINS / "steps.py"
LAYER = "n2c2h5w5_o3k3_s2_bias"
STEP = f"{LAYER}_step"
MODELS = """
from torch import nn

def generator():
    return nn.Sequential(nn.ConvTranspose2d(4, 3, 4, 2, 1, bias=False), nn.ReLU(), nn.Conv2d(3, 2, 3, padding=1))
"""


def command(*words: str | Path) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "convbench", *map(str, words), "--plugin", str(PLUGIN)]
    return subprocess.run(line, capture_output=True, text=True, timeout=280, check=False)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_run_of_steps_judges_every_result_and_names_the_wrong_one(tmp_path: Path) -> None:
    words = ["run", "--problem", LAYER, "--direction", "step", "--where", 'direction == "step"', "--quick", "--no-asv"]
    words += [word for name in ("in-parts", "at-once", "wrong-together", "from-before") for word in ("--backend", name)]
    records = {r["backend"]: r for r in lines(command(*words, "--results", tmp_path, "--json"))}
    assert {(r["case_id"], r["problem"]["direction"]) for r in records.values()} == {(STEP, "step")}
    statuses = {name: record["status"] for name, record in records.items()}
    assert statuses == {"in-parts": "ok", "at-once": "ok", "wrong-together": "wrong", "from-before": "unsupported"}
    assert "weight gradient: " in records["wrong-together"]["reason"]
    assert records["from-before"]["reason"].endswith("only, not step")
    again = command(*words, "--resume", "--results", tmp_path)
    assert "0 new records" in again.stdout and STEP in again.stdout


def test_verify_finds_what_is_wrong_in_a_step_alone(tmp_path: Path) -> None:
    words = ["--direction", "step", "--strength", "2", "--search-time", "0", "--results", tmp_path]
    done = command("verify", "--backend", "at-once", "--backend", "wrong-together", *words, "--json")
    rows = {row["backend"]: row for row in lines(done)}
    assert done.returncode == 1
    assert (rows["at-once"]["status"], rows["at-once"]["coverage"]) == ("ok", 1.0)
    failures = rows["wrong-together"]["failures"]
    assert failures and all(failure["case"].split()[0].endswith("_step") for failure in failures)
    assert "weight gradient: " in failures[0]["reason"]
    report = Path(failures[0]["report_file"]).read_text()
    assert "training step" in report and "Training step (output and all gradients) of a 2-D convolution" in report


def test_choose_for_training_chooses_by_the_step_of_every_layer(tmp_path: Path) -> None:
    model = tmp_path / "model.py"
    model.write_text(MODELS)
    options: dict[str, Any] = {"plugin": PLUGIN, "results": tmp_path, "budget": 0.1, "progress": False}
    words = {"input": (1, 4, 5, 5), "batch": 2, "backend": ("at-once", "wrong-together")}
    result = convbench.choose(f"{model}:generator", training=True, **words, **options)
    layers = [line for line in result.records if line["type"] == "layer"]
    assert [layer["case_id"] for layer in layers] == ["n2c3h10w10_o4k4_s2_p1_step", "n2c3h10w10_o2k3_p1_bias_step"]
    assert [layer["layer"] for layer in layers] == ["0", "2"]
    assert layers[0]["choice"]["backend"] == "at-once"
    assert all(record["status"] == "wrong" for record in layers[0]["untimed"])
    inferring = convbench.choose(f"{model}:generator", **words, **options)
    assert [line["case_id"] for line in inferring.records if line["type"] == "layer"] == [
        "n2c3h10w10_o4k4_s2_p1_dgrad",
        "n2c3h10w10_o2k3_p1_bias",
    ]


@pytest.mark.parametrize("more", [{"for_": "apply"}, {"plan": "plan.json"}])
def test_training_makes_no_plan(more: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PlanError, match="leave out --training"):
        convbench.choose(LAYER, training=True, **more)


def test_a_suite_over_steps_has_one_case_for_each_layer() -> None:
    suite = load_suite("smoke")
    over = suite.over(directions=("step",))
    assert [case.problem for case in over.cases] == [case.problem.replace(direction="step") for case in suite.cases]
    assert [case.count for case in over.cases] == [case.count for case in suite.cases]
