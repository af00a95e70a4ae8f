"""Two groups among processes that run the same code, such as those that get huge pages and those that do not.

The statistic is the largest ratio of the sum of squares between two groups to that within them, over all divisions of
the ordered values (L. Engelman, J. A. Hartigan, Percentage points of a test for clusters, J. Am. Stat. Assoc. 64,
1969). Here a group has two members at least, because one value apart is a bad process and no group. The percentage
points are those of a Student distribution with four degrees of freedom, simulated, because processes that differ
without groups have tails as heavy; by the normal distribution's points such tails would look like groups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from convbench.stats.ragged import Floats

FEWEST_FOR_GROUPS = 4
ERROR_RATE = 0.001
"""How often values without groups are said to have two. It is small, because a run asks for each of its records."""
_FEWEST_MEMBERS = 2
_DRAWS, _DEGREES = 20_000, 4
_MOST_VALUES = 64


@dataclass(frozen=True)
class Groups:
    """Two groups `apart`, as the logarithm of the ratio of their means, and how many are in the `smaller` one."""

    apart: float
    smaller: int


def two_groups(logs: Sequence[float]) -> Groups | None:
    """The groups among logarithms of times of several processes; None where one group explains them, or where they are
    fewer than 4."""
    return _groups(np.asarray(logs, dtype=np.float64), folded=False)


def two_groups_by_pairs(log_ratios: Sequence[float]) -> Groups | None:
    """The same from pairs of processes: with two groups, some pairs are of one group and agree, and the others differ
    by what lies between the groups."""
    return _groups(np.abs(np.asarray(log_ratios[-_MOST_VALUES:], dtype=np.float64)), folded=True)


def _groups(values: Floats, *, folded: bool) -> Groups | None:
    if len(values) < FEWEST_FOR_GROUPS:
        return None
    ordered = np.sort(values)
    ratios = _between_over_within(ordered[None])[0]
    if ratios.max() <= _percentage_point(len(values), folded):
        return None
    split = int(ratios.argmax()) + _FEWEST_MEMBERS
    apart = float(ordered[split:].mean() - ordered[:split].mean())
    return Groups(apart, min(split, len(values) - split))


def _between_over_within(rows: Floats) -> Floats:
    """For each row of ordered values, the ratio for each division with two members at least on either side."""
    n = rows.shape[1]
    rows = rows - rows.mean(axis=1, keepdims=True)
    below = np.cumsum(rows, axis=1)[:, _FEWEST_MEMBERS - 1 : n - _FEWEST_MEMBERS]
    sizes = np.arange(_FEWEST_MEMBERS, n - _FEWEST_MEMBERS + 1)
    between = below**2 * n / (sizes * (n - sizes))
    total = (rows**2).sum(axis=1, keepdims=True)
    within = np.maximum(total - between, np.finfo(np.float64).eps * total)
    ratios: Floats = np.divide(between, within, out=np.zeros_like(between), where=within > 0)
    return ratios


@lru_cache(maxsize=256)
def _percentage_point(n: int, folded: bool) -> float:
    drawn = np.random.default_rng(n).standard_t(_DEGREES, (_DRAWS, n))
    ordered = np.sort(np.abs(drawn) if folded else drawn, axis=1)
    return float(np.quantile(_between_over_within(ordered).max(axis=1), 1 - ERROR_RATE))
