"""Ragged of times, of any length each, in one array: what many records' samples are to NumPy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUARTILES_APART = 1.3489795  # of a normal distribution, in standard deviations

_SHORTEST_S, _LONGEST_S = 1e-18, 1e18
"""No time lies outside: of those inside ratios and logarithms are finite, in float32, too."""

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Row i is `flat[starts[i] : starts[i] + sizes[i]]`."""

    flat: Floats
    starts: Integers
    sizes: Integers

    @classmethod
    def of(cls, rows: Sequence[Any]) -> Ragged:
        """The rows as given; one that is no list of times in seconds becomes empty."""
        lists = [row if isinstance(row, list) else () for row in rows]
        try:
            found = cls._of(lists)
        except (TypeError, ValueError, OverflowError):  # texts, or what else a journal of other hands may have
            found = cls._of([row if _are_numbers(row) else () for row in lists])
        filled = np.flatnonzero(found.sizes)
        starts = found.starts[filled]
        if len(filled):
            least, most = np.minimum.reduceat(found.flat, starts), np.maximum.reduceat(found.flat, starts)
            found.sizes[filled[~((least >= _SHORTEST_S) & (most <= _LONGEST_S))]] = 0
        return found

    @classmethod
    def _of(cls, lists: Sequence[Sequence[float]]) -> Ragged:
        sizes = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        flat = np.fromiter(chain.from_iterable(lists), dtype=np.float64, count=int(sizes.sum()))
        return cls(flat, np.cumsum(sizes) - sizes, sizes)

    def __getitem__(self, chosen: NDArray[Any]) -> Ragged:
        """The rows of these numbers, or where this mask is true."""
        return Ragged(self.flat, self.starts[chosen], self.sizes[chosen])

    def __len__(self) -> int:
        return len(self.sizes)

    def thinned(self, most: int) -> Ragged:
        """Ragged longer than `most` as that many of theirs, evenly spread."""
        if not len(self) or self.sizes.max() <= most:
            return self
        return Ragged.of([row[:: -(-len(row) // most)].tolist() for row in self])

    def log_spreads(self) -> Floats:
        """Of each row the `normal_spread` of its times' logarithms; 0 of an empty row."""
        found = np.zeros(len(self))
        for size in np.unique(self.sizes[self.sizes > 0]).tolist():
            chosen = np.flatnonzero(self.sizes == size)
            found[chosen] = normal_spread(np.log(self.matrix(chosen)))
        return found

    def __iter__(self) -> Iterator[Floats]:
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            yield self.flat[start : start + size]

    def matrix(self, chosen: Integers) -> Floats:
        """The rows of these numbers, which are of one length, under one another."""
        return self.flat[self.starts[chosen][:, None] + np.arange(self.sizes[chosen[0]])]


def normal_spread(values: Floats) -> Floats:
    """How far values lie apart along the last axis: the distance of their quartiles, as the standard deviation of a
    normal distribution with these."""
    low, high = np.quantile(values, (0.25, 0.75), axis=-1)
    return np.asarray((high - low) / _QUARTILES_APART)


def _are_numbers(row: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and abs(value) < 1e300 for value in row)
