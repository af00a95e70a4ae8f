"""Did it change? Two sets of records, pair by pair: ratio with interval, and a verdict that allows for many pairs.

A difference is claimed only where it is unlikely by chance over the whole table: a rank test per pair (`contrast` says
which), and of two runs what the machine may have done from one to the other (`drift`), then Benjamini and Hochberg's
control of the false discovery rate. With 6 or more samples a side, or rounds in common, such a test can speak at all.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

import numpy as np

from convbench.analysis.between_processes import contrast_of_processes
from convbench.analysis.drift import Drift, chance_of, drifts
from convbench.stats.false_discovery import q_values
from convbench.stats.process_variation import half_width_of_process_variation
from convbench.stats.ragged import Ragged
from convbench.stats.ratio import Ratio
from convbench.stats.two_sample import Contrast, independent, paired
from convbench.status import Status
from convbench.store.journal import Record

FALSE_DISCOVERY_RATE = 0.05
FIELDS = (
    "suite", "case", "backend", "threads", "status", "reason", "median_s", "session", "commit", "dtype",
    "settings.allocator", "settings.cache", "machine.machine", "declared.device", "versions",
    "samples.round", "samples.wall_s", "samples.process",
)  # fmt: skip
"""What this module and those that show its answer look at in a record."""

Pair = tuple[Any, ...]
"""(suite, case, backend, threads, ...): what has to be equal for two records to be compared."""


class Verdict(StrEnum):
    """What may be said of one pair."""

    SLOWER = "slower"
    FASTER = "faster"
    SAME = "same"
    UNCLEAR = "unclear"


class Change(NamedTuple):
    """One pair in both sets. `ratio` is new over base, without the machine's `drift`: above 1 the new one is slower."""

    suite: str
    case: str
    backend: str
    base: Record
    new: Record
    ratio: Ratio
    q_value: float
    """The smallest false discovery rate at which this pair would count as changed."""
    verdict: Verdict
    paired: bool = False
    """Whether the two were measured side by side, and compared round by round."""
    drift: float | None = None
    """Of two runs: how many times slower the machine was in the new one, by the other libraries on the same case; None
    where these are too few."""

    @property
    def changed(self) -> bool:
        """Whether a difference is claimed."""
        return self.verdict in (Verdict.SLOWER, Verdict.FASTER)

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
    told_apart_by: tuple[str, ...] = ()
    """What a pair has to be equal in besides, as one set has several of it: machine, allocator, cache, dtype."""

    @property
    def geometric_mean(self) -> float | None:
        """Of the ratios of all pairs; None without pairs."""
        if not self.changes:
            return None
        return math.exp(sum(math.log(change.ratio.value) for change in self.changes) / len(self.changes))


def compare(
    base: Iterable[Record],
    new: Iterable[Record],
    threshold: float,
    beside: tuple[Sequence[Record], Sequence[Record]] = ((), ()),
) -> Comparison:
    """Compare two sets of records; of several records of one pair the last counts. `threshold` decides what is `same`:
    an interval that lies within it to either side. What is `beside` them in both runs is not compared, and helps to
    tell what the machine did."""
    before, after = list(base), list(new)
    kinds, other_kinds = set(map(_told_apart, before)), set(map(_told_apart, after))
    apart = tuple(sorted({*_several(kinds), *_several(other_kinds)}))
    of_base, of_new = _by_pair(before, apart), _by_pair(after, apart)
    shared = _in_both(of_base, of_new)
    measured = [*shared, *_in_both(*(_by_pair(side, apart) for side in beside))]
    was, now = (
        Ragged.of([_walls(earlier) for _, earlier, _ in measured]),
        Ragged.of([_walls(later) for _, _, later in measured]),
    )
    timed = np.flatnonzero((was.sizes > 0) & (now.sizes > 0))
    kinds |= other_kinds.union(*(map(_told_apart, side) for side in beside))
    compared = _compared([measured[i] for i in timed.tolist()], was[timed], now[timed], of_one_kind=len(kinds) == 1)
    pairs = [shared[index] for index in timed.tolist() if index < len(shared)]
    del compared[len(pairs) :]
    # Too few samples are no test, and must not make the others' false discoveries look fewer.
    rates = iter(q_values([contrast.p_value for contrast, _, _ in compared if contrast.ratio.covers]))
    changes = []
    for (pair, earlier, later), (contrast, side_by_side, drift) in zip(pairs, compared, strict=True):
        suite, case, backend, *_ = pair
        ratio = contrast.ratio
        q_value = next(rates) if ratio.covers else 1.0
        verdict = _verdict(ratio, q_value, threshold)
        changes.append(Change(suite, case, backend, earlier, later, ratio, q_value, verdict, side_by_side, drift))
    changes.sort(key=lambda change: -change.ratio.value)
    was_timed = [shared[index] for index in np.flatnonzero(was.sizes[: len(shared)]).tolist()]
    return Comparison(
        tuple(changes),
        tuple(later for _, _, later in was_timed if later["status"] in _FAILURES),
        only_base=len(of_base) - len(shared),
        only_new=len(of_new) - len(shared),
        told_apart_by=apart,
    )


_FAILURES = frozenset(str(status) for status in Status if status.is_failure)
_TOLD_APART = ("machine", "allocator", "cache", "dtype")


def _told_apart(record: Record) -> tuple[str, ...]:
    machine, settings = record.get("machine") or {}, record.get("settings") or {}
    told = (machine.get("machine"), settings.get("allocator"), settings.get("cache", "warm"), record.get("dtype"))
    return tuple(map(str, told))


def _several(kinds: Iterable[tuple[str, ...]]) -> list[str]:
    """What there is more than one of, of what is not compared across."""
    return [name for name, *values in zip(_TOLD_APART, *kinds, strict=True) if len(set(values)) > 1]


def _in_both(of_base: Mapping[Pair, Record], of_new: Mapping[Pair, Record]) -> list[tuple[Pair, Record, Record]]:
    return [(pair, earlier, of_new[pair]) for pair, earlier in of_base.items() if pair in of_new]


def _by_pair(records: Iterable[Record], apart: Sequence[str]) -> dict[Pair, Record]:
    pairs: dict[Pair, Record] = {}
    places = [_TOLD_APART.index(name) for name in apart]
    for record in records:
        pair = (str(record.get("suite", "")), record["case"], record["backend"], str(record.get("threads") or 1))
        if places:
            told = _told_apart(record)
            pairs[(*pair, *(told[place] for place in places))] = record
        else:
            pairs[pair] = record
    return pairs


def _walls(record: Record) -> Any:
    """The record's samples, if it is right."""
    samples = record.get("samples")
    return samples.get("wall_s") if samples and record["status"] == Status.OK else None


def _contrasts(pairs: Sequence[tuple[Record, Record]], was: Ragged, now: Ragged) -> list[tuple[Contrast, bool]]:
    """The contrast of each two records, whose samples are the rows, and whether it is a paired one.

    Samples of a process each do not know what the two processes differ by; the interval is to hold that, too.
    """
    found = [_over_processes(base, new) for base, new in pairs]
    rounds = [None if known else _in_the_same_rounds(*pair) for known, pair in zip(found, pairs, strict=True)]
    both = [walls for walls in rounds if walls is not None]
    side_by_side = iter(paired(Ragged.of([one for one, _ in both]), Ragged.of([other for _, other in both])))
    alone = np.array([known is None and walls is None for known, walls in zip(found, rounds, strict=True)], dtype=bool)
    each_for_itself = iter(independent(was[alone], now[alone]))
    return [
        known or (_of_a_process_each(next(each_for_itself if walls is None else side_by_side), pair), walls is not None)
        for known, walls, pair in zip(found, rounds, pairs, strict=True)
    ]


def _of_a_process_each(contrast: Contrast, pair: tuple[Record, Record]) -> Contrast:
    return contrast._replace(ratio=contrast.ratio.widened(half_width_of_process_variation(pair, contrast.spread)))


class _Compared(NamedTuple):
    contrast: Contrast
    paired: bool
    drift: float | None


def _compared(
    shared: Sequence[tuple[Pair, Record, Record]], was: Ragged, now: Ragged, *, of_one_kind: bool
) -> list[_Compared]:
    """Each two records, whose samples are the rows, against each other; those of two runs without what the machine did
    from one to the other, as far as that is known, and with room in their intervals for what is not. `of_one_kind` are
    those of one machine, allocator, cache and dtype."""
    pairs = [(base, new) for _, base, new in shared]
    contrasts = _contrasts(pairs, was, now)
    apart = np.flatnonzero([not side_by_side for _, side_by_side in contrasts])
    places = apart.tolist()
    found = drifts(
        [pairs[place] for place in places],
        # Two machines, say, are to differ in more than the code.
        [_same_minutes(*shared[p]) if of_one_kind or len({*map(_told_apart, pairs[p])}) == 1 else None for p in places],
        was[apart],
        now[apart],
        [contrasts[place][0].ratio.value for place in places],
    )
    compared = [_Compared(contrast, side_by_side, None) for contrast, side_by_side in contrasts]
    for place, drift in zip(places, found, strict=True):
        compared[place] = _Compared(_without(drift, compared[place].contrast), False, drift.factor)
    return compared


def _same_minutes(pair: Pair, base: Record, new: Record) -> Pair:
    """What is equal in pairs whose backends were measured by turns on a device, in both runs."""
    suite, case, _backend, *more = pair
    declared = base.get("declared")
    device = str(declared.get("device")) if isinstance(declared, dict) else ""
    return (suite, case, *more, device, str(base.get("session")), str(new.get("session")))


def _without(drift: Drift, contrast: Contrast) -> Contrast:
    if drift.factor is None:
        ratio = contrast.ratio.widened(drift.half_width)
        return Contrast(ratio, max(contrast.p_value, chance_of(ratio)))
    # A rank test asks whether the samples differ, which they do where the machine moved and the code did not.
    ratio = contrast.ratio.over(drift.factor).widened(drift.half_width)
    return Contrast(ratio, chance_of(ratio))


def _over_processes(base: Record, new: Record) -> tuple[Contrast, bool] | None:
    """The contrast of two records that were measured in several processes each; None of others."""
    if not (base["samples"].get("process") and new["samples"].get("process")):
        return None
    try:
        return contrast_of_processes(base, new)
    except TypeError:  # processes or rounds that are no numbers
        return None


def _in_the_same_rounds(base: Record, new: Record) -> tuple[list[float], list[float]] | None:
    """The samples of the rounds in which both were sampled; None where these are of two sessions or there are none."""
    session = base.get("session")
    if session is None or session != new.get("session"):
        return None
    try:
        one, other = (
            dict(zip(s.get("round") or (), s["wall_s"], strict=False)) for s in (base["samples"], new["samples"])
        )
    except TypeError:  # rounds that are no numbers
        return None
    shared = [number for number in one if number in other]
    return ([one[n] for n in shared], [other[n] for n in shared]) if shared else None


def _verdict(ratio: Ratio, q_value: float, threshold: float) -> Verdict:
    if not ratio.covers:
        return Verdict.UNCLEAR
    if q_value < FALSE_DISCOVERY_RATE and not ratio.includes_one:
        return Verdict.SLOWER if ratio.value > 1 else Verdict.FASTER
    within = 1 / (1 + threshold) <= ratio.low and ratio.high <= 1 + threshold
    return Verdict.SAME if within else Verdict.UNCLEAR
