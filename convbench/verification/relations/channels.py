"""Relations of channels, filters and groups: their order, and parts of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from convbench.problem import ConvProblem
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import Array, Part, Relation, as_it_is, cut

_LARGEST_DENSE_WEIGHT = 2**21  # elements


def _dense_groups(problem: ConvProblem, operands: Operands) -> list[Part]:
    """One group, whose weight has the groups' own as blocks along its diagonal and zeros elsewhere."""
    groups, (out, own, *kernel) = problem.groups, operands.w.shape
    dense = np.zeros((groups, out // groups, groups, own, *kernel), operands.w.dtype)
    for group, block in enumerate(operands.w.reshape(groups, out // groups, own, *kernel)):
        dense[group, :, group] = block
    return [(problem.replace(groups=1), Operands(operands.x, dense.reshape(out, -1, *kernel), operands.b))]


def _dense_size(problem: ConvProblem) -> int:
    return problem.out_channels * problem.in_channels * math.prod(problem.kernel_size)


def _channels_reversed(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Within each group."""
    x = operands.x.reshape(problem.batch, problem.groups, -1, problem.height, problem.width)[:, :, ::-1]
    w = np.ascontiguousarray(operands.w[:, ::-1])
    return [(problem, Operands(x.reshape(operands.x.shape), w, operands.b))]


def _filters_reversed(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Within each group."""
    w, b = (None if a is None else _reversed_filters(problem, a, 0) for a in (operands.w, operands.b))
    assert w is not None
    return [(problem, Operands(operands.x, w, b))]


def _filters_back(problem: ConvProblem, outputs: Sequence[Array]) -> Array:
    return _reversed_filters(problem, outputs[0], 1)


def _reversed_filters(problem: ConvProblem, array: Array, axis: int) -> Array:
    order = np.arange(problem.out_channels).reshape(problem.groups, -1)[:, ::-1].ravel()
    return np.take(array, order, axis)


def _groups_reversed(problem: ConvProblem, operands: Operands) -> list[Part]:
    channels = np.arange(problem.in_channels).reshape(problem.groups, -1)[::-1].ravel()
    w, b = (None if a is None else _reversed_groups(problem, a, 0) for a in (operands.w, operands.b))
    assert w is not None
    return [(problem, Operands(np.take(operands.x, channels, 1), w, b))]


def _groups_back(problem: ConvProblem, outputs: Sequence[Array]) -> Array:
    return _reversed_groups(problem, outputs[0], 1)


def _reversed_groups(problem: ConvProblem, array: Array, axis: int) -> Array:
    order = np.arange(problem.out_channels).reshape(problem.groups, -1)[::-1].ravel()
    return np.take(array, order, axis)


def _filters_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Some of each group's filters, and the others."""
    filters = np.arange(problem.out_channels).reshape(problem.groups, -1)
    middle = cut(filters.shape[1])
    return [_with_filters(problem, operands, some) for some in (filters[:, :middle], filters[:, middle:])]


def _with_filters(problem: ConvProblem, operands: Operands, filters: Array) -> Part:
    b = None if operands.b is None else operands.b[filters.ravel()]
    return problem.replace(out_channels=filters.size), Operands(operands.x, operands.w[filters.ravel()], b)


def _filters_together(problem: ConvProblem, outputs: Sequence[Array]) -> Array:
    n, _, *extent = problem.output_shape
    return np.concatenate([y.reshape(n, problem.groups, -1, *extent) for y in outputs], 2).reshape(problem.output_shape)


def _groups_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Some of the groups, and the others."""
    middle = cut(problem.groups)
    channels, filters = problem.in_channels // problem.groups, problem.out_channels // problem.groups
    parts = []
    for some in (range(middle), range(middle, problem.groups)):
        own = slice(some.start * filters, some.stop * filters)
        x = np.ascontiguousarray(operands.x[:, some.start * channels : some.stop * channels])
        b = None if operands.b is None else operands.b[own]
        sizes = {"in_channels": len(some) * channels, "out_channels": len(some) * filters}
        parts.append((problem.replace(groups=len(some), **sizes), Operands(x, operands.w[own], b)))
    return parts


def _groups_together(_: ConvProblem, outputs: Sequence[Array]) -> Array:
    return np.concatenate(outputs, 1)


OF_CHANNELS = (
    Relation(
        "dense groups",
        "groups are one group whose weight is block-diagonal",
        _dense_groups,
        as_it_is,
        lambda problem: problem.groups > 1 and _dense_size(problem) <= _LARGEST_DENSE_WEIGHT,
    ),
    Relation(
        "channels reversed",
        "the order of the input's channels does not matter",
        _channels_reversed,
        as_it_is,
        lambda problem: problem.in_channels > problem.groups,
    ),
    Relation(
        "filters reversed",
        "the order of the filters is that of the output's channels",
        _filters_reversed,
        _filters_back,
        lambda problem: problem.out_channels > problem.groups,
    ),
    Relation(
        "groups reversed",
        "the order of groups is that of the output's groups",
        _groups_reversed,
        _groups_back,
        lambda problem: problem.groups > 1,
    ),
    Relation(
        "filters apart",
        "each filter gives its own channel of the output",
        _filters_apart,
        _filters_together,
        lambda problem: problem.out_channels > problem.groups,
    ),
    Relation(
        "groups apart",
        "groups know nothing of each other",
        _groups_apart,
        _groups_together,
        lambda problem: problem.groups > 1,
    ),
)
