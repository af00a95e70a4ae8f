"""What decides that an answer is right: operands, error bounds, verdicts, and that seeded faults are all caught."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.fft
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import forward_problems
from torch.nn import functional

from convbench.backend import Arithmetic
from convbench.problem import DTYPES, PADDING_MODES, ConvProblem
from convbench.verification.bounds import LARGEST_EXACT_INTEGER, UNIT_ROUNDOFF, error_bound, gamma, warn_level
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.gate import Gate
from convbench.verification.operands import (
    NUMPY_DTYPES,
    Operands,
    integer_operands,
    normal_operands,
    rounded,
)
from convbench.verification.oracle import Oracle
from convbench.verification.reference import convolve, pad
from convbench.verification.verdict import Verdict, judge_bound, judge_exact

seeds = st.integers(0, 2**31)
GEMM = Arithmetic("gemm")
ACCUMULATORS = ("float64", "float32", "tf32", "float16", "bfloat16")
channels = st.one_of(st.integers(1, 64), st.integers(1, 5000))
direct = st.builds(
    Arithmetic,
    st.sampled_from(["direct", "gemm"]),
    st.sampled_from([None, *ACCUMULATORS]),
    st.sampled_from([None, *ACCUMULATORS]),
)
transforming = st.builds(Arithmetic, st.sampled_from(["fft", "winograd", "auto"]))


def parts(operands: Operands) -> list[NDArray[Any]]:
    return [part for part in (operands.x, operands.w, operands.b) if part is not None]


def dense(**changes: Any) -> ConvProblem:
    arguments: dict[str, Any] = {
        "batch": 2, "in_channels": 8, "height": 9, "width": 9, "out_channels": 6, "kernel_size": 3, "padding": 1,
        "bias": True,
    }  # fmt: skip
    return ConvProblem(**(arguments | changes))


# --- operands ---------------------------------------------------------------------------------------------------------


@given(forward_problems(), seeds, st.integers(1, 3000))
@settings(max_examples=80)
def test_integer_operands_are_whole_within_magnitude_never_zero_and_exact_in_their_dtype(
    problem: ConvProblem, seed: int, magnitude: int
) -> None:
    magnitude = min(magnitude, LARGEST_EXACT_INTEGER[problem.dtype])
    operands = integer_operands(problem, magnitude, seed)
    assert [part.shape for part in parts(operands)] == [
        problem.input_shape, problem.weight_shape, *([problem.bias_shape] if problem.bias else [])
    ]  # fmt: skip
    for part, largest in zip(parts(operands), (magnitude, magnitude, magnitude**2), strict=False):
        assert part.dtype == NUMPY_DTYPES[problem.dtype]
        values = part.astype(np.float64)
        assert np.all(values == np.round(values))
        assert np.all(values != 0)
        assert np.abs(values).max() <= min(largest, LARGEST_EXACT_INTEGER[problem.dtype])


@given(forward_problems(), seeds)
@settings(max_examples=40)
def test_normal_operands_are_full_and_of_the_problems_dtype_and_shapes(problem: ConvProblem, seed: int) -> None:
    operands = normal_operands(problem, seed)
    assert (operands.b is not None) == problem.bias
    assert (operands.x.shape, operands.w.shape) == (problem.input_shape, problem.weight_shape)
    assert all(part.dtype == NUMPY_DTYPES[problem.dtype] and part.flags.c_contiguous for part in parts(operands))
    assert all(np.all(part != 0) and np.all(np.isfinite(part.astype(np.float64))) for part in parts(operands))


def test_normal_operands_give_outputs_near_one_in_size() -> None:
    problem = dense(in_channels=256, bias=False)
    assert 0.8 < convolve(problem, *parts(normal_operands(problem, 0)), None).std() < 1.2


@given(forward_problems(), seeds)
@settings(max_examples=30)
def test_the_same_problem_and_seed_give_the_same_data_and_another_seed_other_data(
    problem: ConvProblem, seed: int
) -> None:
    for draw in (normal_operands, lambda p, s: integer_operands(p, 200, s)):
        first, again, other = draw(problem, seed), draw(problem, seed), draw(problem.replace(batch=4, height=30), seed)
        assert all(np.array_equal(a, b) for a, b in zip(parts(first), parts(again), strict=True))
        assert not np.array_equal(first.w.ravel(), other.w.ravel()) or first.w.size < 3
    big = dense()
    assert not np.array_equal(normal_operands(big, seed).x, normal_operands(big, seed + 1).x)


def test_data_are_the_same_on_any_machine() -> None:
    operands = integer_operands(dense(), 100, 0)
    assert operands.x.ravel()[:6].tolist() == [-83, 53, 22, 38, 92, 27]


@st.composite
def long_reductions(draw: st.DrawFn) -> ConvProblem:
    groups = draw(st.sampled_from([1, 1, 2, 8]))
    return ConvProblem(
        in_channels=groups * draw(channels),
        out_channels=groups,
        height=draw(st.integers(12, 300)),
        width=draw(st.integers(12, 300)),
        kernel_size=(draw(st.integers(1, 11)), draw(st.integers(1, 11))),
        padding=draw(st.integers(0, 11)),
        padding_mode=draw(st.sampled_from(PADDING_MODES)),
        groups=groups,
        bias=draw(st.booleans()),
        dtype=draw(st.sampled_from(DTYPES)),
    )


@given(long_reductions(), direct)
@settings(max_examples=200)
def test_every_partial_sum_of_exact_integers_is_an_integer_that_the_accumulator_holds(
    problem: ConvProblem, arithmetic: Arithmetic
) -> None:
    a = exact_magnitude(problem, arithmetic)
    largest = LARGEST_EXACT_INTEGER[arithmetic.accumulate_precision(problem.dtype)]
    if problem.dtype == "float16":
        largest = min(largest, int(np.finfo(np.float16).max) // 2)  # twice the answer is asked for, too
    widest = min(
        LARGEST_EXACT_INTEGER[problem.dtype], LARGEST_EXACT_INTEGER[arithmetic.operand_precision(problem.dtype)]
    )
    terms = problem.reduction_length + 1

    def fits(magnitude: int) -> bool:
        return magnitude <= widest and terms * magnitude**2 <= largest

    assert a == 0 or fits(a)
    assert not fits(a + 1), "larger integers would have done, and been the sharper test"


@given(forward_problems(), transforming, st.sampled_from(["float64", "float32"]))
@example(
    ConvProblem(in_channels=1, height=1, width=1, out_channels=1, kernel_size=9, padding=6, padding_mode="replicate"),
    Arithmetic("fft"),
    "float32",
)
@settings(max_examples=100)
def test_transforms_are_asked_for_integers_only_where_their_error_stays_below_a_half(
    problem: ConvProblem, arithmetic: Arithmetic, dtype: Any
) -> None:
    problem = problem.replace(dtype=dtype)
    a = exact_magnitude(problem, arithmetic)
    assert a >= 1
    worst = rounded(
        problem,
        np.full(problem.input_shape, a),
        np.full(problem.weight_shape, a),
        np.full(problem.out_channels, a * a) if problem.bias else None,
    )
    right = Oracle(problem, worst, "normal")
    bound = error_bound(problem, arithmetic, right.exact, right.magnitudes, worst.x, worst.w)
    assert bound.max() < 0.5


@given(forward_problems(), st.sampled_from(["fft", "winograd", "auto"]))
@settings(max_examples=30)
def test_integers_of_a_transform_summed_more_precisely_than_the_output_have_sums_that_the_output_holds(
    problem: ConvProblem, algorithm: Any
) -> None:
    arithmetic = Arithmetic(algorithm, accumulate="float64")
    examination = Gate(problem.replace(dtype="float32"))
    right = asked_on_integers(examination, arithmetic)
    assert right is not None
    assert right.magnitudes.max() <= 2**24
    verdict = right.judge(arithmetic, right.exact.astype(np.float32))
    assert (verdict.passed, verdict.max_error) == (True, 0)


@given(forward_problems(), st.sampled_from(["float16", "bfloat16"]), transforming)
@settings(max_examples=20)
def test_a_half_format_is_not_asked_for_exact_integers_of_a_transform(
    problem: ConvProblem, dtype: Any, arithmetic: Arithmetic
) -> None:
    assert asked_on_integers(Gate(problem.replace(dtype=dtype)), arithmetic) is None


def test_where_no_integers_are_exact_none_are_asked_for() -> None:
    problem = dense(in_channels=4096, dtype="float16")
    assert exact_magnitude(problem, Arithmetic(accumulate="float16")) == 0
    assert asked_on_integers(Gate(problem), Arithmetic(accumulate="float16")) is None


def asked_on_integers(examination: Gate, arithmetic: Arithmetic) -> Oracle | None:
    """The question of integers among those of an examination."""
    return next((key for key in examination.further(arithmetic) if key.values == "integers"), None)


# --- bounds -----------------------------------------------------------------------------------------------------------


def pointwise(reduction: int, pixels: int, dtype: Any, *, bias: bool = False) -> ConvProblem:
    return ConvProblem(
        in_channels=reduction, height=1, width=pixels, out_channels=3, kernel_size=1, bias=bias, dtype=dtype
    )


def tf32(array: NDArray[Any]) -> NDArray[np.float32]:
    """float32 rounded to 11 significant bits."""
    bits = array.astype(np.float32).view(np.uint32)
    return ((bits + 0xFFF + ((bits >> 13) & 1)) & np.uint32(0xFFFFE000)).view(np.float32)


def summed_at_random(operands: Operands, accumulate: Any, rng: np.random.Generator) -> NDArray[Any]:
    """The 1x1 convolution with every product and every sum rounded to `accumulate`, two random terms at a time."""
    x, w = operands.x.astype(accumulate), operands.w.astype(accumulate)
    terms = [(w[None, :, c] * x[:, c, None]).astype(accumulate) for c in range(x.shape[1])]
    if operands.b is not None:
        terms.append(np.broadcast_to(operands.b.astype(accumulate).reshape(1, -1, 1, 1), terms[0].shape))
    while len(terms) > 1:
        first, second = (terms.pop(rng.integers(len(terms))) for _ in range(2))
        terms.append((first + second).astype(accumulate))
    return terms[0]


def over_bound(problem: ConvProblem, arithmetic: Arithmetic, operands: Operands, output: NDArray[Any]) -> float:
    """The largest error of `output` over its bound."""
    right = Oracle(problem, operands, "normal")
    bound = error_bound(problem, arithmetic, right.exact, right.magnitudes, operands.x, operands.w)
    assert bound.shape == problem.output_shape
    return float((np.abs(output.astype(np.float64) - right.exact) / bound).max())


@pytest.mark.parametrize("accumulate", ["float64", "float32", "float16", "bfloat16"])
@pytest.mark.parametrize("dtype", DTYPES)
@given(reduction=st.integers(1, 100), bias=st.booleans(), positive=st.booleans(), seed=seeds)
@settings(max_examples=12)
def test_sums_in_any_order_stay_inside_the_bound(
    dtype: Any, accumulate: Any, reduction: int, bias: bool, positive: bool, seed: int
) -> None:
    problem = pointwise(reduction, 7, dtype, bias=bias)
    operands = normal_operands(problem, seed)
    if positive:
        operands = Operands(*(None if part is None else np.abs(part) for part in (operands.x, operands.w, operands.b)))
    output = summed_at_random(operands, NUMPY_DTYPES[accumulate], np.random.default_rng(seed))
    arithmetic = Arithmetic("gemm", operand=accumulate, accumulate=accumulate)
    assert over_bound(problem, arithmetic, operands, output.astype(NUMPY_DTYPES[dtype])) <= 1


@given(reduction=st.integers(1, 100), seed=seeds)
@settings(max_examples=25)
def test_operands_rounded_to_tf32_stay_inside_the_bound_of_a_backend_that_declares_them(
    reduction: int, seed: int
) -> None:
    problem = pointwise(reduction, 7, "float32")
    operands = normal_operands(problem, seed)
    cut = Operands(tf32(operands.x), tf32(operands.w), None)
    output = summed_at_random(cut, np.float32, np.random.default_rng(seed))
    assert over_bound(problem, Arithmetic(operand="tf32"), operands, output) <= 1
    assert over_bound(problem, GEMM, operands, output) > 1


# In float64 the bound is twice that, since the reference is rounded as well.
@pytest.mark.parametrize(("accumulate", "reduction"), [("float32", 200), ("float16", 50), ("bfloat16", 10)])
def test_the_bound_is_nearly_reached_where_every_rounding_goes_the_same_way(accumulate: Any, reduction: int) -> None:
    # 1 + u - u^2 rounds to 1 each time, so that of K terms all but the first are lost.
    u = UNIT_ROUNDOFF[accumulate]
    problem = pointwise(reduction, 1, accumulate)
    x = np.full(problem.input_shape, u * (1 - 2 * u))
    x[0, 0] = 1
    operands = rounded(problem, x, np.ones(problem.weight_shape), None)
    total = operands.x[:, 0]
    for c in range(1, reduction):
        total = (total + operands.x[:, c]).astype(NUMPY_DTYPES[accumulate])
    output = np.broadcast_to(total[:, None], problem.output_shape)
    arithmetic = Arithmetic("direct", accumulate=accumulate)
    assert 0.8 < over_bound(problem, arithmetic, operands, output) <= 1


def test_accumulation_in_half_precision_is_outside_the_bound_of_float32() -> None:
    problem = pointwise(512, 9, "float16")
    operands = normal_operands(problem, 0)
    positive = Operands(np.abs(operands.x), np.abs(operands.w), None)
    output = summed_at_random(positive, np.float16, np.random.default_rng(0))
    assert over_bound(problem, Arithmetic(accumulate="float16"), positive, output) <= 1
    assert over_bound(problem, GEMM, positive, output) > 1


_WINOGRAD = {
    2: (
        [[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]],
        [[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]],
        [[1, 1, 1, 0], [0, 1, -1, -1]],
    ),
    4: (
        [
            [4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0],
            [0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1],
        ],
        [
            [1 / 4, 0, 0], [-1 / 6, -1 / 6, -1 / 6], [-1 / 6, 1 / 6, -1 / 6],
            [1 / 24, 1 / 12, 1 / 6], [1 / 24, -1 / 12, 1 / 6], [0, 0, 1],
        ],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
    ),
}  # fmt: skip


def by_winograd(problem: ConvProblem, operands: Operands, tile: int) -> NDArray[np.float32]:
    """F(tile, 3) in float32 throughout, for 3x3 kernels of stride 1 (Lavin and Gray 2015)."""
    b_t, g, a_t = (np.array(matrix, np.float32) for matrix in _WINOGRAD[tile])
    out_h, out_w = problem.out_height, problem.out_width
    padded = pad(problem, operands.x)
    rows, columns = -out_h % tile, -out_w % tile
    padded = np.pad(padded, ((0, 0), (0, 0), (0, rows), (0, columns)))
    filters = g @ operands.w @ g.T
    output = np.empty((problem.batch, problem.out_channels, out_h + rows, out_w + columns), np.float32)
    for i in range(0, out_h, tile):
        for j in range(0, out_w, tile):
            patch = b_t @ padded[:, :, i : i + tile + 2, j : j + tile + 2] @ b_t.T
            total = np.zeros((problem.batch, problem.out_channels, tile + 2, tile + 2), np.float32)
            for c in range(problem.in_channels):
                total += filters[None, :, c] * patch[:, None, c]
            output[:, :, i : i + tile, j : j + tile] = a_t @ total @ a_t.T
    output = output[:, :, :out_h, :out_w]
    return output if operands.b is None else output + operands.b[:, None, None]


@pytest.mark.parametrize("tile", [2, 4])
@given(in_channels=st.integers(1, 24), size=st.integers(3, 12), bias=st.booleans(), positive=st.booleans(), seed=seeds)
@settings(max_examples=12)
def test_float32_winograd_stays_inside_its_bound(
    tile: int, in_channels: int, size: int, bias: bool, positive: bool, seed: int
) -> None:
    problem = dense(in_channels=in_channels, height=size, width=size + 1, bias=bias)
    operands = normal_operands(problem, seed)
    if positive:
        operands = Operands(*(None if part is None else np.abs(part) for part in (operands.x, operands.w, operands.b)))
    output = by_winograd(problem, operands, tile)
    for algorithm in ("winograd", "auto"):
        assert over_bound(problem, Arithmetic(algorithm), operands, output) <= 1


def by_fft(problem: ConvProblem, operands: Operands) -> NDArray[np.float32]:
    """One transform per plane in the problem's dtype, summed over channels, for stride and dilation 1."""
    padded = pad(problem, operands.x)
    size = padded.shape[2:]
    planes, filters = scipy.fft.rfft2(padded), np.conj(scipy.fft.rfft2(operands.w, s=size))
    product = (planes[:, None] * filters[None]).sum(2)
    output = scipy.fft.irfft2(product, s=size)[:, :, : problem.out_height, : problem.out_width]
    assert output.dtype == NUMPY_DTYPES[problem.dtype]
    return output if operands.b is None else output + operands.b[:, None, None]


@given(forward_problems(), st.sampled_from(["float64", "float32"]), st.booleans(), seeds)
@settings(max_examples=80)
def test_fft_stays_inside_its_bound(problem: ConvProblem, dtype: Any, positive: bool, seed: int) -> None:
    problem = problem.replace(stride=1, dilation=1, groups=1, dtype=dtype)
    operands = normal_operands(problem, seed)
    if positive:
        operands = Operands(*(None if part is None else np.abs(part) for part in (operands.x, operands.w, operands.b)))
    assert over_bound(problem, Arithmetic("fft"), operands, by_fft(problem, operands)) <= 1


def test_the_bound_of_an_fft_counts_what_padding_repeats() -> None:
    # A single pixel replicated over 41 x 41: the transform sees 41 times the norm of the input.
    problem = ConvProblem(
        in_channels=1, height=1, width=1, out_channels=1, kernel_size=5, padding=20, padding_mode="replicate"
    )
    operands = normal_operands(problem, 0)
    right = Oracle(problem, operands, "normal")
    bound = error_bound(problem, Arithmetic("fft"), right.exact, right.magnitudes, operands.x, operands.w)
    explicit = problem.replace(height=41, width=41, padding=0, padding_mode="zeros")
    padded = Operands(pad(problem, operands.x), operands.w, None)
    spelled_out = error_bound(explicit, Arithmetic("fft"), right.exact, right.magnitudes, padded.x, padded.w)
    assert np.allclose(bound, spelled_out, rtol=1e-12)


@given(forward_problems(), st.one_of(direct, transforming), seeds)
@settings(max_examples=80)
def test_bounds_are_positive_and_no_smaller_than_one_rounding_of_the_output(
    problem: ConvProblem, arithmetic: Arithmetic, seed: int
) -> None:
    operands = normal_operands(problem, seed)
    right = Oracle(problem, operands, "normal")
    bound = error_bound(problem, arithmetic, right.exact, right.magnitudes, operands.x, operands.w)
    assert np.all(bound > 0)
    assert bound.shape == problem.output_shape
    assert np.all(bound >= np.abs(right.exact.astype(NUMPY_DTYPES[problem.dtype]).astype(np.float64) - right.exact))
    assert np.all(warn_level(problem, arithmetic, right.exact, right.magnitudes) > 0)


def test_gamma_is_infinite_where_it_bounds_nothing() -> None:
    assert gamma(2047, 2.0**-11) < math.inf
    assert gamma(2048, 2.0**-11) == math.inf
    assert gamma(0, 0.5) == 0


# --- verdicts ---------------------------------------------------------------------------------------------------------


def asked(problem: ConvProblem, magnitude: int | None = None) -> tuple[Operands, Oracle, NDArray[np.float64]]:
    """Operands (integers of that magnitude, or normal), the right answer, and the bound of a matrix product."""
    operands = normal_operands(problem, 3) if magnitude is None else integer_operands(problem, magnitude, 3)
    right = Oracle(problem, operands, "normal")
    return operands, right, error_bound(problem, GEMM, right.exact, right.magnitudes, operands.x, operands.w)


def output_of(problem: ConvProblem, right: Oracle) -> NDArray[Any]:
    return right.exact.astype(NUMPY_DTYPES[problem.dtype])


def judged_by_bound(problem: ConvProblem, output: Any, right: Oracle, bound: NDArray[np.float64]) -> Verdict:
    return judge_bound(problem, output, right.exact, bound, warn_level(problem, GEMM, right.exact, right.magnitudes))


def next_to(value: Any, towards: float, dtype: Any) -> Any:
    return np.nextafter(np.asarray(value, dtype), np.asarray(towards, dtype))


places = st.tuples(st.integers(0, 1), st.integers(0, 5), st.integers(0, 8), st.integers(0, 8))


@pytest.mark.parametrize("dtype", DTYPES)
@given(place=places, up=st.booleans())
@settings(max_examples=20)
def test_the_exact_check_catches_one_element_off_by_one_unit_in_the_last_place(
    dtype: Any, place: tuple[int, ...], up: bool
) -> None:
    problem = dense(dtype=dtype)
    _, right, bound = asked(problem, exact_magnitude(problem, GEMM))
    output = output_of(problem, right)
    assert judge_exact(problem, output, right.exact, bound, round_to_integer=False).passed
    wrong = next_to(output[place], np.inf if up else -np.inf, output.dtype)
    expected = float(output[place])
    output[place] = wrong
    verdict = judge_exact(problem, output, right.exact, bound, round_to_integer=False)
    assert not verdict.passed
    assert (verdict.element, verdict.wrong_elements, verdict.elements) == (place, 1, output.size)
    assert (verdict.got, verdict.expected) == (float(wrong), expected)
    assert verdict.max_error == abs(float(wrong) - expected)


@pytest.mark.parametrize("dtype", DTYPES)
@given(place=places, up=st.booleans())
@settings(max_examples=20)
def test_the_bound_check_passes_the_last_number_inside_and_catches_the_first_outside(
    dtype: Any, place: tuple[int, ...], up: bool
) -> None:
    problem = dense(dtype=dtype)
    _, right, bound = asked(problem)
    output = output_of(problem, right)
    exact, allowed = right.exact[place], bound[place]
    away = math.inf if up else -math.inf
    inside = np.asarray(exact + math.copysign(allowed, away), output.dtype)
    while abs(float(inside) - exact) > allowed:
        inside = next_to(inside, exact, output.dtype)
    while abs(float(outside := next_to(inside, away, output.dtype)) - exact) <= allowed:
        inside = outside
    output[place] = inside
    verdict = judged_by_bound(problem, output, right, bound)
    assert verdict.passed
    assert verdict.reason is None
    assert verdict.error_over_bound <= 1
    output[place] = outside
    verdict = judged_by_bound(problem, output, right, bound)
    assert not verdict.passed
    assert verdict.error_over_bound > 1
    assert (verdict.element, verdict.got, verdict.expected) == (place, float(outside), exact)


def test_an_answer_of_a_transform_may_be_off_by_less_than_a_half_and_no_more() -> None:
    problem = dense()
    _, right, bound = asked(problem, 20)
    output = output_of(problem, right)
    output[1, 2, 3, 4] += np.float32(0.4375)
    assert judge_exact(problem, output, right.exact, bound, round_to_integer=True).passed
    assert not judge_exact(problem, output, right.exact, bound, round_to_integer=False).passed
    output[1, 2, 3, 4] += np.float32(0.0625)
    assert not judge_exact(problem, output, right.exact, bound, round_to_integer=True).passed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", DTYPES)
def test_a_nan_or_infinity_is_infinitely_wrong(value: float, dtype: Any) -> None:
    problem = dense(dtype=dtype)
    _, right, bound = asked(problem)
    output = output_of(problem, right)
    output[1, 0, 2, 5] = value
    for verdict in (
        judged_by_bound(problem, output, right, bound),
        judge_exact(problem, output, right.exact, bound, round_to_integer=False),
        judge_exact(problem, output, right.exact, bound, round_to_integer=True),
    ):
        assert not verdict.passed
        assert (verdict.element, verdict.max_error, verdict.error_over_bound) == ((1, 0, 2, 5), math.inf, math.inf)
        assert verdict.reason is not None
        assert "infinitely many times the error bound" in verdict.reason


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_nan_is_wrong_even_where_no_error_is_bounded(value: float) -> None:
    problem = dense(in_channels=512, dtype="float16")
    arithmetic = Arithmetic("direct", accumulate="float16")
    examination = Gate(problem)
    output = output_of(problem, examination.real)
    assert examination.real.judge(arithmetic, output).passed
    output[0, 0, 0, 0] = value
    verdict = examination.real.judge(arithmetic, output)
    assert not verdict.passed
    assert (verdict.element, verdict.error_over_bound) == ((0, 0, 0, 0), math.inf)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("arithmetic", [GEMM, Arithmetic("fft"), Arithmetic("winograd")], ids=lambda a: a.algorithm)
def test_where_only_padding_is_summed_nothing_but_zero_is_right(dtype: Any, arithmetic: Arithmetic) -> None:
    problem = dense(padding=4, kernel_size=2, bias=False, dtype=dtype, height=3, width=3)
    examination = Gate(problem)
    output = output_of(problem, examination.real)
    assert output[0, 0, 0, 0] == 0
    verdict = examination.real.judge(arithmetic, output)
    assert verdict.passed
    assert 0 <= verdict.error_over_bound <= 1
    if arithmetic is GEMM:
        output[0, 0, 0, 0] = 1e-6
        assert examination.real.judge(arithmetic, output).element == (0, 0, 0, 0)


MALFORMED: dict[str, tuple[Callable[[NDArray[Any]], Any], str]] = {
    "a list": (lambda y: y.tolist(), "gave list, not a NumPy array"),
    "nothing": (lambda y: None, "gave NoneType, not a NumPy array"),
    "a tensor": (torch.from_numpy, "gave Tensor, not a NumPy array"),
    "words": (lambda y: "int64 array", "gave str, not a NumPy array"),
    "one row too many": (lambda y: np.pad(y, ((0, 0), (0, 0), (0, 1), (0, 0))), r"shape \(2, 6, 10, 9\), expected"),
    "channels last": (lambda y: y.transpose(0, 2, 3, 1), r"shape \(2, 9, 9, 6\), expected \(2, 6, 9, 9\)"),
    "one image": (lambda y: y[:1], r"shape \(1, 6, 9, 9\)"),
    "no batch axis": (lambda y: y[0], r"shape \(6, 9, 9\)"),
    "empty": (lambda y: y[:0], r"shape \(0, 6, 9, 9\)"),
    "a number": (lambda y: y.max(), "not a NumPy array"),
    "too wide a dtype": (lambda y: y.astype(np.float64), "dtype float64, expected float32"),
    "too narrow a dtype": (lambda y: y.astype(np.float16), "dtype float16, expected float32"),
    "whole numbers": (lambda y: y.astype(np.int32), "dtype int32, expected float32"),
    "complex": (lambda y: y.astype(np.complex64), "dtype complex64"),
}


@pytest.mark.parametrize("malformed", MALFORMED.values(), ids=MALFORMED)
def test_what_is_no_output_of_the_problem_is_refused_with_what_it_is(
    malformed: tuple[Callable[[NDArray[Any]], Any], str],
) -> None:
    make, told = malformed
    problem = dense()
    _, right, bound = asked(problem)
    output = make(output_of(problem, right))
    for verdict in (
        judged_by_bound(problem, output, right, bound),
        judge_exact(problem, output, right.exact, bound, round_to_integer=False),
    ):
        assert not verdict.passed
        assert verdict.wrong_elements == verdict.elements == right.exact.size
        assert verdict.error_over_bound == math.inf
        with pytest.raises(AssertionError, match=told):
            raise AssertionError(verdict.reason)


def test_masked_elements_are_judged_like_any_other() -> None:
    problem = dense()
    _, right, bound = asked(problem)
    output = output_of(problem, right)
    output[0, 0, 0, 0] += 1
    masked = np.ma.masked_array(output, mask=output != right.exact.astype(np.float32))
    verdict = judged_by_bound(problem, masked, right, bound)
    assert not verdict.passed
    assert verdict.element == (0, 0, 0, 0)


@given(
    st.dictionaries(places, st.floats(2, 50), min_size=1, max_size=5),
    st.sampled_from(DTYPES),
)
@settings(max_examples=40)
def test_the_worst_element_is_the_one_reported_and_all_wrong_ones_are_counted(
    wrong: dict[tuple[int, ...], float], dtype: Any
) -> None:
    problem = dense(dtype=dtype)
    _, right, bound = asked(problem)
    output = output_of(problem, right)
    for place, times in wrong.items():
        output[place] = right.exact[place] + times * bound[place]
    over = np.abs(output.astype(np.float64) - right.exact) / bound
    verdict = judged_by_bound(problem, output, right, bound)
    assert not verdict.passed
    assert verdict.wrong_elements == len(wrong) == np.count_nonzero(over > 1)
    assert verdict.error_over_bound == over.max()
    assert verdict.element is not None
    assert over[verdict.element] == over.max()
    assert verdict.max_error == np.abs(output.astype(np.float64) - right.exact).max()


def test_the_reason_has_the_check_the_counts_the_element_both_values_and_the_times() -> None:
    problem = dense()
    _, right, bound = asked(problem)
    output = output_of(problem, right)
    output[1, 4, 0, 8] = 77
    verdict = judged_by_bound(problem, output, right, bound)
    times = (77 - right.exact[1, 4, 0, 8]) / bound[1, 4, 0, 8]
    assert verdict.reason == (
        f"bound check: 1 of {output.size} elements wrong; at [1, 4, 0, 8] got 77, "
        f"expected {right.exact[1, 4, 0, 8]:.9g} ({times:.3g} times the error bound)"
    )


def test_an_exact_check_reports_an_element_that_differs_even_where_another_is_closer_to_its_bound() -> None:
    problem = dense(dtype="float32")
    _, right, bound = asked(problem, 20)
    output = output_of(problem, right)
    output[0, 0, 0, 0] += 0.25
    output[0, 1, 0, 0] += 0.75
    small_bound = bound.copy()
    small_bound[0, 0, 0, 0] = 1e-9
    verdict = judge_exact(problem, output, right.exact, small_bound, round_to_integer=True)
    assert (verdict.element, verdict.wrong_elements) == ((0, 1, 0, 0), 1)


def test_an_unusual_error_inside_the_bound_warns_and_a_usual_one_does_not() -> None:
    problem = dense(in_channels=512)
    _, right, bound = asked(problem)
    warn = warn_level(problem, GEMM, right.exact, right.magnitudes)
    assert np.all(warn < bound / 2)
    usual, unusual = right.exact + warn / 2, right.exact + (warn + bound) / 2
    verdict = judged_by_bound(problem, usual.astype(np.float32), right, bound)
    assert verdict.passed
    assert not verdict.warned
    verdict = judged_by_bound(problem, unusual.astype(np.float32), right, bound)
    assert verdict.passed
    assert verdict.warned


def test_rounding_operands_as_declared_is_nothing_unusual() -> None:
    problem = pointwise(128, 200, "float32")
    examination = Gate(problem)
    real = examination.real.operands
    output = convolve(problem, tf32(real.x), tf32(real.w), None).astype(np.float32)
    verdict = examination.real.judge(Arithmetic(operand="tf32"), output)
    assert verdict.passed
    assert not verdict.warned


# --- the check of the checker -----------------------------------------------------------------------------------------

EXAMINED = ConvProblem(
    batch=2,
    in_channels=12,
    height=10,
    width=10,
    out_channels=8,
    kernel_size=3,
    stride=(2, 1),
    padding=((3, 0), (1, 2)),  # sums are alike, so that axes may be swapped unseen by the shape
    dilation=(1, 2),
    groups=2,
    bias=True,
)
REFLECTED = EXAMINED.replace(padding_mode="reflect")

Compute = Callable[[ConvProblem, Operands], NDArray[Any]]


def by_torch(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
    """The right answer in float32, rounded once to a narrower dtype, or in float64."""
    dtype = torch.float64 if problem.dtype == "float64" else torch.float32
    numpy_dtype = np.float64 if problem.dtype == "float64" else np.float32
    x, w = (torch.from_numpy(part.astype(numpy_dtype)) for part in (operands.x, operands.w))
    (top, bottom), (left, right) = problem.padding
    if problem.padding_mode == "zeros":
        x = functional.pad(x, (left, right, top, bottom))
    else:
        mode = {"replicate": "replicate", "reflect": "reflect", "circular": "circular"}[problem.padding_mode]
        x = functional.pad(x, (left, right, top, bottom), mode=mode)
    b = None if operands.b is None else torch.from_numpy(operands.b.astype(numpy_dtype))
    out = functional.conv2d(x.to(dtype), w, b, problem.stride, 0, problem.dilation, problem.groups)
    return np.asarray(out.numpy()).astype(NUMPY_DTYPES[problem.dtype])


def fitted(output: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """`output` cut, or repeated, to `shape`: what a kernel does that takes one thing for another."""
    for axis, size in enumerate(shape):
        output = np.take(output, np.arange(size), axis=axis, mode="wrap")
    return output


def another(**changes: Any) -> Compute:
    """Computes another problem than was asked."""
    return lambda problem, operands: fitted(by_torch(problem.replace(**changes), operands), problem.output_shape)


def on(change: Callable[[NDArray[Any], NDArray[Any], NDArray[Any]], tuple[Any, Any, Any]]) -> Compute:
    """Computes right, on operands changed first."""

    def compute(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
        assert operands.b is not None
        changed = change(operands.x.copy(), operands.w.copy(), operands.b.copy())
        return by_torch(problem, Operands(*(np.ascontiguousarray(part) for part in changed)))

    return compute


def then(change: Callable[[NDArray[Any]], Any]) -> Compute:
    """Computes right, and spoils the output."""

    def compute(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
        output = by_torch(problem, operands)
        changed = change(output)
        return output if changed is None else np.ascontiguousarray(changed)

    return compute


def put(output: NDArray[Any], place: Any, value: Any) -> None:
    output[place] = value


def stale_tile(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
    output, before = by_torch(problem, operands), by_torch(problem, normal_operands(problem, 99))
    output[-1, -1, -2:, -4:] = before[-1, -1, -2:, -4:]
    return output


def stale(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
    return by_torch(problem, normal_operands(problem, 99))


def summed_in(dtype: Any) -> Compute:
    def compute(problem: ConvProblem, operands: Operands) -> NDArray[Any]:
        output = np.zeros(problem.output_shape, dtype)
        for c in range(problem.in_channels // problem.groups):
            for i, j in np.ndindex(problem.kernel_size):
                one = np.zeros_like(operands.w)
                one[:, c, i, j] = operands.w[:, c, i, j]
                output += by_torch(problem, Operands(operands.x, one, None)).astype(dtype)
        assert operands.b is not None
        return (output + operands.b.astype(dtype)[:, None, None]).astype(np.float32)

    return compute


def through(dtype: Any) -> Compute:
    return on(lambda x, w, b: (x.astype(dtype).astype(x.dtype), w.astype(dtype).astype(w.dtype), b))


FAULTS: dict[str, Compute] = {
    "padding swapped between axes": another(padding=((1, 2), (3, 0))),
    "padding swapped between sides of rows": another(padding=((0, 3), (1, 2))),
    "padding swapped between sides of columns": another(padding=((3, 0), (2, 1))),
    "padding made alike on both sides": another(padding=((1, 2), (1, 2))),
    "padding by repetition": another(padding_mode="replicate"),
    "padding around": another(padding_mode="circular"),
    "stride swapped": another(stride=(1, 2)),
    "stride ignored": another(stride=1),
    "dilation swapped": another(dilation=(2, 1)),
    "dilation ignored": another(dilation=1),
    "kernel flipped": on(lambda x, w, b: (x, w[:, :, ::-1, ::-1], b)),
    "kernel flipped in one axis": on(lambda x, w, b: (x, w[:, :, :, ::-1], b)),
    "kernel transposed": on(lambda x, w, b: (x, w.swapaxes(2, 3), b)),
    "input transposed": on(lambda x, w, b: (x.swapaxes(2, 3), w, b)),
    "groups take each other's channels": on(lambda x, w, b: (np.roll(x, 6, 1), w, b)),
    "group offset by one channel": on(lambda x, w, b: (np.roll(x, 1, 1), w, b)),
    "groups interleaved": on(lambda x, w, b: (x.reshape(2, 6, 2, 10, 10).swapaxes(1, 2).reshape(x.shape), w, b)),
    "filters of the other group": on(lambda x, w, b: (x, np.roll(w, 4, 0), b)),
    "bias dropped": on(lambda x, w, b: (x, w, 0 * b)),
    "bias on the wrong channel": on(lambda x, w, b: (x, w, np.roll(b, 1))),
    "bias added twice": on(lambda x, w, b: (x, w, 2 * b)),
    "last bias left out": on(lambda x, w, b: (x, w, np.append(b[:-1], b.dtype.type(0)))),
    "last input channel left out": on(lambda x, w, b: (x, np.where(np.arange(6)[:, None, None] == 5, 0, w), b)),
    "one tap left out": on(lambda x, w, b: (x, np.where(np.arange(9).reshape(3, 3) == 8, 0, w), b)),
    "one pixel left out": on(lambda x, w, b: (np.where(np.arange(100).reshape(10, 10) == 55, 0, x), w, b)),
    "last row left out": then(lambda y: put(y, np.s_[:, :, -1], 0)),
    "last column left out": then(lambda y: put(y, np.s_[:, :, :, -1], 0)),
    "last channel left out": then(lambda y: put(y, np.s_[:, -1], 0)),
    "last image left out": then(lambda y: put(y, np.s_[-1], 0)),
    "last element left out": then(lambda y: put(y, np.s_[-1, -1, -1, -1], 0)),
    "first image in place of all": then(lambda y: np.broadcast_to(y[:1], y.shape)),
    "first row repeated": then(lambda y: put(y, np.s_[:, :, 1], y[:, :, 0])),
    "shifted by a column": then(lambda y: np.roll(y, 1, 3)),
    "output channels shuffled": then(lambda y: y[:, ::-1]),
    "rectified": then(lambda y: np.maximum(y, 0)),
    "negated": then(lambda y: -y),
    "off by a thousandth": then(lambda y: y * np.float32(1.001)),
    "off by a hundred thousandth": then(lambda y: y * np.float32(1.00001)),
    "not written": then(lambda y: np.full_like(y, np.nan)),
    "one element not written": then(lambda y: put(y, np.s_[0, 3, 2, 1], np.nan)),
    "zeros": then(np.zeros_like),
    "a constant": then(lambda y: np.full_like(y, y.mean())),
    "the sum and no more": then(lambda y: np.sort(y, axis=None).reshape(y.shape)),
    "in a narrower dtype": then(lambda y: y.astype(np.float16)),
    "in a wider dtype": then(lambda y: y.astype(np.float64)),
    "rounded to float16": then(lambda y: y.astype(np.float16).astype(np.float32)),
    "summed in float16": summed_in(np.float16),
    "operands rounded to float16": through(np.float16),
    "operands rounded to bfloat16": through(NUMPY_DTYPES["bfloat16"]),
    "operands rounded to tf32": on(lambda x, w, b: (tf32(x), tf32(w), b)),
    "one stale tile": stale_tile,
    "a stale answer": stale,
}


@np.errstate(over="ignore", invalid="ignore")
def passes(compute: Compute, examination: Gate, arithmetic: Arithmetic = GEMM) -> bool:
    """Whether no check finds anything, as the engine asks."""
    real = examination.real.judge(arithmetic, compute(examination.problem, examination.real.operands))
    further = examination.further(arithmetic)
    return real.passed and all(
        key.judge(arithmetic, compute(examination.problem, key.operands)).passed for key in further
    )


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_seeded_fault_is_caught(fault: Compute) -> None:
    assert not passes(fault, Gate(EXAMINED))


@pytest.mark.parametrize("mode", ["zeros", "replicate", "circular"])
def test_another_padding_mode_than_reflect_is_caught(mode: str) -> None:
    assert not passes(another(padding_mode=mode), Gate(REFLECTED))


@pytest.mark.parametrize("algorithm", ["auto", "fft", "winograd"])
@pytest.mark.parametrize("fault", [n for n in FAULTS if "round" not in n and "thousand" not in n])
def test_a_fault_that_is_no_rounding_is_caught_whatever_the_algorithm(fault: str, algorithm: Any) -> None:
    assert not passes(FAULTS[fault], Gate(EXAMINED), Arithmetic(algorithm))


@pytest.mark.parametrize("problem", [EXAMINED, REFLECTED], ids=["zeros", "reflect"])
@pytest.mark.parametrize("algorithm", ["gemm", "direct", "auto", "fft", "winograd"])
def test_the_answer_that_the_faults_are_seeded_in_passes(problem: ConvProblem, algorithm: Any) -> None:
    assert passes(by_torch, Gate(problem), Arithmetic(algorithm))


@given(forward_problems(), seeds)
@settings(max_examples=60)
def test_a_right_answer_by_torch_passes_in_every_dtype(problem: ConvProblem, seed: int) -> None:
    for dtype in DTYPES:
        asked_in = problem.replace(dtype=dtype)
        examination = Gate(asked_in, seed)
        real = examination.real.judge(GEMM, by_torch(asked_in, examination.real.operands))
        assert real.passed, real.reason
        assert real.error_over_bound <= 1
        integers = asked_on_integers(examination, GEMM)
        assert integers is not None
        exact = integers.judge(GEMM, by_torch(asked_in, integers.operands))
        assert exact.passed, exact.reason
        assert (exact.max_error, exact.error_over_bound, exact.wrong_elements) == (0, 0, 0)


def test_a_cases_own_data_are_what_is_judged() -> None:
    own = normal_operands(EXAMINED, 5)
    examination = Gate(EXAMINED, seed=0, real=own)
    assert examination.real.operands is own
    assert examination.real.judge(GEMM, by_torch(EXAMINED, own)).passed
    assert not examination.real.judge(GEMM, by_torch(EXAMINED, normal_operands(EXAMINED, 0))).passed
