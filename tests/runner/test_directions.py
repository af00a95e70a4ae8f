"""The training directions in `run` and `verify`: real processes and real files."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from places import PLUGINS

from convbench.api.run import run as run_api
from convbench.errors import ProblemError, SuiteError
from convbench.problem import ConvProblem
from convbench.runner.selection import directions_named, selected_suites
from convbench.suite import load_suite

PLUGIN = PLUGINS / "gradients.py"
ALL = "forward,input_gradient,weight_gradient"
LAYER = "n2c2h5w5_o3k3_s2"


def convbench(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "convbench", *map(str, words), "--plugin", str(PLUGIN)]
    return subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_run_has_records_of_each_direction_and_continues(tmp_path: Path) -> None:
    words = ["run", "--problem", LAYER, "--backend", "*-gradients", "--backend", "wrong-weights", "--backend"]
    words += ["forward-only", "--quick", "--no-asv", "--direction", ALL, "--results", str(tmp_path)]
    records = lines(convbench(*words, "--json"))
    found = {(r["backend"], r["problem"]["direction"]): r for r in records}
    assert {key: r["status"] for key, r in found.items()} == {
        ("right-gradients", "forward"): "ok",
        ("right-gradients", "input_gradient"): "ok",
        ("right-gradients", "weight_gradient"): "ok",
        ("wrong-weights", "forward"): "ok",
        ("wrong-weights", "input_gradient"): "ok",
        ("wrong-weights", "weight_gradient"): "wrong",
        ("forward-only", "forward"): "ok",
        ("forward-only", "input_gradient"): "unsupported",
        ("forward-only", "weight_gradient"): "unsupported",
    }
    assert {r["case_id"] for r in records} == {LAYER, f"{LAYER}_dgrad", f"{LAYER}_wgrad"}
    assert found["forward-only", "input_gradient"]["reason"] == "computes forward only, not input_gradient"
    again = convbench(*words, "--resume")
    assert "0 new records" in again.stdout
    for heading in ("forward\n", "input_gradient\n", "weight_gradient\n"):
        assert heading in again.stdout


def test_verify_finds_what_is_wrong_in_a_direction_and_shrinks_it(tmp_path: Path) -> None:
    words = ["--direction", "input_gradient,weight_gradient,bias_gradient", "--strength", "2", "--search-time", "0"]
    done = convbench("verify", *words, "--json", "--results", tmp_path)
    rows = {row["backend"]: row for row in lines(done)}
    assert done.returncode == 1
    assert (rows["right-gradients"]["status"], rows["right-gradients"]["coverage"]) == ("ok", 1.0)
    assert rows["forward-only"]["status"] == "unsupported"
    assert rows["forward-only"]["reason"] == "computes forward only, not input_gradient"
    failures = rows["wrong-weights"]["failures"]
    assert failures and all(failure["case"].split()[0].endswith("_wgrad") for failure in failures)
    smallest = ConvProblem.parse(failures[0]["case"].split()[0])
    assert smallest.batch == 2 and max(smallest.stride) == 2 and smallest.in_channels == smallest.out_channels == 1
    assert "Gradient of the weight of a 2-D convolution" in Path(failures[0]["report_file"]).read_text()
    again = ("--question", failures[0]["case"], "--results", tmp_path)
    replayed = convbench("verify", "--backend", "wrong-weights", *again)
    assert replayed.returncode == 1 and "_wgrad" in replayed.stdout + replayed.stderr


def test_an_unknown_direction_is_refused_with_the_known_ones() -> None:
    done = convbench("run", "--problem", LAYER, "--direction", "backward")
    assert done.returncode == 2 and "bias_gradient" in done.stderr and "Traceback" not in done.stderr
    with pytest.raises(SuiteError, match=r"weight_gradients.*Did you mean 'weight_gradient'"):
        directions_named("forward,weight_gradients")
    assert directions_named(None) == () and directions_named("forward, forward") == ("forward",)


def test_a_suite_over_directions_keeps_forward_names_and_leaves_out_what_has_no_bias(tmp_path: Path) -> None:
    path = tmp_path / "named.toml"
    one = "in_channels = 2\nheight = 5\nwidth = 5\nout_channels = 2\nkernel_size = 3\n"
    cases = f"[[case]]\nname = 'stem'\n{one}[[case]]\n{one}bias = true\ncount = 3\n"
    path.write_text(f"name = 'named'\nsummary = 's'\n{cases}")
    suite = load_suite(str(path))
    over = suite.over(directions=("forward", "weight_gradient", "bias_gradient"))
    base = "n1c2h5w5_o2k3"
    names = ["stem", f"{base}_bias", f"{base}_wgrad", f"{base}_bias_wgrad", f"{base}_bias_bgrad"]
    assert [case.name for case in over.cases] == names
    assert over.cases[-1].count == 3
    assert over.pass_bytes == suite.pass_bytes
    with pytest.raises(SuiteError, match="no case has a bias"):
        selected_suites((), [base], directions=("bias_gradient",))
    with pytest.raises(ProblemError, match="there is no bias"):
        ConvProblem.parse(base).replace(direction="bias_gradient")


def test_from_python_a_direction_is_a_word() -> None:
    result = run_api(LAYER, backend="numpy-gemm", direction="weight_gradient", quick=True, self_check=False)
    assert [(r["case_id"], r["status"]) for r in result.records] == [(f"{LAYER}_wgrad", "ok")]
