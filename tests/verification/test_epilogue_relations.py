"""Relations of problems with an epilogue: they hold for right answers, and fail for a seeded fault of their kind."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from strategies import fused_problems

from convbench.backend import Arithmetic
from convbench.problem import ConvProblem, Epilogue
from convbench.problem.epilogue import EPILOGUES
from convbench.verification.exact_integers import exact_magnitude
from convbench.verification.fused.activations import is_exact
from convbench.verification.operands import NUMPY_DTYPES, Operands, integer_operands
from convbench.verification.reference import convolve
from convbench.verification.relations import RELATIONS, Relation

BY_NAME = {relation.name: relation for relation in RELATIONS}
OF_EPILOGUES = {relation.name for relation in RELATIONS if relation.of_epilogues}
EXACT = [epilogue for epilogue in EPILOGUES if is_exact(epilogue)]
Array = NDArray[Any]
Compute = Callable[[ConvProblem, Operands], Array]


def activated(epilogue: Epilogue | None, y: Array) -> Array:
    """Those that are exact, written once more."""
    limits = {"relu": (0.0, np.inf), "relu6": (0.0, 6.0)}
    if epilogue is None or epilogue.activation is None:
        return y
    if epilogue.activation == "leaky_relu":
        return np.where(y < 0, y * (epilogue.slope or 0.0), y)
    low, high = limits.get(epilogue.activation, (epilogue.low, epilogue.high))
    return np.asarray(np.minimum(np.maximum(y, low or 0.0), high or 0.0))


def right(problem: ConvProblem, o: Operands) -> Array:
    assert o.x.shape == problem.input_shape and o.w.shape == problem.weight_shape
    epilogue = problem.epilogue
    where = None if epilogue is None else epilogue.residual
    assert (None if o.r is None else o.r.shape) == (None if where is None else problem.output_shape)
    y = convolve(problem, o.x, o.w, o.b, np.float64)
    r = np.zeros(problem.output_shape) if o.r is None else o.r.astype(np.float64)
    y = activated(epilogue, y + r) if where == "before" else activated(epilogue, y)
    return np.asarray(y + r if where == "after" else y).astype(NUMPY_DTYPES[problem.dtype])


def integers(problem: ConvProblem, seed: int = 0) -> Operands:
    return integer_operands(problem, exact_magnitude(problem, Arithmetic("direct")), seed)


def holds(relation: Relation, problem: ConvProblem, operands: Operands, compute: Compute) -> bool:
    output = compute(problem, operands)
    parts = relation.restated(problem, operands, output)
    outputs = [compute(part, own).astype(np.float64) for part, own in parts]
    assert parts and all({a.dtype for a in own.named().values()} == {operands.dtype} for _, own in parts)
    return np.array_equal(*relation.compared(problem, operands, output.astype(np.float64), parts, outputs))


@settings(max_examples=60, deadline=None)
@given(problem=fused_problems(), epilogue=st.sampled_from(EXACT), seed=st.integers(0, 99))
def test_all_that_apply_hold_for_right_answers(problem: ConvProblem, epilogue: Epilogue, seed: int) -> None:
    problem = problem.replace(epilogue=epilogue)
    operands = integers(problem, seed)
    before = operands.map(np.copy)
    for relation in filter(lambda r: r.applies(problem), RELATIONS):
        assert holds(relation, problem, operands, right), relation.name
    assert all(np.array_equal(array, operands.named()[name]) for name, array in before.named().items())


RICH = ConvProblem(
    batch=2, in_channels=12, height=12, width=15, out_channels=10, kernel_size=(3, 2), stride=(2, 1), dilation=(2, 1),
    padding=((2, 1), (0, 3)), groups=2, bias=True,
)  # fmt: skip
SUMMED = {"sum apart", "channels apart", "input in two", "weight in two", "bias apart"}


def applying(epilogue: str, dtype: Any = "float32") -> set[str]:
    problem = RICH.replace(epilogue=epilogue, dtype=dtype)
    return {relation.name for relation in RELATIONS if relation.applies(problem)}


def test_those_that_put_elements_in_place_apply_and_those_of_epilogues() -> None:
    places = {r.name for r in RELATIONS if r.applies(RICH)} - SUMMED
    assert len(places) == 14 and len(OF_EPILOGUES) == 6
    assert applying("relu") == places | OF_EPILOGUES - {"sum apart"}
    assert applying("add_relu") == places | {"sum apart", "both signs", "activated twice"}
    assert applying("relu_add") == applying("add") == places | {"sum apart"}
    assert applying("leaky0.25") == places | {"activation apart", "zeros before", "zeros after"}


def test_none_applies_where_an_activation_rounds_and_no_sum_is_parted_in_halves() -> None:
    assert applying("silu") == applying("gelu") == applying("clip-1.5x2.5_add") == set()
    assert applying("add_relu") - applying("add_relu", "float16") == {"sum apart"}
    assert not OF_EPILOGUES & {r.name for r in RELATIONS if r.applies(RICH)}


# --- each fails for a fault of its kind -------------------------------------------------------------------------------


def residual(change: Callable[[Array], Array]) -> Compute:
    return lambda p, o: right(p, o if o.r is None else replace(o, r=np.ascontiguousarray(change(o.r))))


def bias_comes_last(problem: ConvProblem, o: Operands) -> Array:
    if problem.epilogue is None or o.b is None:
        return right(problem, o)
    return np.asarray(right(problem, replace(o, b=0 * o.b)) + o.b[:, None, None])


def a_sum_before_is_not_activated(problem: ConvProblem, o: Operands) -> Array:
    added = problem.epilogue is not None and problem.epilogue.residual == "before"
    return right(problem.replace(epilogue="add") if added else problem, o)


def a_sum_after_leaves_out_the_bias(problem: ConvProblem, o: Operands) -> Array:
    after = problem.epilogue is not None and problem.epilogue.residual == "after"
    return right(problem, replace(o, b=0 * o.b) if after and o.b is not None else o)


def relu_leaks(problem: ConvProblem, o: Operands) -> Array:
    return right(problem.replace(epilogue="leaky0.25") if problem.epilogue is not None else problem, o)


def rows_beyond_four_are_not_activated(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    if problem.epilogue is not None:
        y[:, :, 4:] = right(problem.replace(epilogue=None), replace(o, r=None))[:, :, 4:]
    return y


def filters_beyond_four_are_not_activated(problem: ConvProblem, o: Operands) -> Array:
    y = right(problem, o)
    if problem.epilogue is not None:
        y[:, 4:] = right(problem.replace(epilogue=None), replace(o, r=None))[:, 4:]
    return y


def the_residual_is_that_of_the_first_image(r: Array) -> Array:
    return np.broadcast_to(r[:1], r.shape)


FAULTS: dict[str, tuple[str, Compute]] = {
    "activation apart": ("relu", bias_comes_last),
    "sum apart": ("add_relu", residual(lambda r: 2 * r)),
    "zeros before": ("relu", a_sum_before_is_not_activated),
    "zeros after": ("relu", a_sum_after_leaves_out_the_bias),
    "both signs": ("relu", relu_leaks),
    "activated twice": ("relu", relu_leaks),
    "single images": ("add_relu", residual(the_residual_is_that_of_the_first_image)),
    "rows apart": ("relu", rows_beyond_four_are_not_activated),
    "columns apart": ("add", residual(lambda r: r * (np.arange(r.shape[3]) < r.shape[3] // 8 * 8))),
    "filters apart": ("relu6", filters_beyond_four_are_not_activated),
    "filters reversed": ("add", residual(lambda r: r * (np.arange(r.shape[1]) < 4)[:, None, None])),
    "transposed": ("add", residual(lambda r: r.swapaxes(2, 3).reshape(r.shape))),
    "mirrored": ("add_relu", residual(lambda r: np.roll(r, 1, 3))),
    "every position": ("relu_add", residual(lambda r: r * (r.shape[2] < 8))),
}


@pytest.mark.parametrize("name", FAULTS)
def test_it_fails_for_a_fault_of_its_kind(name: str) -> None:
    spelling, fault = FAULTS[name]
    problem, relation = RICH.replace(epilogue=spelling), BY_NAME[name]
    operands = integers(problem)
    assert relation.applies(problem)
    assert holds(relation, problem, operands, right)
    assert not holds(relation, problem, operands, fault)


def test_of_the_residual_each_part_gets_what_belongs_to_its_outputs() -> None:
    problem = RICH.replace(epilogue="add")
    operands = integers(problem)
    strided = BY_NAME["every position"].restated(problem, operands, right(problem, operands))[0][1].r
    assert np.array_equal(strided[:, :, ::2], operands.r) and not strided[:, :, 1::2].any()
    images = BY_NAME["single images"].restated(problem, operands, right(problem, operands))
    assert all(np.array_equal(own.r[0], operands.r[n]) for n, (_, own) in enumerate(images))
