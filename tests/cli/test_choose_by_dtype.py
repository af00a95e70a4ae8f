"""`convbench choose --dtype T,T`: a choice in each dtype, and all of them side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

PROBLEM = ["--problem", "n1c2h5w5_o2k3", "--backend", "numpy-gemm"]


def convbench(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", "choose", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_dtypes_are_chosen_for_in_turn_and_compared(tmp_path: Path) -> None:
    words = [*PROBLEM, "--dtype", "float32,int8", "--quick", "--budget", "0.02", "--json", "--results", str(tmp_path)]
    done = convbench(*words)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    layers = [line["case_id"] for line in lines if line["type"] == "layer"]
    assert layers == ["n1c2h5w5_o2k3", "n1c2h5w5_o2k3_u8zs8u8z"]
    best, own = (line for line in lines if line["type"] == "dtypes")
    assert own["backend"] == "numpy-gemm"
    assert list(best["pass_s"]) == list(own["pass_s"]) == ["float32", "int8"]
    assert min(own["pass_s"].values()) > 0


def test_a_plan_has_one_dtype(tmp_path: Path) -> None:
    done = convbench(*PROBLEM, "--dtype", "float32,int8", "--plan", str(tmp_path / "plan.json"))
    assert done.returncode == 2
    assert "--plan takes the choices in one dtype, and --dtype has 2" in done.stderr
