"""Rows of times, of any length each, in one array: what many records' samples are to NumPy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUARTILES_APART = 1.349  # of a normal distribution, in standard deviations

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Rows:
    """Row i is `flat[starts[i] : starts[i] + sizes[i]]`."""

    flat: Floats
    starts: Integers
    sizes: Integers

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Rows:
        """The rows as given; one that is no list of finite numbers above 0, such as times are, becomes empty."""
        lists = [row if isinstance(row, list) else () for row in rows]
        try:
            found = cls._of(lists)
        except (TypeError, ValueError, OverflowError):  # texts, or what else a journal of other hands may have
            found = cls._of([row if _are_numbers(row) else () for row in lists])
        filled = np.flatnonzero(found.sizes)
        starts = found.starts[filled]
        if len(filled):
            sums, least = np.add.reduceat(found.flat, starts), np.minimum.reduceat(found.flat, starts)
            found.sizes[filled[~((least > 0) & (sums < math.inf))]] = 0
        return found

    @classmethod
    def _of(cls, lists: Sequence[Sequence[float]]) -> Rows:
        sizes = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.float64, count=int(sizes.sum()))
        return cls(flat, np.cumsum(sizes) - sizes, sizes)

    def __getitem__(self, chosen: NDArray[Any]) -> Rows:
        """The rows of these numbers, or where this mask is true."""
        return Rows(self.flat, self.starts[chosen], self.sizes[chosen])

    def __len__(self) -> int:
        return len(self.sizes)

    def thinned(self, most: int) -> Rows:
        """Rows longer than `most` as that many of theirs, evenly spread."""
        if not len(self) or self.sizes.max() <= most:
            return self
        return Rows.of([row[:: -(-len(row) // most)].tolist() for row in self])

    def log_spreads(self) -> Floats:
        """Of each row how far its times lie apart: the distance of the quartiles of their logarithms, as the standard
        deviation of a normal distribution with these. 0 of an empty row."""
        found = np.zeros(len(self))
        for size in np.unique(self.sizes[self.sizes > 0]).tolist():
            chosen = np.flatnonzero(self.sizes == size)
            low, high = np.quantile(np.log(self.matrix(chosen)), (0.25, 0.75), axis=1)
            found[chosen] = (high - low) / _QUARTILES_APART
        return found

    def __iter__(self) -> Iterator[Floats]:
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            yield self.flat[start : start + size]

    def matrix(self, chosen: Integers) -> Floats:
        """The rows of these numbers, which are of one length, under one another."""
        return self.flat[self.starts[chosen][:, None] + np.arange(self.sizes[chosen[0]])]


def _are_numbers(row: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and abs(value) < 1e300 for value in row)
