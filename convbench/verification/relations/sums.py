"""Relations of sums: an output is a sum of products, linear in the input and in the weight, and then the bias."""

from __future__ import annotations

import numpy as np

from convbench.problem import ConvProblem
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import Part, Relation, added, cut


def _channels_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Some of each group's channels, with the bias, and the others."""
    x = operands.x.reshape(problem.batch, problem.groups, -1, problem.height, problem.width)
    middle = cut(x.shape[2])
    parts = []
    for some, b in ((slice(0, middle), operands.b), (slice(middle, None), None)):
        own = x[:, :, some].reshape(problem.batch, -1, problem.height, problem.width)
        part = problem.replace(in_channels=own.shape[1], bias=b is not None)
        parts.append((part, Operands(own, np.ascontiguousarray(operands.w[:, some]), b)))
    return parts


def _input_in_two(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Half of each element, rounded down, with the bias; and what is left of it."""
    half = np.floor(operands.x / 2)
    rest = Operands(operands.x - half, operands.w, None)
    return [(problem, Operands(half, operands.w, operands.b)), (problem.replace(bias=False), rest)]


def _weight_in_two(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Every other tap, with the bias, and those between."""
    odd = np.indices(operands.w.shape[1:]).sum(0) % 2
    taps = [np.where(odd == parity, operands.w, operands.w.dtype.type(0)) for parity in (0, 1)]
    first = (problem, Operands(operands.x, taps[0], operands.b))
    return [first, (problem.replace(bias=False), Operands(operands.x, taps[1], None))]


def _bias_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Without the bias; and an input of zeros with it."""
    zeros = Operands(np.zeros_like(operands.x), operands.w, operands.b)
    return [(problem.replace(bias=False), Operands(operands.x, operands.w, None)), (problem, zeros)]


OF_SUMS = (
    Relation(
        "channels apart",
        "the sum over channels is that of two parts",
        _channels_apart,
        added,
        lambda problem: problem.in_channels > problem.groups,
        exact_in_halves=False,
    ),
    Relation(
        "input in two",
        "the output is linear in the input",
        _input_in_two,
        added,
        lambda _: True,
        exact_in_halves=False,
    ),
    Relation(
        "weight in two",
        "the output is linear in the weight",
        _weight_in_two,
        added,
        lambda problem: problem.reduction_length > 1,
        exact_in_halves=False,
    ),
    Relation(
        "bias apart",
        "the bias is added to the output",
        _bias_apart,
        added,
        lambda problem: problem.bias,
        exact_in_halves=False,
    ),
)
