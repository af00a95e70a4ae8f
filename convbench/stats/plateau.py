"""Where a sequence that starts high has become steady: how many readings to discard at its beginning.

Visits to a worker after a switch repeat the same start-up transient. Welch's procedure averages them reading by
reading; here the average is a median, which a stall in one visit does not move. White's marginal standard error rule
(MSER) then discards as many readings as make the standard error of the rest smallest, at most half.

Sources: P. D. Welch in The Computer Performance Modeling Handbook (1983); K. P. White, Simulation 69 (1997); K. Hoad,
S. Robinson, R. Davies, J. Oper. Res. Soc. 61 (2010), which compares 44 rules and recommends this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from convbench.stats.estimates import MAD_TO_SIGMA
from convbench.stats.ragged import Floats

FEWEST_READINGS = 4
"""With fewer readings a visit has no curve to truncate."""
_REACH = 3.0


@dataclass(frozen=True)
class Plateau:
    """The steady part of a visit starts after `discarded` readings. `reached` is false where the rule wanted to discard
    half of the readings or more: the visit ended before it was steady."""

    discarded: int
    reached: bool


def plateau(visits: Sequence[Sequence[float]]) -> Plateau:
    """The plateau of visits, each the positive readings that followed a switch, in their order.

    The curve ends with the shortest visit and is of logarithms, so that a visit on a slower clock weighs as much. With
    fewer than `FEWEST_READINGS` readings nothing is discarded and nothing known to be steady.
    """
    shortest = min((len(visit) for visit in visits), default=0)
    if shortest < FEWEST_READINGS:
        return Plateau(0, False)
    logs = np.log(np.array([visit[:shortest] for visit in visits], dtype=np.float64))
    half = shortest // 2
    levels = np.median(logs[:, half:], axis=1, keepdims=True)
    curve = np.median(logs - levels, axis=0)
    curve[half:] = _without_stalls(curve[half:])
    errors = [curve[start:].var() / (shortest - start) for start in range(half + 1)]
    discarded = int(np.argmin(errors))
    return Plateau(discarded, discarded < half)


def _without_stalls(tail: Floats) -> Floats:
    """The tail of a curve with its outliers moved to its edge: a stall there is no part of a start-up transient, but
    would make every truncation before it look equally bad."""
    middle = np.median(tail)
    reach = _REACH * MAD_TO_SIGMA * np.median(np.abs(tail - middle))
    return np.clip(tail, middle - reach, middle + reach)


def midmean(values: Sequence[float]) -> float:
    """The mean of the middle half (Tukey), which stalls do not move. Raises `ValueError` without values."""
    if not len(values):
        raise ValueError("no values to take a midmean of")
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    trimmed = len(ordered) // 4
    return float(ordered[trimmed : len(ordered) - trimmed].mean())
