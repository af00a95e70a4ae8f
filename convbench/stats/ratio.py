"""A ratio of two times and its interval, and the ratios of paired times."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from convbench.stats.estimates import Estimate

Key = TypeVar("Key", int, tuple[int, int])


@dataclass(frozen=True)
class Ratio:
    """How many times slower the first is. [low, high] is a 95 % interval if `covers`, else the range seen."""

    value: float
    low: float
    high: float
    covers: bool = True

    @classmethod
    def of(cls, estimate: Estimate) -> Ratio:
        return cls(estimate.median, estimate.low, estimate.high, estimate.covers)

    @classmethod
    def of_logs(cls, value: float, low: float, high: float, covers: bool = True) -> Ratio:
        """From the logarithms of the ratio and of the ends of its interval."""
        return cls(math.exp(value), math.exp(low), math.exp(high), covers)

    @property
    def includes_one(self) -> bool:
        """Whether the two may be equally fast, so that no difference is claimed."""
        return self.low <= 1 <= self.high

    def within(self, tolerance: float) -> bool:
        """Whether the whole interval lies within a difference of `tolerance` (0.05 is 5 %) to either side."""
        return 1 / (1 + tolerance) <= self.low and self.high <= 1 + tolerance

    def inverse(self) -> Ratio:
        """How many times slower the other one is."""
        return Ratio(1 / self.value, 1 / self.high, 1 / self.low, self.covers)

    def over(self, factor: float) -> Ratio:
        return Ratio(self.value / factor, self.low / factor, self.high / factor, self.covers)

    def widened(self, half_width: float) -> Ratio:
        """As `Estimate.widened`."""
        below, above = math.log(self.value / self.low), math.log(self.high / self.value)
        low = self.value * math.exp(-math.hypot(below, half_width))
        return Ratio(self.value, low, self.value * math.exp(math.hypot(above, half_width)), self.covers)

    def narrowed(self, half_width: float) -> Ratio:
        """Without an error that `widened` included."""
        sides = math.log(self.value / self.low), math.log(self.high / self.value)
        below, above = (math.sqrt(max(0.0, side**2 - half_width**2)) for side in sides)
        return Ratio(self.value, self.value * math.exp(-below), self.value * math.exp(above), self.covers)


def paired_ratios(slower: Mapping[Key, float], faster: Mapping[Key, float]) -> list[float]:
    """Slower over faster for each key, such as a round, that both have, in the order of the keys; a pair with a time of
    0, which a coarse clock may give, is left out."""
    shared = sorted(slower.keys() & faster.keys())
    return [slower[key] / faster[key] for key in shared if slower[key] > 0 and faster[key] > 0]
