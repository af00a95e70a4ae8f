"""The truth about quantised convolutions against loops over Python integers and fractions, with no code of it."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from convbench.backend import Arithmetic, Backend, QuantizedArithmetic, Ready
from convbench.problem import ConvProblem, Scales
from convbench.problem.quantization import INPUT_FORMATS, LARGEST_BIAS, LIMITS
from convbench.verification.adversarial_calls import OF_CHANGED, examine
from convbench.verification.gate import Gate
from convbench.verification.operands import Operands, complemented
from convbench.verification.oracle import oracle_for
from convbench.verification.quantized.data import QUANTIZED_VALUES, packed, quantized_operands
from convbench.verification.quantized.oracle import QuantizedOracle, exact_sums, quantized_result
from convbench.verification.question import CALLS, LAYOUTS, Question, Values

LAYER: dict[str, Any] = {"in_channels": 4, "height": 5, "width": 4, "out_channels": 6, "kernel_size": (3, 2)}
LAYER |= {"padding": ((1, 0), (2, 1)), "stride": (1, 2), "groups": 2, "bias": True}
SEEDS = st.integers(0, 2**32 - 1)
FORMATS = ("u8z:s8:u8z", "u8:s8:u8", "s8z:s8t:s8z", "s8z:s8z:u8", "u8z:s8tz:s8", "u8z:s8:s32", "s8z:s8z:f32")


def layer(quantization: str, **changes: Any) -> ConvProblem:
    return ConvProblem(**LAYER | changes, quantization=quantization)


def half_up(value: Fraction) -> int:
    return math.floor(value + Fraction(1, 2))


def half_away(value: Fraction) -> int:
    return half_up(value) if value >= 0 else -half_up(-value)


ROUNDINGS = {"even": round, "away": half_away, "up": half_up}


def by_loops(p: ConvProblem, operands: Operands, halves: str = "even") -> NDArray[Any]:
    """The definition, one product at a time; padding holds the zero point and so counts as 0."""
    q, scales = p.quantization, operands.scales
    assert q is not None
    out = np.empty(p.output_shape, q.dtypes["y"])
    own, filters = p.in_channels // p.groups, p.out_channels // p.groups
    for n, o, i, j in np.ndindex(p.output_shape):
        at = o % len(scales.w_scale)
        total = int(operands.b[o]) if operands.b is not None else 0
        for c, a, b in np.ndindex(own, *p.kernel_size):
            row = i * p.stride[0] + a * p.dilation[0] - p.padding[0][0]
            column = j * p.stride[1] + b * p.dilation[1] - p.padding[1][0]
            if 0 <= row < p.height and 0 <= column < p.width:
                x = int(operands.x[n, o // filters * own + c, row, column]) - scales.x_zero
                total += x * (int(operands.w[o, c, a, b]) - int(scales.w_zero[at]))
        if q.result == "s32":
            out[n, o, i, j] = total
            continue
        real = total * Fraction(scales.x_scale) * Fraction(float(scales.w_scale[at])) / Fraction(scales.y_scale)
        if q.result == "f32":
            out[n, o, i, j] = float(real)
            continue
        low, high = LIMITS[q.result]
        out[n, o, i, j] = min(max(ROUNDINGS[halves](real) + scales.y_zero, low), high)
    return out


class Loops(Backend):
    """Right by definition, and slow."""

    name = "loops"
    thread_safe = True

    def prepare(self, problem: ConvProblem, x: Any, w: Any, b: Any) -> Ready:
        raise NotImplementedError

    def prepare_quantized(self, problem: ConvProblem, x: Any, w: Any, b: Any, scales: Scales) -> Ready:
        def on(x: Any) -> Any:
            return by_loops(problem, Operands(x=x, w=w, b=b, s=packed(scales)))

        return Ready(lambda: on(x), on={"numpy": on})


def declared(**words: Any) -> Arithmetic:
    return Arithmetic(quantized=QuantizedArithmetic(**words))


@pytest.mark.parametrize("formats", FORMATS)
@pytest.mark.parametrize("values", QUANTIZED_VALUES)
def test_the_reference_is_the_definition_to_the_last_bit(formats: str, values: Values) -> None:
    p = layer(formats)
    operands = quantized_operands(p, values, seed=1)
    right = by_loops(p, operands)
    assert np.array_equal(quantized_result(p, operands), right)
    assert QuantizedOracle(p, operands, values).judge(declared(multiplier="exact"), right).passed


@given(SEEDS, st.sampled_from(("even", "away", "up")), st.sampled_from(("u8z:s8:u8z", "s8z:s8t:s8z")))
@settings(deadline=None, max_examples=30)
def test_halves_go_where_the_backend_declares_and_nowhere_else(seed: int, halves: str, formats: str) -> None:
    p = layer(formats)
    operands = quantized_operands(p, "one-tap", seed)
    key = QuantizedOracle(p, operands, "one-tap")
    answers = {way: by_loops(p, operands, way) for way in ROUNDINGS}
    for answer in answers.values():
        is_right = np.array_equal(answer, answers[halves])
        assert key.judge(declared(halves=halves), answer).passed == is_right
        assert key.judge(declared(halves="any"), answer).passed


def test_half_of_the_results_behind_one_tap_filters_are_halves() -> None:
    p = layer("s8:s8:s8", height=20, width=20)
    real = QuantizedOracle(p, quantized_operands(p, "one-tap", 0), "one-tap").requantization.real
    assert 0.3 < np.mean(real % 1 == 0.5) < 0.7


@pytest.mark.parametrize("values", ("normal", "wide"))
def test_one_step_is_allowed_only_where_the_arithmetic_may_have_crossed_a_half(values: Values) -> None:
    p = layer("s8:s8:s8", bias=False, batch=8, height=16, width=16)
    operands = quantized_operands(p, values, 2)
    key = QuantizedOracle(p, operands, values)
    right = quantized_result(p, operands)
    scales = operands.scales
    multiplier = (np.float32(scales.x_scale) * scales.w_scale / np.float32(scales.y_scale)).reshape(-1, 1, 1)
    in_float32 = np.rint(key.sums.astype(np.float32) * multiplier).clip(-128, 127).astype(np.int8)
    assert key.judge(declared(multiplier="float32"), in_float32).passed
    off = right.copy()
    off[0, 0, 0, 0] += -1 if off[0, 0, 0, 0] > 0 else 1
    for multiplier_word in ("exact", "float64", "float32"):
        verdict = key.judge(declared(multiplier=multiplier_word), off)
        assert (verdict.passed, verdict.wrong_elements, verdict.element) == (False, 1, (0, 0, 0, 0))
        assert verdict.error_over_bound > 1
        assert "(1 off)" in str(verdict.reason)


def test_an_arithmetic_that_rounds_twice_has_to_say_so() -> None:
    p = layer("s8:s8:s8", batch=8, height=16, width=16)
    operands = quantized_operands(p, "normal", 2)
    key = QuantizedOracle(p, operands, "normal")
    real = key.requantization.real
    twice = np.rint(np.rint(real * 16) / 16).clip(-128, 127).astype(np.int8)
    assert not key.judge(declared(), twice).passed
    admitted = key.requantization.admitted(QuantizedArithmetic(multiplier="fixed"))
    assert (admitted.largest - admitted.least).max() == 1
    assert (admitted.largest > admitted.least).mean() < 0.2


@pytest.mark.parametrize("formats", ("u8:s8:s32", "u8z:s8:u8z", "s8:s8:f32"))
def test_saturating_pairs_are_wrong_unless_declared_and_then_only_for_large_weights(formats: str) -> None:
    p = ConvProblem(in_channels=16, height=4, width=4, out_channels=8, kernel_size=1, quantization=formats)
    for saturates, values in itertools.product((False, True), ("positive", "integers")):
        operands = quantized_operands(p, values, 0, QuantizedArithmetic(saturates=saturates))
        assert (np.abs(operands.w.astype(int)).max() <= 64) == saturates
    operands = quantized_operands(p, "positive", 0)
    key = QuantizedOracle(p, operands, "positive")
    x = operands.x.astype(int) + (128 if formats.startswith("s8") else 0)
    products = x[:, None] * operands.w.astype(int)[None, :, :, :, :]
    pairs = products.reshape(1, 8, 8, 2, 4, 4).sum(3).clip(-(2**15), 2**15 - 1).sum(2)
    lost = products.sum(2) - pairs
    assert lost.any()
    saturated = replace_sums(key, lost)
    assert not key.judge(declared(), saturated).passed
    assert key.judge(declared(saturates=True), saturated).passed
    right = replace_sums(key, 0 * lost)
    assert key.judge(declared(saturates=True), right).passed


def test_what_saturates_for_one_input_is_asked_and_judged_in_full_for_the_other() -> None:
    arithmetic = QuantizedArithmetic(saturates={"u8"})
    of_u8, of_s8 = (quantized_operands(layer(f"{word}:s8:s32"), "integers", 0, arithmetic) for word in ("u8", "s8"))
    assert np.abs(of_u8.w.astype(int)).max() <= 64 < np.abs(of_s8.w.astype(int)).max()
    p = layer("s8:s8:s32")
    off_by_one = by_loops(p, of_s8) + 1
    key = QuantizedOracle(p, of_s8, "integers")
    assert not key.judge(Arithmetic(quantized=arithmetic), off_by_one).passed
    with pytest.raises(TypeError, match="saturates is or has 'u16'; it should be a set of u8, s8"):
        QuantizedArithmetic(saturates={"u16"})
    with pytest.raises(TypeError, match="float_sums is or has 'u8z'; it should be a set of u8, u8z, s8, s8z"):
        QuantizedArithmetic(float_sums="u8z")  # type: ignore[arg-type]


def in_float32(p: ConvProblem, operands: Operands) -> NDArray[Any]:
    """A pointwise convolution of dequantised numbers, added one after the other in float32, and requantised."""
    scales = operands.scales
    x = (operands.x.astype(np.float32) - np.float32(scales.x_zero)) * np.float32(scales.x_scale)
    w = operands.w.astype(np.float32) * scales.w_scale.astype(np.float32).reshape(-1, 1, 1, 1)
    total = np.zeros(p.output_shape, np.float32)
    for channel in range(p.in_channels):
        total += x[:, channel : channel + 1] * w[:, channel].reshape(1, -1, 1, 1)
    return np.clip(np.rint(total / np.float32(scales.y_scale)) + scales.y_zero, 0, 255).astype(np.uint8)


def cancelling() -> tuple[ConvProblem, Operands]:
    """Sums of 245 * 127 + 1 - 245 * 127, which stand for numbers a little above 1/2: float32 loses some of the 1."""
    p = ConvProblem(in_channels=3, height=1, width=1, out_channels=64, kernel_size=1, quantization="u8z:s8:u8")
    x = np.array([255, 11, 255], np.uint8).reshape(1, 3, 1, 1)
    w = np.tile(np.array([127, 1, -127], np.int8).reshape(1, 3, 1, 1), (64, 1, 1, 1))
    w_scale = (0.7 / (2 * 0.1) * (1 + np.geomspace(1e-5, 1e-2, 64))).astype(np.float32)
    x_scale, y_scale = float(np.float32(0.1)), float(np.float32(0.7))
    scales = Scales(
        x_scale=x_scale, x_zero=10, w_scale=w_scale, w_zero=np.zeros(64, np.int8), y_scale=y_scale, y_zero=0
    )
    return p, Operands(x=x, w=w, b=None, s=packed(scales))


def test_sums_in_float32_have_to_be_declared_and_may_be_one_step_off_near_a_half_only() -> None:
    p, operands = cancelling()
    key = QuantizedOracle(p, operands, "normal")
    answer = in_float32(p, operands)
    assert not key.judge(declared(), answer).passed
    assert key.judge(declared(float_sums={"u8z"}), answer).passed
    assert not key.judge(declared(float_sums={"u8", "s8z"}), answer).passed
    assert not key.judge(declared(float_sums={"u8z"}), answer + np.uint8(1)).passed
    assert key.leeway(declared(float_sums={"u8z"})).max() == 1


def test_sums_in_float32_are_exact_where_scales_are_powers_of_two_and_nothing_is_then_forgiven() -> None:
    p = layer("u8z:s8:u8z")
    operands = quantized_operands(p, "integers", 0)
    key = QuantizedOracle(p, operands, "integers")
    in_floats = declared(float_sums={"u8z"})
    assert not key.leeway(in_floats).any()
    right = by_loops(p, operands)
    assert key.judge(in_floats, right).passed
    one_off = right.copy()
    one_off.flat[np.flatnonzero(right < 255)[0]] += 1
    assert not key.judge(in_floats, one_off).passed


HALVING = {"saturates": True, "halves_weights": True}


@pytest.mark.parametrize("formats", ("s8:s8:s32", "s8z:s8:u8z", "s8z:s8t:f32"))
@pytest.mark.parametrize("values", ("integers", "positive"))
def test_halved_weights_of_a_signed_input_are_right_where_declared_and_nothing_else_is(
    formats: str, values: Values
) -> None:
    p = layer(formats)
    operands = quantized_operands(p, values, 3, QuantizedArithmetic(saturates=True, halves_weights=True))
    assert np.abs(operands.w.astype(int)).max() > 120  # no saturation to be spared
    key = QuantizedOracle(p, operands, values)

    def answer(w: NDArray[Any]) -> NDArray[Any]:
        return by_loops(p, replace(operands, w=w.astype(int)))

    half = operands.w / 2
    halved, right = answer(2 * np.rint(half)), answer(operands.w)
    assert not np.array_equal(halved, right)
    assert key.judge(declared(**HALVING), halved).passed
    assert key.judge(declared(**HALVING), right).passed
    assert not key.judge(declared(saturates=False), halved).passed
    first, *others = np.unique(np.nonzero(halved != right)[1])
    assert others
    in_one_channel = right.copy()
    in_one_channel[:, first] = halved[:, first]
    assert not key.judge(declared(**HALVING), in_one_channel).passed
    for rounding in (np.floor, np.trunc):
        assert not key.judge(declared(**HALVING), answer(2 * rounding(half))).passed
    assert not key.judge(declared(**HALVING), answer(operands.w.clip(-64, 63))).passed


def test_weights_of_an_unsigned_input_are_never_halved() -> None:
    p = layer("u8:s8:s32")
    operands = quantized_operands(p, "integers", 3, QuantizedArithmetic(saturates=True, halves_weights=True))
    assert np.abs(operands.w.astype(int)).max() <= 64
    halved = by_loops(p, replace(operands, w=2 * np.rint(operands.w / 2).astype(int)))
    assert not QuantizedOracle(p, operands, "integers").judge(declared(**HALVING), halved).passed


@given(SEEDS, st.sampled_from(QUANTIZED_VALUES))
@settings(deadline=None, max_examples=30)
def test_symmetric_int8_has_no_least_number(seed: int, values: Values) -> None:
    p, arithmetic = layer("s8:s8:s8"), QuantizedArithmetic(symmetric=True, least_weight=-127)
    operands = quantized_operands(p, values, seed, arithmetic)
    for each in (operands, complemented(p, operands)):
        assert min(each.x.min(), each.w.min()) >= -127
    key = QuantizedOracle(p, operands, values)
    to_the_end = quantized_result(p, operands)
    to_its_end = np.maximum(to_the_end, -127)
    assert key.judge(declared(symmetric=True), to_its_end).passed
    if (to_the_end == -128).any():
        assert not key.judge(declared(symmetric=True), to_the_end).passed
        assert not key.judge(declared(), to_its_end).passed


def replace_sums(key: QuantizedOracle, lost: NDArray[Any]) -> NDArray[Any]:
    """What a backend answers whose sums lack `lost`."""
    sums, q = key.sums - lost, key.problem.quantization
    assert q is not None
    if q.result == "s32":
        return np.asarray(sums.astype(np.int32))
    if q.result == "f32":
        return np.asarray((sums * key.requantization.multiplier).astype(np.float32))
    changed = replace(key.requantization, sums=sums)
    return np.asarray(changed.admitted(QuantizedArithmetic(multiplier="exact")).right.astype(q.dtypes["y"]))


@given(SEEDS, st.sampled_from(QUANTIZED_VALUES), st.sampled_from(FORMATS))
@settings(deadline=None, max_examples=60)
def test_data_are_of_the_formats_and_the_same_every_time(seed: int, values: Values, formats: str) -> None:
    p = layer(formats)
    q = p.quantization
    assert q is not None
    operands = quantized_operands(p, values, seed)
    for name, array in quantized_operands(p, values, seed).named().items():
        assert np.array_equal(array, operands.named()[name])
    assert all(operands.named()[name].dtype.name == q.dtypes[name] for name in ("x", "w", "b"))
    scales = operands.scales
    assert (scales.x_zero != 0, scales.y_zero != 0) == (q.input_zero_point, q.result_zero_point)
    assert scales.w_zero.any() or not q.weight_zero_point
    assert scales.w_scale.shape == scales.w_zero.shape == ((6,) if q.per_channel else (1,))
    assert scales.w_scale.dtype == np.float32
    assert (np.isfinite(scales.w_scale) & (scales.w_scale > 0)).all()
    assert np.abs(operands.b).max() < LARGEST_BIAS


def test_zero_points_come_from_both_ends_and_scales_from_six_decades() -> None:
    p = layer("u8z:s8:s8z", out_channels=200, in_channels=2, groups=1)
    drawn = [quantized_operands(p, "wide", seed).scales for seed in range(40)]
    assert {255} < {scales.x_zero for scales in drawn}
    assert {*LIMITS["s8"]} < {scales.y_zero for scales in drawn}
    assert np.ptp(np.log10(drawn[0].w_scale)) > 5


@pytest.mark.parametrize("word", INPUT_FORMATS)
def test_positive_values_are_the_ends_whose_pairs_leave_16_bits(word: str) -> None:
    operands = quantized_operands(layer(f"{word}:s8:s32"), "positive", 0)
    assert set(np.unique(operands.x)) == set(LIMITS[word])
    assert set(np.unique(operands.w)) == {-127, 127}


def test_shifting_input_and_zero_point_together_changes_nothing() -> None:
    p = layer("s8z:s8:u8z")
    operands = quantized_operands(p, "normal", 5)
    scales = replace(operands.scales, x_zero=operands.scales.x_zero + 128)
    shifted = Operands(x=(operands.x.astype(int) + 128).astype(np.uint8), w=operands.w, b=operands.b, s=packed(scales))
    other = p.replace(quantization="u8z:s8:u8z")
    assert np.array_equal(exact_sums(p, operands), exact_sums(other, shifted))
    assert np.array_equal(quantized_result(p, operands), quantized_result(other, shifted))


def test_sums_and_formats_of_the_answer_are_equal_or_wrong() -> None:
    p = layer("u8z:s8:s32")
    operands = quantized_operands(p, "integers", 0)
    key = QuantizedOracle(p, operands, "integers")
    right = quantized_result(p, operands)
    assert right.dtype == np.int32
    assert key.judge(declared(saturates=True), right + 1).passed is False or np.abs(operands.w).max() > 64
    assert not key.judge(declared(), right + 1).passed
    assert "expected int32" in str(key.judge(declared(), right.astype(np.int64)).reason)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("calls", CALLS)
def test_a_right_backend_passes_however_it_is_called(layout: Any, calls: Any) -> None:
    p = layer("u8z:s8:u8z", height=3, width=1, in_channels=2, out_channels=2)
    question = Question(problem=p, layout=layout, calls=calls)
    key = oracle_for(question, declared())
    behaviour = examine(Loops(), p, key.operands, layout, calls)
    assert behaviour.overwritten is None
    for answer in behaviour.answers:
        judge = key.judge_changed if answer.phase in OF_CHANGED else key.judge
        assert judge(declared(), answer.output).passed


def test_a_stale_answer_is_not_that_to_complemented_operands() -> None:
    p = layer("u8z:s8:u8z")
    operands = quantized_operands(p, "integers", 0)
    key = QuantizedOracle(p, operands, "integers")
    assert key.judge_changed(declared(), by_loops(p, complemented(p, operands))).passed
    assert not key.judge_changed(declared(), by_loops(p, operands)).passed


def test_the_gate_asks_on_typical_data_on_all_integers_and_on_their_ends() -> None:
    p = layer("u8z:s8:u8z")
    gate = Gate(p, seed=3)
    further = gate.further(declared())
    assert [key.values for key in (gate.verified, *further)] == ["normal", "integers", "positive"]
    assert gate.further(declared()) is further
    saturating = gate.further(declared(saturates=True))
    assert max(np.abs(key.operands.w.astype(int)).max() for key in saturating) == 64


@pytest.mark.parametrize("formats", FORMATS)
def test_changed_operands_have_other_integers_scales_and_zero_points_and_another_answer(formats: str) -> None:
    p = layer(formats)
    q = p.quantization
    assert q is not None
    operands = quantized_operands(p, "integers", 3)
    other = complemented(p, operands)
    before, after = operands.scales, other.scales
    assert not any(np.array_equal(array, getattr(other, name)) for name, array in operands.named().items())
    assert (after.x_zero != before.x_zero) == q.input_zero_point
    assert (after.y_zero != before.y_zero) == q.result_zero_point
    assert np.array_equal(after.w_zero, before.w_zero) != q.weight_zero_point
    assert np.array_equal(after.w_scale, before.w_scale) == (q.result == "s32")
    assert other.x.dtype == operands.x.dtype
    assert not np.array_equal(quantized_result(p, other), quantized_result(p, operands))
