"""Covering arrays: few rows in which every combination of a given number of levels occurs that can occur.

Row by row, greedily (the AETG method of Cohen, Dalal, Fredman and Patton, IEEE Trans. Softw. Eng. 23, 1997): a
combination that is still unmet is taken; the other factors follow in random order, each with the level that meets
most unmet combinations and leads to a row that exists. Of several such rows the one that meets most is kept. Pairs come
before triples and those before quadruples, so that an array that is cut short has met most of the simple ones, and an
array of strength 3 is the beginning of the one of strength 4. The result is always the same.

The space knows what can occur, and so does the function that accepts a row. When some 200 rows with a combination were
tried and none accepted, the combination is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from convbench.verification.sweep.combinations import Factors, Refusal, Rows, Space, Tally

Item = TypeVar("Item")
Row = tuple[int, ...]
Accept = Callable[[Row, int], Item | None]
"""What a row becomes, as the item of that number; None refuses the row."""

_CANDIDATES = 20
_ASKED = 10  # of the candidates, the best ones
_TRIALS, _ORDERS = 25, 6  # so many at once, so many times, and once more
_FIRST_TRIALS = 2000


@dataclass(frozen=True)
class CoveringArray(Generic[Item]):
    """The items that the rows became, in the order in which they meet the most, and what was refused."""

    rows: Rows
    items: tuple[Item, ...]
    refusals: tuple[Refusal, ...]


def covering_array(space: Space, strength: int, accept: Accept[Item], usual: Row) -> CoveringArray[Item]:
    """Rows that meet every combination of `strength` levels that exists and is not refused. `usual` is a row that is
    likely to be accepted, where nothing else is known."""
    builder = _Builder(space, accept, usual)
    if not space.is_empty and builder.has_begun():
        for each in range(1, strength + 1):
            builder.reach(each)
    rows = np.array(builder.rows, np.intp).reshape(len(builder.rows), len(space.sizes))
    return CoveringArray(rows, tuple(builder.items), tuple(builder.refusals))


class _Builder(Generic[Item]):
    def __init__(self, space: Space, accept: Accept[Item], usual: Row) -> None:
        self.space, self.accept, self.usual = space, accept, usual
        self.rows: list[Row] = []
        self.items: list[Item] = []
        self.refusals: list[Refusal] = []
        self._random = np.random.RandomState(0)  # whose stream is the same under every version of NumPy (NEP 19)

    def has_begun(self) -> bool:
        """Whether a first row was accepted."""
        if self._took(self.usual):
            return True
        tally = Tally(self.space, 1)
        rows, _ = self._completed(tally, tally.worth, (), np.empty((_FIRST_TRIALS, 0), np.intp))
        return any(map(self._took, rows))

    def reach(self, strength: int) -> None:
        """Add rows until all combinations of `strength` levels are met or refused."""
        tally = Tally(self.space, strength, self.refusals)
        tally.meet(np.array(self.rows, np.intp))
        while tally.unmet.any():
            subset = int(tally.unmet.argmax())
            factors, unmet = tally.subsets[subset], tally.unmet_in(subset)
            seeds = unmet[self._random.permutation(len(unmet))[np.arange(_CANDIDATES) % len(unmet)]]
            rows, met = self._completed(tally, tally.worth, factors, seeds)
            best_first = np.argsort(-met, kind="stable")[:_ASKED]
            seed = seeds[best_first[0]]
            if any(map(self._took, rows[best_first])) or any(map(self._took, self._trials(tally, factors, seed))):
                tally.meet(np.array(self.rows[-1:], np.intp))
            else:
                self.refusals.append(Refusal(factors, tuple(seed.tolist())))
                tally.refuse(self.refusals[-1])

    def _took(self, row: Iterable[int]) -> bool:
        levels = tuple(map(int, row))
        item = self.accept(levels, len(self.items))
        if item is None:
            return False
        self.rows.append(levels)
        self.items.append(item)
        return True

    def _trials(self, tally: Tally, factors: Factors, levels: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
        """Rows with a combination: some as like as can be to rows that were accepted, and some of any kind."""
        combination = np.tile(levels, (_TRIALS, 1))
        accepted = np.array(self.rows, np.intp)
        for _ in range(_ORDERS):
            models = accepted[self._random.randint(0, len(accepted), _TRIALS)]
            yield from self._completed(tally, np.minimum(tally.worth, 0), factors, combination, models)[0]
        yield from self._completed(tally, np.minimum(tally.worth, 0), factors, combination)[0]

    def _completed(
        self,
        tally: Tally,
        worth: NDArray[np.int32],
        factors: Factors,
        levels: NDArray[np.intp],
        models: Rows | None = None,
    ) -> tuple[Rows, NDArray[np.float64]]:
        """For each combination `levels` of `factors`, (n, factors), a row that has it, (n, all factors), and what that
        is worth: the other factors in one random order, each with the level that meets the most at that point. What
        meets as much is chosen as in `models`, (n, all factors), or at random."""
        n, sizes = len(levels), self.space.sizes
        order = [int(factor) for factor in self._random.permutation(len(sizes)) if factor not in factors]
        turn = np.zeros(len(sizes), np.intp)
        turn[order] = np.arange(1, len(order) + 1)
        decided_at = turn[tally.members].max(axis=1)  # when the last factor of a subset is fixed, its combination is
        rows = np.zeros((n, len(sizes)), np.intp)
        rows[:, factors] = levels
        total = np.zeros(n)
        fixed = list(factors)
        for factor in order:
            subsets = np.flatnonzero(decided_at == turn[factor])
            radix = tally.radix[subsets]
            # Of each row and subset the cell with level 0 of `factor`, which is where the row still has a 0.
            cells = tally.start[subsets] + (rows[:, tally.members[subsets]] * radix).sum(axis=2)
            step = radix[tally.members[subsets] == factor]
            meets = worth[cells[:, :, None] + step[:, None] * np.arange(sizes[factor])].sum(axis=1)
            exists = self.space.next_levels(rows, fixed, factor)
            ties = self._random.random_sample(meets.shape)
            if models is not None:
                ties[np.arange(n), models[:, factor]] = 1.0
            gain = np.where(exists, meets + ties, -np.inf)
            rows[:, factor] = gain.argmax(axis=1)
            total += gain.max(axis=1)
            fixed.append(factor)
        return rows, total
