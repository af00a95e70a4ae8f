"""Releases whose times are known, measured with seeded noise: each run draws how much each process differs."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from convbench.runner.bisect.slow_down import Ratios
from convbench.stats.estimates import NORMAL_QUANTILE
from convbench.stats.ratio import Ratio


class NoisySeries:
    """Called with members, it gives the ratios of one run; `runs` lists what was measured."""

    def __init__(self, levels: Sequence[float], noise: float, seed: int) -> None:
        self.levels, self.noise = levels, noise
        self.random = random.Random(seed)
        self.runs: list[tuple[int, ...]] = []

    def __call__(self, members: tuple[int, ...]) -> Ratios:
        self.runs.append(members)
        logs = {m: math.log(self.levels[m]) + self.random.gauss(0, self.noise / math.sqrt(2)) for m in members}
        half = NORMAL_QUANTILE * self.noise
        pairs = {(a, b): logs[a] - logs[b] for a in members for b in members if a != b}
        return Ratios({pair: Ratio.of_logs(log, log - half, log + half) for pair, log in pairs.items()})


def stepping(*parts: tuple[int, float]) -> list[float]:
    """Levels: so many members at each."""
    return [level for members, level in parts for _ in range(members)]
