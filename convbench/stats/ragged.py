"""Rows of numbers of different lengths in one array, so that NumPy can work on many records' samples at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUARTILES_APART = 1.3489795  # of a normal distribution, in standard deviations

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ragged:
    """Row i is `flat[starts[i] : starts[i] + sizes[i]]`."""

    flat: Floats
    starts: Integers
    sizes: Integers

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Ragged:
        """Raises `OverflowError` for an integer that no float holds."""
        sizes = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
        flat = np.fromiter(chain.from_iterable(rows), dtype=np.float64, count=int(sizes.sum()))
        return cls(flat, np.cumsum(sizes) - sizes, sizes)

    def __getitem__(self, chosen: NDArray[Any]) -> Ragged:
        """The rows with these numbers, or where this mask is true."""
        return Ragged(self.flat, self.starts[chosen], self.sizes[chosen])

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Floats]:
        for start, size in zip(self.starts.tolist(), self.sizes.tolist(), strict=True):
            yield self.flat[start : start + size]

    def kept_between(self, least: float, most: float) -> Ragged:
        """The same, with every row empty that has a value outside [least, most], or NaN; for rows made by `of`."""
        filled = np.flatnonzero(self.sizes)
        if not len(filled):
            return self
        starts, sizes = self.starts[filled], self.sizes.copy()
        lowest, highest = np.minimum.reduceat(self.flat, starts), np.maximum.reduceat(self.flat, starts)
        sizes[filled[~((lowest >= least) & (highest <= most))]] = 0
        return replace(self, sizes=sizes)

    def thinned(self, most: int) -> Ragged:
        """The same with at most `most` values per row; those of a longer row are evenly spread."""
        if not len(self) or self.sizes.max() <= most:
            return self
        return Ragged.of([row[:: -(-len(row) // most)].tolist() for row in self])

    def log_spreads(self) -> Floats:
        """The `normal_spread` of each row's logarithms; 0 for an empty row."""
        spreads = np.zeros(len(self))
        for size in np.unique(self.sizes[self.sizes > 0]).tolist():
            chosen = np.flatnonzero(self.sizes == size)
            spreads[chosen] = normal_spread(np.log(self.matrix(chosen)))
        return spreads

    def matrix(self, chosen: Integers) -> Floats:
        """(rows, size): the rows with these numbers, which have one length."""
        return self.flat[self.starts[chosen][:, None] + np.arange(self.sizes[chosen[0]])]


def normal_spread(values: Floats) -> Floats:
    """The distance of the quartiles along the last axis, as the standard deviation of a normal distribution."""
    ordered = np.sort(values, axis=-1)  # takes a tenth of `np.quantile`, which a report calls for every ratio
    return np.asarray((_between(ordered, 0.75) - _between(ordered, 0.25)) / _QUARTILES_APART)


def _between(ordered: Floats, share: float) -> Floats:
    """The quantile of the sorted last axis, interpolated as `np.quantile` does."""
    place = share * (ordered.shape[-1] - 1)
    below, above = ordered[..., math.floor(place)], ordered[..., math.ceil(place)]
    return np.asarray(below + (above - below) * (place - math.floor(place)))
