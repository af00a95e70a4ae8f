"""Drift: how much two runs of the same code differ because the machine changed in between.

Neighbours on the host, heat and clocks slow all samples of a record alike, which a test of the samples does not know:
of two runs of the same code, 48 minutes apart on a busy host, it called 32 % of 1,151 pairs changed
(`evaluation/statistics/two_runs.py`).

The spread of a record's own samples shows how far the machine moves. It does not average out: the median of a record is
as uncertain as that of 2 independent samples. What the machine's earlier sessions showed (`stats/session_drift.py`)
counts instead where that is more. If there are enough other libraries on the same case, with the same
versions, measured in the same minutes, then the median of their changes is the drift and is divided out; what remains
is as uncertain as the median of 16 independent samples.

Both numbers come from runs of 96 layers and 12 backends on that host; the script prints how many intervals hold 1.
Values outside lie far outside, so the p value of a difference is Student's with 3 degrees of freedom, by the interval
that is shown. Records of the same rounds have no drift between them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from convbench.stats.estimates import MAD_TO_SIGMA, NORMAL_QUANTILE, student_quantile
from convbench.stats.ragged import Ragged
from convbench.stats.ratio import Ratio
from convbench.store.readings import ragged_walls, session_drift, table
from convbench.store.schema import Record

_DETECTED = 2.80
"""Standard errors of a difference that is detected in 80 % of the cases."""
_WORTH_ALONE, _WORTH_BESIDE_OTHERS = 2, 16
"""Independent samples that a record is worth."""
FEWEST_OTHERS = 4
"""Libraries on the same case from which the drift of the machine is taken."""
_DEGREES = 3
_MEDIAN_TO_MEAN = 1.2533
"""The standard error of a median over that of a mean, for normal values."""


class Drift(NamedTuple):
    """How many times slower the machine was in the new run, if known; half of the 95 % interval of the log for the
    rest."""

    factor: float | None
    half_width: float


def drifts(
    pairs: Sequence[tuple[Record, Record]],
    cases: Sequence[Hashable | None],
    base: Ragged,
    new: Ragged,
    ratios: Sequence[float],
) -> list[Drift]:
    """The drift of each pair of records, whose samples are the rows and whose medians have the ratio. Pairs of equal
    `cases` were measured in the same minutes; a pair of case None stands alone."""
    spreads = np.sqrt(base.log_spreads() ** 2 + new.log_spreads() ** 2).tolist()
    libraries = [library_of(record) for record, _ in pairs]
    moved: dict[Hashable, dict[str, list[float]]] = {}
    for (before, after), case, library, ratio in zip(pairs, cases, libraries, ratios, strict=True):
        if case is not None and before.get("versions") == after.get("versions"):
            moved.setdefault(case, {}).setdefault(library, []).append(math.log(ratio))
    medians = {case: {name: median(logs) for name, logs in by_library.items()} for case, by_library in moved.items()}
    return [
        _drift([log for name, log in medians.get(case, {}).items() if name != library], spread, pair)
        for case, library, spread, pair in zip(cases, libraries, spreads, pairs, strict=True)
    ]


def half_width_of_drift(base: Record, new: Record) -> float:
    """Half of the 95 % interval for the drift, of the logarithm of two records' ratio, by these records alone."""
    return _drift((), math.hypot(*ragged_walls([base, new]).log_spreads().tolist()), (base, new)).half_width


def smallest_between_runs(spread: float, *, beside_others: bool) -> float:
    """The share by which code has to be slower in another run to be distinguished from drift in 80 % of the cases, if a
    record's samples have this `spread`, as a standard deviation of logarithms. With `beside_others`, the best case."""
    worth = _WORTH_BESIDE_OTHERS if beside_others else _WORTH_ALONE
    return math.expm1(_DETECTED * spread * math.sqrt(2 / worth))


def p_value_of(ratio: Ratio) -> float:
    """The p value of a ratio by its own 95 % interval: 5 % if the interval ends at 1."""
    from scipy.special import stdtr

    off = math.log(ratio.value)
    half_width = math.log(ratio.value / ratio.low) if off > 0 else math.log(ratio.high / ratio.value)
    if half_width == 0:
        return 0.0 if off else 1.0
    return float(2 * stdtr(_DEGREES, -abs(off) / half_width * student_quantile(_DEGREES)))


def _drift(others: Sequence[float], spread: float, pair: tuple[Record, Record]) -> Drift:
    """From the logarithms of what other libraries changed by, and the spread of both records' samples."""
    if len(others) < FEWEST_OTHERS:
        learned = max(d.half_width_of_ratio if (d := session_drift(r)) and d.is_known else 0.0 for r in pair)
        return Drift(None, max(learned, NORMAL_QUANTILE * spread / math.sqrt(_WORTH_ALONE)))
    centre = median(others)
    apart = _MEDIAN_TO_MEAN * MAD_TO_SIGMA * median(abs(log - centre) for log in others) / math.sqrt(len(others))
    centre_half_width = student_quantile(len(others) - 1) * apart
    return Drift(
        math.exp(centre), math.hypot(centre_half_width, NORMAL_QUANTILE * spread / math.sqrt(_WORTH_BESIDE_OTHERS))
    )


def library_of(record: Record) -> str:
    """The first distribution that a backend names, NumPy only if it names no other; else the beginning of its name."""
    if versions := table(record, "versions"):
        return str(next((name for name in versions if name != "numpy"), "numpy"))
    return record["backend"].partition("@")[0].partition("-")[0]
