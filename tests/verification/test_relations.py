"""Metamorphic relations: each holds for right answers on all parameters, and fails for a seeded fault of its kind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import forward_problems, gradient_problems

from convbench.backend import Arithmetic
from convbench.problem import GRADIENTS, ConvProblem
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.gradients import computed
from convbench.verification.operands import NUMPY_DTYPES, Operands, integer_operands
from convbench.verification.reference import convolve
from convbench.verification.relations import RELATIONS, Relation
from convbench.verification.relations.quantizations import OF_QUANTIZATIONS

BY_NAME = {relation.name: relation for relation in RELATIONS}
QUANTIZED = {relation.name for relation in OF_QUANTIZATIONS}
OF_EPILOGUES = {relation.name for relation in RELATIONS if relation.of_epilogues}
FORWARD = [r.name for r in RELATIONS if r.directions == ("forward",) and r.name not in QUANTIZED | OF_EPILOGUES]
Array = NDArray[Any]
Compute = Callable[[ConvProblem, Operands], Array]


def right(problem: ConvProblem, operands: Operands) -> Array:
    assert operands.x.shape == problem.input_shape
    assert operands.w.shape == problem.weight_shape
    assert (None if operands.b is None else operands.b.shape) == problem.bias_shape
    y = convolve(problem, operands.x, operands.w, operands.b, np.int64)
    return y.astype(NUMPY_DTYPES[problem.dtype])


def integers(problem: ConvProblem, seed: int = 0) -> Operands:
    return integer_operands(problem, exact_magnitude(problem, Arithmetic("direct")), seed)


def answer_by(
    relation: Relation, problem: ConvProblem, operands: Operands, compute: Callable[[ConvProblem, Operands], Any]
) -> Any:
    """The answer to `problem` by way of this relation, where `compute` answers one convolution."""
    return relation.combine(problem, [compute(part, own) for part, own in relation.restate(problem, operands)])


def holds(relation: Relation, problem: ConvProblem, compute: Compute) -> bool:
    operands = integers(problem)
    return np.array_equal(answer_by(relation, problem, operands, compute), compute(problem, operands))


# --- they hold --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("relation", RELATIONS, ids=BY_NAME)
@given(problem=forward_problems(), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_it_holds_for_right_answers(relation: Relation, problem: ConvProblem, seed: int) -> None:
    problem = problem.replace(direction="forward")
    if not relation.applies(problem):
        return
    operands = integers(problem, seed)
    before = [part.copy() for part in (operands.x, operands.w, operands.b) if part is not None]
    answer = answer_by(relation, problem, operands, right)
    assert answer.shape == problem.output_shape
    assert answer.dtype == NUMPY_DTYPES[problem.dtype]
    assert np.array_equal(answer, right(problem, operands))
    parts = [part for part in (operands.x, operands.w, operands.b) if part is not None]
    assert all(np.array_equal(a, b) for a, b in zip(before, parts, strict=True)), "the operands were written"


@given(problem=forward_problems())
def test_restatements_are_in_the_same_dtype_and_no_partial_sum_grows(problem: ConvProblem) -> None:
    problem = problem.replace(direction="forward")
    operands = integers(problem)
    for relation in filter(lambda r: r.applies(problem), RELATIONS):
        for part, own in relation.restate(problem, operands):
            assert part.dtype == problem.dtype
            assert {array.dtype for array in (own.x, own.w)} == {operands.x.dtype}
            assert largest_sum(part, own) <= largest_sum(problem, operands)


def largest_sum(problem: ConvProblem, operands: Operands) -> float:
    """A bound of all partial sums in any order."""
    x, w, b = (None if a is None else np.abs(a.astype(np.float64)) for a in (operands.x, operands.w, operands.b))
    assert x is not None and w is not None
    return float(w.sum((1, 2, 3)).max() * x.max() + (0 if b is None else b.max()))


# --- each applies where it has something to say, and only there -------------------------------------------------------

PLAIN = ConvProblem(in_channels=1, height=5, width=5, out_channels=1, kernel_size=1)
RICH = ConvProblem(
    batch=2, in_channels=12, height=9, width=16, out_channels=10, kernel_size=(3, 2), stride=(2, 3), dilation=(2, 1),
    padding=((2, 1), (0, 3)), groups=2, bias=True, dtype="float64",
)  # fmt: skip


def test_every_relation_has_a_name_of_its_own_and_something_to_say() -> None:
    assert len(BY_NAME) == len(RELATIONS) == 32
    assert all(relation.summary for relation in RELATIONS)
    assert {r.name for r in RELATIONS if r.applies(RICH)} == set(FORWARD)
    assert set(BY_NAME) - set(FORWARD) - QUANTIZED - OF_EPILOGUES == {
        "adjoint of the input",
        "adjoint of the weight",
        "both gradients",
    }


def test_where_there_is_nothing_to_restate_only_the_universal_ones_apply() -> None:
    names = {r.name for r in RELATIONS if r.applies(PLAIN)}
    assert names == {"transposed", "mirrored", "rows apart", "columns apart", "input in two"}


def test_what_adds_outputs_does_not_apply_to_halves() -> None:
    for dtype in ("float16", "bfloat16"):
        names = {r.name for r in RELATIONS if r.applies(RICH.replace(dtype=dtype))}
        halves = {r.name for r in RELATIONS if r.applies(RICH)} - names
        assert halves == {"channels apart", "input in two", "weight in two", "bias apart"}


def test_a_gradient_is_held_to_the_convolution_and_to_the_other_gradient() -> None:
    applying = {d: {r.name for r in RELATIONS if r.applies(RICH.replace(direction=d))} for d in GRADIENTS}
    assert applying == {
        "input_gradient": {"adjoint of the input", "both gradients"},
        "weight_gradient": {"adjoint of the weight"},
        "bias_gradient": set(),
    }


@settings(max_examples=60, deadline=None)
@given(problem=gradient_problems(), seed=st.integers(0, 9), wrong=st.booleans())
def test_gradients_are_adjoint_and_wrong_ones_are_not(problem: ConvProblem, seed: int, wrong: bool) -> None:
    if exact_magnitude(problem, Arithmetic("direct")) < 1:
        return
    operands = integers(problem, seed)
    for relation in filter(lambda r: r.applies(problem), RELATIONS):
        parts = relation.restate(problem, operands)
        outputs = [computed(part, own) for part, own in parts]
        output = computed(problem, operands)
        output.flat[0] += wrong
        if parts:
            assert all(output.shape == part.result_shape for output, (part, _) in zip(outputs, parts, strict=True))
            one, other = relation.compared(problem, operands, output, parts, outputs)
            assert np.array_equal(one, other) is not wrong


# --- each fails for a fault of its kind -------------------------------------------------------------------------------


def dilation_of_the_last_tap_is_forgotten(problem: ConvProblem, o: Operands) -> Array:
    w = o.w.copy()
    if problem.dilation != (1, 1):
        w[:, :, -1, -1] = w[:, :, 0, 0]
    return right(problem, Operands(o.x, w, o.b))


def strided_outputs_start_one_late(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    return np.roll(y, 1, 2) if problem.stride[0] > 1 else y


def sides_of_the_padding_are_exchanged(problem: ConvProblem, o: Operands) -> Array:
    sides = [(after, before) for before, after in problem.padding]
    return right(problem.replace(padding=tuple(sides)), o)


def every_image_is_the_first(problem: ConvProblem, o: Operands) -> Array:
    return right(problem, Operands(np.broadcast_to(o.x[:1], o.x.shape), o.w, o.b))


def padding_of_the_width_is_that_of_the_height(problem: ConvProblem, o: Operands) -> Array:
    rows, columns = problem.padding
    changed = problem.replace(padding=(rows, (columns[1], columns[0]))) if rows[0] != rows[1] else problem
    return right(changed, o)


def the_last_column_is_left_out(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    y[..., -1] = 0
    return y


def rows_beyond_a_tile_of_four_are_left_out(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    y[:, :, problem.out_height // 4 * 4 :] = 0
    return y


def columns_beyond_a_tile_of_four_are_left_out(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    y[..., problem.out_width // 4 * 4 :] = 0
    return y


def every_group_reads_the_first_ones_channels(problem: ConvProblem, o: Operands) -> Array:
    own = o.x[:, : problem.in_channels // problem.groups]
    return right(problem, Operands(np.tile(own, (1, problem.groups, 1, 1)), o.w, o.b))


def the_last_channel_is_left_out(problem: ConvProblem, o: Operands) -> Array:
    w = o.w.copy()
    w[:, -1] = 0
    return right(problem, Operands(o.x, w, o.b))


def the_bias_is_that_of_the_filter_before(problem: ConvProblem, o: Operands) -> Array:
    return right(problem, Operands(o.x, o.w, None if o.b is None else np.roll(o.b, 1)))


def the_last_group_is_left_out(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    if problem.groups > 1:
        y[:, -(problem.out_channels // problem.groups) :] = 0
    return y


def filters_beyond_a_block_of_four_are_left_out(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    y[:, problem.out_channels // 4 * 4 :] = 0
    return y


def the_bias_of_each_group_is_the_first_ones(problem: ConvProblem, o: Operands) -> Array:
    filters = problem.out_channels // problem.groups
    return right(problem, Operands(o.x, o.w, None if o.b is None else np.tile(o.b[:filters], problem.groups)))


def channels_beyond_four_are_left_out(problem: ConvProblem, o: Operands) -> Array:
    w = o.w.copy()
    w[:, 4:] = 0
    return right(problem, Operands(o.x, w, o.b))


def large_inputs_are_clipped(problem: ConvProblem, o: Operands) -> Array:
    return right(problem, Operands(np.clip(o.x, -1000, 1000), o.w, o.b))


def filters_that_start_with_a_zero_are_taken_for_zeros(problem: ConvProblem, o: Operands) -> Array:
    keep = o.w[:, :1, :1, :1] != 0
    return right(problem, Operands(o.x, o.w * keep, o.b))


def an_activation_comes_after_the_bias(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    return np.maximum(y, 0) if problem.bias else y


FAULTS: dict[str, Compute] = {
    "spread kernel": dilation_of_the_last_tap_is_forgotten,
    "every position": strided_outputs_start_one_late,
    "padded image": sides_of_the_padding_are_exchanged,
    "single images": every_image_is_the_first,
    "transposed": padding_of_the_width_is_that_of_the_height,
    "mirrored": the_last_column_is_left_out,
    "rows apart": rows_beyond_a_tile_of_four_are_left_out,
    "columns apart": columns_beyond_a_tile_of_four_are_left_out,
    "dense groups": every_group_reads_the_first_ones_channels,
    "channels reversed": the_last_channel_is_left_out,
    "filters reversed": the_bias_is_that_of_the_filter_before,
    "groups reversed": the_last_group_is_left_out,
    "filters apart": filters_beyond_a_block_of_four_are_left_out,
    "groups apart": the_bias_of_each_group_is_the_first_ones,
    "channels apart": channels_beyond_four_are_left_out,
    "input in two": large_inputs_are_clipped,
    "weight in two": filters_that_start_with_a_zero_are_taken_for_zeros,
    "bias apart": an_activation_comes_after_the_bias,
}
ASKED = RICH.replace(height=12, width=15, stride=(2, 1), padding=((2, 1), (0, 3)))


@pytest.mark.parametrize("name", FORWARD)
def test_it_fails_for_a_fault_of_its_kind(name: str) -> None:
    assert BY_NAME[name].applies(ASKED)
    assert holds(BY_NAME[name], ASKED, right)
    assert not holds(BY_NAME[name], ASKED, FAULTS[name])


def test_the_faults_are_faults() -> None:
    """All but one, which no weight without zeros shows: the relation does."""
    operands = integers(ASKED)
    for fault in set(FAULTS.values()) - {filters_that_start_with_a_zero_are_taken_for_zeros}:
        assert not np.array_equal(fault(ASKED, operands), right(ASKED, operands)), fault.__name__
