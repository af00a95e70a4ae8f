"""Data that are timed: what they are, which files are read, and what is right for denormal numbers."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convbench.backend import Arithmetic
from convbench.errors import DataError
from convbench.problem import DTYPES, ConvProblem, Dtype
from convbench.verification.bounds import SMALLEST_NORMAL
from convbench.verification.gate import Gate
from convbench.verification.operands import NUMPY_DTYPES, normal_operands
from convbench.verification.reference import convolve
from convbench.verification.timed_data import TimedData, timed_data

SMALL = ConvProblem.parse("n1c2h5w4_o3k2_bias")


def of(problem: ConvProblem, word: str) -> Any:
    [data] = timed_data([word]).values()
    operands = data.operands(problem, 0)
    assert operands is not None
    return operands


@pytest.mark.parametrize("dtype", DTYPES)
def test_denormal_values_are_that_in_every_dtype_and_the_weight_stays_normal(dtype: Dtype) -> None:
    problem = (
        SMALL.replace(dtype=dtype) if hasattr(SMALL, "replace") else ConvProblem(**{**SMALL.as_dict(), "dtype": dtype})
    )
    operands, usual = of(problem, "denormal"), normal_operands(problem, 0)
    for array in (operands.x, operands.b):
        sizes = np.abs(array.astype(np.float64))
        assert array.dtype == NUMPY_DTYPES[dtype]
        assert (sizes > 0).all() and (sizes < SMALLEST_NORMAL[dtype]).all()
    assert {*np.sign(operands.x.astype(np.float64)).ravel()} == {-1.0, 1.0}
    assert np.array_equal(operands.w, usual.w)
    assert np.array_equal(of(problem, "denormal").x, operands.x)


def test_zeros_are_zeros_and_normal_values_are_the_usual_ones() -> None:
    assert not of(SMALL, "zeros").x.any() and not of(SMALL, "zeros").b.any() and of(SMALL, "zeros").w.all()
    assert TimedData().operands(SMALL, 0) is None


@pytest.mark.parametrize("direction", ["input_gradient", "weight_gradient", "bias_gradient"])
def test_of_gradients_what_is_multiplied_first_is_small(direction: str) -> None:
    problem = ConvProblem(**{**SMALL.as_dict(), "bias": direction == "bias_gradient", "direction": direction})
    first = of(problem, "zeros").x if direction == "weight_gradient" else of(problem, "zeros").g
    assert first is not None and not first.any()


# --- files ------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=90))
@settings(max_examples=30)
def test_the_values_of_a_file_are_taken_in_order_and_over_again(values: list[float]) -> None:
    x = TimedData("f", {"x": np.array(values, np.float32)}).operands(SMALL, 0)
    assert x is not None
    expected = [values[i % len(values)] for i in range(x.x.size)]
    assert x.x.shape == SMALL.input_shape and x.x.ravel().tolist() == expected
    assert np.array_equal(x.w, normal_operands(SMALL, 0).w)


def test_an_array_of_the_right_shape_is_taken_as_it_is_and_the_weight_is_optional(tmp_path: Path) -> None:
    x, w = np.arange(40.0).reshape(1, 2, 5, 4), np.ones((3, 2, 2, 2), np.int8)
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "xw.npz", input=x, weight=w)
    assert np.array_equal(of(SMALL, str(tmp_path / "x.npy")).x, x)
    both = of(SMALL, str(tmp_path / "xw.npz"))
    assert np.array_equal(both.x, x) and (both.w == 1).all() and both.w.dtype == np.float32


def test_the_label_of_a_file_says_its_name_and_changes_with_its_content(tmp_path: Path) -> None:
    path = tmp_path / "evil\n\x1b[31m.npy"
    labels = set()
    for value in (1.0, 2.0):
        np.save(path, np.array([value]))
        [label] = timed_data([str(path), str(path)])
        labels.add(label)
        assert label.isprintable() and label.startswith("evil??[31m.npy ")
    assert len(labels) == 2


class Malice:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("executed",)


def hostile() -> dict[str, bytes]:
    pickled = io.BytesIO()
    np.save(pickled, np.array([Malice()], dtype=object), allow_pickle=True)
    in_archive = io.BytesIO()
    np.savez(in_archive, input=np.array([Malice()], dtype=object))
    unknown, nothing, text = io.BytesIO(), io.BytesIO(), io.BytesIO()
    np.savez(unknown, activations=np.ones(2))
    zipfile.ZipFile(nothing, "w").close()
    np.save(text, np.array(["a"]))
    header = b"\x93NUMPY\x01\x00v\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }".ljust(128)
    values = {}
    for name, value in {"nan": [np.nan], "empty": [], "complex": [1j]}.items():
        buffer = io.BytesIO()
        np.save(buffer, np.array(value))
        values[f"{name}.npy"] = buffer.getvalue()
    return values | {
        "pickled.npy": pickled.getvalue(),
        "pickled.npz": in_archive.getvalue(),
        "unknown.npz": unknown.getvalue(),
        "nothing.npz": nothing.getvalue(),
        "text.npy": text.getvalue(),
        "claims.npy": header,
        "cut.npy": pickled.getvalue()[:20],
        "no.npz": b"PK\x03\x04 no archive",
        "no.npy": b"",
    }


@pytest.mark.parametrize("name", hostile())
def test_a_hostile_file_is_refused_with_its_path_and_nothing_is_executed(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(hostile()[name])
    with pytest.raises(DataError, match=name):
        timed_data([str(tmp_path / name)])
    assert not (tmp_path / "executed").exists()


def test_other_words_and_files_are_refused_with_what_to_give(tmp_path: Path) -> None:
    for word in ("denormals", "x.csv", str(tmp_path / "missing.npy"), str(tmp_path)):
        with pytest.raises(DataError, match=r"give normal, denormal, zeros, or the path of a \.npy or \.npz file"):
            timed_data([word])
    with pytest.raises(DataError, match="Did you mean 'denormal'"):
        timed_data(["denormals"])


def test_values_that_the_dtype_cannot_hold_and_operands_that_a_problem_lacks_are_refused() -> None:
    half = ConvProblem(**{**SMALL.as_dict(), "dtype": "float16"})
    with pytest.raises(DataError, match="float16 cannot hold"):
        TimedData("f", {"x": np.array([1e6])}).operands(half, 0)
    gradient = TimedData("g.npz", {"g": np.ones(1)})
    with pytest.raises(DataError, match=r"g\.npz has gradient, which .* does not take"):
        gradient.check([SMALL])
    gradient.check([ConvProblem(**{**SMALL.as_dict(), "bias": False, "direction": "input_gradient"})])


# --- what is right ----------------------------------------------------------------------------------------------------


def answer(problem: ConvProblem, operands: Any, *, flush: bool) -> Any:
    """The reference, rounded once; with `flush` denormal operands and results are zero, as by FTZ and DAZ."""
    least = SMALLEST_NORMAL[problem.dtype]

    def kept(array: Any) -> Any:
        return np.where(np.abs(array.astype(np.float64)) < least, 0, array.astype(np.float64)) if flush else array

    y = convolve(problem, kept(operands.x), kept(operands.w), None if operands.b is None else kept(operands.b))
    return kept(np.asarray(y)).astype(NUMPY_DTYPES[problem.dtype])


@pytest.mark.parametrize("algorithm", ["direct", "gemm", "winograd", "fft", "auto"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_keeping_and_flushing_are_right_and_told_apart(dtype: Dtype, algorithm: Any) -> None:
    problem = ConvProblem(**{**SMALL.as_dict(), "dtype": dtype})
    gate = Gate(problem, timed=of(problem, "denormal"))
    arithmetic = Arithmetic(algorithm)
    kept = gate.real.judge(arithmetic, answer(problem, gate.real.operands, flush=False))
    assert kept.passed and kept.denormals == "kept"
    flushed = gate.real.judge(arithmetic, answer(problem, gate.real.operands, flush=True))
    assert flushed.passed
    if algorithm in ("direct", "gemm"):  # a transform's bound may be as wide as the answers are large
        assert flushed.denormals == "flushed"


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e-30, 1.0])
def test_what_is_no_flushing_is_wrong_for_denormal_values_too(bad: float) -> None:
    gate = Gate(SMALL, timed=of(SMALL, "denormal"))
    y = answer(SMALL, gate.real.operands, flush=False)
    y[0, 1, 2, 1] = bad
    verdict = gate.real.judge(Arithmetic("direct"), y)
    assert not verdict.passed and verdict.denormals is None and verdict.element == (0, 1, 2, 1)


@given(st.integers(0, 10**6), st.sampled_from(["direct", "gemm"]))
@settings(max_examples=25, deadline=None)
def test_flushing_at_every_step_of_the_sum_stays_within_the_bound(seed: int, algorithm: Any) -> None:
    """Products and partial sums in float32, flushed one by one, on inputs that are denormal and normal by turns."""
    rng = np.random.default_rng(seed)
    problem = ConvProblem.parse("n1c3h1w6_o2k1")
    x = np.ldexp(rng.uniform(-1, 1, problem.input_shape), rng.integers(-140, -120, problem.input_shape)).astype("f4")
    w = rng.uniform(-2, 2, problem.weight_shape).astype("f4")
    least = np.float32(SMALLEST_NORMAL["float32"])

    def flushed(a: Any) -> Any:
        return np.where(np.abs(a) < least, np.float32(0), a).astype("f4")

    y = np.zeros(problem.output_shape, "f4")
    for c in range(3):
        y = flushed(y + flushed(flushed(x[:, c : c + 1]) * w[None, :, c, 0, 0, None, None]))
    gate = Gate(problem, timed=normal_operands(problem, 0).__class__(x=x, w=w))
    assert gate.real.judge(Arithmetic(algorithm), y).passed


def test_normal_values_are_asked_besides_and_judged_as_ever() -> None:
    usual, timed = Gate(SMALL), Gate(SMALL, timed=of(SMALL, "zeros"))
    arithmetic = Arithmetic("direct")
    assert len(timed.further(arithmetic)) == len(usual.further(arithmetic)) + 1
    oracle = timed.further(arithmetic)[0]
    assert np.array_equal(oracle.operands.x, usual.real.operands.x)
    y = answer(SMALL, oracle.operands, flush=False)
    assert oracle.judge(arithmetic, y) == usual.real.judge(arithmetic, y)
    assert oracle.judge(arithmetic, y).denormals is None
