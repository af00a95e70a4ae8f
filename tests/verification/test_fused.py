"""The truth about epilogues, against torch: values, bounds that right answers keep, what wrong ones show, and what NaN
and infinities become."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import epilogues, fused_problems
from torch.nn import functional

from convbench.backend import Arithmetic
from convbench.problem import ACTIVATIONS, DTYPES, ConvProblem, Epilogue
from convbench.verification.fused.activations import activated, enlarged, is_exact, lipschitz, spread
from convbench.verification.operands import NUMPY_DTYPES, Operands, changed, normal_operands
from convbench.verification.oracle import Oracle, oracle_for
from convbench.verification.question import VALUES, Question
from convbench.verification.reference import NUMPY_MODES

LAYER = ConvProblem(in_channels=8, height=9, width=7, out_channels=6, kernel_size=3, padding=1, bias=True)
GEMM = Arithmetic("gemm")
SPELLINGS = (
    "relu", "relu6", "leaky0.25", "leaky0.01", "leaky-1.5", "clip-1.5x2.5", "clip0.1x0.7", "hswish", "silu", "sigmoid",
    "gelu", "gelutanh",
)  # fmt: skip
EVERY = [f"{before}{word}{after}" for word in SPELLINGS for before, after in (("", ""), ("add_", ""), ("", "_add"))]
EVERY += ["add"]

pytestmark = pytest.mark.usefixtures("torch_on_one_thread")


def by_torch(e: Epilogue, y: torch.Tensor) -> torch.Tensor:
    functions: dict[Any, Callable[[torch.Tensor], torch.Tensor]] = {
        None: lambda y: y,
        "relu": torch.relu,
        "relu6": functional.relu6,
        "leaky_relu": lambda y: functional.leaky_relu(y, e.slope or 0.0),
        "clip": lambda y: torch.clamp(y, e.low, e.high),
        "hard_swish": functional.hardswish,
        "silu": functional.silu,
        "sigmoid": torch.sigmoid,
        "gelu": lambda y: y * (1 + torch.erf(y * math.sqrt(0.5))) / 2,  # torch's own makes NaN of infinity
        "gelu_tanh": lambda y: functional.gelu(y, approximate="tanh"),
    }
    return functions[e.activation](y)


def tensor(array: NDArray[Any]) -> torch.Tensor:
    if array.dtype == NUMPY_DTYPES["bfloat16"]:
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    return torch.from_numpy(array.copy())


def as_array(y: torch.Tensor) -> NDArray[Any]:
    if y.dtype == torch.bfloat16:
        return y.contiguous().view(torch.int16).numpy().view(NUMPY_DTYPES["bfloat16"])
    return y.numpy()


def answer(problem: ConvProblem, o: Operands, *, widened: bool) -> NDArray[Any]:
    """By torch; in float32 until the end, as a library that fuses does, where `widened`."""
    e, dtype = problem.epilogue, getattr(torch, problem.dtype)
    assert e is not None
    inner = torch.float32 if widened and problem.dtype != "float64" else dtype
    x, w, b, r = (None if a is None else tensor(a).to(inner) for a in (o.x, o.w, o.b, o.r))
    assert x is not None and w is not None
    (top, bottom), (left, right) = problem.padding
    mode = {"constant": "constant", "edge": "replicate", "wrap": "circular", "reflect": "reflect"}
    padded = functional.pad(x, (left, right, top, bottom), mode=mode[NUMPY_MODES[problem.padding_mode]])
    y = functional.conv2d(padded, w, b, problem.stride, 0, problem.dilation, problem.groups)
    y = y + r if r is not None and e.residual == "before" else y
    y = by_torch(e, y)
    return as_array((y + r if r is not None and e.residual == "after" else y).to(dtype))


# --- values -------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(epilogues(), st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=20))
def test_values_are_torchs_in_float64(epilogue: Epilogue, values: list[float]) -> None:
    y = np.array(values)
    expected = by_torch(epilogue, torch.from_numpy(y)).numpy()
    tolerance = 1e-14 * np.maximum(1.0, np.abs(y))
    with np.errstate(over="ignore", invalid="ignore"):
        close = np.abs(activated(epilogue, y) - expected) <= tolerance * max(1.0, abs(epilogue.slope or 0.0))
    assert (close | (activated(epilogue, y) == expected)).all()


@settings(max_examples=200)
@given(epilogues(), st.floats(-50, 50), st.floats(0, 3))
def test_no_error_is_enlarged_by_more_than_is_said(epilogue: Epilogue, y: float, error: float) -> None:
    at, off = np.array([y]), np.array([error])
    moved = activated(epilogue, at + off * np.linspace(-1, 1, 41)) - activated(epilogue, at)
    slack = 1e-12 * (1 + np.abs(moved).max())
    assert np.abs(moved).max() <= enlarged(epilogue, at, off)[0] + slack
    assert enlarged(epilogue, at, off)[0] <= lipschitz(epilogue) * error + slack


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_of_special_values_it_is_torchs_or_a_choice_of_either(activation: Any) -> None:
    numbers = {"leaky_relu": {"slope": 0.5}, "clip": {"low": -1, "high": 2}}.get(activation, {})
    epilogue = Epilogue(activation=activation, **numbers)
    y = np.array([np.nan, np.inf, -np.inf])
    ours, torchs = activated(epilogue, y), by_torch(epilogue, torch.from_numpy(y)).numpy()
    assert math.isnan(ours[0]) and math.isnan(torchs[0]) and ours[1] == torchs[1]
    assert ours[2] == torchs[2] or (ours[2] == 0 and math.isnan(torchs[2]))


# --- right answers are right --------------------------------------------------------------------------------------


@pytest.mark.parametrize("widened", [True, False], ids=["fused", "unfused"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("spelling", EVERY)
def test_torchs_answers_are_right(spelling: str, dtype: Any, widened: bool) -> None:
    problem = LAYER.replace(epilogue=spelling, dtype=dtype)
    arithmetic = Arithmetic("gemm", epilogue_in_dtype=not widened)
    for values in VALUES:
        key = oracle_for(Question(problem=problem, values=values), arithmetic)
        for judge, operands in ((key.judge, key.operands), (key.judge_changed, changed(problem, key.operands))):
            verdict = judge(arithmetic, answer(problem, operands, widened=widened))
            assert verdict.passed, (values, verdict.reason)


@settings(max_examples=150)
@given(fused_problems(), st.sampled_from(VALUES))
def test_no_right_answer_is_called_wrong(problem: ConvProblem, values: Any) -> None:
    e = problem.epilogue
    assert e is not None
    if max(abs(number) for number in (e.slope or 0, e.low or 0, e.high or 0)) > 1e3:
        return  # numbers that half formats, or torch's own scalars, do not hold
    key = oracle_for(Question(problem=problem, values=values), GEMM)
    verdict = key.judge(GEMM, answer(problem, key.operands, widened=True))
    assert verdict.passed, verdict.reason


# --- and wrong ones are wrong -------------------------------------------------------------------------------------


@pytest.mark.parametrize("spelling", EVERY)
def test_every_part_of_an_activation_shows(spelling: str) -> None:
    epilogue = Epilogue.parse(spelling)
    if epilogue.activation is None or spread(epilogue) is None:
        return
    for dtype in DTYPES:
        problem = LAYER.replace(in_channels=64, height=20, epilogue=epilogue, dtype=dtype)
        for values in ("integers", "normal"):
            key = oracle_for(Question(problem=problem, values=values), GEMM)
            y = key.convolved if epilogue.residual != "before" else key.convolved + key.operands.r.astype(np.float64)
            ends = [limit for limit in (epilogue.low, epilogue.high) if limit is not None] or [0.0]
            ends = [0.0, 6.0] if epilogue.activation == "relu6" else ends
            for end in ends:
                assert (y > end).any() and (y < end).any(), (dtype, values, end)
            within = (y > min(ends)) & (y < max(ends)) if len(ends) > 1 else np.abs(y) < 8
            assert within.mean() > 0.05, (dtype, values)


def test_an_exact_epilogue_of_integers_allows_no_error() -> None:
    for spelling in ("relu", "add_relu6", "relu_add", "leaky0.25", "clip-1.5x2.5", "add"):
        assert is_exact(Epilogue.parse(spelling)), spelling
        problem = LAYER.replace(epilogue=spelling)
        key = oracle_for(Question(problem=problem), GEMM)
        right = answer(problem, key.operands, widened=True)
        assert key.judge(GEMM, right).check == "exact" and key.judge(GEMM, right).passed
        wrong = right.copy()
        wrong[0, 0, 0, 0] = np.nextafter(wrong[0, 0, 0, 0], np.float32(np.inf))
        assert not key.judge(GEMM, wrong).passed
    for spelling in ("leaky0.01", "clip0.1x0.7", "silu", "leaky0.25_add"):
        assert not is_exact(Epilogue.parse(spelling)), spelling


@pytest.mark.parametrize(("right", "wrong"), [("gelu", "gelutanh"), ("gelutanh", "gelu"), ("silu", "hswish")])
def test_a_similar_activation_is_told_apart(right: str, wrong: str) -> None:
    for values in ("integers", "normal"):
        problem = LAYER.replace(epilogue=right)
        key = oracle_for(Question(problem=problem, values=values), GEMM)  # type: ignore[arg-type]
        assert not key.judge(GEMM, answer(problem.replace(epilogue=wrong), key.operands, widened=True)).passed


def test_an_approximation_passes_where_it_is_declared() -> None:
    problem = LAYER.replace(epilogue="sigmoid")
    key = Oracle(problem, normal_operands(problem, 0), "normal")
    off = (key.exact + 1e-4).astype(np.float32)
    assert not key.judge(GEMM, off).passed
    assert key.judge(Arithmetic("gemm", activation_errors={"sigmoid": 2e-4}), off).passed
    assert not key.judge(Arithmetic("gemm", activation_errors={"silu": 2e-4}), off).passed


def test_a_nan_that_is_lost_is_wrong_unless_declared() -> None:
    problem = LAYER.replace(epilogue="relu")
    key = oracle_for(Question(problem=problem, values="special"), GEMM)
    right = answer(problem, key.operands, widened=True)
    assert np.isnan(right).any() and key.judge(GEMM, right).passed
    lost = np.where(np.isnan(right), np.float32(0), right)
    assert not key.judge(GEMM, lost).passed
    assert key.judge(Arithmetic("gemm", loses_nan=("relu",)), lost).passed
    assert not key.judge(Arithmetic("gemm", loses_nan=("relu",)), np.zeros_like(right)).passed


@pytest.mark.parametrize("words", [{"activation_errors": {"relu7": 1.0}}, {"loses_nan": ("relu7",)}])
def test_arithmetic_refuses_unknown_activations(words: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="relu7"):
        Arithmetic(**words)
