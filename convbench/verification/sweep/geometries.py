"""The geometries that a sweep asks: kernels, strides, dilations, paddings and images, some of every kind that exists.

What exists is found by trial. Geometries are drawn towards every combination of levels and sorted by the combination
that they turn out to have; then, round by round, neighbours and crossings of these are tried. A combination that no
trial has is taken to be impossible. Longer searches find no more combinations of three for a backend that
supports everything, now and then an odd one for a backend that supports very little, and few more of four.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convbench.problem import PADDING_MODES, PaddingMode, Pair
from convbench.verification.sweep.factors import (
    DILATION,
    GEOMETRY,
    IMAGE,
    KERNEL,
    OUTPUT,
    PADDING,
    STRIDE,
    Factor,
    codes,
)
from convbench.verification.sweep.parameters import Parameters, parameters_of_geometries

Allowed = Callable[[Parameters], NDArray[np.bool_]]
Columns = NDArray[np.int16]
"""Geometries, (13, n): kernel, stride, dilation, padding before and after and size, down and then across; the mode."""

_WAYS = 8  # drawn towards each combination of six levels
_ROUNDS = 6  # of neighbours and crossings,
_TRIALS = 30_000  # so many of a kind at least
_LARGEST_KERNEL, _LARGEST_STRIDE, _LARGEST_DILATION, _LARGEST_PADDING, _LARGEST_SIZE = 11, 16, 5, 24, 128

_KERNELS: dict[str, list[Pair]] = {
    "1x1 kernel": [(1, 1)],
    "1xN kernel": [(1, 2), (1, 3), (1, 5), (1, 7), (1, 11)],
    "Nx1 kernel": [(2, 1), (3, 1), (5, 1), (7, 1), (11, 1)],
    "kernel of unequal sides": [(2, 3), (3, 2), (5, 3), (2, 5), (4, 3), (3, 7)],
    "2x2 kernel": [(2, 2)],
    "3x3 kernel": [(3, 3)],
    "4x4 or 5x5 kernel": [(4, 4), (5, 5)],
    "kernel of 6x6 or larger": [(6, 6), (7, 7), (7, 7), (9, 9), (11, 11)],
}
_STRIDES: dict[str, list[Pair]] = {
    "stride 1": [(1, 1)],
    "stride larger than the kernel": [(1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (7, 7)],  # by so much
    "unequal strides": [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2), (1, 4), (4, 1)],
    "stride 2": [(2, 2)],
    "stride 3 or more": [(3, 3), (3, 3), (4, 4), (5, 5), (6, 6)],
}
_DILATIONS: dict[str, list[Pair]] = {
    "dilation 1": [(1, 1)],
    "unequal dilations": [(1, 2), (2, 1), (1, 3), (3, 1), (2, 3), (3, 2)],
    "dilation 2 or more": [(2, 2), (2, 2), (3, 3)],
}


def every_kind(allowed: Allowed, modes: Sequence[PaddingMode] = PADDING_MODES) -> Columns:
    """Small geometries of every combination of levels that exists among the `allowed` ones in these padding modes,
    several of most; always the same. Where little is allowed, that is looked through the more closely."""
    dice = _Dice()
    drawn = _drawn(dice)
    drawn[12] = np.resize([PADDING_MODES.index(mode) for mode in modes], 12)[drawn[12]]
    drawn = _those(allowed, drawn)
    of_each_kind = _one_of_each_kind(drawn)
    for _ in range(_ROUNDS):
        again = np.tile(of_each_kind, -(-_TRIALS // max(1, of_each_kind.shape[1])))
        trials = (_neighbours(again, 1, dice), _neighbours(again, 2, dice), _crossed(again, dice))
        new = [_those(allowed, geometries) for geometries in trials]
        of_each_kind = _one_of_each_kind(np.concatenate([*new, of_each_kind], axis=1))
    return np.concatenate([drawn, *new, of_each_kind], axis=1)


def _those(allowed: Allowed, geometries: Columns) -> Columns:
    exist = existing(geometries)
    return exist[:, allowed(parameters_of_geometries(exist))]


def existing(geometries: Columns) -> Columns:
    """Those of `geometries` that exist, as `ConvProblem` has it, and are small. Where nothing is padded, or something
    cropped, there is no mode but zeros."""
    zeros, reflect, circular = map(PADDING_MODES.index, ("zeros", "reflect", "circular"))
    mode = geometries[12]
    exist = (mode == zeros) | geometries[[3, 4, 9, 10]].any(axis=0)
    for kernel, stride, dilation, before, after, size in geometries[:12].reshape(2, 6, -1):
        least, most = np.minimum(before, after), np.maximum(before, after)
        exist &= (kernel >= 1) & (kernel <= _LARGEST_KERNEL) & (stride >= 1) & (stride <= _LARGEST_STRIDE)
        exist &= (dilation >= 1) & (dilation <= _LARGEST_DILATION) & (size >= 1) & (size <= _LARGEST_SIZE)
        exist &= (size + before + after > dilation * (kernel - 1)) & (most <= _LARGEST_PADDING)
        exist &= (least >= 0) | ((mode == zeros) & (np.minimum(before, 0) + np.minimum(after, 0) > -size))
        exist &= (mode != reflect) | (most < size)
        exist &= (mode != circular) | (most <= size)
    return geometries[:, exist]


class _Dice:
    """Random small integers, the same under every version of NumPy: the stream of `RandomState` is frozen (NEP 19)."""

    def __init__(self) -> None:
        self._random = np.random.RandomState(0)

    def __call__(self, low: int, high: int, *shape: int) -> Columns:
        """From `low` to `high`, both included."""
        throws = self._random.randint(0, 256, shape, np.uint8).astype(np.int16)
        return np.asarray(low + throws % (high - low + 1), np.int16)


class _Aims:
    """The levels that each geometry is drawn towards, `_WAYS` times each combination of six factors."""

    def __init__(self, dice: _Dice) -> None:
        factors = (KERNEL, STRIDE, DILATION, PADDING, OUTPUT, IMAGE)
        levels = np.indices([len(factor.levels) for factor in factors], np.int16).reshape(len(factors), -1)
        self._levels = {f.name: level for f, level in zip(factors, np.repeat(levels, _WAYS, axis=1), strict=True)}
        self.dice, self.n = dice, levels.shape[1] * _WAYS

    def are(self, factor: Factor, *words: str) -> NDArray[np.bool_]:
        """Where they are one of `words`: (n,)."""
        return np.isin(self._levels[factor.name], [factor.words.index(word) for word in words])

    def choose(self, factor: Factor, of_level: Mapping[str, tuple[Any, Any]]) -> tuple[Columns, Columns]:
        """Of the pair of arrays (..., n) that each level has, those that the aims say."""
        level = self._levels[factor.name]
        one, other = (np.choose(level, [of_level[word][i] for word in factor.words]).astype(np.int16) for i in (0, 1))
        return one, other

    def pick(self, factor: Factor, of_level: Mapping[str, Sequence[Pair]]) -> Columns:
        """One of the pairs that the level has, at random: (2, n)."""
        pairs = np.array([pair for word in factor.words for pair in of_level[word]], np.int16)
        counts = np.array([len(of_level[word]) for word in factor.words])
        first = np.cumsum(counts) - counts
        level = self._levels[factor.name]
        picked: Columns = pairs[first[level] + self.dice(0, 255, self.n) % counts[level]].T
        return picked


def _drawn(dice: _Dice) -> Columns:
    """Geometries drawn towards each combination of levels, with any number for the mode. Many do not exist.

    Arrays are (2, n): down and across.
    """
    aims = _Aims(dice)
    n = aims.n
    kernel, stride, dilation = aims.pick(KERNEL, _KERNELS), aims.pick(STRIDE, _STRIDES), aims.pick(DILATION, _DILATIONS)
    stride = stride + kernel * aims.are(STRIDE, "stride larger than the kernel")
    span = dilation * (kernel - 1) + 1
    here, odd_one_here = dice(0, 1, 2, n), dice(0, 1, n)
    before, after = _paddings(aims, span, here, odd_one_here)

    # The image follows from output and padding, or an image is drawn and the padding follows.
    unread = dice(0, 13, 2, n) % stride * dice(0, 1, 2, n)  # rows and columns at the end that no output reads
    padded = (_outputs(aims) - 1) * stride + span + unread
    padding_follows = dice(0, 1, n)
    size = _shaped(aims, np.maximum(np.where(padding_follows, dice(1, 7, 2, n), padded - before - after), 1))
    padding_follows &= ~aims.are(PADDING, "no padding", "same padding")
    missing = padding_follows * (padded - size - before - after)
    one_side = aims.are(PADDING, "padding on one side only")
    before = before + np.where(one_side, here * missing, missing // 2)
    after = after + np.where(one_side, (1 - here) * missing, missing // 2)

    axes = np.stack([kernel, stride, dilation, before, after, size], axis=1).reshape(12, n)
    return np.concatenate([axes, dice(0, 11, 1, n)]).astype(np.int16)


def _paddings(aims: _Aims, span: Columns, here: Columns, odd_one_here: Columns) -> tuple[Columns, Columns]:
    """Before and after, (2, n) each; one-sided ones are before where `here` is 1."""
    before, after = aims.dice(0, 3, 2, 2, aims.n)
    half = (span - 1 + odd_one_here) // 2
    large = np.where(here, span + aims.dice(0, 1, 2, aims.n), before)
    full = np.where(here, span - 1, before)  # all that still sees the image
    of_level = {
        "negative padding": (before - 2, np.where(odd_one_here, before, after) - 2),
        "no padding": (0, 0),
        "same padding": (half, span - 1 - half),
        "padding on one side only": (before * here, after * (1 - here)),
        "asymmetric padding": (before, after),
        "padding as large as the kernel": (large, large),
        "symmetric padding": (full, full),
    }
    return aims.choose(PADDING, of_level)


def _outputs(aims: _Aims) -> Columns:
    """Heights and widths: (2, n)."""
    dice, n = aims.dice, aims.n
    height = dice(2, 6, n)
    of_level = {
        "one-pixel output": (1, 1),
        "output of one column": (height, 1),
        "output of one row": (1, dice(2, 17, n)),
        "output 2 to 7 wide": (height, dice(2, 7, n)),
        "output 8 to 15 wide": (height, dice(8, 15, n)),
        "output 16 wide or more": (height, dice(16, 18, n)),
    }
    return np.stack(aims.choose(OUTPUT, of_level))


def _shaped(aims: _Aims, size: Columns) -> Columns:
    """`size`, (2, n), made to be of the aimed shape."""
    (height, width), upright = size, aims.dice(0, 1, aims.n)
    longer = np.maximum(height, width)
    of_level = {
        "one-pixel image": (1, 1),
        "image of one row or column": (np.where(upright, height, 1), np.where(upright, 1, width)),
        "square image": (longer, longer),
        "tall image": (np.maximum(height, width + 1), width),
        "wide image": (height, np.maximum(width, height + 1)),
    }
    return np.stack(aims.choose(IMAGE, of_level))


def _neighbours(geometries: Columns, changes: int, dice: _Dice) -> Columns:
    """Each with `changes` numbers made a little larger or smaller, and some made those of the other axis."""
    geometries = geometries.copy()
    n = geometries.shape[1]
    each = np.arange(n)
    for _ in range(changes):
        geometries[dice(0, 12, n), each] += dice(1, 3, n) * (2 * dice(0, 1, n) - 1)
        number, alike = dice(0, 5, n), dice(0, 3, n) == 0
        geometries[number[alike], each[alike]] = geometries[number[alike] + 6, each[alike]]
    geometries[12] %= len(PADDING_MODES)
    return geometries


def _crossed(geometries: Columns, dice: _Dice) -> Columns:
    """Each with the horizontal axis of another one of the same kernel, stride and dilation."""
    same = geometries[[0, 1, 2, 6, 7, 8]]
    order, other = (np.lexsort((dice(0, 255, geometries.shape[1]), *same)) for _ in range(2))
    return np.concatenate([geometries[:6, order], geometries[6:, other]])


def _one_of_each_kind(geometries: Columns) -> Columns:
    first = np.unique(codes(GEOMETRY, parameters_of_geometries(geometries)), return_index=True)[1]
    return geometries[:, first]
