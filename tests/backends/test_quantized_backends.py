"""Every backend that declares quantised problems, on random ones: sums by loops over taps in int64, numbers as exact
fractions of integers. Only what float32 may put on the other side of a half has two right answers.
"""

from __future__ import annotations

import importlib
import pkgutil
from fractions import Fraction
from typing import Any

import convbench.backends
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from convbench.backend import Backend
from convbench.errors import ProblemError
from convbench.measurement.machine.facts import cpu_flags
from convbench.problem import ConvProblem, Quantization, Scales
from convbench.registry import versions
from convbench.verification.known import applicable, own_table

SLOW_TO_COMPILE = ("torch_compile", "iree", "tvm", "jax")
FILES = [m.name for m in pkgutil.iter_modules(convbench.backends.__path__) if not m.name.startswith("_")]
ALL = [b for file in FILES for b in importlib.import_module(f"convbench.backends.{file}").BACKENDS]
QUANTIZED = [b for b in ALL if b.supports.quantized is not None and b.device == "cpu"]
NP_PAD = {"zeros": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}
EPSILON = Fraction(1, 2**24)
OPERATIONS = 6  # roundings on the way from a sum to a number, the scaled bias among them


@st.composite
def problems(draw: st.DrawFn, backend: Backend) -> ConvProblem:
    quantization, modes = draw(quantizations(backend)), sorted(backend.supports.padding_modes)
    groups = draw(st.sampled_from([1, 1, 2, 5]))
    kernel, dilation = [draw(st.integers(1, 3)), draw(st.integers(1, 3))], draw(st.integers(1, 2))
    # No window sees padding alone: that is where libraries are known to be wrong (docs/found-by-convbench.md).
    sides = [st.integers(0, min(2, dilation * (size - 1))) for size in kernel]
    try:
        return ConvProblem(
            batch=draw(st.integers(1, 2)),
            in_channels=groups * draw(st.integers(1, 9)),
            out_channels=groups * draw(st.integers(1, 9)),
            height=draw(st.integers(2, 9)),
            width=draw(st.integers(2, 9)),
            kernel_size=(kernel[0], kernel[1]),
            stride=draw(st.integers(1, 3)),
            dilation=dilation,
            padding=((draw(sides[0]), draw(sides[0])), (draw(sides[1]), draw(sides[1]))),
            groups=groups,
            bias=draw(st.booleans()),
            padding_mode=draw(st.sampled_from(modes)),
            quantization=quantization,
        )
    except ProblemError:
        assume(False)
        raise


@st.composite
def quantizations(draw: st.DrawFn, backend: Backend) -> Quantization:
    assert backend.supports.quantized is not None
    first, result = draw(st.sampled_from(sorted(backend.supports.quantized.formats))).split(":")
    return Quantization(
        input=first,
        input_zero_point=draw(st.booleans()),
        per_channel=draw(st.booleans()),
        result=result,
        result_zero_point=draw(st.booleans()) and result in ("u8", "s8"),
    )


def operands(problem: ConvProblem, seed: int, weights: tuple[int, int]) -> tuple[Any, Any, Any, Scales]:
    rng, q = np.random.default_rng(seed), problem.quantization
    assert q is not None
    limits = {"u8": (0, 255), "s8": (-128, 127)}
    x = rng.integers(*limits[q.input], problem.input_shape, endpoint=True).astype(q.dtypes["x"])
    w = rng.integers(*weights, problem.weight_shape, endpoint=True).astype(np.int8)
    b = rng.integers(-(2**15), 2**15, problem.out_channels).astype(np.int32) if problem.bias else None
    channels = problem.out_channels if q.per_channel else 1
    has_scales = q.result != "s32"
    w_scale = rng.uniform(0.001, 0.01, channels) if has_scales else np.ones(channels)
    scales = Scales(
        x_scale=float(np.float32(0.017)) if has_scales else 1.0,
        x_zero=int(rng.integers(*limits[q.input], endpoint=True)) if q.input_zero_point else 0,
        w_scale=w_scale.astype(np.float32),
        w_zero=np.zeros(channels, np.int8),
        y_scale=float(np.float32(rng.uniform(0.05, 1.0))) if q.is_requantized else 1.0,
        y_zero=int(rng.integers(*limits[q.result], endpoint=True)) if q.result_zero_point else 0,
    )
    return x, w, b, scales


def sums(problem: ConvProblem, x: Any, w: Any, b: Any, scales: Scales) -> np.ndarray:
    x = np.pad(x.astype(np.int64) - scales.x_zero, ((0, 0), (0, 0), *problem.padding), NP_PAD[problem.padding_mode])
    out = np.zeros(problem.output_shape, np.int64)
    wide, per = w.astype(np.int64), problem.in_channels // problem.groups
    for o in range(problem.out_channels):
        first = o // (problem.out_channels // problem.groups) * per
        for c, i, j in np.ndindex(per, *problem.kernel_size):
            row, column = i * problem.dilation[0], j * problem.dilation[1]
            plane = x[:, first + c, row :: problem.stride[0], column :: problem.stride[1]]
            out[:, o] += wide[o, c, i, j] * plane[:, : problem.out_height, : problem.out_width]
    return out if b is None else out + b.astype(np.int64)[:, None, None]


def real_numbers(problem: ConvProblem, total: np.ndarray, b: Any, scales: Scales) -> tuple[np.ndarray, np.ndarray]:
    """The exact result before it is rounded, and how far float32 may be from it."""
    w_scale = np.broadcast_to(scales.w_scale, (problem.out_channels,))
    factors = [Fraction(scales.x_scale) * Fraction(float(s)) / Fraction(scales.y_scale) for s in w_scale]
    real, off = np.empty(total.shape, object), np.empty(total.shape, object)
    for at in np.ndindex(total.shape):
        factor, bias = factors[at[1]], 0 if b is None else abs(int(b[at[1]]))
        real[at] = int(total[at]) * factor
        off[at] = (abs(real[at]) + 2 * bias * factor + abs(scales.y_zero)) * EPSILON * OPERATIONS
    return real, off


def check(backend: Backend, problem: ConvProblem, seed: int) -> None:
    q = problem.quantization
    assert q is not None
    arithmetic = backend.arithmetic.quantized
    x, w, b, scales = operands(problem, seed, (-64, 63) if arithmetic.saturates else (-128, 127))
    if arithmetic.halves_weights_of(q):
        w = w // 2 * 2
    if arithmetic.symmetric:
        x, w = np.maximum(x, -127), np.maximum(w, -127)
    before = [a.copy() for a in (x, w)]
    ready = backend.prepare_quantized(problem, x, w, b, scales)
    ready.run()
    got = np.array(ready.to_numpy(ready.run()))
    ready.sync()
    assert (got.shape, got.dtype.name) == (problem.output_shape, q.dtypes["y"])
    assert all((a == old).all() for a, old in zip((x, w), before, strict=True))
    total = sums(problem, x, w, b, scales)
    if q.result == "s32":
        np.testing.assert_array_equal(got, total)
        return
    real, off = real_numbers(problem, total, b, scales)
    if q.result == "f32":
        assert all(abs(Fraction(float(g)) - r) <= o for g, r, o in zip(got.flat, real.flat, off.flat, strict=True))
        return
    low, high = (0, 255) if q.result == "u8" else (-127 if arithmetic.symmetric else -128, 127)
    for g, r, o in zip(got.flat, real.flat, off.flat, strict=True):
        right = {min(high, max(low, round(end) + scales.y_zero)) for end in (r - o, r + o)}
        assert int(g) in right, (float(r), int(g), right)


def available(backend: Backend) -> None:
    if reason := backend.unavailable():
        pytest.skip(reason)


def known_wrong(backend: Backend, problem: ConvProblem) -> bool:
    """Whether convbench's own table knows wrong answers of `backend` to problems such as this."""
    entries = applicable(own_table(), backend.name, versions(backend), cpu_flags())
    return any(entry.covers(problem) for entry in entries)


@pytest.mark.parametrize("backend", [pytest.param(b, id=b.name) for b in QUANTIZED])
def test_quantised_results_are_exact_sums_rounded_once(backend: Backend) -> None:
    available(backend)
    few = type(backend).__module__.rpartition(".")[2] in SLOW_TO_COMPILE

    @settings(
        max_examples=12 if few else 50,
        deadline=None,
        derandomize=True,
        suppress_health_check=[HealthCheck.filter_too_much],
    )
    @given(problems(backend), st.integers(0, 2**32 - 1))
    def examine(problem: ConvProblem, seed: int) -> None:
        assume(backend.unsupported(problem) is None)
        assume(not known_wrong(backend, problem))
        assume(problem.out_width > 1 or problem.stride[1] == 1)  # known to be wrong, as above
        check(backend, problem, seed)

    examine()


@pytest.mark.parametrize("backend", [pytest.param(b, id=b.name) for b in ALL if b.supports.quantized is None])
def test_a_backend_that_declares_none_refuses_every_quantised_problem(backend: Backend) -> None:
    problem = ConvProblem(in_channels=4, height=5, width=5, out_channels=4, kernel_size=3, dtype="int8")
    assert backend.unsupported(problem)


@pytest.mark.parametrize("backend", [pytest.param(b, id=b.name) for b in QUANTIZED])
def test_operands_are_read_when_prepared_and_never_after(backend: Backend) -> None:
    """A worker gives their memory to the next case."""
    available(backend)
    (first, *_) = sorted(backend.supports.quantized.formats) if backend.supports.quantized else ()
    problem = ConvProblem(
        in_channels=4, height=6, width=6, out_channels=4, kernel_size=3, quantization=first.replace(":", ":s8:")
    )
    x, w, _, scales = operands(problem, 0, (-64, 63))
    ready = backend.prepare_quantized(problem, x, w, None, scales)
    before = np.array(ready.to_numpy(ready.run()))
    for array in (x, w, scales.w_scale):
        array.fill(0)
    if ready.touch is not None:
        ready.touch()
    np.testing.assert_array_equal(ready.to_numpy(ready.run()), before)
