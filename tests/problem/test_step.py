"""A training step of a layer: several results, and what they cost together."""

from __future__ import annotations

from math import prod

import pytest
from hypothesis import given
from strategies import problems

from convbench.errors import ProblemError
from convbench.problem import GRADIENTS, ConvProblem

LAYER = ConvProblem(batch=2, in_channels=4, height=9, width=7, out_channels=6, kernel_size=3, stride=2, padding=1)
SNIPPET = "x = torch.randn(1, 4, 9, 9)\nconv = torch.nn.Conv2d(4, 6, 3)\ny = conv(x)\n"


def test_a_step_takes_all_operands_and_has_all_results() -> None:
    step = LAYER.replace(direction="step", bias=True)
    assert step.operand_shapes == {"x": (2, 4, 9, 7), "w": (6, 4, 3, 3), "g": (2, 6, 5, 4), "b": (6,)}
    assert step.computed == ("forward", *GRADIENTS)
    assert step.result_shapes == ((2, 6, 5, 4), (2, 4, 9, 7), (6, 4, 3, 3), (6,))
    assert step.result_shape == (sum(map(prod, step.result_shapes)),)
    without = step.replace(bias=False)
    assert without.computed == ("forward", "input_gradient", "weight_gradient")
    assert "b" not in without.operand_shapes


@given(problems(("step",)))
def test_a_step_costs_what_its_parts_do_and_moves_each_array_once(step: ConvProblem) -> None:
    assert step.flops == sum(part.flops for part in step.parts) and step.macs == sum(part.macs for part in step.parts)
    assert step.reduction_length == max(part.reduction_length for part in step.parts)
    assert [part.direction for part in step.parts] == list(step.computed)
    arrays = sum(map(prod, step.operand_shapes.values())) + sum(prod(part.result_shape) for part in step.parts)
    assert step.bytes % arrays == 0 and step.bytes // arrays in (2, 4, 8)


@given(problems())
def test_any_other_problem_is_its_own_part(problem: ConvProblem) -> None:
    if problem.direction != "step":
        assert problem.parts == (problem,) and problem.result_shapes == (problem.result_shape,)


def test_a_snippet_that_asks_for_some_gradients_only_is_no_step() -> None:
    with pytest.raises(ProblemError, match="asks for all of them"):
        ConvProblem.parse(SNIPPET + "g = torch.autograd.grad(y, (conv.weight,), torch.randn_like(y))")
