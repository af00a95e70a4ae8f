"""Did it change? Two sets of records, pair by pair: ratio with interval, and a verdict that allows for many pairs.

A difference is claimed only where it is unlikely by chance over the whole table: Mann-Whitney's test per pair, then
Benjamini and Hochberg's control of the false discovery rate. With 6 or more samples a side that test can speak at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from convbench.analysis.ratio import Ratio
from convbench.measurement.statistics import FEWEST_FOR_INTERVAL
from convbench.status import Status
from convbench.store.journal import Record

FALSE_DISCOVERY_RATE = 0.05
_RESAMPLES = 1000

Pair = tuple[str, str, str, int]
"""(suite, case, backend, threads): what has to be equal for two records to be compared."""


class Verdict(StrEnum):
    """What may be said of one pair."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    UNCLEAR = "unclear"


@dataclass(frozen=True)
class Change:
    """One pair in both sets. `ratio` is new over base: above 1 the new one is slower."""

    suite: str
    case: str
    backend: str
    base: Record
    new: Record
    ratio: Ratio
    q_value: float
    """The smallest false discovery rate at which this pair would count as changed."""
    verdict: Verdict

    def regressed(self, threshold: float) -> bool:
        """Slower beyond doubt, and by more than `threshold` (0.05 is 5 %)."""
        return self.verdict is Verdict.SLOWER and self.ratio.value > 1 + threshold


@dataclass(frozen=True)
class Comparison:
    """All pairs that both sets timed, slowest first; those that were right before and are not now; and the rest."""

    changes: tuple[Change, ...]
    broken: tuple[Record, ...]
    only_base: int
    only_new: int

    @property
    def geometric_mean(self) -> float | None:
        """Of the ratios of all pairs; None without pairs."""
        if not self.changes:
            return None
        return math.exp(sum(math.log(change.ratio.value) for change in self.changes) / len(self.changes))


def compare(base: Iterable[Record], new: Iterable[Record], threshold: float) -> Comparison:
    """Compare two sets of records; of several records of one pair the last counts. `threshold` decides what is `same`:
    an interval that lies within it to either side."""
    before, after = _by_pair(base), _by_pair(new)
    shared = [pair for pair in before if pair in after]
    timed = [(before[p], after[p]) for p in shared if _is_timed(before[p]) and _is_timed(after[p])]
    broken = [after[p] for p in shared if _is_timed(before[p]) and Status(after[p]["status"]).is_failure]
    samples = [(_samples(b), _samples(n)) for b, n in timed]
    q_values = _q_values(samples)
    changes = []
    for (old, now), (x, y), q in zip(timed, samples, q_values, strict=True):
        ratio = _ratio_of_medians(x, y)
        verdict = _verdict(ratio, q, threshold)
        changes.append(Change(str(now.get("suite", "")), now["case"], now["backend"], old, now, ratio, q, verdict))
    changes.sort(key=lambda change: -change.ratio.value)
    return Comparison(
        tuple(changes),
        tuple(broken),
        only_base=sum(pair not in after for pair in before),
        only_new=sum(pair not in before for pair in after),
    )


def _by_pair(records: Iterable[Record]) -> dict[Pair, Record]:
    return {(str(r.get("suite", "")), r["case"], r["backend"], int(r.get("threads") or 1)): r for r in records}


def _is_timed(record: Record) -> bool:
    return record["status"] == Status.OK and bool((record.get("samples") or {}).get("wall_s"))


def _samples(record: Record) -> NDArray[np.float64]:
    return np.array(record["samples"]["wall_s"], dtype=np.float64)


def _q_values(samples: list[tuple[NDArray[np.float64], NDArray[np.float64]]]) -> list[float]:
    from scipy.stats import false_discovery_control, mannwhitneyu

    if not samples:
        return []
    enough = [min(x.size, y.size) >= FEWEST_FOR_INTERVAL for x, y in samples]
    p_values = [float(mannwhitneyu(x, y).pvalue) for (x, y), can in zip(samples, enough, strict=True) if can]
    controlled = iter(false_discovery_control(p_values) if p_values else ())
    return [float(next(controlled)) if can else 1.0 for can in enough]


def _ratio_of_medians(base: NDArray[np.float64], new: NDArray[np.float64]) -> Ratio:
    """Median over median, with the percentile bootstrap's 95 % interval: the two were not measured round by round."""
    rng = np.random.default_rng(0)
    drawn = [np.median(x[rng.integers(0, x.size, (_RESAMPLES, x.size))], axis=1) for x in (base, new)]
    low, high = np.quantile(drawn[1] / drawn[0], (0.025, 0.975))
    value = float(np.median(new) / np.median(base))
    covers = min(base.size, new.size) >= FEWEST_FOR_INTERVAL
    return Ratio(value, min(float(low), value), max(float(high), value), covers)


def _verdict(ratio: Ratio, q_value: float, threshold: float) -> Verdict:
    if not ratio.covers:
        return Verdict.UNCLEAR
    if q_value < FALSE_DISCOVERY_RATE and not ratio.includes_one:
        return Verdict.SLOWER if ratio.value > 1 else Verdict.FASTER
    within = 1 / (1 + threshold) <= ratio.low and ratio.high <= 1 + threshold
    return Verdict.SAME if within else Verdict.UNCLEAR
