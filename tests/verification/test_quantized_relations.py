"""Relations of quantised convolutions: exact for right answers in all formats, and broken by faults of their kind, also
by those that no question shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from places import PLUGINS
from strategies import forward_problems

from convbench.backend import Arithmetic, QuantizedArithmetic
from convbench.errors import ProblemError
from convbench.problem import ConvProblem
from convbench.problem.quantization import every_quantization
from convbench.registry import Entry, discover
from convbench.runner.verify.examiner import Examiner
from convbench.verification.operands import Operands
from convbench.verification.oracle import oracle_of
from convbench.verification.quantized.data import packed, quantized_operands
from convbench.verification.quantized.oracle import quantized_result
from convbench.verification.question import Question
from convbench.verification.relations import RELATIONS, Relation

Array = NDArray[Any]
Compute = Callable[[ConvProblem, Operands], Array]
BY_NAME = {relation.name: relation for relation in RELATIONS if relation.directions == ("forward",)}
RICH = ConvProblem(
    batch=2, in_channels=12, height=12, width=15, out_channels=10, kernel_size=(3, 2), stride=(2, 1), dilation=(2, 1),
    padding=((2, 1), (0, 3)), groups=2, bias=True,
)  # fmt: skip


def quantized(problem: ConvProblem, text: str) -> ConvProblem:
    return ConvProblem(**(problem.as_dict() | {"dtype": "int8", "quantization": text}))


def answered(relation: Relation, problem: ConvProblem, operands: Operands, compute: Compute) -> Array | None:
    """The answer by way of the relation; None where it has no parts for these operands."""
    parts = relation.restate(problem, operands)
    for part, own in parts:
        assert {name: array.shape for name, array in own.named().items() if name != "s"} == part.operand_shapes
        assert part.quantization is not None
        assert all(own.named()[name].dtype == part.quantization.dtypes[name] for name in part.operand_shapes)
    outputs = [compute(part, own) for part, own in parts]
    return relation.combine(problem, outputs) if parts else None


@pytest.mark.parametrize("name", BY_NAME)
@given(problem=forward_problems(), formats=st.sampled_from(every_quantization()), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None)
def test_it_holds_to_the_last_bit_for_right_answers(name: str, problem: ConvProblem, formats: Any, seed: int) -> None:
    problem = quantized(problem, str(formats))
    relation = BY_NAME[name]
    if not relation.applies(problem):
        return
    operands = quantized_operands(problem, "integers", seed)
    before = {name: array.copy() for name, array in operands.named().items()}
    answer = answered(relation, problem, operands, quantized_result)
    if answer is None:
        assert name == "both signs changed", "only -128 has no other sign"
        return
    right = quantized_result(problem, operands)
    assert answer.dtype == right.dtype and np.array_equal(answer, right)
    assert all(np.array_equal(array, before[name]) for name, array in operands.named().items()), "operands were written"


@pytest.mark.parametrize("formats", ["s8zs8s32", "u8zs8zu8z", "u8s8tf32"])
def test_parts_are_added_only_where_32_bits_hold_the_sums(formats: str) -> None:
    added = {"channels apart", "input in two", "weight in two", "bias apart"}
    names = {name for name, relation in BY_NAME.items() if relation.applies(quantized(RICH, formats))}
    assert names & added == (added if formats.endswith("s32") else set())
    assert ("other format of the result" in names) is formats.endswith("u8z")
    assert ("a scale for each channel" in names) is ("s8t" in formats)
    assert ("other scales" in names) is not formats.endswith("s32")


def test_no_relation_of_scales_applies_to_floating_point() -> None:
    assert not {n for n, r in BY_NAME.items() if r.applies(RICH)} & {"other scales", "both signs changed"}


# --- faults, each of which its relation shows, and some of which no answer to a question does -------------------------


def with_scales(operands: Operands, **changes: Any) -> Operands:
    return replace(operands, s=packed(replace(operands.scales, **changes)))


def padding_holds_0(problem: ConvProblem, o: Operands) -> Array:
    (top, bottom), (left, right) = problem.padding
    x = np.pad(o.x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    part = problem.replace(padding=0, height=x.shape[2], width=x.shape[3])
    return quantized_result(part, replace(o, x=x))


def the_scale_is_that_of_the_filter_before(problem: ConvProblem, o: Operands) -> Array:
    return quantized_result(problem, with_scales(o, w_scale=np.roll(o.scales.w_scale, 1)))


def the_weights_of_each_group_have_the_first_ones_zero_points(problem: ConvProblem, o: Operands) -> Array:
    own = o.scales.w_zero[: problem.out_channels // problem.groups]
    return quantized_result(problem, with_scales(o, w_zero=np.tile(own, problem.groups)))


def signed_inputs_are_taken_for_unsigned_ones(problem: ConvProblem, o: Operands) -> Array:
    if o.x.dtype == np.int8:
        problem = quantized(problem, str(problem.quantization).replace("s8", "u8", 1))
        o = replace(o, x=o.x.view(np.uint8))
    return quantized_result(problem, o)


def a_zero_point_at_the_end_is_taken_for_0(problem: ConvProblem, o: Operands) -> Array:
    return quantized_result(problem, with_scales(o, x_zero=0) if o.scales.x_zero == 255 else o)


def a_scale_of_1_and_more_is_taken_for_1(problem: ConvProblem, o: Operands) -> Array:
    return quantized_result(problem, with_scales(o, x_scale=min(1.0, o.scales.x_scale)))


def signed_results_are_clamped_to_7_bits(problem: ConvProblem, o: Operands) -> Array:
    y = quantized_result(problem, o)
    return np.clip(y, -64, 63) if y.dtype == np.int8 else y


def scales_that_are_all_alike_count_twice(problem: ConvProblem, o: Operands) -> Array:
    scale = o.scales.w_scale
    return quantized_result(problem, with_scales(o, w_scale=scale * (1 + (len(scale) > 1 and len(set(scale)) == 1))))


def an_input_of_zero_points_gives_0(problem: ConvProblem, o: Operands) -> Array:
    return quantized_result(problem, o) * bool((o.x != o.scales.x_zero).any())


FAULTS: dict[str, tuple[str, Compute]] = {
    "padded image": ("u8z:s8:u8", padding_holds_0),
    "filters reversed": ("u8:s8:u8", the_scale_is_that_of_the_filter_before),
    "groups reversed": ("u8:s8z:s32", the_weights_of_each_group_have_the_first_ones_zero_points),
    "other format of the input": ("u8z:s8:u8z", signed_inputs_are_taken_for_unsigned_ones),
    "both signs changed": ("u8:s8:s32", a_zero_point_at_the_end_is_taken_for_0),
    "other scales": ("u8z:s8:u8z", a_scale_of_1_and_more_is_taken_for_1),
    "other format of the result": ("u8:s8:u8", signed_results_are_clamped_to_7_bits),
    "a scale for each channel": ("s8:s8t:s8", scales_that_are_all_alike_count_twice),
    "bias apart": ("u8z:s8:s32", an_input_of_zero_points_gives_0),
}
UNSEEN = {
    signed_inputs_are_taken_for_unsigned_ones,
    a_zero_point_at_the_end_is_taken_for_0,
    a_scale_of_1_and_more_is_taken_for_1,
    signed_results_are_clamped_to_7_bits,
    scales_that_are_all_alike_count_twice,
    an_input_of_zero_points_gives_0,
}
"""Faults that their questions' own answers do not show."""


@pytest.mark.parametrize("name", FAULTS)
def test_it_fails_for_a_fault_of_its_kind(name: str) -> None:
    formats, fault = FAULTS[name]
    problem = quantized(RICH, formats)
    operands = quantized_operands(problem, "integers", 0, QuantizedArithmetic(least_weight=-127))
    own, right = fault(problem, operands), quantized_result(problem, operands)
    assert np.array_equal(own, right) is (fault in UNSEEN)
    assert not np.array_equal(answered(BY_NAME[name], problem, operands, fault), own)


# --- as verify asks them ----------------------------------------------------------------------------------------------


def test_verify_finds_by_a_relation_what_no_question_shows() -> None:
    plugin = PLUGINS / "scales_below_one.py"
    [entry] = discover((plugin,)).select(["scales-below-one"])
    assert isinstance(entry, Entry)
    question = Question.parse("n1c2h4w4_o3k2_bias_u8zs8u8z")
    with Examiner(entry) as examiner:
        failures = [failure for _ in RELATIONS if (failure := examiner(question)) is not None]
    assert {failure.check for failure in failures} == {"relation other scales"}
    assert "x_scale * w_scale / y_scale" in failures[0].reason


def test_two_right_answers_differ_by_what_rounding_leaves_open_at_the_most() -> None:
    problem = ConvProblem.parse("n1c2h4w4_o3k2_bias_u8zs8u8z")
    oracle = oracle_of(problem, quantized_operands(problem, "one-tap", 0), "one-tap")  # of halves
    exact, fixed = (Arithmetic(quantized=QuantizedArithmetic("even", word)) for word in ("float32", "fixed"))
    assert not np.any(oracle.leeway(exact))
    assert np.max(oracle.leeway(fixed)) >= 1
    sums = oracle_of(quantized(problem, "u8z:s8:s32"), quantized_operands(problem, "integers", 0), "integers")
    assert not np.any(sums.leeway(fixed))


def test_sums_too_long_for_32_bits_are_not_restated() -> None:
    """A grouped problem of which the dense one would be none."""
    problem = ConvProblem.parse("n1c512h17w17_o4k16_g4_u8zs8s32")
    operands = quantized_operands(problem, "integers", 0)
    with pytest.raises(ProblemError, match="32 bits"):
        BY_NAME["dense groups"].restate(problem, operands)
