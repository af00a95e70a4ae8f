"""The suites that others' tests were made into: still what those ship, and right by every account."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import suite_of_onnx_node
import suite_of_torch_opinfo
from places import SUPPORT

from convbench.store.asv.files import class_name
from convbench.suite import builtin_suites, load_suite
from convbench.verification.reference import convolve


def without_version(text: str) -> str:
    return re.sub(r"(?m)^(# .*(?:onnx|PyTorch) )\d+\.\d+", r"\1", text)


@pytest.mark.parametrize(
    ("module", "needed"),
    [(suite_of_onnx_node, "onnx"), (suite_of_torch_opinfo, "expecttest")],  # torch's testing modules import that
)
def test_the_suite_is_what_the_library_ships(module: ModuleType, needed: str) -> None:
    if importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed")
    code = f"import {module.__name__} as suite; print(suite.text(), end='')"
    done = subprocess.run(  # on its own: what torch.testing imports changes the process
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=SUPPORT, timeout=200, check=True
    )
    kept = module.PATH.read_text(encoding="utf-8")
    assert without_version(done.stdout) == without_version(kept), f"write it anew: python tests/{module.__name__}.py"


def test_the_answers_that_onnx_expects_are_the_references() -> None:
    cases = load_suite("onnx-node").cases
    assert len(cases) == 6
    for case in cases:
        assert case.data
        data = case.data.load(case.problem)
        assert np.array_equal(convolve(case.problem, data["input"], data["weight"], data.get("bias")), data["expected"])


def test_same_lower_is_written_out_as_onnx_means_it() -> None:
    """SAME_LOWER puts the odd row before, and 5 pixels at stride 2 under 3 taps have one row to either side."""
    [case] = load_suite("onnx-node").select("conv-with-autopad-same").cases
    assert case.problem.padding == ((1, 1), (1, 1))
    sides = suite_of_onnx_node.sides_of_padding
    same = {"strides": (2, 2)}
    assert sides({"auto_pad": b"SAME_LOWER", **same}, (6, 5), (3, 4)) == ((1, 0), (2, 1))
    assert sides({"auto_pad": b"SAME_UPPER", **same}, (6, 5), (3, 4)) == ((0, 1), (1, 2))
    assert sides({"auto_pad": b"VALID", **same}, (6, 5), (3, 4)) == ((0, 0), (0, 0))
    assert sides({"pads": (1, 2, 3, 4)}, (6, 5), (3, 4)) == ((1, 3), (2, 4))


def test_they_say_where_they_come_from_and_under_which_licence() -> None:
    for name, words in {"onnx-node": ("ONNX", "Apache-2.0"), "torch-opinfo": ("PyTorch", "BSD-3-Clause")}.items():
        head = load_suite(name).path.read_text(encoding="utf-8").partition("name =")[0]
        assert all(word in head for word in (*words, "Copyright", "tests/support/suite_of_"))


def test_no_two_suites_have_one_name_in_asv() -> None:
    names = [class_name(suite.name) for suite in builtin_suites()]
    assert len(set(names)) == len(names)
    assert {"OnnxNode", "TorchOpinfo"} <= set(names)


@pytest.mark.parametrize(("suite", "cases"), [("onnx-node", 6), ("torch-opinfo", 22)])
def test_they_run(suite: str, cases: int, tmp_path: Path) -> None:
    words = [
        "run",
        "--suite",
        suite,
        "--quick",
        "--backend",
        "numpy-gemm",
        "--json",
        "--no-asv",
        "--results",
        str(tmp_path),
    ]
    done = subprocess.run(
        [sys.executable, "-m", "convbench", *words], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert [record["status"] for record in records] == ["ok"] * cases
