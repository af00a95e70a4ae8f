"""Combinations of levels: which of them exist, and a tally of those that were met."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

Factors = tuple[int, ...]
Rows = NDArray[np.intp]
"""The index of a level of each factor: (rows, factors)."""

NONE = -(2**20)
"""The worth of a combination that does not exist: more than all others together could make up for."""
_ROWS_AT_ONCE = 1000


@dataclass(frozen=True)
class FactorBlock:
    """Factors of which not all levels go together, and a table of those that do, an axis for each factor."""

    factors: Factors
    possible: NDArray[np.bool_]


@dataclass(frozen=True)
class Refusal:
    """A combination of levels that is taken out: `levels` of `factors`."""

    factors: Factors
    levels: tuple[int, ...]


class Space:
    """All rows there are: each factor is in one block, and levels of different blocks go together freely."""

    def __init__(self, blocks: Iterable[FactorBlock]) -> None:
        self.blocks = tuple(blocks)
        sizes = {f: size for block in self.blocks for f, size in zip(block.factors, block.possible.shape, strict=True)}
        self.sizes = tuple(sizes[factor] for factor in range(len(sizes)))
        self.is_empty = not all(block.possible.any() for block in self.blocks)
        self._block_of = {factor: block for block in self.blocks for factor in block.factors}
        self._projections: dict[tuple[Factors, Factors], NDArray[np.bool_]] = {}

    def possible(self, factors: Factors) -> NDArray[np.bool_]:
        """Which combinations of their levels some row has, an axis for each; `factors` ascend."""
        parts: list[NDArray[np.bool_]] = []
        order: list[int] = []
        for block in self.blocks:
            if own := tuple(factor for factor in block.factors if factor in factors):
                parts.append(self._projection(block, own))
                order += own
        table = reduce(np.logical_and.outer, parts)
        return np.asarray(table.transpose([order.index(factor) for factor in factors]))

    def next_levels(self, rows: Rows, fixed: Iterable[int], factor: int) -> NDArray[np.bool_]:
        """Which levels of `factor` go with what each of `rows` has of its `fixed` factors: (rows, levels)."""
        block = self._block_of[factor]
        known = tuple(sorted(set(block.factors) & set(fixed)))
        table = self._projection(block, tuple(sorted((*known, factor))))
        table = np.moveaxis(np.asarray(table), sum(other < factor for other in known), -1)
        return np.broadcast_to(table[tuple(rows[:, other] for other in known)], (len(rows), self.sizes[factor]))

    def _projection(self, block: FactorBlock, factors: Factors) -> NDArray[np.bool_]:
        # Factors of a block ascend, so that axes stay in their order.
        key = (block.factors, factors)
        if key not in self._projections:
            others = tuple(axis for axis, factor in enumerate(block.factors) if factor not in factors)
            self._projections[key] = np.asarray(block.possible.any(axis=others))
        return self._projections[key]


class Tally:
    """Which combinations of `strength` levels are still unmet, one cell for each.

    `worth` of a cell is 1 as long as it is unmet, 0 when it was met, `NONE` when it does not exist. The cells of one
    set of factors, one of `subsets`, lie side by side from `start` on, and those of its j-th factor's levels are
    `radix[:, j]` apart.
    """

    def __init__(self, space: Space, strength: int, refusals: Iterable[Refusal] = ()) -> None:
        self.subsets = list(itertools.combinations(range(len(space.sizes)), strength))
        self.members = np.array(self.subsets)
        shapes = [[space.sizes[factor] for factor in subset] for subset in self.subsets]
        self.radix = np.array([[math.prod(shape[j + 1 :]) for j in range(strength)] for shape in shapes])
        self.start = np.cumsum([0, *map(math.prod, shapes)])
        cells = [np.where(space.possible(subset), 1, NONE).ravel() for subset in self.subsets]
        self.worth = np.concatenate(cells).astype(np.int32)
        self._shapes = shapes
        self.unmet = self._count()
        for refusal in refusals:
            self.refuse(refusal)

    def unmet_in(self, subset: int) -> Rows:
        """The combinations of one of `subsets` that are unmet: (combinations, strength)."""
        cells = np.flatnonzero(self.worth[self.start[subset] : self.start[subset + 1]] > 0)
        return np.stack(np.unravel_index(cells, self._shapes[subset]), axis=1)

    def meet(self, rows: Rows) -> None:
        """Count every combination in `rows` as met."""
        for first in range(0, len(rows), _ROWS_AT_ONCE):
            some = rows[first : first + _ROWS_AT_ONCE]
            cells = self.start[:-1] + (some[:, self.members] * self.radix).sum(axis=2)
            if len(rows) == 1:
                self.unmet -= self.worth[cells[0]] > 0
            self.worth[cells] = np.minimum(self.worth[cells], 0)
        if len(rows) != 1:
            self.unmet = self._count()

    def refuse(self, refusal: Refusal) -> None:
        """Take a combination, of as many levels or fewer, out, and all that it is part of."""
        for i in np.flatnonzero(np.isin(self.members, refusal.factors).sum(axis=1) == len(refusal.factors)):
            cells = self.worth[self.start[i] : self.start[i + 1]].reshape(self._shapes[i])
            level = dict(zip(refusal.factors, refusal.levels, strict=True))
            within = tuple(level.get(factor, slice(None)) for factor in self.subsets[i])
            cells[within] = NONE
            self.unmet[i] = (cells > 0).sum()

    def _count(self) -> NDArray[np.intp]:
        return np.add.reduceat(self.worth > 0, self.start[:-1], dtype=np.intp)
