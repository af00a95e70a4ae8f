"""The criteria that evaluation/mutation/mutation_score.py sets beside `convbench verify` do what their tools do."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from places import EVALUATION

MUTATION = EVALUATION / "mutation"
sys.path.insert(0, str(MUTATION))

criteria = importlib.import_module("criteria")
plain_calls = importlib.import_module("plain_calls")
first_failure = importlib.import_module("mutants_judged").first_failure
install = importlib.import_module("installed_faults").install

DTYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}
BY_NAME = {criterion.name: criterion.accepts for criterion in criteria.CRITERIA}


def answers(dtype: str, seed: int, error: float) -> tuple[Any, Any]:
    """An answer with a relative error of up to `error` in each element, and the right one."""
    rng = np.random.default_rng(seed)
    expected = rng.standard_normal((2, 3, 4, 5))
    got = expected * (1 + error * rng.uniform(-1, 1, expected.shape))
    return got.astype(DTYPES[dtype]), expected.astype(DTYPES[dtype])


@pytest.mark.parametrize("name", BY_NAME)
@pytest.mark.parametrize("dtype", DTYPES)
def test_equal_is_right_and_nan_zeros_and_fewer_are_wrong(name: str, dtype: str) -> None:
    _, expected = answers(dtype, 0, 0)
    accepts = BY_NAME[name]
    assert accepts(expected.copy(), expected)
    assert not accepts(expected * expected.dtype.type(np.nan), expected)
    assert not accepts(np.zeros_like(expected), expected)
    assert not accepts(expected[:, :, :, :-1], expected)


@given(st.sampled_from(list(DTYPES)), st.integers(0, 999), st.floats(1e-8, 1e-1))
def test_torch_close_is_assert_close(dtype: str, seed: int, error: float) -> None:
    torch = pytest.importorskip("torch")
    got, expected = answers(dtype, seed, error)
    tensors = [torch.from_numpy(array.astype(np.float64)).to(getattr(torch, dtype)) for array in (got, expected)]
    try:
        torch.testing.assert_close(*tensors)
    except AssertionError:
        accepted = False
    else:
        accepted = True
    assert criteria.torch_close(got, expected) == accepted


def test_torchs_tolerances_are_those_of_the_installed_one() -> None:
    torch = pytest.importorskip("torch")
    for dtype, tolerances in criteria.TORCH_TOLERANCES.items():
        assert torch.testing._comparison.default_tolerances(getattr(torch, dtype)) == tolerances


def test_a_root_mean_square_forgives_the_more_wrong_elements_the_larger_the_output() -> None:
    expected = np.ones(10**6, np.float16)
    for wrong, accepted in ((67, True), (68, False)):  # 10^6 times the square of 8.2e-3 is 67.2
        got = expected.copy()
        got[:wrong] = 0
        assert criteria.miopen_rms(got, expected) == accepted
    assert criteria.rms_range(np.float64([1, 2]), np.float64([1, 4])) == pytest.approx(2 / (2**0.5 * 4))


def test_what_takes_no_notice_of_shapes_and_dtypes() -> None:
    expected = np.float32([[1, 2], [1, 2]])
    assert BY_NAME["allclose 1e-2"](expected[0].astype(np.float64), expected)
    assert BY_NAME["MIOpen RMS"](expected.reshape(-1), expected)
    assert not any(accepts(expected[0].astype(np.float64), expected) for n, accepts in BY_NAME.items() if n[0] != "a")


def test_the_onnx_cases_are_those_of_onnx() -> None:
    onnx = pytest.importorskip("onnx.backend.test.case.node")
    theirs = onnx.collect_testcases("Conv")
    conv = [case for case in theirs if case.model.graph.node[0].op_type == "Conv"]
    assert len(conv) == len(plain_calls.ONNX_CASES)
    answered = set()
    for case_id in plain_calls.ONNX_CASES:
        problem, x, w, y = plain_calls.onnx_case(case_id)
        answered.add(y.tobytes())
        assert (x.shape, w.shape, y.shape) == (problem.input_shape, problem.weight_shape, problem.output_shape)
    assert answered == {case.data_sets[0][1][0].tobytes() for case in conv}


def test_the_script_judges_a_fault_a_breakdown_and_a_control() -> None:
    command = [sys.executable, str(MUTATION / "mutation_score.py"), "--no-verify", "--problems", "40", "--json"]
    names = ["sound", "fault-zeros", "fault-second-call", "fault-exit"]
    run = subprocess.run(
        [*command, *(word for name in names for word in ("--only", name))], capture_output=True, text=True, check=True
    )
    rows = {row["backend"]: row for row in map(json.loads, run.stdout.splitlines())}
    assert list(rows) == names
    assert len(rows["fault-zeros"]["objections"]) == 7
    assert rows["sound"]["objections"] == rows["fault-second-call"]["objections"] == {}
    assert rows["sound"]["differs"] == 0 < rows["fault-zeros"]["differs"] <= 40
    assert "ends with 0" in rows["fault-exit"]["breakdown"]
    assert set(rows["fault-exit"]["objections"]) == set(BY_NAME)
    assert "[4/4]" in run.stderr


def test_an_unknown_name_is_refused() -> None:
    command = [sys.executable, str(MUTATION / "mutation_score.py"), "--only", "nothing-of-the-kind"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 2
    assert "nothing-of-the-kind" in run.stderr


def test_the_script_verifies_until_the_first_failure() -> None:
    command = [sys.executable, str(MUTATION / "mutation_score.py"), "--only", "fault-second-call", "--problems", "5"]
    run = subprocess.run([*command, "--json"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    row = json.loads(run.stdout)
    assert row["verified"]["status"] == "wrong"
    assert row["verified"]["question"]
    assert row["objections"] == {}


def test_a_verification_that_breaks_down_itself_has_caught_nothing() -> None:
    judged = importlib.import_module("mutants_judged")
    broken = judged.Verified("error", questions=0, seconds=1.0, reason="its verifying process ended with code 1")
    fault = importlib.import_module("faults").FAULTS[0]
    assert not broken.caught
    assert not judged.Judged("a fault", fault, verified=broken).as_it_should_be
    assert not judged.Judged("a control", None, verified=broken).as_it_should_be
    assert judged.Judged("a control", None, verified=judged.Verified("ok", 9, 1.0)).as_it_should_be


def test_the_first_failure_is_that_of_a_backend_where_many_were_verified_at_once(tmp_path: Path) -> None:
    wrong, right = {"check": "exact", "question": "n1c1h3w3_o1k3", "reason": "1 of 1 differs"}, None
    answers = [("a", right), ("b", right), ("b", wrong), ("a", right), ("a", wrong | {"check": "bound"}), ("a", wrong)]
    events = [{"backend": name, "event": "answered", "finding": finding} for name, finding in answers]
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm" / "1.verification").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    assert first_failure(tmp_path, "a") == (3, wrong | {"check": "bound"})
    assert first_failure(tmp_path, "b") == (2, wrong)
    assert first_failure(tmp_path, "c") is None


def test_installed_faults_are_backends_of_the_machine(tmp_path: Path) -> None:
    install(tmp_path, ["fault-zeros", "sound"])
    code = "from convbench.registry import discover; print(*(entry.name for entry in discover()))"
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    names = run.stdout.split()
    assert {"fault-zeros", "sound"} <= set(names) and "fault-second-call" not in names
