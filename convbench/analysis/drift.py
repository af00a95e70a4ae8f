"""What two runs of the same code differ by, because the machine is another one by then.

Neighbours on its host, heat and its clocks make a machine slower for seconds to minutes, and so all samples of a record
alike. A test of the samples does not know that: of two runs of the same code, 48 minutes apart on a busy host, it
called 32 % of 1,151 pairs changed (`evaluation/statistics/two_runs.py`). Two things are known of it.

How far a machine moves shows in how far a record's own samples lie apart. Their spread is not taken to average out: the
median of a record, however many samples it has, is as uncertain as that of 2 that know nothing of each other.

What was measured in the same minutes moved alike. So where there are enough other libraries on the same case, whose
versions are the same in both runs, the median of what these moved by is the machine's, and is taken out. Of what is
left a record's samples hold as much as 16 would.

Both were found with runs of 96 layers and 12 backends on that host; what the intervals hold there, the script prints.
What lies outside lies far outside, for a neighbour comes or does not. So the chance of a difference is Student's with 3
degrees of freedom, by the interval that is shown.

What was measured in the same rounds has none of it.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

import numpy as np

from convbench.stats.estimates import MAD_TO_SIGMA, NORMAL_QUANTILE, student_quantile
from convbench.stats.ragged import Ragged
from convbench.stats.ratio import Ratio
from convbench.store.journal import Record

_DETECTED = 2.80
"""Standard errors of a difference that is told in 80 % of cases."""
_WORTH_ALONE, _WORTH_BESIDE_OTHERS = 2, 16
"""Samples that know nothing of each other, as many as a record is worth."""
FEWEST_OTHERS = 4
"""Libraries on the same case that tell what the machine did."""
_DEGREES = 3
_MEDIAN_TO_MEAN = 1.2533
"""Standard errors of a median and of a mean of normal values, the one over the other."""


class Drift(NamedTuple):
    """By how much a machine was slower in the new run, as a factor, if that is known; and half of the 95 % interval,
    of a logarithm, for what it may have been besides."""

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
    `cases` were measured in the same minutes; those of None stand alone."""
    spreads = np.sqrt(base.log_spreads() ** 2 + new.log_spreads() ** 2).tolist()
    libraries = [library_of(record) for record, _ in pairs]
    moved: dict[Hashable, dict[str, list[float]]] = {}
    for (one, other), case, library, ratio in zip(pairs, cases, libraries, ratios, strict=True):
        if case is not None and one.get("versions") == other.get("versions"):
            moved.setdefault(case, {}).setdefault(library, []).append(math.log(ratio))
    medians = {case: {name: median(logs) for name, logs in found.items()} for case, found in moved.items()}
    return [
        _drift([log for name, log in medians.get(case, {}).items() if name != library], spread)
        for case, library, spread in zip(cases, libraries, spreads, strict=True)
    ]


def half_width_of_drift(base: Record, new: Record) -> float:
    """Half of the 95 % interval for what a machine did to the logarithm of two records' ratio, by these alone."""
    samples = (record.get("samples") for record in (base, new))
    rows = Ragged.of([found.get("wall_s") if isinstance(found, Mapping) else None for found in samples])
    return _drift((), math.hypot(*rows.log_spreads().tolist())).half_width


def smallest_between_runs(spread: float, *, beside_others: bool) -> float:
    """The share by which code has to be slower in another run to be told from the machine in 80 % of the cases, where a
    record's samples lie `spread` apart, as a standard deviation of logarithms; at best, if `beside_others`."""
    worth = _WORTH_BESIDE_OTHERS if beside_others else _WORTH_ALONE
    return math.expm1(_DETECTED * spread * math.sqrt(2 / worth))


def chance_of(ratio: Ratio) -> float:
    """The p value of a ratio by its own 95 % interval: how probable it is that what is 1 shows so far from it. Where
    the interval ends at 1 it is 5 %."""
    from scipy.special import stdtr

    off = math.log(ratio.value)
    half_width = math.log(ratio.value / ratio.low) if off > 0 else math.log(ratio.high / ratio.value)
    if half_width == 0:
        return 0.0 if off else 1.0
    return float(2 * stdtr(_DEGREES, -abs(off) / half_width * student_quantile(_DEGREES)))


def _drift(others: Sequence[float], spread: float) -> Drift:
    """By what other libraries moved by, and by the spread of both records' samples."""
    if len(others) < FEWEST_OTHERS:
        return Drift(None, NORMAL_QUANTILE * spread / math.sqrt(_WORTH_ALONE))
    centre = median(others)
    apart = _MEDIAN_TO_MEAN * MAD_TO_SIGMA * median(abs(log - centre) for log in others) / math.sqrt(len(others))
    of_centre = student_quantile(len(others) - 1) * apart
    return Drift(math.exp(centre), math.hypot(of_centre, NORMAL_QUANTILE * spread / math.sqrt(_WORTH_BESIDE_OTHERS)))


def library_of(record: Record) -> str:
    """What a backend computes with: the first distribution that it names, NumPy only where there is no other, for most
    need that as well; of one that names none, how its own name begins."""
    versions = record.get("versions")
    if isinstance(versions, dict) and versions:
        return str(next((name for name in versions if name != "numpy"), "numpy"))
    return str(record["backend"]).partition("@")[0].partition("-")[0]
