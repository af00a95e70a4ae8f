"""The scale of something that varies by chance, learned from what was seen of it, on top of what was expected.

What is seen has heavy tails: a neighbour on the host, an unlucky process. The scale is therefore that of a Student
distribution with four degrees of freedom, fitted by expectation-maximization (K. L. Lange, R. J. A. Little, J. M. G.
Taylor, J. Am. Stat. Assoc. 84, 1989): a single bad value counts little, while the interval reaches as far as the tails
do. While few values are known the interval has fewer degrees, down to two, because the scale itself is uncertain.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from convbench.stats.estimates import student_quantile

_WORTH = 1
"""How many values the expectation before any is seen weighs as much as."""
_DEGREES, _FEWEST_DEGREES, _VALUES_FOR_A_DEGREE = 4, 2, 4
_STEPS = 50
_NEAR, _MOST_OTHERS = 8.0, 4


@dataclass(frozen=True)
class LearnedScale:
    """The `scale` of the logarithm of the ratio of two times that differ by chance, learned from so many `pairs`."""

    scale: float
    pairs: float = 0

    @property
    def half_width_of_ratio(self) -> float:
        """Half of the 95 % interval for the logarithm of the ratio of two times that differ by chance only."""
        degrees = min(_DEGREES, _FEWEST_DEGREES + self.pairs / _VALUES_FOR_A_DEGREE)
        return student_quantile(degrees) * self.scale

    @property
    def half_width_of_time(self) -> float:
        """Half of the 95 % interval for the logarithm of one time over a typical one."""
        return self.half_width_of_ratio / math.sqrt(2)

    def learned_from(self: Scale, log_ratios: Sequence[float], weights: Sequence[float] | None = None) -> Scale:
        """The scale after further pairs, by their log ratios; what was known weighs as its pairs and one more. With
        `weights` a pair counts as less than one, because others say the same."""
        if not len(log_ratios):
            return self
        known, squares = _WORTH + self.pairs, np.square(np.asarray(log_ratios, dtype=np.float64))
        counts = np.ones(len(squares)) if weights is None else np.asarray(weights, dtype=np.float64)
        variance, more = self.scale**2, math.fsum(counts)
        for _ in range(_STEPS):
            weighted = math.fsum(counts * squares * (_DEGREES + 1) / (_DEGREES + squares / variance))
            variance = (known * self.scale**2 + weighted) / (known + more)
        return replace(self, scale=math.sqrt(variance), pairs=self.pairs + (len(squares) if weights is None else more))


Scale = TypeVar("Scale", bound=LearnedScale)


def is_near(size: float, other: float) -> bool:
    """Whether operands of one size tell of those of the other: within a factor of eight."""
    return size / _NEAR <= other <= size * _NEAR


def scale_at(start: Scale, size: float, pairs: Sequence[tuple[float, float]], weights: Sequence[float] = ()) -> Scale:
    """The scale for operands of `size`, known as `start`, from pairs of (size, logarithm of the ratio): by those of
    sizes within a factor of eight and, on a logarithmic scale and with the weight of four pairs at most, by those of
    other sizes."""
    sides: tuple[list[int], list[int]] = ([], [])
    for index, (other, _) in enumerate(pairs):
        sides[is_near(size, other)].append(index)
    others, own = (
        start.learned_from([pairs[i][1] for i in side], [weights[i] for i in side] if weights else None)
        for side in sides
    )
    borrowed = min(others.pairs - start.pairs, _MOST_OTHERS)
    weight = borrowed / (borrowed + own.pairs) if borrowed else 0.0
    return replace(own, scale=others.scale**weight * own.scale ** (1 - weight), pairs=own.pairs + borrowed)
