"""Binary search for a step in an ordered series whose members can be compared with its ends, with doubt or without.

The members are numbered from 0, which is as before the step, to the last, which is as after it. What is known is a
probability of each place of the step, evenly spread at first. Each member adds evidence, the logarithm of how much
more likely what it showed is after the step than before it. The next member is the one that halves what is left
(M. Horstein, IEEE Trans. Inf. Theory 9, 1963; R. Waeber, P. I. Frazier, S. G. Henderson, SIAM J. Control Optim. 51,
2013). With `CERTAIN` evidence alone this is the usual binary search.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

SURE = 0.99
"""The probability from which a place of the step counts as known."""
CERTAIN = 60.0
"""Evidence of what has no noise, such as a right and a wrong answer."""


class Gap(NamedTuple):
    """The step lies above `before`, and at or below `after`. What is between them was skipped."""

    before: int
    after: int
    probability: float


@dataclass(frozen=True)
class Bisection:
    """What is known of the step in a series of `count` members, 2 or more."""

    count: int
    evidence: Mapping[int, float] = field(default_factory=dict)
    skipped: frozenset[int] = frozenset()
    """Members that cannot be looked at, or that nothing can be decided about."""
    misses: int = 0
    """How many were skipped since the last evidence."""

    def with_evidence(self, member: int, log_likelihood_ratio: float) -> Bisection:
        """The same with all the evidence of `member`, which replaces what was known of it."""
        return replace(self, evidence={**self.evidence, member: log_likelihood_ratio}, misses=0)

    def without(self, member: int) -> Bisection:
        """The same without `member`."""
        return replace(self, skipped=self.skipped | {member}, misses=self.misses + 1)

    def gaps(self) -> list[Gap]:
        """The places where the step may be, in order, with probabilities whose sum is 1."""
        usable = [member for member in range(self.count) if member not in self.skipped or self._is_end(member)]
        logs = []
        after = math.fsum(self.evidence.get(member, 0.0) for member in usable[1:-1])
        for low, high in pairwise(usable):
            logs.append(math.log(high - low) + after)
            after -= 0.0 if self._is_end(high) else self.evidence.get(high, 0.0)
        most = max(logs)
        weights = [math.exp(each - most) for each in logs]
        total = math.fsum(weights)
        return [Gap(*ends, weight / total) for ends, weight in zip(pairwise(usable), weights, strict=True)]

    def next(self) -> int | None:
        """The member to look at next; None when the place of the step is known, or no member is left to look at.

        After a skipped member the next one is farther away, because the neighbours of a broken release tend to be
        broken, too: the shares aimed at are those of van der Corput's sequence."""
        gaps = self.gaps()
        if len(gaps) == 1 or max(gap.probability for gap in gaps) >= SURE:
            return None
        target, below = _van_der_corput(self.misses + 1), 0.0
        nearest: tuple[float, int] | None = None
        for gap in gaps[:-1]:
            below += gap.probability
            distance = abs(below - target)
            if nearest is None or distance < nearest[0] - 1e-12:
                nearest = (distance, gap.after)
        return nearest[1] if nearest else None

    def answer(self) -> Gap:
        """The narrowest range of places around the most likely one whose probabilities add up to `SURE`."""
        gaps = self.gaps()
        low = high = max(range(len(gaps)), key=lambda place: gaps[place].probability)
        total = gaps[low].probability
        while total < SURE:
            left = gaps[low - 1].probability if low > 0 else -1.0
            right = gaps[high + 1].probability if high + 1 < len(gaps) else -1.0
            low, high = (low - 1, high) if left > right else (low, high + 1)
            total += max(left, right)
        return Gap(gaps[low].before, gaps[high].after, total)

    def _is_end(self, member: int) -> bool:
        return member in (0, self.count - 1)


def _van_der_corput(number: int) -> float:
    """1/2, 1/4, 3/4, 1/8, 5/8, ... for 1, 2, 3, ..."""
    value, share = 0.0, 0.5
    while number:
        value += share * (number & 1)
        number, share = number >> 1, share / 2
    return value
