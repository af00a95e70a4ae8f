"""Relations of channels, filters and groups, of their order and their parts, and of the sums over them: an output is a
sum of products, linear in the input and in the weight, and then the bias."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from convbench.problem import ConvProblem
from convbench.verification.operands import Operands
from convbench.verification.relations.relation import Array, Part, cut, input_zero, relation, summands, weight_zeros

_LARGEST_DENSE_WEIGHT = 2**21  # elements


def _is_small_when_dense(problem: ConvProblem) -> bool:
    weight = problem.out_channels * problem.in_channels * math.prod(problem.kernel_size)
    return problem.groups > 1 and weight <= _LARGEST_DENSE_WEIGHT


@relation("dense groups", "groups are one group whose weight is block-diagonal", _is_small_when_dense)
def _dense_groups(problem: ConvProblem, operands: Operands) -> list[Part]:
    """One group, whose weight has the groups' own as blocks along its diagonal and zeros elsewhere."""
    groups, (out, own, *kernel) = problem.groups, operands.w.shape
    dense = np.empty((groups, out // groups, groups, own, *kernel), operands.w.dtype)
    dense.reshape(out, -1)[...] = weight_zeros(operands).reshape(-1, 1)
    for group, block in enumerate(operands.w.reshape(groups, out // groups, own, *kernel)):
        dense[group, :, group] = block
    return [(problem.replace(groups=1), replace(operands, w=dense.reshape(out, -1, *kernel)))]


@relation("channels reversed", "the order of the input's channels does not matter", lambda p: p.in_channels > p.groups)
def _channels_reversed(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Within each group."""
    x = np.take(operands.x, _by_group(problem, problem.in_channels)[:, ::-1].ravel(), 1)
    return [(problem, replace(operands, x=x, w=np.ascontiguousarray(operands.w[:, ::-1])))]


@relation(
    "filters reversed",
    "the order of the filters is that of the output's channels",
    lambda p: p.out_channels > p.groups,
    lambda p, outputs: np.take(outputs[0], _by_group(p, p.out_channels)[:, ::-1].ravel(), 1),
)
def _filters_reversed(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Within each group."""
    return [_with_filters(problem, operands, _by_group(problem, problem.out_channels)[:, ::-1])]


@relation(
    "groups reversed",
    "the order of groups is that of the output's groups",
    lambda p: p.groups > 1,
    lambda p, outputs: np.take(outputs[0], _by_group(p, p.out_channels)[::-1].ravel(), 1),
)
def _groups_reversed(problem: ConvProblem, operands: Operands) -> list[Part]:
    return [_with_groups(problem, operands, slice(None, None, -1))]


def _filters_together(problem: ConvProblem, outputs: Sequence[Array]) -> Array:
    n, _, *extent = problem.output_shape
    return np.concatenate([y.reshape(n, problem.groups, -1, *extent) for y in outputs], 2).reshape(problem.output_shape)


@relation(
    "filters apart",
    "each filter gives its own channel of the output",
    lambda p: p.out_channels > p.groups,
    _filters_together,
)
def _filters_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Some of each group's filters, and the others."""
    filters = _by_group(problem, problem.out_channels)
    middle = cut(filters.shape[1])
    return [_with_filters(problem, operands, some) for some in (filters[:, :middle], filters[:, middle:])]


@relation(
    "groups apart",
    "groups know nothing of each other",
    lambda p: p.groups > 1,
    lambda _, outputs: np.concatenate(outputs, 1),
)
def _groups_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Some of the groups, and the others."""
    middle = cut(problem.groups)
    return [_with_groups(problem, operands, some) for some in (slice(middle), slice(middle, None))]


def _by_group(problem: ConvProblem, channels: int) -> Array:
    """The indices of channels or filters: (groups, channels of each)."""
    return np.arange(channels).reshape(problem.groups, -1)


def _with_groups(problem: ConvProblem, operands: Operands, groups: slice) -> Part:
    channels = _by_group(problem, problem.in_channels)[groups]
    x = np.take(operands.x, channels.ravel(), 1)
    part = problem.replace(in_channels=channels.size, groups=len(channels), out_channels=len(channels))
    return _with_filters(part, replace(operands, x=x), _by_group(problem, problem.out_channels)[groups])


def _with_filters(problem: ConvProblem, operands: Operands, filters: Array) -> Part:
    chosen = filters.ravel()
    b = None if operands.b is None else operands.b[chosen]
    s = operands.s
    if problem.quantization is not None and problem.quantization.per_channel:
        s = np.concatenate([s[:4], *(numbers[chosen] for numbers in np.split(s[4:], 2))])
    return problem.replace(out_channels=filters.size), replace(operands, w=operands.w[chosen], b=b, s=s)


@summands("channels apart", "the sum over channels is that of two parts", lambda p: p.in_channels > p.groups)
def _channels_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Some of each group's channels, with the bias, and the others."""
    x = operands.x.reshape(problem.batch, problem.groups, -1, problem.height, problem.width)
    middle = cut(x.shape[2])
    parts = []
    for some, b in ((slice(0, middle), operands.b), (slice(middle, None), None)):
        own = x[:, :, some].reshape(problem.batch, -1, problem.height, problem.width)
        part = problem.replace(in_channels=own.shape[1], bias=b is not None)
        parts.append((part, replace(operands, x=own, w=np.ascontiguousarray(operands.w[:, some]), b=b)))
    return parts


@summands("input in two", "the output is linear in the input")
def _input_in_two(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Half of each element, rounded down, with the bias; and what is left of it."""
    zero, dtype = input_zero(operands), operands.x.dtype
    whole = operands.x.astype(np.float64) - zero
    half = np.floor(whole / 2)
    parts = [replace(operands, x=(part + zero).astype(dtype)) for part in (half, whole - half)]
    return [(problem, parts[0]), (problem.replace(bias=False), replace(parts[1], b=None))]


@summands("weight in two", "the output is linear in the weight", lambda p: p.reduction_length > 1)
def _weight_in_two(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Every other tap, with the bias, and those between."""
    odd = np.indices(operands.w.shape[1:]).sum(0) % 2
    taps = [np.where(odd == parity, operands.w, weight_zeros(operands)) for parity in (0, 1)]
    first = (problem, replace(operands, w=taps[0]))
    return [first, (problem.replace(bias=False), replace(operands, w=taps[1], b=None))]


@summands("bias apart", "the bias is added to the output", lambda p: p.bias)
def _bias_apart(problem: ConvProblem, operands: Operands) -> list[Part]:
    """Without the bias; and an input of zeros with it."""
    zeros = replace(operands, x=np.full_like(operands.x, input_zero(operands)))
    return [(problem.replace(bias=False), replace(operands, b=None)), (problem, zeros)]


OF_CHANNELS = (
    *(_dense_groups, _channels_reversed, _filters_reversed, _groups_reversed, _filters_apart, _groups_apart),
    *(_channels_apart, _input_in_two, _weight_in_two, _bias_apart),
)
